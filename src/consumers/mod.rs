//! Consumers: named places in the log, from which events are given out as claims.
//!
//! A step reads where its consumer stands, decides what comes next, and writes that back, all of it or nothing: the store
//! refuses what was decided on a state that has changed since. So any number of hosts may serve one consumer, and nobody
//! holds a lock. In an instance, steps of one consumer that come while another is written are taken together.
//!
//! - `specification` is what a consumer is, `state` where it stands, and `standing` how far behind that is
//! - `step` lists the steps; `claim`, `commit` and `manage` decide them in a `draft`, and `outcome` is what comes of them
//! - `memory` spares an instance the reading of what it has written itself
//! - `schedule` says when what failed comes again, `events` has the events of a claim, `place` where a consumer begins, `ground` the store below

mod claim;
mod commit;
mod draft;
mod events;
mod ground;
mod manage;
mod memory;
mod outcome;
mod place;
mod schedule;
mod specification;
mod standing;
mod state;
mod step;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::{Mutex, oneshot};

pub use self::claim::Wanted;
pub use self::commit::{Commit, Failed, moment};
use self::draft::Draft;
use self::ground::Ground;
pub use self::manage::Selected;
use self::memory::{Memory, Remembered};
pub use self::outcome::{Claimed, Done, Outcome, Refusal, Standing};
pub use self::place::Place;
pub use self::specification::{Given, LEASES, Order, Specification};
pub use self::standing::Status;
pub use self::state::{Claim, Kind, Skipped, State};
pub use self::step::Step;
use crate::clock::Clock;
use crate::reader::Reader;
use crate::store::consume::{ConsumeStore, Failure, FailureState, Which};
use crate::store::{ReadStore, Seq, StoreError};

/// The most consumers of a store.
pub const MOST_CONSUMERS: u32 = 1000;

/// The longest time for which a group of steps finds its consumer changed by others again and again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest pause before such a group is decided again for the first time, which doubles each time, and its bound. The
/// first is about the time of a step, the other that of one for each of several hosts, or on a slow disk.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(16)];

/// The share of such groups after which an instance assumes that there are too many instances, and ends.
const SHARE_OF_DOUBT: f64 = 0.2;

/// The consumers of a store, as an instance sees them.
pub struct Consumers<S, C> {
    ground: Ground<S>,
    memory: Memory,
    clock: C,
    is_crowded: Cell<bool>,
    queues: RefCell<HashMap<String, Rc<Queue>>>,
}

/// The steps of one consumer that wait.
#[derive(Default)]
struct Queue {
    steps: RefCell<VecDeque<Waiting>>,
    /// Held by the request that takes steps for itself and the others.
    turn: Mutex<()>,
}

/// A step, and who waits for it.
struct Waiting(Rc<Step>, oneshot::Sender<Outcome>);

impl<S: ReadStore + ConsumeStore, C: Clock> Consumers<S, C> {
    /// The consumers of a store. `seed` must differ from instance to instance: tokens come from it.
    pub fn new(store: Rc<S>, reader: Reader<S>, clock: C, seed: u64) -> Self {
        let random = RefCell::new(fastrand::Rng::with_seed(seed));
        let ground = Ground { store, reader, random };
        Self {
            ground,
            memory: Memory::default(),
            clock,
            is_crowded: Cell::new(false),
            queues: RefCell::default(),
        }
    }

    /// True once other instances were faster so often that they would take the few steps of this one as well.
    pub fn is_crowded(&self) -> bool {
        self.is_crowded.get()
    }

    /// Takes a step.
    ///
    /// # Errors
    /// The reason for which it was not done.
    pub async fn step(&self, name: &str, step: Step) -> Outcome {
        let step = Rc::new(step);
        loop {
            let queue = Rc::clone(self.queues.borrow_mut().entry(name.to_owned()).or_default());
            let (sender, answer) = oneshot::channel();
            queue.steps.borrow_mut().push_back(Waiting(Rc::clone(&step), sender));
            let answer = match select(answer, pin!(queue.turn.lock())).await {
                Either::Left((answer, _)) => answer,
                Either::Right((turn, answer)) => {
                    self.take(name, &queue).await;
                    drop(turn);
                    answer.await
                }
            };
            self.queues.borrow_mut().retain(|_, queue| Rc::strong_count(queue) > 1);
            if let Ok(outcome) = answer {
                return outcome;
            }
            // The client of the request that took the step has gone. It may be done, and can be repeated.
        }
    }

