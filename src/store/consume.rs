//! The places of consumers: what the store keeps of each, and the ways to change it.
//!
//! A consumer is one row, whose state is a text that `consumers` alone understands, with a version: who changes it says
//! which version it saw, and if another was faster, nothing is changed. Each of its events that failed is a row as well.

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::span::{Seq, Span};
use crate::event::{NewEvent, TopicPattern};

/// Milliseconds since 1970, by the clock of the database.
pub type Moment = i64;

/// A consumer as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// Another one after each change, and never one of before.
    pub version: i64,
    /// Its state.
    pub state: String,
}

/// What has become of an event that failed, or that waits for one which did. Those that come again are *held*; of each lane,
/// the lowest is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureState {
    /// It is the next of its lane, and comes again when it is due.
    Parked,
    /// It comes again behind a lower one of its lane.
    Waiting,
    /// It does not come again by itself.
    Dead,
}

impl FailureState {
    /// The text that stands for it, in the store and for clients.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Waiting => "waiting",
            Self::Dead => "dead",
        }
    }
}

/// An event of a consumer that failed, or that waits for one which did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The event.
    pub seq: Seq,
    /// The events that have to wait for each other: those of a topic, all of them, or this one alone.
    pub lane: String,
    /// The topic of the event.
    pub topic: String,
    /// Its id.
    pub event_id: String,
    /// What has become of it. What is written says whether it is dead; the rest follows from the others of its lane.
    pub state: FailureState,
    /// How often it has failed.
    pub attempts: u32,
    /// The moment from which it comes again; 0 if it was not tried, or is dead.
    pub due_at: Moment,
    /// Why it failed the last time; empty if it has not.
    pub reason: String,
    /// The moment at which it failed first; 0 if it has not.
    pub first_failed_at: Moment,
    /// The moment at which it failed last; 0 if it has not.
    pub last_failed_at: Moment,
}

/// Failures of a consumer that are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// The next ones of all lanes but for some, in the order in which they become due.
    Heads {
        /// Those that are not asked for.
        but: &'a [Seq],
    },
    /// The held ones of some lanes: the lowest of each, the next of each, and so on.
    Lanes(&'a [String]),
    /// The lowest held one of each of some lanes.
    Lowest {
        /// The lanes.
        lanes: &'a [String],
        /// Those that are not looked at.
        but: &'a [Seq],
    },
    /// Those of some seqs.
    Of(&'a [Seq]),
    /// All of them behind a seq.
    Behind(Seq),
    /// The held ones behind a seq.
    Held(Seq),
    /// Those of a state behind a seq.
    State(FailureState, Seq),
}

/// A change of a consumer: all of it, or nothing.
#[derive(Debug, Default)]
pub struct Change {
    /// The version that it was made for.
    pub version: i64,
    /// The version that comes of it: a random one, so that after a crash, or after the consumer was deleted, none of before
    /// looks like it.
    pub new_version: i64,
    /// The new state.
    pub state: String,
    /// True if all failures of before are taken away.
    pub clears: bool,
    /// Failures that are taken away.
    pub removed: Vec<Seq>,
    /// Failures that are new, or have changed.
    pub kept: Vec<Failure>,
    /// Events that are stored, unless they are already.
    pub dead: Vec<NewEvent>,
    /// True if a power cut may undo it: what was claimed is given out again then.
    pub is_claim: bool,
}

impl Change {
    /// True if it changes nothing but the state.
    pub fn is_of_state_alone(&self) -> bool {
        !self.clears && self.removed.is_empty() && self.kept.is_empty() && self.dead.is_empty()
    }
}

/// The places of consumers in a durable store.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait ConsumeStore: 'static {
    /// All consumers in the order of their names, and the present moment.
    async fn consumers(&self) -> Result<(Vec<Stored>, Moment), StoreError>;

    /// One consumer, if there is one of this name, and the present moment.
    async fn consumer(&self, name: &str) -> Result<(Option<Stored>, Moment), StoreError>;

    /// Makes a consumer, unless there is one of this name, or are so many already; false if it was not made.
    async fn create_consumer(&self, name: &str, state: &str, most: u32) -> Result<bool, StoreError>;

    /// Changes a consumer, and returns the seqs that can be read then; `None` if it is not there any more in the version
    /// that the change was made for.
    async fn change_consumer(&self, name: &str, change: &Change) -> Result<Option<Span>, StoreError>;

    /// Takes a consumer away, with its failures; false if there is none.
    async fn delete_consumer(&self, name: &str) -> Result<bool, StoreError>;

    /// Failures of a consumer, so many at most.
    async fn failures(&self, name: &str, which: Which<'_>, most: u32) -> Result<Vec<Failure>, StoreError>;

    /// The number of lanes of a consumer that have held failures.
    async fn lanes(&self, name: &str) -> Result<i64, StoreError>;

    /// Those events of some seqs that can be read, in the order of seq, each as a JSON object.
    async fn events_of(&self, seqs: &[Seq]) -> Result<Vec<String>, StoreError>;

    /// The number of events in a span that were erased, of some topics, or of all if none is named.
    async fn erased(&self, topics: &[TopicPattern], span: Span) -> Result<i64, StoreError>;
}
