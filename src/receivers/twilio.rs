//! Twilio signs the URL and, of a form, its fields in the order of their names, each name followed by its values
//! (<https://www.twilio.com/docs/usage/security>). Of other bodies it signs the URL alone, whose parameter `bodySHA256`
//! is a hash of the body.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::delivery::{Delivery, sha256};
use super::mac::{Hash, hmac, is_same};

/// True if a signature of a delivery was made with this token.
pub fn made(token: &[u8], signature: &[u8], delivery: &Delivery<'_>) -> bool {
    let Some(url) = delivery.url() else { return false };
    let mut hashes =
        form_urlencoded::parse(delivery.query.as_bytes()).filter(|(name, _)| name == "bodySHA256");
    let fields = match hashes.next() {
        Some((_, hash)) => {
            if !is_same(sha256(delivery.body).as_bytes(), hash.to_ascii_lowercase().as_bytes()) {
                return false;
            }
            String::new()
        }
        None => fields(delivery.body),
    };
    forms_of(&url).iter().any(|url| {
        let signed = format!("{url}{fields}");
        is_same(&hmac(Hash::Sha1, token, signed.as_bytes()), signature)
    })
}

/// The fields of a form as they are signed: of several values of a name, each once and in their order.
fn fields(form: &[u8]) -> String {
    let mut fields = BTreeMap::<_, BTreeSet<_>>::new();
    for (name, value) in form_urlencoded::parse(form) {
        fields.entry(name).or_default().insert(value);
    }
    let pairs =
        fields.iter().flat_map(|(name, values)| values.iter().map(move |value| format!("{name}{value}")));
    pairs.collect()
}

/// The URL with its port and without: which of the two Twilio signed depends on how it was written there.
fn forms_of(url: &str) -> [Cow<'_, str>; 2] {
    let Some((scheme, rest)) = url.split_once("://") else { return [url.into(), url.into()] };
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let other = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{scheme}://{name}{path}")
        }
        _ => format!("{scheme}://{host}:{}{path}", if scheme == "http" { 80 } else { 443 }),
    };
    [url.into(), other.into()]
}
