//! The store: the traits that the domain needs of a database, and their types.
//!
//! The traits ask for what every database can give at a cost in proportion to the answer. [`sql`] implements them once,
//! over two backends: [`sqlite`] and [`postgres`], which write in their own ways over any [`database`] that executes
//! statements. `statements` makes their texts in a `dialect`, `window` finds the steps in which a `span` is read, `query` has
//! what a query needs beside its text, `rows` reads `answers`, and `read_permits` bounds what an instance reads at once.
//! [`consume`] is the trait of the places of consumers.

mod answers;
pub mod chosen;
pub mod consume;
#[cfg(test)]
mod consume_tests;
pub mod database;
mod dialect;
mod error;
pub mod postgres;
mod query;
mod read_permits;
mod rows;
mod span;
pub mod sql;
pub mod sqlite;
mod statements;
mod window;

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

pub use self::answers::{Answered, Found, Ledger, LogState, Matches, Outcome, Page, Status};
pub use self::error::StoreError;
pub use self::span::{Index, Order, Seq, Span, Window};

use self::consume::ConsumeStore;
use crate::event::{EventId, NewEvent, Source, Timestamp, Topic, TopicPattern};

/// A condition on events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Topics, none of them meant twice, any of which matches; all topics match when empty.
    pub topics: Vec<TopicPattern>,
    /// Sources, each once, any of which matches; all events match when empty, also those without a source.
    pub sources: Vec<Source>,
    /// The earliest timestamp that matches.
    pub since: Option<Timestamp>,
    /// The earliest timestamp that does not match any more.
    pub until: Option<Timestamp>,
    /// True if only events with conflicts match.
    pub has_conflicts: bool,
}

impl Filter {
    /// True if it means all topics with a prefix, which may be many.
    pub fn has_prefixes(&self) -> bool {
        self.topics.iter().any(|topic| topic.prefix().is_some())
    }

    /// True if it matches events of a topic and a source, apart from their time and their conflicts.
    pub fn matches(&self, topic: &str, source: Option<&str>) -> bool {
        let is_of_topics = self.topics.is_empty() || self.topics.iter().any(|pattern| pattern.matches(topic));
        let is_of_sources =
            self.sources.is_empty() || self.sources.iter().any(|known| Some(known.as_str()) == source);
        is_of_topics && is_of_sources
    }
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

/// Topics that a ledger lists, at most: those to which a delivery came last.
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

    /// The account of all deliveries: of the latest active topics among those that are named, or among all.
    async fn ledger(&self, topics: &[TopicPattern]) -> Result<Ledger, StoreError>;

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

/// All that the service needs of a store.
pub trait Store: WriteStore + ReadStore + RemoveStore + ConsumeStore {}

impl<S: WriteStore + ReadStore + RemoveStore + ConsumeStore> Store for S {}

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
