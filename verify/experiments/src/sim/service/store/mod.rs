//! A store in memory, with troubles that SQLite cannot have at will: it is slow, busy, full or failing, or never returns.
//! It knows when each event was committed, and counts what is read.

mod consume;
mod read;
mod write;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use sekali::event::{EventId, NewEvent, Topic};
use sekali::store::{Filter, Kept, Matches, RemoveStore, Seq, Span, Step, StoreError, Window};

use super::trouble::{Manner, SLOWEST, Trouble};
use super::writes::Writes;
use crate::sim::executor::Handle;

/// The store. Clones share one.
#[derive(Clone)]
pub struct SimStore(Rc<State>);

impl Deref for SimStore {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

/// The state of a store.
pub struct State {
    sim: Handle,
    /// The troubles of its writes.
    pub trouble: RefCell<Trouble>,
    /// The longest write.
    slowest: Duration,
    /// The manner in which it answers reads.
    pub manner: Manner,
    /// The time from which reads are fast.
    manner_ends: Duration,
    writes: Rc<Writes>,
    events: RefCell<Vec<Stored>>,
    /// The seqs of the events, by topic and id.
    seqs: RefCell<BTreeMap<(String, String), Seq>>,
    /// Consumers, by name.
    places: RefCell<BTreeMap<String, consume::Place>>,
    /// Reads of the newest seq.
    pub looks: Cell<u64>,
    /// Reads of pages for followers.
    pub pages: Cell<u64>,
    /// Reads that failed for good.
    pub failures: Cell<u64>,
}

/// A stored event.
struct Stored {
    event: NewEvent,
    digest: i64,
    deliveries: u64,
    conflicts: u64,
    /// The time of its commit.
    at: Duration,
}

impl SimStore {
    /// An empty store, with troubles of its writes, and with a manner of its reads until a time.
    pub fn new(
        sim: Handle,
        trouble: Trouble,
        (manner, manner_ends): (Manner, Duration),
        writes: Rc<Writes>,
    ) -> Self {
        let slowest = sim.draw(|random| random.choice([Duration::ZERO, Duration::from_millis(10), SLOWEST]));
        let (trouble, slowest) = (RefCell::new(trouble), slowest.unwrap_or_default());
        let (events, seqs, places, looks, pages, failures) = Default::default();
        Self(Rc::new(State {
            sim,
            trouble,
            slowest,
            manner,
            manner_ends,
            writes,
            events,
            seqs,
            places,
            looks,
            pages,
            failures,
        }))
    }
}

impl State {
    /// The newest seq.
    pub fn last_seq(&self) -> Seq {
        self.events.borrow().len() as Seq
    }

    /// The seqs in a span that match topics and sources, in their order.
    pub fn matching(&self, filter: &Filter, span: Span) -> Vec<Seq> {
        let events = self.events.borrow();
        let matches = |seq: &Seq| {
            let event = &events[*seq as usize - 1].event;
            (filter.topics.is_empty()
                || filter.topics.iter().any(|topic| topic.matches(event.topic.as_str())))
                && (filter.sources.is_empty()
                    || event.source.as_ref().is_some_and(|source| filter.sources.contains(source)))
        };
        (span.after + 1..=span.through.min(events.len() as Seq)).filter(matches).collect()
    }

    /// The time at which an event was committed.
    pub fn committed_at(&self, seq: Seq) -> Duration {
        self.events.borrow()[seq as usize - 1].at
    }
}

/// Nothing is removed.
impl RemoveStore for SimStore {
    async fn erase_event(&self, _: &Topic, _: &EventId) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn erase(&self, _: &Filter, _: Window, _: u32) -> Result<Matches, StoreError> {
        Ok(Matches { count: 0, last: None, has_more: false })
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn claim(&self, _: Duration) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn release(&self, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn expire(&self, _: Kept, _: u32) -> Result<Step, StoreError> {
        Ok(NOTHING)
    }

    async fn forget(&self, _: u32, _: u32) -> Result<Step, StoreError> {
        Ok(NOTHING)
    }

    async fn forget_answers(&self, _: u32) -> Result<Step, StoreError> {
        Ok(NOTHING)
    }
}

const NOTHING: Step = Step { events: 0, has_more: false };
