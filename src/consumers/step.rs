//! A step at work: what was read, and what is to be written.

use std::collections::{BTreeMap, BTreeSet};

use super::state::State;
use super::{Consumers, Done, Outcome, Refusal, Step};
use crate::clock::Clock;
use crate::event::NewEvent;
use crate::store::consume::{Change, ConsumeStore, Failure, Moment, Stored};
use crate::store::{ReadStore, Seq, StoreError};

/// Bytes of events that a group of steps gives out, after which it takes no more steps.
const GROUP_BYTES: usize = 4 << 20;

/// Where a consumer stands, and how that changes.
pub struct Draft<'s, S, C> {
    pub(super) consumers: &'s Consumers<S, C>,
    pub(super) name: &'s str,
    /// By the clock of the database.
    pub(super) now: Moment,
    pub(super) state: State,
    version: i64,
    before: State,
    clears: bool,
    removed: BTreeSet<Seq>,
    kept: BTreeMap<Seq, Failure>,
    pub(super) dead: Vec<NewEvent>,
    /// True if nothing but claims was decided.
    is_claim: bool,
    /// Bytes of the events that are given out.
    pub(super) bytes: usize,
}

/// A state as it is stored.
///
/// # Errors
/// Never, but for a fault of the program.
pub fn written(state: &State) -> Result<String, StoreError> {
    serde_json::to_string(state).map_err(|error| StoreError::Failed(error.to_string()))
}

/// A state from what is stored.
///
/// # Errors
/// When it is none.
pub fn read(stored: &Stored) -> Result<State, StoreError> {
    serde_json::from_str(&stored.state)
        .map_err(|error| StoreError::Failed(format!("consumer {}: {error}", stored.name)))
}

impl<'s, S: ReadStore + ConsumeStore, C: Clock> Draft<'s, S, C> {
    /// The draft of a consumer as it stands.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], or when the store fails.
    pub async fn of(consumers: &'s Consumers<S, C>, name: &'s str) -> Result<Self, Refusal> {
        let (stored, now) = consumers.store.consumer(name).await?;
        let stored = stored.ok_or(Refusal::Unknown)?;
        let state = read(&stored)?;
        Ok(Self {
            consumers,
            name,
            now,
            before: state.clone(),
            state,
            version: stored.version,
            clears: false,
            removed: BTreeSet::new(),
            kept: BTreeMap::new(),
            dead: Vec::new(),
            is_claim: true,
            bytes: 0,
        })
    }

    /// Where the consumer stands then.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// True if another step fits. What is to become of failures has to be written first: a step reads them in the store.
    pub fn has_room(&self) -> bool {
        !self.changes_failures() && self.bytes < GROUP_BYTES
    }

    /// Decides a step. One that is refused leaves nothing behind.
    pub async fn take(&mut self, step: &Step) -> Outcome {
        let before = self.state.clone();
        let outcome = self.decide(step).await;
        if outcome.is_err() {
            self.state = before;
            self.clears = false;
            self.removed.clear();
            self.kept.clear();
            self.dead.clear();
        }
        self.is_claim &= matches!(step, Step::Claim(_));
        outcome
    }

    async fn decide(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Claim(wanted) => self.claim(wanted).await,
            Step::Commit(commit) => self.commit(commit).await,
            Step::Specify(given) => self.specify(given).await.map(Done::Changed),
            Step::Seek(to) => {
                let next = self.consumers.place(to).await?;
                self.clears = true;
                self.state.begin_anew(self.now, next);
                Ok(Done::Changed(0))
            }
            Step::Retry(selected) => self.retry(selected).await.map(Done::Changed),
            Step::Drop(selected) => self.drop_failures(selected).await.map(Done::Changed),
        }
    }

    /// Writes what was decided; false if the consumer has changed meanwhile.
    ///
    /// # Errors
    /// When nothing was written, or it is not known.
    pub async fn write(&mut self) -> Result<bool, StoreError> {
        if self.state == self.before && !self.changes_failures() {
            return Ok(true);
        }
        let change = Change {
            version: self.version,
            state: written(&self.state)?,
            clears: self.clears,
            removed: std::mem::take(&mut self.removed).into_iter().collect(),
            kept: std::mem::take(&mut self.kept).into_values().collect(),
            dead: std::mem::take(&mut self.dead),
            is_claim: self.is_claim,
        };
        self.consumers.store.change_consumer(self.name, &change).await
    }

    /// True if what becomes of failures was decided, which a step that reads them in the store would miss.
    pub(super) fn changes_failures(&self) -> bool {
        self.clears || !self.removed.is_empty() || !self.kept.is_empty() || !self.dead.is_empty()
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

    /// The failures that this draft keeps.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Failure> {
        self.kept.values()
    }

    /// A random number below 1.
    pub(super) fn random(&self) -> f64 {
        self.consumers.random.borrow_mut().f64()
    }

    /// A token that no other claim has.
    pub(super) fn token(&self) -> String {
        format!("c_{:016x}", self.consumers.random.borrow_mut().u64(..))
    }
}
