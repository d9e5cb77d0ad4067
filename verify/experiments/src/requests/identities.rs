//! The events that are sent: few identities at a time, so that their deliveries race, each with several payloads.

use std::collections::HashMap;
use std::sync::LazyLock;

use sekali_common::api::StoredEvent;
use sekali_model::{Catalogue, Recognised};
use serde_json::{Value, json};

use super::deliveries;
use crate::attacks::events;
use crate::consumers::DEAD;

/// Topics of requests to publish; one has characters that a path has to encode.
pub const TOPICS: [&str; 3] = ["shop.orders", "shop.payments", "audit log/ü?"];

/// The first two of them together, as a reader writes it.
pub const PREFIX: &str = "shop.*";

/// Sources; the ids below make pairs whose sources and ids would be the same text if they were merely joined.
pub const SOURCES: [&str; 4] = ["/shop", "/a", "/a#b", "é 100%"];

/// Payloads of an identity. The first is the same for all of them.
pub const PAYLOADS: usize = 3;

/// Identities that exist, but for those of [`deliveries`], which follow them. Most runs send the first of them.
pub const IDENTITIES: usize = 60_000;

/// Their numbers.
static NUMBERS: LazyLock<HashMap<(&str, String), usize>> =
    LazyLock::new(|| (0..IDENTITIES).map(|number| ((topic(number), event_id(number)), number)).collect());

/// All identities, by number.
pub struct Identities;

/// The number of an identity, if it is one of ours.
fn number(topic: &str, event_id: &str) -> Option<usize> {
    let Some(topic) = TOPICS.into_iter().find(|known| *known == topic) else {
        return deliveries::number(topic, event_id);
    };
    NUMBERS.get(&(topic, event_id.to_owned())).copied()
}

/// All topics: those above, and those of deliveries.
pub fn topics() -> impl Iterator<Item = &'static str> {
    TOPICS.into_iter().chain(deliveries::TOPICS)
}

/// The number of the topic of an identity.
pub fn topic_number(identity: usize) -> usize {
    match identity {
        ..IDENTITIES => identity % TOPICS.len(),
        _ => TOPICS.len() + deliveries::provider_number(identity),
    }
}

/// The topic of an identity.
pub fn topic(identity: usize) -> &'static str {
    match identity {
        ..IDENTITIES => TOPICS[topic_number(identity)],
        _ => deliveries::TOPICS[deliveries::provider_number(identity)],
    }
}

/// The number of the source of an identity.
pub fn source_number(identity: usize) -> usize {
    identity / TOPICS.len() % SOURCES.len()
}

/// The source of an identity.
pub fn source(identity: usize) -> &'static str {
    SOURCES[source_number(identity)]
}

/// The id of an identity as a CloudEvent, unique with its source.
pub fn cloud_id(identity: usize) -> String {
    let block = identity / (TOPICS.len() * SOURCES.len());
    match source(identity) {
        "/a" => format!("b#{block}"),
        _ => block.to_string(),
    }
}

/// The event id that the contract makes of source and id.
pub fn event_id(identity: usize) -> String {
    if identity >= IDENTITIES {
        return deliveries::event_id(identity);
    }
    let (source, id) = (source(identity), cloud_id(identity));
    match source.contains('#') {
        true => format!("#{}#{source}#{id}", source.len()),
        false => format!("{source}#{id}"),
    }
}

/// The time of an identity: those with higher numbers are later.
pub fn timestamp(identity: usize) -> String {
    let (minutes, seconds) = (identity / 60, identity % 60);
    format!("2026-01-{:02}T{:02}:{:02}:{seconds:02}Z", 1 + minutes / 1440, minutes / 60 % 24, minutes % 60)
}

/// A payload of an identity.
pub fn payload(identity: usize, number: usize) -> Value {
    match number {
        0 => json!({"shared": true, "amount": 1.5}),
        _ => json!({"identity": identity, "number": number, "note": "é\n\"🙂"}),
    }
}

/// The name of an identity, for people.
pub fn name(identity: usize) -> String {
    format!("{} {}", topic(identity), event_id(identity))
}

impl Catalogue for Identities {
    type Event = usize;

    fn topic(&self, name: &str) -> Option<usize> {
        topics().position(|known| known == name)
    }

    fn recognise(&self, event: &StoredEvent<'_>) -> Recognised<usize> {
        if event.topic == events::TOPIC || event.topic == DEAD {
            return Recognised::Foreign;
        }
        let Some(number) = number(&event.topic, &event.event_id) else {
            return Recognised::Unknown("was never sent".into());
        };
        let found: Option<Value> = serde_json::from_str(event.payload.get()).ok();
        let payload = found.and_then(|found| match number {
            ..IDENTITIES => (0..PAYLOADS).find(|&payload| found == self::payload(number, payload)),
            _ => deliveries::payload_number(number, &found, PAYLOADS),
        });
        let Some(payload) = payload else {
            return Recognised::Altered(format!("has the payload {}", event.payload.get()));
        };
        let is_same = match number {
            ..IDENTITIES => {
                event.timestamp == timestamp(number) && event.source.as_deref() == Some(source(number))
            }
            _ => {
                deliveries::time(number).is_none_or(|time| event.timestamp == time) && event.source.is_none()
            }
        };
        let difference =
            (!is_same).then(|| format!("has timestamp {} and source {:?}", event.timestamp, event.source));
        Recognised::Sent { event: number, payload, difference }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_differ_although_some_of_their_parts_join_to_the_same_text() {
        assert_eq!(NUMBERS.len(), IDENTITIES);
        let joined = |identity| format!("{}#{}", source(identity), cloud_id(identity));
        assert_eq!((joined(3), event_id(3)), ("/a#b#0".into(), "/a#b#0".into()));
        assert_eq!((joined(6), event_id(6)), ("/a#b#0".into(), "#4#/a#b#0".into()));
        assert_eq!(number(topic(6), &event_id(6)), Some(6));
        assert_eq!(timestamp(86_461), "2026-01-02T00:01:01Z");
    }
}