    /// Takes all steps that wait, each group of them as one change.
    async fn take(&self, name: &str, queue: &Queue) {
        let mut waiting = std::mem::take(&mut *queue.steps.borrow_mut());
        let mut busy_since = None;
        let mut longest_pause = PAUSES[0];
        while !waiting.is_empty() {
            let mut draft = match self.draft(name).await {
                Ok(draft) => draft,
                Err(refusal) => {
                    for Waiting(_, sender) in waiting {
                        let _ = sender.send(Err(refusal.clone()));
                    }
                    return;
                }
            };
            draft.expect(waiting.iter().map(|Waiting(step, _)| step.limit()).sum());
            let mut group = Vec::new();
            while draft.has_room()
                && let Some(Waiting(step, sender)) = waiting.pop_front()
            {
                if !sender.is_closed() {
                    let outcome = draft.take(&step).await;
                    group.push((step, sender, outcome));
                }
            }
            let refuses = group.iter().any(|(_, _, outcome)| matches!(outcome, Err(Refusal::Invalid(_))));
            match draft.write(refuses).await {
                Ok(true) => {
                    (busy_since, longest_pause) = (None, PAUSES[0]);
                    self.memory.remember(name, draft.remembered());
                    self.answer(&draft, group).await;
                }
                // Another instance was faster. All of it is decided again.
                Ok(false) if !self.is_over(&mut busy_since) => {
                    self.memory.forget(name);
                    for (step, sender, _) in group.into_iter().rev() {
                        waiting.push_front(Waiting(step, sender));
                    }
                    let [pause, doubt] = [(); 2].map(|()| self.ground.random.borrow_mut().f64());
                    self.is_crowded.set(self.is_crowded.get() || doubt < SHARE_OF_DOUBT);
                    self.clock.sleep(longest_pause.mul_f64(pause)).await;
                    longest_pause = PAUSES[1].min(2 * longest_pause);
                }
                failed => {
                    self.memory.forget(name);
                    let error = failed.err().unwrap_or(StoreError::Busy);
                    for (_, sender, _) in group {
                        let _ = sender.send(Err(Refusal::Store(error.clone())));
                    }
                }
            }
        }
    }

    /// The draft of a consumer: on what this instance remembers of it, or on what the store has.
    async fn draft<'s>(&'s self, name: &'s str) -> Result<Draft<'s, S>, Refusal> {
        let now = self.clock.now();
        if let Some(remembered) = self.memory.recall(name, now) {
            let moment = remembered.moment_at(now);
            return Ok(Draft::of(&self.ground, name, remembered, moment, false));
        }
        let (stored, moment) = self.ground.store.consumer(name).await?;
        let stored = stored.ok_or(Refusal::Unknown)?;
        let (version, state) = (stored.version, State::read(&stored)?);
        let is_own = self.memory.knows(name, version);
        let read = Remembered { version, state, moment, read_at: self.clock.now(), readable: None, is_own };
        Ok(Draft::of(&self.ground, name, read, moment, true))
    }

    /// True when a group has been busy for too long, which begins with the first look.
    fn is_over(&self, busy_since: &mut Option<Duration>) -> bool {
        let now = self.clock.now();
        now - *busy_since.get_or_insert(now) >= BUSY_TIMEOUT
    }

    /// Answers the steps of a group that was written.
    async fn answer(&self, draft: &Draft<'_, S>, group: Vec<(Rc<Step>, oneshot::Sender<Outcome>, Outcome)>) {
        let stands = |outcome: &Outcome| matches!(outcome, Ok(Done::Stands(_)));
        let standing = match group.iter().any(|(_, _, outcome)| stands(outcome)) {
            true => Some(draft.standing().await),
            false => None,
        };
        for (_, sender, outcome) in group {
            let outcome = match &standing {
                Some(standing) if stands(&outcome) => {
                    standing.clone().map(Done::Stands).map_err(Refusal::Store)
                }
                _ => outcome,
            };
            let _ = sender.send(outcome);
        }
    }

    /// Makes a consumer, or changes one that is there; true if it was made.
    ///
    /// # Errors
    /// When a field breaks a rule, there are too many, or the store fails.
    pub async fn put(&self, name: &str, given: Given) -> Result<bool, Refusal> {
        let (stored, now) = self.ground.store.consumer(name).await?;
        if stored.is_none() {
            let specification = Specification::of(name).with(&given).map_err(Refusal::Invalid)?;
            let next = self.ground.place(given.from.as_ref().unwrap_or(&Place::Start)).await?;
            let state = State::new(specification, now, next);
            if self.ground.store.create_consumer(name, &state.written()?, MOST_CONSUMERS).await? {
                return Ok(true);
            }
            if self.ground.store.consumer(name).await?.0.is_none() {
                return Err(Refusal::TooMany);
            }
        }
        self.step(name, Step::Specify(given)).await?;
        Ok(false)
    }

    /// Takes a consumer away, with all that is kept of it; false if there is none.
    ///
    /// # Errors
    /// When the store fails, here and below.
    pub async fn delete(&self, name: &str) -> Result<bool, StoreError> {
        self.ground.store.delete_consumer(name).await
    }

    /// The specification of a consumer; `None` if there is none.
    pub async fn specification(&self, name: &str) -> Result<Option<Specification>, StoreError> {
        let (stored, _) = self.ground.store.consumer(name).await?;
        stored.map(|stored| Ok(State::read(&stored)?.specification)).transpose()
    }

    /// The status of each consumer that `is_wanted`, in the order of their names.
    pub async fn list(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<Status>, StoreError> {
        self.ground.list(is_wanted).await
    }

    /// The status of one consumer; `None` if there is none of this name.
    pub async fn status(&self, name: &str) -> Result<Option<Status>, StoreError> {
        self.ground.status(name).await
    }

    /// Failures of a consumer behind a seq: those of a state, or all. `None` if there is no such consumer.
    pub async fn failures(
        &self,
        name: &str,
        state: Option<FailureState>,
        after: Seq,
        limit: u32,
    ) -> Result<Option<Vec<Failure>>, StoreError> {
        if self.ground.store.consumer(name).await?.0.is_none() {
            return Ok(None);
        }
        let which = state.map_or(Which::Behind(after), |state| Which::State(state, after));
        self.ground.store.failures(name, which, limit).await.map(Some)
    }
}
