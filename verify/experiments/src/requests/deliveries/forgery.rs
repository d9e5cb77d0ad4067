//! What others send in the name of a provider.

use fastrand::Rng;
use sekali_harness::webhooks::{Headers, PROVIDERS, Provider, now};
use serde_json::Value;

use crate::requests::format::gzip;

/// What a receiver may not differ from the signed time, and a reserve for a slow machine.
const TOO_MUCH: u64 = 400;

/// The headers of a signature that does not hold, and the thing that is wrong with them, or with the body, which may be
/// changed.
pub fn forge(rng: &mut Rng, provider: &Provider, id: &str, body: &mut Vec<u8>) -> (Headers, &'static str) {
    let mut headers = provider.headers(id, now(), body);
    let name = provider.signature_header();
    let place = headers.iter().position(|(header, _)| *header == name).unwrap_or_default();
    let forgery = match rng.u8(..12) {
        0 => {
            let stranger = Provider { secret: "another secret of 32 characters!", ..*provider };
            headers = stranger.headers(id, now(), body);
            "signed with another secret"
        }
        1 => {
            let mut others = PROVIDERS.iter().filter(|other| other.name != provider.name);
            let other = others.nth(rng.usize(..PROVIDERS.len() - 1)).map_or("", |other| other.secret);
            headers = Provider { secret: other, ..*provider }.headers(id, now(), body);
            "signed with the secret of another receiver"
        }
        2 if !body.is_empty() => {
            let at = rng.usize(..body.len());
            body[at] ^= 1 << rng.u8(..8);
            "a bit of its body is another"
        }
        3 if !body.is_empty() => {
            body.truncate(rng.usize(..body.len()));
            "its body is cut"
        }
        4 => {
            let more: [&[u8]; 4] = [b"\n", b" ", b"\r\n", b"\0"];
            body.extend(more[rng.usize(..more.len())]);
            "its body has more at its end"
        }
        5 => {
            body.insert(0, b' ');
            "its body has more at its beginning"
        }
        6 => match serde_json::from_slice::<Value>(body) {
            Ok(value) => {
                *body = format!("{value:#} ").into();
                "its body is written in another way"
            }
            Err(_) => {
                *body = gzip(body);
                "its body is compressed again"
            }
        },
        7 if provider.signs_time() => {
            headers = provider.headers(id, now() - TOO_MUCH - rng.u64(..100_000), body);
            "it is an old one"
        }
        8 if provider.signs_time() => {
            headers = provider.headers(id, now() + TOO_MUCH + rng.u64(..100_000), body);
            "it is of the future"
        }
        9 if provider.signs_time() => {
            let (old, new) = (now() - 5_000, now());
            headers = provider.headers(id, old, body);
            for (_, value) in &mut headers {
                *value = value.replace(&old.to_string(), &new.to_string());
            }
            "it is an old one whose time was changed"
        }
        10 => {
            // Behind Stripe's signature there are 7 characters more.
            let length = headers[place].1.len();
            headers[place].1.truncate(rng.usize(..length - 10));
            "its signature is cut"
        }
        _ => {
            headers.remove(place);
            "its signature is missing"
        }
    };
    (headers, forgery)
}
