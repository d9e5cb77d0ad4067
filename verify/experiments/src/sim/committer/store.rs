//! A store that keeps one event of each identity, and has troubles.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::pending;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use sekali::committer::Committed;
use sekali::event::NewEvent;
use sekali::store::{Answered, Keyed, Outcome, Seq, Status, StoreError, WriteStore};

use super::account::Account;
use crate::sim::executor::{Doom, Handle};

/// The longest write.
pub const SLOWEST: Duration = Duration::from_millis(200);

/// The probability that a request has an event that no statement can carry.
pub const POISON: f64 = 0.05;

/// The troubles of a store.
#[derive(Default)]
pub struct Trouble {
    /// The times at which another connection writes.
    busy: Vec<Range<Duration>>,
    /// The probability of each other trouble, for a write.
    chance: f64,
    /// True if writes may never return.
    vanishes: bool,
}

impl Trouble {
    /// Draws the troubles of a scenario.
    pub fn draw(sim: &Handle) -> Self {
        let mut busy = Vec::new();
        let mut start = Duration::ZERO;
        for _ in 0..sim.draw(|random| random.choice([0, 0, 1, 3])).unwrap_or_default() {
            start += sim.below_millis(4000);
            // Shorter and longer than the patience of a request.
            let length = sim.draw(|random| random.choice([3, 100, 2_000, 4_990, 5_010, 12_000]));
            let end = start + Duration::from_millis(length.unwrap_or_default());
            busy.push(start..end);
            start = end;
        }
        let chance = sim.draw(|random| random.choice([0.0, 0.03, 0.3])).unwrap_or_default();
        Self { busy, chance, vanishes: sim.draw(fastrand::Rng::bool) }
    }
}

/// The store.
pub struct SimStore {
    sim: Handle,
    trouble: RefCell<Trouble>,
    account: Rc<Account>,
    /// The seq and the digest of each identity.
    stored: RefCell<BTreeMap<String, (Seq, i64)>>,
    slowest: Cell<Duration>,
}

impl SimStore {
    /// An empty store.
    pub fn new(sim: Handle, trouble: Trouble, account: Rc<Account>) -> Self {
        let slowest = sim.draw(|random| random.choice([0, 10, 200])).unwrap_or_default();
        let slowest = Cell::new(Duration::from_millis(slowest));
        Self { sim, trouble: RefCell::new(trouble), account, stored: RefCell::default(), slowest }
    }

    /// Ends all troubles.
    pub fn recover(&self) {
        self.trouble.take();
    }

    async fn pause(&self) {
        let half = u64::try_from(self.slowest.get().as_millis() / 2).unwrap_or_default();
        match self.sim.draw(|random| random.u32(..4)) {
            0 => {}
            1 => self.sim.yield_now().await,
            _ => self.sim.sleep(self.sim.below_millis(half)).await,
        }
    }

    fn is_busy(&self) -> bool {
        self.trouble.borrow().busy.iter().any(|time| time.contains(&self.sim.now()))
    }

    /// True if a write meets one of the troubles that come by chance.
    fn fails(&self) -> bool {
        self.sim.chance(self.trouble.borrow().chance)
    }

    async fn write(&self, events: &[&NewEvent], leader: usize) -> Committed {
        if self.is_busy() {
            if self.sim.chance(0.2) {
                self.sim.yield_now().await;
            }
            return Err(StoreError::Busy);
        }
        self.pause().await;
        if events.iter().any(|event| event.event_id.as_str().starts_with("poison")) {
            return Err(StoreError::Failed("poison".into()));
        }
        if !self.fails() {
            let outcomes = self.store(events);
            self.pause().await;
            return Ok(outcomes);
        }
        match self.sim.draw(|random| random.u32(..5)) {
            0 => Err(StoreError::Failed("this time only".into())),
            1 => Err(StoreError::Full("no room".into())),
            2 => Err(StoreError::Uncertain("not done".into())),
            3 => {
                self.store(events);
                self.pause().await;
                Err(StoreError::Uncertain("done".into()))
            }
            _ if !self.trouble.borrow().vanishes => Err(StoreError::Busy),
            _ => self.vanish(events, leader).await,
        }
    }

    /// A write that never returns. The client of its leader goes away after a while.
    async fn vanish(&self, events: &[&NewEvent], leader: usize) -> Committed {
        if self.sim.draw(fastrand::Rng::bool) {
            self.store(events);
        }
        let end = self.sim.now() + self.sim.below_millis(20_000);
        self.sim.doom(self.account.task(leader), Doom::Time(end));
        pending().await
    }

    fn store(&self, events: &[&NewEvent]) -> Vec<Outcome> {
        let mut stored = self.stored.borrow_mut();
        let outcome = |event: &&NewEvent| {
            let (next, digest) = (stored.len() as Seq + 1, event.payload.digest());
            match stored.entry(event.event_id.to_string()) {
                Entry::Vacant(entry) => {
                    entry.insert((next, digest));
                    Outcome { seq: next, status: Status::Stored }
                }
                Entry::Occupied(entry) => {
                    let (seq, first) = *entry.get();
                    let status = if first == digest { Status::Duplicate } else { Status::Conflict };
                    Outcome { seq, status }
                }
            }
        };
        events.iter().map(outcome).collect()
    }
}

impl WriteStore for SimStore {
    async fn append(&self, events: &[&NewEvent], _: &[Keyed<'_>]) -> Committed {
        let write = self.account.begin(events);
        let result = match write.leader() {
            Some(leader) => self.write(events, leader).await,
            None => Err(StoreError::Failed("a write without events".into())),
        };
        write.end(&result);
        result
    }

    async fn answered(&self, _: &str) -> Result<Option<Answered>, StoreError> {
        Ok(None)
    }
}
