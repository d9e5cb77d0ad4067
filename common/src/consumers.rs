//! The JSON of consumers: what a program that takes events out sends and is answered.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What `PUT /consumers/{name}` sets, and what a consumer is. What is left out stays as it is, or is the service's default.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Specification {
    /// Topics, each exact or ending in `.*`; an empty list means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<String>>,
    /// Sources; an empty list means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<String>>,
    /// `start`, `now`, a seq or a time; it counts when the consumer is made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What waits behind an event that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// The most claims at a time; more than one needs [`Order::None`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// Seconds that a claim lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<u32>,
    /// Attempts after which an event is dead; 0 is without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The topic of dead events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead: Option<String>,
}

/// What waits behind an event that failed, until it is done or dead.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Everything.
    Total,
    /// The later events of its topic.
    Topic,
    /// Nothing.
    None,
}

/// What `POST /consumers/{name}/claim` asks for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ClaimRequest {
    /// Who asks: the same holder gets its live claim again.
    pub holder: String,
    /// The most events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Seconds that the claim lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<u32>,
    /// Seconds to wait for an event, at most 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<u32>,
}

/// A leased range of the log.
#[derive(Debug, Deserialize)]
pub struct Claim {
    /// Its token.
    pub claim: String,
    /// Where its events come from.
    pub kind: ClaimKind,
    /// The seq before its first.
    pub from: u64,
    /// Its last seq, which no event need have.
    pub to: u64,
    /// The end of the lease, by the service's clock.
    pub expires_at: String,
    /// 1, and more if the range was claimed before and the claim ran out.
    pub attempt: u32,
    /// What the range had and has no more.
    #[serde(default)]
    pub skipped: Skipped,
    /// Its events, in the order of seq.
    pub events: Vec<ClaimedEvent>,
}

/// Where the events of a claim come from.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimKind {
    /// From the log.
    New,
    /// From those that failed and are due.
    Retry,
}

/// Events that a claim passes over, because they are no more.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Skipped {
    /// By retention.
    pub expired: u64,
    /// By erasure.
    pub erased: u64,
}

/// An event of a claim.
#[derive(Debug, Deserialize, Serialize)]
pub struct ClaimedEvent {
    /// Its place in the order of all events.
    pub seq: u64,
    /// Its topic.
    pub topic: String,
    /// Its id within the topic.
    pub event_id: String,
    /// RFC 3339 in UTC.
    pub timestamp: String,
    /// The name of its producer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The payload, as JSON text.
    pub payload: Box<RawValue>,
    /// Attributes of a CloudEvent, and headers that a receiver kept: a JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Box<RawValue>>,
    /// RFC 3339 in UTC.
    pub received_at: String,
    /// 1, and one more for each time that it failed.
    pub attempt: u32,
}

/// What `POST /consumers/{name}/commit` says of a claim: all of it up to `upto` is done but what failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// The token of the claim.
    pub claim: String,
    /// The seq up to which this counts; without one it extends the lease, and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upto: Option<u64>,
    /// What is not done. Of two events that keep their order, the second waits for the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedEvent>,
    /// Gives back the rest of the claim, at once and without an attempt.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub release: bool,
}

/// An event that failed, or that waits for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FailedEvent {
    /// Its seq.
    pub seq: u64,
    /// Why, in up to 2 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Seconds until it comes again; without them, by the service's own schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in: Option<u64>,
    /// True if it must not come again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dead: bool,
}

/// The answer to a commit.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct Committed {
    /// The seq up to which all is claimed and committed.
    pub position: u64,
    /// Nothing at or below this seq comes again.
    pub settled: u64,
    /// Events behind the position: those of live claims and those that are not claimed yet.
    pub lag: u64,
}

/// A consumer, as `GET /consumers/{name}` describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// What it is.
    pub specification: Specification,
    /// The seq up to which all is claimed and committed.
    pub position: u64,
    /// Nothing at or below this seq comes again.
    pub settled: u64,
    /// Events behind the position: those of live claims and those that are not claimed yet.
    pub lag: u64,
    /// The age of the oldest event that is not done.
    pub behind_seconds: f64,
    /// Events that failed and come again.
    pub parked: u64,
    /// Events that wait behind one of these.
    pub waiting: u64,
    /// Events that do not come again.
    pub dead: u64,
    /// Events that were given out for the first time.
    pub delivered: u64,
    /// Events that were given out again.
    pub redelivered: u64,
    /// The claims that are live.
    pub claims: Vec<Holder>,
    /// True if so much failed that nothing new is given out.
    pub blocked: bool,
}

/// The holder of a live claim.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub holder: String,
    /// The end of its lease, by the service's clock.
    pub expires_at: String,
}
