//! What the store answers.

use super::span::Seq;

/// The outcome of one delivery of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The position of the event, stored now or before.
    pub seq: Seq,
    /// The relation of the delivery to earlier ones.
    pub status: Status,
}

/// The relation of a delivery to earlier deliveries of the same identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The identity was new.
    Stored,
    /// The identity was known, and so was the payload.
    Duplicate,
    /// The identity was known with another payload, which stays.
    Conflict,
}

/// A run of events in the order of reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The events in the layout that was asked for.
    pub text: String,
    /// The last of them; the next page begins behind it.
    pub last: Seq,
    /// True if no event of the window follows for certain.
    pub is_last: bool,
}

/// The first matches of a window, up to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matches {
    /// Their number.
    pub count: u32,
    /// The last of them; `None` if there are none.
    pub last: Option<Seq>,
    /// True if more events of the window match.
    pub has_more: bool,
}

/// An identity that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its event, as a JSON object.
    Event(String),
    /// Its event has expired, or was erased.
    Gone,
}

/// The account of all deliveries: one consistent snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Deliveries that were stored.
    pub unique_processed: i64,
    /// Deliveries that were dropped as already seen.
    pub duplicate_dropped: i64,
    /// Dropped deliveries whose payload differed.
    pub conflicts: i64,
    /// Events that retention has taken away.
    pub expired: i64,
    /// Events that were erased on demand.
    pub erased: i64,
    /// Identities of such events that were forgotten.
    pub forgotten: i64,
    /// No event before this seq can be read.
    pub first_seq: Seq,
    /// The newest seq; 0 before the first event.
    pub last_seq: Seq,
    /// The number of topics. All of them are in the totals above.
    pub topics_total: i64,
    /// A JSON array of those topics that are listed, sorted.
    pub topics: String,
    /// A JSON array of their accounts, in the same order.
    pub by_topic: String,
    /// The identity of this store: a random text, made with it.
    pub store_id: String,
}

/// The write-ahead log of a store that keeps one itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Bytes that cannot be taken into the database yet, because somebody reads an older state of it.
    pub kept_bytes: i64,
    /// True if nothing is written until that reader is done: the log has become too long.
    pub stops_writes: bool,
}

/// A request that was answered before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its fingerprint.
    pub fingerprint: String,
    /// The outcomes of its events.
    pub outcomes: Vec<Outcome>,
}
