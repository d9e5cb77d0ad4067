//! The store: the traits that the domain needs of a database, and their types.
//!
//! The traits ask for what every database can give at a cost in proportion to the answer. [`sql`] implements them once,
//! over two backends: [`sqlite`] and [`postgres`], which write in their own ways over any [`database`] that executes
//! statements. `dialect` makes the texts of statements, `window` finds the steps in which a span is read, `query`
//! is one of them, `rows` reads answers, and `read_permits` bounds what an instance reads at once.

pub mod chosen;
pub mod database;
mod dialect;
mod error;
pub mod postgres;
mod query;
mod read_permits;
mod rows;
pub mod sql;
pub mod sqlite;
mod window;

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

pub use self::error::StoreError;

use crate::event::{EventId, NewEvent, Source, Timestamp, Topic};

/// The position of an event in the order in which the store took them, from 1. A restore leaves a gap, and so does an
/// identity that was forgotten.
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
    /// True if only events with conflicts match.
    pub has_conflicts: bool,
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

impl Layout {
    /// The text between two events.
    pub fn separator(self) -> &'static str {
        match self {
            Self::Array => ",",
            Self::Lines => "\n",
            Self::ServerSent => "\n\n",
        }
    }
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

    /// The rest of it behind a part of it, in the order of reading; nothing if the part is empty.
    pub fn behind(self, part: Self, order: Order) -> Self {
        match part.is_empty() {
            true => Self { through: self.after, ..self },
            false => self.beyond(part.last(order), order),
        }
    }

    /// The part of it before the rest of it, in the order of reading.
    pub fn before(self, rest: Self, order: Order) -> Self {
        match order {
            _ if rest.is_empty() => self,
            Order::Ascending => Self { through: rest.after, ..self },
            Order::Descending => Self { after: rest.through, ..self },
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

/// A run of seq that is read in one step, of bounded cost, by one index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The run.
    pub span: Span,
    /// The index.
    pub index: Index,
}

/// A way to the events of a filter. What the index does not serve of the filter is checked in each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// All events, in the order of seq.
    Seq,
    /// The events of each topic, in the order of seq.
    Topics,
    /// The events of each source, in the order of seq.
    Sources,
    /// The events with conflicts, in the order of seq: those of a filter that asks for them.
    Conflicts,
    /// The events of a short span of time, sorted by seq at each read.
    Timestamp,
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

/// Topics that a ledger lists if none is named: those to which a delivery came last.
pub const LISTED_TOPICS: u32 = 1000;

/// The identity of a request: its Idempotency-Key, and a fingerprint of everything that gives it its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The key.
    pub key: String,
    /// The fingerprint.
    pub fingerprint: String,
}

/// A request of a group that has a key.
pub struct Keyed<'r> {
    /// The key.
    pub key: &'r RequestKey,
    /// The indexes of its events in the group.
    pub events: Range<usize>,
}

/// Seconds for which answers to requests with a key are kept.
pub const ANSWERS_KEPT: i64 = 24 * 60 * 60;

/// A request that was answered before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its fingerprint.
    pub fingerprint: String,
    /// The outcomes of its events.
    pub outcomes: Vec<Outcome>,
}

