//! What the domain needs of a database.

pub mod spin;
pub mod sqlite;

use std::time::Duration;

use crate::event::{NewEvent, Topic};

/// The position of an event in the order in which the store took them, from 1 without gaps.
pub type Seq = i64;

/// What became of one delivered event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where the event stands, stored now or before.
    pub seq: Seq,
    /// Whether it was stored now.
    pub status: Status,
}

/// How a delivery compares with what was stored before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The identity was new.
    Stored,
    /// The identity was known, and so was the payload.
    Duplicate,
    /// The identity was known with another payload, which stays.
    Conflict,
}

/// Which events to read.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of any of these topics; of every topic when empty.
    pub topics: Vec<Topic>,
}

/// A run of events in the order of seq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The events as JSON objects, with commas between them.
    pub json: String,
    /// The last of them: the next page comes after it.
    pub last: Seq,
    /// Whether it is known that no more follow.
    pub is_last: bool,
}

/// Where an answer of limited length ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// Its last event.
    pub last: Seq,
    /// Whether more events match behind it.
    pub has_more: bool,
}

/// Every delivery accounted for: one consistent snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Deliveries that were stored.
    pub unique_processed: i64,
    /// Deliveries that were dropped as already seen.
    pub duplicate_dropped: i64,
    /// Those of the dropped whose payload differed.
    pub conflicts: i64,
    /// The newest event's seq; 0 before the first.
    pub last_seq: Seq,
    /// A JSON array of topics, sorted.
    pub topics: String,
    /// A JSON array of objects, one a topic, in the same order.
    pub by_topic: String,
}

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another connection is writing. Nothing was done; the same call may succeed in a moment.
    #[error("the database is busy")]
    Busy,
    /// There is no room for more. Nothing was done.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The call failed. Nothing was done.
    #[error("{0}")]
    Failed(String),
    /// A write was made, or may have been, but what it did with its events is not known.
    #[error("after a write: {0}")]
    Uncertain(String),
}

/// A durable store of events, one of each identity.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait Store: 'static {
    /// Stores what is new of `events` and counts all of them, at once or not at all, and durably
    /// before it returns. The outcomes come in the order of the events.
    async fn append(&self, events: &[&NewEvent]) -> Result<Vec<Outcome>, StoreError>;

    /// The next events after `after` and up to `last`, as many as fit a page; `None` when there are no more.
    async fn page(&self, filter: &Filter, after: Seq, last: Seq) -> Result<Option<Page>, StoreError>;

    /// Where the first `limit` events after `after` end; `None` when there are none.
    async fn boundary(&self, filter: &Filter, after: Seq, limit: u32)
    -> Result<Option<Boundary>, StoreError>;

    /// The newest event's seq; 0 before the first.
    async fn last_seq(&self) -> Result<Seq, StoreError>;

    /// The account of all deliveries.
    async fn ledger(&self) -> Result<Ledger, StoreError>;
}

/// Time as the domain sees it; tests bring their own.
#[allow(async_fn_in_trait)]
pub trait Clock: 'static {
    /// A reading of a clock that never goes back.
    fn now(&self) -> Duration;

    /// Waits without blocking others.
    async fn sleep(&self, duration: Duration);

    /// Lets others go first who can go on at once.
    async fn yield_now(&self);
}

#[cfg(test)]
mod tests;
