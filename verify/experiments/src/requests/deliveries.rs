//! Deliveries of providers to their receivers: signed ones in all shapes that providers send, and forged ones. Their
//! identities follow those of the other requests: so many of each provider.

use std::sync::LazyLock;

use fastrand::Rng;
use sekali_harness::webhooks::{Headers, OLD_SECRET, PROVIDERS, Provider, Scheme, now, sha256};
use serde_json::{Value, json};

use super::format::{encoded, gzip};
use super::identities::{IDENTITIES, payload, timestamp};
use super::{Request, Sent};

/// Identities of each provider.
pub const OF_EACH: usize = 24;

/// The topics of all providers, in their order.
pub const TOPICS: [&str; PROVIDERS.len()] = {
    let mut topics = [""; PROVIDERS.len()];
    let mut at = 0;
    while at < topics.len() {
        topics[at] = PROVIDERS[at].topic;
        at += 1;
    }
    topics
};

/// What a receiver may differ from the signed time, less what a slow machine may take between the signature and its test.
const TOLERATED: u64 = 200;

/// What it may not differ, with the same reserve.
const TOO_MUCH: u64 = 400;

/// The shapes of the last payload of those identities whose ids are in headers.
const SHAPES: [Shape; 7] =
    [Shape::Text, Shape::Form, Shape::Half, Shape::Deep, Shape::Empty, Shape::Bytes, Shape::Number];

#[derive(Clone, Copy)]
enum Shape {
    Text,
    Form,
    /// JSON with half a character.
    Half,
    /// JSON deeper than an event may be.
    Deep,
    Empty,
    /// No UTF-8.
    Bytes,
    Number,
}

/// The number of the provider of an identity.
pub fn provider_number(identity: usize) -> usize {
    (identity - IDENTITIES) / OF_EACH
}

/// The provider of an identity.
fn provider(identity: usize) -> &'static Provider {
    &PROVIDERS[provider_number(identity)]
}

/// The identities of a provider.
pub fn identities(provider: usize) -> std::ops::Range<usize> {
    let first = IDENTITIES + provider * OF_EACH;
    first..first + OF_EACH
}

/// The id that the provider gives an event. Some are longer than an event may have, where a header need not hold them.
fn id(identity: usize) -> String {
    match provider(identity).scheme {
        Scheme::Github | Scheme::Standard => format!("msg-{identity}"),
        _ if identity.is_multiple_of(5) => format!("{identity}-{}", "é".repeat(200)),
        _ => format!("evt {identity} \"é🙂\""),
    }
}

/// The event id that a receiver makes of it.
pub fn event_id(identity: usize) -> String {
    let id = id(identity);
    if id.len() > 255 { format!("sha256:{}", sha256(id.as_bytes())) } else { id }
}

/// The identity of an event that was read.
pub fn number(topic: &str, event_id: &str) -> Option<usize> {
    let provider = TOPICS.iter().position(|known| *known == topic)?;
    identities(provider).find(|identity| EVENT_IDS[identity - IDENTITIES] == event_id)
}

static EVENT_IDS: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..PROVIDERS.len()).flat_map(identities).map(event_id).collect());

/// The number of the payload that was read; `None` if it was never sent.
pub fn payload_number(identity: usize, found: &Value, payloads: usize) -> Option<usize> {
    let mut found = found.clone();
    if provider(identity).scheme == Scheme::Stripe {
        match &mut found {
            Value::Object(members) => drop(members.remove("pending_webhooks")?),
            // The text of what no event may have.
            Value::String(text) => *text = format!("{{{}", text.split_once(',')?.1),
            _ => return None,
        }
    }
    (0..payloads).find(|&number| stored(identity, number) == found)
}

/// The time of an event that was read, if its provider names one.
pub fn time(identity: usize) -> Option<String> {
    match provider(identity).scheme {
        Scheme::Github | Scheme::Standard => None,
        Scheme::Stripe | Scheme::Batches | Scheme::Sealed => Some(timestamp(identity)),
    }
}

/// The payload as it is stored, but for what varies.
fn stored(identity: usize, number: usize) -> Value {
    let (body, shape) = content(identity, number);
    let text = || String::from_utf8_lossy(&body).into_owned();
    match shape {
        None | Some(Shape::Number) => serde_json::from_slice(&body).unwrap_or_default(),
        Some(Shape::Text | Shape::Half | Shape::Deep) => text().into(),
        Some(Shape::Form) => json!({"of": identity.to_string(), "é": ["1 2", "3"]}),
        Some(Shape::Empty) => json!({}),
        Some(Shape::Bytes) => "//4A".into(),
    }
}

