//! The identities of the events that providers deliver, and their contents in all shapes.

use std::ops::Range;
use std::sync::LazyLock;

use sekali_harness::webhooks::{PROVIDERS, Provider, Scheme, sha256};
use serde_json::{Value, json};

use crate::requests::format::encoded;
use crate::requests::identities::{IDENTITIES, payload, timestamp};

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

/// The shapes of the last payload of those identities whose ids are in headers.
const SHAPES: [Shape; 7] =
    [Shape::Text, Shape::Form, Shape::Half, Shape::Deep, Shape::Empty, Shape::Bytes, Shape::Number];

/// A shape that no event has, or that none of ours has.
#[derive(Clone, Copy)]
pub enum Shape {
    /// A text.
    Text,
    /// The fields of a form.
    Form,
    /// JSON with half a character.
    Half,
    /// JSON deeper than an event may be.
    Deep,
    /// Nothing.
    Empty,
    /// No UTF-8.
    Bytes,
    /// JSON that is no object.
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
pub fn identities(provider: usize) -> Range<usize> {
    let first = IDENTITIES + provider * OF_EACH;
    first..first + OF_EACH
}

/// The id that the provider gives an event. Some are longer than an event may have, where a header need not hold them.
pub fn id(identity: usize) -> String {
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
pub fn content(identity: usize, number: usize) -> (Vec<u8>, Option<Shape>) {
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

/// An event as JSON, with its id.
pub fn object(identity: usize, id: &str, data: &str) -> String {
    let (id, created) = (json!(id), json!(timestamp(identity)));
    format!(r#"{{"id":{id},"type":"made","created":{created},"data":{data}}}"#)
}

fn deep() -> String {
    "[".repeat(200) + &"]".repeat(200)
}

/// An event as an element of a body or a list.
pub fn item(identity: usize, number: usize, varying: u32) -> String {
    let text = String::from_utf8_lossy(&content(identity, number).0).into_owned();
    match provider(identity).scheme {
        Scheme::Stripe => format!(r#"{{"pending_webhooks":{varying},{}"#, &text[1..]),
        _ => text,
    }
}
