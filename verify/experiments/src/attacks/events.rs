//! The events of attackers and of those who look after them, and the record of what became of them.

use std::io;

use sekali_common::api::StoredEvent;
use sekali_model::{Catalogue, ReadBack, Recognised};
use serde_json::{Value, json};

use super::raw_client::RawAnswer;
use crate::requests::identities::TOPICS;

/// The topic of all of them.
pub const TOPIC: &str = "siege";

/// Events whose id begins so have five kilobytes, so that a thousand of them are more than sockets hold.
pub const LARGE: &str = "large-";

/// Their deliveries, by id. Each event has one payload.
pub type Ledger = sekali_model::Ledger<String, 1>;

/// The fate of a request that publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All of its events are stored.
    Acknowledged,
    /// Nothing of it is stored.
    Refused,
    /// Its answer was lost or is a 500: it may have been carried out.
    Unknown,
}

impl Fate {
    /// The fate that an answer tells.
    pub fn of(answer: &io::Result<RawAnswer>) -> Self {
        match answer {
            Ok(RawAnswer { status: 200, .. }) => Self::Acknowledged,
            Ok(RawAnswer { status: 400..=499 | 503, .. }) => Self::Refused,
            _ => Self::Unknown,
        }
    }
}

/// Notes one delivery of each of these events.
pub fn note(ledger: &mut Ledger, ids: &[String], fate: Fate) {
    for id in ids {
        match fate {
            Fate::Acknowledged => ledger.answered(id.clone(), 0, None, None),
            Fate::Refused => {}
            Fate::Unknown => ledger.lost(id.clone(), 0),
        }
    }
}

/// An event by its id, as it is always sent.
pub fn event(id: &str) -> Value {
    json!({"topic": TOPIC, "event_id": id, "payload": payload(id)})
}

/// The payload of an event.
pub fn payload(id: &str) -> Value {
    let fill = if id.starts_with(LARGE) { "x".repeat(5_000) } else { String::new() };
    json!({"of": id, "fill": fill})
}

/// All events that there may be.
struct Events;

impl Catalogue for Events {
    type Event = String;

    fn topic(&self, name: &str) -> Option<usize> {
        (name == TOPIC).then_some(0)
    }

    fn recognise(&self, event: &StoredEvent<'_>) -> Recognised<String> {
        let (id, found) = (event.event_id.as_str(), serde_json::from_str::<Value>(event.payload.get()).ok());
        match (self.topic(&event.topic), found) {
            (None, _) if TOPICS.contains(&event.topic.as_str()) => Recognised::Foreign,
            (None, _) => Recognised::Unknown("is in a topic that nobody uses".into()),
            (_, Some(found)) if found == payload(id) => {
                Recognised::Sent { event: id.to_owned(), payload: 0, difference: None }
            }
            _ => Recognised::Altered(format!("has the payload {}", event.payload.get())),
        }
    }
}

/// Takes in a page of events: an array in JSON. Returns their number.
///
/// # Errors
/// When it is no array of events.
pub fn take(read: &mut ReadBack<String>, page: &str) -> serde_json::Result<usize> {
    let events: Vec<StoredEvent> = serde_json::from_str(page)?;
    events.iter().for_each(|event| read.take(&Events, event));
    Ok(events.len())
}

/// The promises that are broken if these are all events.
pub fn compare(ledger: &Ledger, read: &ReadBack<String>) -> Vec<String> {
    let compared = ledger.compare(read, String::clone);
    let rules = compared.rules().into_iter().chain(read.rules());
    rules.flat_map(|(rule, wrong)| wrong.tell(rule)).collect()
}
