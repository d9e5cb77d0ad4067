//! A draft of what is written next: what was read of a consumer, and how that changes.

use std::collections::{BTreeMap, BTreeSet};

use sekali_common::log;
use tokio::sync::OnceCell;

use super::events::Event;
use super::ground::Ground;
use super::memory::Remembered;
use super::outcome::Standing;
use super::state::State;
use crate::event::NewEvent;
use crate::store::consume::{Change, ConsumeStore, Failure, Moment};
use crate::store::{ReadStore, Seq, Span, StoreError};

/// Bytes of events that a group of steps gives out, after which it takes no more steps.
const GROUP_BYTES: usize = 4 << 20;

/// Where a consumer stands, and how that changes.
pub struct Draft<'s, S> {
    /// What it stands on.
    pub(super) ground: &'s Ground<S>,
    pub(super) name: &'s str,
    /// By the clock of the database.
    pub(super) now: Moment,
    pub(super) state: State,
    /// What it begins with.
    stood: Remembered,
    was_read: bool,
    is_written: bool,
    readable: OnceCell<Span>,
    pub(super) clears: bool,
    removed: BTreeSet<Seq>,
    kept: BTreeMap<Seq, Failure>,
    pub(super) dead: Vec<NewEvent>,
    /// True if nothing but claims was decided.
    pub(super) is_claim: bool,
    /// Events that its claims ask for, as far as it is known.
    pub(super) expected: u32,
    /// New events that were read for the next of them.
    pub(super) ahead: Option<Ahead>,
    /// Bytes of the events that are given out.
    pub(super) bytes: usize,
}

/// New events that were read for the claims to come of a draft.
pub(super) struct Ahead {
    /// The seq behind which they were looked for.
    pub after: Seq,
    /// The events.
    pub events: Vec<Event>,
    /// The seq up to which there are no more.
    pub through: Seq,
}

impl<'s, S: ReadStore + ConsumeStore> Draft<'s, S> {
    /// The draft of a consumer as it stood when it was remembered, or `was_read` just now.
    pub fn of(ground: &'s Ground<S>, name: &'s str, stood: Remembered, now: Moment, was_read: bool) -> Self {
        Self {
            ground,
            name,
            now,
            state: stood.state.clone(),
            stood,
            was_read,
            is_written: false,
            readable: OnceCell::new(),
            clears: false,
            removed: BTreeSet::new(),
            kept: BTreeMap::new(),
            dead: Vec::new(),
            is_claim: true,
            expected: 0,
            ahead: None,
            bytes: 0,
        }
    }

    /// The seqs that can be read, which are the same for all steps of a draft.
    pub(super) async fn readable(&self) -> Result<Span, StoreError> {
        self.readable.get_or_try_init(|| self.ground.reader.readable()).await.copied()
    }

    /// The seqs that can be read, or those that could be when this instance wrote last, if they are enough for so many
    /// events.
    pub(super) async fn readable_for(&self, events: u32) -> Result<Span, StoreError> {
        let is_enough = |readable: &Span| readable.through - self.state.next >= events.into();
        match self.stood.readable.filter(is_enough) {
            Some(readable) if self.readable.get().is_none() => Ok(readable),
            _ => self.readable().await,
        }
    }

    /// Where the consumer stands once it is written.
    pub async fn standing(&self) -> Result<Standing, StoreError> {
        let readable = match self.stood.readable {
            Some(readable) if self.is_written => readable,
            _ => self.ground.reader.readable().await?,
        };
        self.ground.standing(self.name, &self.state, readable).await
    }

    /// Its claims ask for so many events together.
    pub fn expect(&mut self, events: u32) {
        self.expected = events;
    }

    /// What is to be remembered once it is written.
    pub fn remembered(&self) -> Remembered {
        Remembered { state: self.state.clone(), ..self.stood.clone() }
    }

    /// True if another step fits. What is to become of failures has to be written first: a step reads them in the store.
    pub fn has_room(&self) -> bool {
        !self.changes_failures() && self.bytes < GROUP_BYTES
    }

    /// Writes what was decided; false if the consumer has changed meanwhile. Where a step is refused for what was read
    /// (`refuses`), that has to be of one state, too.
    ///
    /// # Errors
    /// When nothing was written, or it is not known.
    pub async fn write(&mut self, refuses: bool) -> Result<bool, StoreError> {
        if self.state == self.stood.state && !self.changes_failures() {
            return Ok(self.was_read && !refuses || self.is_present().await?);
        }
        let change = Change {
            version: self.stood.version,
            new_version: self.ground.random.borrow_mut().i64(..),
            state: self.state.written()?,
            clears: self.clears,
            removed: std::mem::take(&mut self.removed).into_iter().collect(),
            kept: std::mem::take(&mut self.kept).into_values().collect(),
            dead: std::mem::take(&mut self.dead),
            is_claim: self.is_claim,
        };
        let readable = self.ground.store.change_consumer(self.name, &change).await?;
        if readable.is_none() {
            return Ok(false);
        }
        (self.stood.version, self.stood.readable, self.is_written) = (change.new_version, readable, true);
        for event in &change.dead {
            log::info(
                "dead",
                format_args!("consumer {}: {} tells of a dead event", self.name, event.event_id),
            );
        }
        Ok(true)
    }

    async fn is_present(&self) -> Result<bool, StoreError> {
        let (stored, _) = self.ground.store.consumer(self.name).await?;
        Ok(stored.is_some_and(|stored| stored.version == self.stood.version))
    }

    /// True if what becomes of failures was decided, which a step that reads them in the store would miss.
    pub(super) fn changes_failures(&self) -> bool {
        self.clears || !self.removed.is_empty() || !self.kept.is_empty() || !self.dead.is_empty()
    }

    /// Takes back what a refused step has changed, which began with this state.
    pub(super) fn take_back(&mut self, before: State) {
        self.state = before;
        self.clears = false;
        self.removed.clear();
        self.kept.clear();
        self.dead.clear();
    }

    /// A failure is new, or changes from what it was.
    pub(super) fn keep(&mut self, before: Option<&Failure>, failure: Failure) {
        self.state.count(before.map(|failure| failure.state), Some(failure.state));
        self.kept.insert(failure.seq, failure);
    }

    /// A failure is none any more.
    pub(super) fn remove(&mut self, failure: &Failure) {
        self.state.count(Some(failure.state), None);
        self.removed.insert(failure.seq);
    }

    /// A random number below 1.
    pub(super) fn random(&self) -> f64 {
        self.ground.random.borrow_mut().f64()
    }

    /// A token that no other claim has.
    pub(super) fn token(&self) -> String {
        format!("c_{:016x}", self.ground.random.borrow_mut().u64(..))
    }
}