/// A payload as the provider writes it, but for what varies.
fn content(identity: usize, number: usize) -> (Vec<u8>, Option<Shape>) {
    let data = payload(identity, number);
    match provider(identity).scheme {
        Scheme::Github | Scheme::Standard if number == 2 => {
            let shape = SHAPES[identity % SHAPES.len()];
            let body = match shape {
                Shape::Text => format!("text of {identity}\r\n").into_bytes(),
                Shape::Form => format!("of={identity}&{0}=1+2&{0}=3", encoded("é")).into_bytes(),
                Shape::Half => br#"{"half":"\ud800"}"#.to_vec(),
                Shape::Deep => deep().into_bytes(),
                Shape::Empty => Vec::new(),
                Shape::Bytes => vec![0xff, 0xfe, 0],
                Shape::Number => b"17".to_vec(),
            };
            (body, Some(shape))
        }
        Scheme::Github | Scheme::Standard => (data.to_string().into_bytes(), None),
        _ => {
            // An id is found beside what no event may have.
            let (data, shape) = match (number, identity % 2) {
                (2, 0) => (deep(), Some(Shape::Deep)),
                (2, _) => (r#""\udc00""#.to_owned(), Some(Shape::Half)),
                _ => (data.to_string(), None),
            };
            (object(identity, &id(identity), &data).into_bytes(), shape)
        }
    }
}

fn object(identity: usize, id: &str, data: &str) -> String {
    let (id, created) = (json!(id), json!(timestamp(identity)));
    format!(r#"{{"id":{id},"type":"made","created":{created},"data":{data}}}"#)
}

fn deep() -> String {
    "[".repeat(200) + &"]".repeat(200)
}

/// An event as an element of a body or a list.
fn item(identity: usize, number: usize, varying: u32) -> String {
    let text = String::from_utf8_lossy(&content(identity, number).0).into_owned();
    match provider(identity).scheme {
        Scheme::Stripe => format!(r#"{{"pending_webhooks":{varying},{}"#, &text[1..]),
        _ => text,
    }
}

/// A delivery before it is signed.
struct Draft {
    provider: usize,
    /// Identity and payload of each event; `None` for one without an id.
    events: Vec<Option<(usize, usize)>>,
    body: Vec<u8>,
    headers: Headers,
}

impl Draft {
    /// Events of one provider: of all but one it sends one at a time.
    fn random(rng: &mut Rng) -> Self {
        let provider = rng.usize(..PROVIDERS.len());
        let scheme = PROVIDERS[provider].scheme;
        let count = if scheme == Scheme::Batches { rng.usize(..6) } else { 1 };
        let event = |rng: &mut Rng| {
            // The first payload is frequent, so that there are plain duplicates and conflicts.
            let payload = if rng.bool() { 0 } else { rng.usize(..3) };
            (rng.usize(identities(provider)), payload)
        };
        let mut events: Vec<_> = (0..count).map(|_| Some(event(rng))).collect();
        let may_lack_an_id = !matches!(scheme, Scheme::Github | Scheme::Standard);
        if may_lack_an_id && rng.u8(..12) == 0 {
            events.pop();
            events.insert(rng.usize(..=events.len()), None);
        }
        let mut draft = Self { provider, events, body: Vec::new(), headers: Headers::new() };
        draft.write(rng);
        draft
    }

    fn write(&mut self, rng: &mut Rng) {
        let first = identities(self.provider).start;
        let none = object(first, ["", " "][rng.usize(..2)], "1");
        let mut shape = None;
        let items: Vec<_> = self
            .events
            .iter()
            .map(|event| {
                event.map_or(none.clone(), |(identity, number)| item(identity, number, rng.u32(..9)))
            })
            .collect();
        self.body = match (PROVIDERS[self.provider].scheme, self.events.as_slice()) {
            (Scheme::Batches, _) => {
                format!(r#"{{"try":{},"items":[{}]}}"#, rng.u32(..9), items.join(",")).into()
            }
            (Scheme::Github | Scheme::Standard, [Some((identity, number))]) => {
                let body;
                (body, shape) = content(*identity, *number);
                body
            }
            _ => items.concat().into(),
        };
        let content_type = match shape {
            Some(Shape::Text | Shape::Empty) => "text/plain; charset=utf-8",
            Some(Shape::Form) => "application/x-www-form-urlencoded",
            Some(Shape::Bytes) => "application/octet-stream",
            _ => "application/json",
        };
        if shape.is_none() && rng.u8(..4) == 0 {
            self.body.extend(b"\r\n"); // it is signed, and says nothing
        }
        self.headers.push(("content-type", content_type.to_owned()));
        if rng.u8(..5) == 0 {
            self.body = gzip(&self.body);
            self.headers.push(("content-encoding", "gzip".to_owned()));
        }
    }

    fn id(&self) -> String {
        self.events.iter().flatten().next().map_or_else(String::new, |(identity, _)| id(*identity))
    }

    /// The headers with which a provider signs it, at a moment.
    fn signed(&self, provider: &Provider, at: u64) -> Headers {
        [self.headers.clone(), provider.headers(&self.id(), at, &self.body)].concat()
    }

    fn request(self, headers: Headers, forgery: Option<&'static str>) -> Request {
        let (mut events, mut invalid) = (Vec::new(), 0);
        if forgery.is_none() {
            for (index, event) in self.events.iter().enumerate() {
                match event {
                    Some((identity, payload)) => {
                        events.push(Sent { index, identity: *identity, payload: *payload });
                    }
                    None => invalid += 1,
                }
            }
        }
        Request { path: PROVIDERS[self.provider].path, headers, body: self.body, events, invalid, forgery }
    }
}

/// A delivery that its provider signed: with its secret or the one before it, now or as long ago as is tolerated.
pub fn signed(rng: &mut Rng) -> Request {
    let draft = Draft::random(rng);
    let mut provider = PROVIDERS[draft.provider];
    if rng.u8(..4) == 0 {
        provider.secret = OLD_SECRET;
    }
    let headers = draft.signed(&provider, now() - TOLERATED + rng.u64(..2 * TOLERATED));
    draft.request(headers, None)
}

/// A delivery that its provider did not sign as it is.
pub fn forged(rng: &mut Rng) -> Request {
    let mut draft = Draft::random(rng);
    let (provider, id) = (PROVIDERS[draft.provider], draft.id());
    let (signature, forgery) = forge(rng, &provider, &id, &mut draft.body);
    let headers = [draft.headers.clone(), signature].concat();
    draft.request(headers, Some(forgery))
}

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

/// The list of all events of a provider, as its API answers it; `None` if it has none, because ids are in headers alone.
pub fn list(rng: &mut Rng, provider: usize) -> Option<Request> {
    let scheme = PROVIDERS[provider].scheme;
    let path = match scheme {
        Scheme::Stripe => "/hooks/till/backfill?each=/data",
        Scheme::Github => "/hooks/code/backfill?each=&payload=/request/payload",
        Scheme::Batches => "/hooks/bulk/backfill",
        Scheme::Sealed => "/hooks/seal/backfill?each=/data",
        Scheme::Standard => return None,
    };
    let mut events = Vec::new();
    let mut items = Vec::new();
    for (index, identity) in identities(provider).enumerate() {
        // Of those that are no JSON, a list has no payload.
        let payload = if scheme == Scheme::Github { rng.usize(..2) } else { rng.usize(..3) };
        events.push(Sent { index, identity, payload });
        let written = item(identity, payload, 0);
        items.push(match scheme {
            Scheme::Github => {
                let id = json!(id(identity));
                format!(r#"{{"guid":{id},"event":"made","request":{{"payload":{written}}}}}"#)
            }
            _ => written,
        });
    }
    let items = items.join(",");
    let body = match scheme {
        Scheme::Github => format!("[{items}]"),
        Scheme::Batches => format!(r#"{{"items":[{items}]}}"#),
        _ => format!(r#"{{"object":"list","data":[{items}]}}"#),
    };
    let mut headers: Headers = vec![("content-type", "application/json".to_owned())];
    if rng.bool() {
        headers.push(("prefer", "return=representation".to_owned()));
    }
    Some(Request { path, headers, body: body.into(), events, invalid: 0, forgery: None })
}
