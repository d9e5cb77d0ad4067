//! What the domain needs of a database.

mod select;
pub mod spin;
pub mod sqlite;

use std::time::Duration;

use crate::event::{EventId, NewEvent, Source, Timestamp, Topic};

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Of any of these topics, each once; of every topic when empty.
    pub topics: Vec<Topic>,
    /// From any of these sources, each once; from every source, or none, when empty.
    pub sources: Vec<Source>,
    /// That happened at this moment or later.
    pub since: Option<Timestamp>,
    /// That happened before this moment.
    pub until: Option<Timestamp>,
}

/// In which order of seq to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The oldest first.
    #[default]
    Ascending,
    /// The newest first.
    Descending,
}

/// How the events of a page are written and joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON objects with commas between them.
    Json,
    /// One JSON object a line, the last without its end.
    Lines,
    /// Server-sent events with seq as their id, the last without its end.
    Events,
}

/// A run of seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// What comes before it.
    pub after: Seq,
    /// Its last.
    pub through: Seq,
}

impl Span {
    /// What is left of it behind `last`, in the order of reading.
    pub fn beyond(self, last: Seq, direction: Direction) -> Self {
        match direction {
            Direction::Ascending => Self { after: last, ..self },
            Direction::Descending => Self { through: last - 1, ..self },
        }
    }

    /// What is left of it up to `last`, in the order of reading.
    pub fn up_to(self, last: Seq, direction: Direction) -> Self {
        match direction {
            Direction::Ascending => Self { through: last, ..self },
            Direction::Descending => Self { after: last - 1, ..self },
        }
    }
}

/// How much a page may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageSize {
    /// Events.
    pub events: u32,
    /// Bytes of payload after which it takes no more events.
    pub bytes: u32,
}

impl PageSize {
    /// For answers that are read as fast as they come.
    pub const LARGE: Self = Self { events: 1000, bytes: 1 << 20 };
    /// For followers, of whom there may be many.
    pub const SMALL: Self = Self { events: 256, bytes: 64 << 10 };
}

/// A run of events in the order of reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The events, in the format that was asked for.
    pub text: String,
    /// The last of them: the next page comes behind it.
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

    /// The first events of a span, as many as fit a page; `None` when there are none.
    async fn page(
        &self,
        filter: &Filter,
        span: Span,
        direction: Direction,
        format: Format,
        size: PageSize,
    ) -> Result<Option<Page>, StoreError>;

    /// Where the first `limit` events of a span end; `None` when there are none.
    async fn boundary(
        &self,
        filter: &Filter,
        span: Span,
        direction: Direction,
        limit: u32,
    ) -> Result<Option<Boundary>, StoreError>;

    /// The part of a span that can have events of the filter, where an index tells it cheaply.
    async fn narrow(&self, filter: &Filter, span: Span) -> Result<Span, StoreError>;

    /// One event as a JSON object, if it is stored.
    async fn event(&self, topic: &Topic, event_id: &EventId) -> Result<Option<String>, StoreError>;

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
