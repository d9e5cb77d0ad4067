//! The JSON of the API, as far as a producer and a verifier need it.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The answer to `POST /publish`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Published {
    /// Events in the request.
    pub total_received: u64,
    /// Events that the request stored.
    pub stored: u64,
    /// Events that were stored before, or earlier in the same request.
    pub duplicates: u64,
    /// Those of the duplicates whose payload differs from the stored one.
    pub conflicts: u64,
    /// The ids of the conflicts, in the order of the request.
    #[serde(default)]
    pub conflict_ids: Vec<String>,
    /// What became of each event, when `Prefer: return=representation` asked for it.
    #[serde(default)]
    pub results: Vec<EventResult>,
}

/// What became of one event of a request.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct EventResult {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Its topic.
    pub topic: String,
    /// Its id within the topic.
    pub event_id: String,
    /// Whether this delivery stored it.
    pub status: EventStatus,
    /// Where it is in the order of all events.
    pub seq: u64,
}

/// Whether a delivery stored its event.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum EventStatus {
    /// This delivery stored it.
    Stored,
    /// It was stored before, with the same payload.
    Duplicate,
    /// It was stored before, with another payload.
    Conflict,
}

/// The account of `GET /stats`.
#[derive(Clone, Debug, Deserialize)]
pub struct Stats {
    /// All deliveries.
    #[serde(flatten)]
    pub total: Account,
    /// The highest `seq` given, 0 when there is none.
    pub last_seq: u64,
    /// The version of the service.
    pub version: String,
    /// The account of each topic.
    pub by_topic: Vec<TopicAccount>,
}

/// Deliveries, counted by what became of them.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Account {
    /// Deliveries of valid events.
    pub received: u64,
    /// Those that stored their event.
    pub unique_processed: u64,
    /// Those that were dropped as duplicates.
    pub duplicate_dropped: u64,
    /// Those of the dropped whose payload differs from the stored one.
    pub conflicts: u64,
}

impl fmt::Display for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, unique_processed, duplicate_dropped, conflicts } = self;
        write!(
            out,
            "{received} received, {unique_processed} unique, {duplicate_dropped} duplicates, {conflicts} conflicts"
        )
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
    /// Who said it.
    pub source: Option<String>,
    /// The payload, as text.
    #[serde(borrow)]
    pub payload: &'a RawValue,
    /// How often it was delivered.
    pub deliveries: u64,
    /// How many of the deliveries had another payload.
    pub conflicts: u64,
}

/// An error (RFC 9457, section 3). Whatever stands between us and the service may answer otherwise: then all is empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// `/problems/<name>` when the service itself answered.
    pub r#type: String,
    /// What kind of error it is.
    pub title: String,
    /// What it is here.
    pub detail: String,
    /// The invalid events of a request, the first hundred errors.
    pub errors: Vec<EventError>,
}

/// One thing that is wrong with one event.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct EventError {
    /// The event's place in the request, from 0.
    pub index: usize,
    /// The field at fault.
    #[serde(default)]
    pub field: String,
    /// What is wrong with it, as a phrase that follows the name of the field.
    pub message: String,
}
