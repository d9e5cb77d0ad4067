//! The JSON of the API, as far as producers and the stress test need it.

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::consumers::Holder;

/// The answer to `POST /publish`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Published {
    /// Events in the request.
    pub total_received: u64,
    /// Events that the request stored.
    pub stored: u64,
    /// Events that were stored before, or earlier in the same request.
    pub duplicates: u64,
    /// The duplicates whose payload differs from the stored one.
    pub conflicts: u64,
    /// The ids of the conflicts, in the order of the request.
    #[serde(default)]
    pub conflict_ids: Vec<String>,
    /// Events that were not stored, if the request might be taken in part.
    #[serde(default)]
    pub rejected: u64,
    /// The first hundred errors in these.
    #[serde(default)]
    pub errors: Vec<EventError>,
    /// Fields of the events that the service does not know, and ignored.
    #[serde(default, deserialize_with = "names")]
    pub ignored: Vec<String>,
    /// The outcome of each event, if the request had `Prefer: return=representation`.
    #[serde(default)]
    pub results: Vec<EventResult>,
}

/// The strings of an array, and nothing of what is none: more about fields must not make an answer unreadable.
fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = Value::deserialize(from)?;
    let name = |name: &Value| name.as_str().map(str::to_owned);
    Ok(names.as_array().map(|names| names.iter().filter_map(name).collect()).unwrap_or_default())
}

/// The outcome of one event of a request.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct EventResult {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Its topic.
    pub topic: String,
    /// Its id within the topic.
    pub event_id: String,
    /// The outcome of this delivery.
    pub status: EventStatus,
    /// Its place in the order of all events.
    pub seq: u64,
}

/// The outcome of a delivery.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum EventStatus {
    /// It stored the event.
    Stored,
    /// The event was stored before, with the same payload.
    Duplicate,
    /// The event was stored before, with another payload.
    Conflict,
}

/// The account of `GET /stats`.
#[derive(Clone, Debug, Deserialize)]
pub struct Stats {
    /// All deliveries.
    #[serde(flatten)]
    pub total: Account,
    /// The highest `seq` assigned; 0 if there is none.
    pub last_seq: u64,
    /// The identity of the store, made with it; earlier versions have none.
    pub store_id: Option<String>,
    /// The version of the service.
    pub version: String,
    /// The account of each topic.
    pub by_topic: Vec<TopicAccount>,
}

/// Counts of deliveries by outcome.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Account {
    /// Deliveries of valid events.
    pub received: u64,
    /// Deliveries that stored their event.
    pub unique_processed: u64,
    /// Deliveries that were dropped as duplicates.
    pub duplicate_dropped: u64,
    /// The dropped deliveries whose payload differs from the stored one.
    pub conflicts: u64,
    /// Events that retention took away.
    #[serde(default)]
    pub expired: u64,
    /// Events that were erased.
    #[serde(default)]
    pub erased: u64,
}

impl fmt::Display for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, unique_processed, duplicate_dropped, conflicts, expired, erased } = self;
        write!(
            out,
            "{received} received, {unique_processed} unique, {duplicate_dropped} duplicates, {conflicts} conflicts"
        )?;
        match expired + erased {
            0 => Ok(()),
            _ => write!(out, ", {expired} expired, {erased} erased"),
        }
    }
}

/// The account of one topic.
#[derive(Clone, Debug, Deserialize)]
pub struct TopicAccount {
    /// The topic.
    pub topic: String,
    /// Its deliveries.
    #[serde(flatten)]
    pub account: Account,
    /// Identities that were forgotten, so that their events are unknown.
    #[serde(default)]
    pub forgotten: u64,
    /// Its newest seq.
    #[serde(default)]
    pub last_seq: u64,
}

/// An event as `GET /events` returns it.
#[derive(Debug, Deserialize)]
pub struct StoredEvent<'a> {
    /// Its place in the order of all events.
    pub seq: u64,
    /// Its topic.
    pub topic: String,
    /// Its id within the topic.
    pub event_id: String,
    /// RFC 3339 in UTC.
    pub timestamp: String,
    /// The name of its producer.
    pub source: Option<String>,
    /// The payload, as JSON text.
    #[serde(borrow)]
    pub payload: &'a RawValue,
    /// The number of its deliveries.
    pub deliveries: u64,
    /// The number of its deliveries with another payload.
    pub conflicts: u64,
}

/// An error (RFC 9457, section 3). A proxy in front of the service may answer in another format: then all fields are
/// empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// `/problems/<name>` when the service itself answered.
    pub r#type: String,
    /// The description of this occurrence.
    pub detail: String,
    /// The first hundred errors in the events of a request.
    pub errors: Vec<EventError>,
    /// Those who hold all claims of a consumer, if nobody else may have one now.
    pub holders: Vec<Holder>,
}

/// One error in one event.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct EventError {
    /// The event's place in the request, from 0.
    pub index: usize,
    /// The invalid field.
    #[serde(default)]
    pub field: String,
    /// The error, as a phrase that follows the name of the field.
    pub message: String,
}