/// The writing side of a durable store that keeps one event of each identity.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait WriteStore: 'static {
    /// Stores the new events and counts all of them, at once or not at all, and durably before it returns. The answers
    /// to requests that have a key are kept with their events. The outcomes have the order of the events.
    ///
    /// # Errors
    /// [`StoreError::Repeated`] when some of the keys were answered within the last 24 hours.
    async fn append(&self, events: &[&NewEvent], keys: &[Keyed<'_>]) -> Result<Vec<Outcome>, StoreError>;

    /// The request of a key within the last 24 hours.
    async fn answered(&self, key: &str) -> Result<Option<Answered>, StoreError>;

    /// Keeps the totals of this minute for a day, by the clock of the database, unless that was done.
    async fn record_totals(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The reading side of the store. Events become visible in the order of seq.
///
/// A reader goes from window to window, and reads pages in each. Between two steps it holds nothing of the store. Where
/// several servers answer, one that has not got all of a span yet is asked again.
#[allow(async_fn_in_trait)]
pub trait ReadStore: 'static {
    /// The seqs that can be read: up to the newest, from behind those that have expired.
    async fn readable(&self) -> Result<Span, StoreError>;

    /// The newest seq that was given or reserved, whichever of several servers answers [`readable`](Self::readable).
    async fn newest(&self) -> Result<Seq, StoreError> {
        Ok(self.readable().await?.through)
    }

    /// True if the store takes writes: a replica does not, by design.
    ///
    /// # Errors
    /// When it should and cannot.
    async fn is_writable(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// The settings that endanger the events in the store, a phrase each.
    async fn risks(&self) -> Result<Vec<String>, StoreError> {
        Ok(vec![])
    }

    /// The state of its write-ahead log; `None` if a server has it.
    async fn log(&self) -> Result<Option<LogState>, StoreError> {
        Ok(None)
    }

    /// The next run of a span, in the order of reading, that may have events of the filter. No event of the span
    /// before it matches. It is empty if none matches at all.
    async fn window(&self, filter: &Filter, span: Span, order: Order) -> Result<Window, StoreError>;

    /// The first `limit` events of a window that match.
    async fn matches(
        &self,
        filter: &Filter,
        window: Window,
        order: Order,
        limit: u32,
    ) -> Result<Matches, StoreError>;

    /// The first events of a window, as many as fit a page; `None` if none match.
    async fn page(
        &self,
        filter: &Filter,
        window: Window,
        order: Order,
        layout: Layout,
        size: PageSize,
    ) -> Result<Option<Page>, StoreError>;

    /// One identity; `None` if it is not stored.
    async fn event(&self, topic: &Topic, event_id: &EventId) -> Result<Option<Found>, StoreError>;

    /// The account of all deliveries: of the topics that are named, or without a name of the latest active ones.
    async fn ledger(&self, topics: &[Topic]) -> Result<Ledger, StoreError>;

    /// The totals of the last minutes, as far as they were kept: a JSON array, oldest first.
    async fn history(&self, _minutes: u32) -> Result<String, StoreError> {
        Ok("[]".into())
    }

    /// The topics in the store among some, and the number of all topics in the store.
    async fn find_topics(&self, topics: &[&Topic]) -> Result<(HashSet<Topic>, usize), StoreError>;
}

/// Taking events away. What goes leaves its identity, so that a late duplicate stays a duplicate.
#[allow(async_fn_in_trait)]
pub trait RemoveStore: 'static {
    /// Erases one event; false if its identity is not stored. It may be gone already.
    async fn erase_event(&self, topic: &Topic, event_id: &EventId) -> Result<bool, StoreError>;

    /// Erases the first `limit` events of a window that match.
    async fn erase(&self, filter: &Filter, window: Window, limit: u32) -> Result<Matches, StoreError>;

    /// Makes sure that nothing of what was erased is left in the files of the store.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while somebody reads an old state of the store: what is left is still needed.
    async fn scrub(&self) -> Result<(), StoreError>;

    /// Takes the work of retention for this instance and for `lease`, if it is due and no other has it. Time is that of
    /// the database, here and below: the clocks of hosts differ.
    async fn claim(&self, lease: Duration) -> Result<bool, StoreError>;

    /// Gives the work back, to be due again after `pause`.
    async fn release(&self, pause: Duration) -> Result<(), StoreError>;

    /// Takes away the oldest events that are not to be kept, and goes through `steps` times the rows of a short step at
    /// most. What is to be kept is looked up in the transaction that takes away.
    async fn expire(&self, kept: Kept, steps: u32) -> Result<Step, StoreError>;

    /// Forgets identities whose events are gone and were received so many days ago.
    async fn forget(&self, days: u32, steps: u32) -> Result<Step, StoreError>;

    /// Removes answers to requests with a key that are no longer kept.
    async fn forget_answers(&self, steps: u32) -> Result<Step, StoreError>;

    /// Removes the content of events that expired a while ago, where the store did not when they expired.
    async fn sweep(&self, _steps: u32) -> Result<Step, StoreError> {
        Ok(Step { events: 0, has_more: false })
    }
}

/// The events that retention keeps. Zero keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Days after which an event expires.
    pub days: u32,
    /// Newest events that are kept.
    pub events: u32,
}

/// One step of retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Events, identities or answers that it took away.
    pub events: u32,
    /// True if more are due.
    pub has_more: bool,
}
