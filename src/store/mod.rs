//! The store: the traits that the domain needs of a database, and their types.
//!
//! The traits ask for what every database can give at a cost in proportion to the answer. [`sqlite`] implements
//! them over any [`database`] that executes SQLite's statements.

pub mod database;
pub mod sqlite;

use crate::event::{EventId, NewEvent, Source, Timestamp, Topic};

/// The position of an event in the order in which the store took them, from 1 without gaps.
pub type Seq = i64;

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

/// A condition on events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Topics, each once, any of which matches; all topics match when empty.
    pub topics: Vec<Topic>,
    /// Sources, each once, any of which matches; all events match when empty, also those without a source.
    pub sources: Vec<Source>,
    /// The earliest timestamp that matches.
    pub since: Option<Timestamp>,
    /// The earliest timestamp that does not match any more.
    pub until: Option<Timestamp>,
}

/// The order of reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// By growing seq.
    #[default]
    Ascending,
    /// By falling seq.
    Descending,
}

/// The text form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// JSON objects with commas between them: the inside of an array.
    Array,
    /// One JSON object a line. The last line has no line break.
    Lines,
    /// Server-sent events with seq as their id. The last has no empty line behind it.
    ServerSent,
}

/// A run of seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The seq before its first.
    pub after: Seq,
    /// Its last seq.
    pub through: Seq,
}

impl Span {
    /// True if no seq lies in it.
    pub fn is_empty(self) -> bool {
        self.through <= self.after
    }

    /// The last seq of it, in the order of reading.
    pub fn last(self, order: Order) -> Seq {
        match order {
            Order::Ascending => self.through,
            Order::Descending => self.after + 1,
        }
    }

    /// The rest of it behind `last`, in the order of reading.
    pub fn beyond(self, last: Seq, order: Order) -> Self {
        match order {
            Order::Ascending => Self { after: last, ..self },
            Order::Descending => Self { through: last - 1, ..self },
        }
    }

    /// The part of it up to `last`, in the order of reading.
    pub fn up_to(self, last: Seq, order: Order) -> Self {
        match order {
            Order::Ascending => Self { through: last, ..self },
            Order::Descending => Self { after: last - 1, ..self },
        }
    }
}

/// The most that a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageSize {
    /// Events.
    pub events: u32,
    /// Bytes of payload and attributes after which no more events are taken.
    pub bytes: u32,
}

impl PageSize {
    /// For answers that the client reads to their end.
    pub const LARGE: Self = Self { events: 1000, bytes: 1 << 20 };
    /// For followers, which are many. Such a page waits for no larger one.
    pub const SMALL: Self = Self { events: 256, bytes: 64 << 10 };
}

/// A run of events in the order of reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The events in the layout that was asked for.
    pub text: String,
    /// The last of them; the next page begins behind it.
    pub last: Seq,
    /// True if no event follows for certain.
    pub is_last: bool,
}

/// The part of a span that an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// It has every event of the answer. It may be larger than that, unless the answer was limited.
    pub span: Span,
    /// True if more events match behind a limited answer.
    pub has_more: bool,
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
    /// The newest seq; 0 before the first event.
    pub last_seq: Seq,
    /// A JSON array of topics, sorted.
    pub topics: String,
    /// A JSON array of accounts, one a topic, in the same order.
    pub by_topic: String,
}

/// The reason of a failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another connection is writing. Nothing was done; the same call may succeed in a moment.
    #[error("the database is busy")]
    Busy,
    /// Other reads hold all connections. Nothing was done; the same call may succeed in a moment.
    #[error("all connections are reading")]
    Overloaded,
    /// There is no room for more. Nothing was done.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The call failed. Nothing was done.
    #[error("{0}")]
    Failed(String),
    /// A write may have been done, and its outcomes are not known.
    #[error("after a write: {0}")]
    Uncertain(String),
}

/// The writing side of a durable store that keeps one event of each identity.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait WriteStore: 'static {
    /// Stores the new events and counts all of them, at once or not at all, and durably before it returns.
    /// The outcomes have the order of the events.
    async fn append(&self, events: &[&NewEvent]) -> Result<Vec<Outcome>, StoreError>;
}

/// The reading side of the store. Events become visible in the order of seq.
#[allow(async_fn_in_trait)]
pub trait ReadStore: 'static {
    /// The newest seq; 0 before the first event.
    async fn last_seq(&self) -> Result<Seq, StoreError>;

    /// The part of `span` that holds the first `limit` events of the filter, or all of them without a limit.
    ///
    /// With a limit the store has to find it exactly. Without one it may return `span` as it is: a smaller part
    /// only saves reading, where an index tells it cheaply.
    async fn extent(
        &self,
        filter: &Filter,
        span: Span,
        order: Order,
        limit: Option<u32>,
    ) -> Result<Extent, StoreError>;

    /// The first events of a span, as many as fit a page; `None` if none match.
    async fn page(
        &self,
        filter: &Filter,
        span: Span,
        order: Order,
        layout: Layout,
        size: PageSize,
    ) -> Result<Option<Page>, StoreError>;

    /// One event as a JSON object; `None` if it is not stored.
    async fn event(&self, topic: &Topic, event_id: &EventId) -> Result<Option<String>, StoreError>;

    /// The account of all deliveries.
    async fn ledger(&self) -> Result<Ledger, StoreError>;
}
