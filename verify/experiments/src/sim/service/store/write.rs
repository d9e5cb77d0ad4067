//! Writing to the store: group commit calls it.

use std::collections::btree_map::Entry;
use std::future::pending;

use sekali::committer::Committed;
use sekali::event::NewEvent;
use sekali::store::{Answered, Keyed, Outcome, Seq, Status, StoreError, WriteStore};

use super::{SimStore, State, Stored};
use crate::requests::identities::{event_id, topic};
use crate::sim::executor::{Doom, TaskId};

impl State {
    async fn pause(&self) {
        let half = u64::try_from(self.slowest.as_millis() / 2).unwrap_or_default();
        match self.sim.draw(|random| random.u32(..4)) {
            0 => {}
            1 => self.sim.yield_now().await,
            _ => self.sim.sleep(self.sim.below_millis(half)).await,
        }
    }

    async fn write(&self, events: &[&NewEvent], leader: Option<TaskId>) -> Committed {
        if self.trouble.borrow().is_busy(self.sim.now()) {
            if self.sim.chance(0.2) {
                self.sim.yield_now().await;
            }
            return Err(StoreError::Busy);
        }
        self.pause().await;
        if self.is_poisoned(events) {
            return Err(StoreError::Failed("poison".into()));
        }
        // Read once: the troubles may end during a pause.
        let (chance, vanishes) = { (self.trouble.borrow().chance, self.trouble.borrow().vanishes) };
        if !self.sim.chance(chance) {
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
            _ if !vanishes => Err(StoreError::Busy),
            _ => self.vanish(events, leader).await,
        }
    }

    fn is_poisoned(&self, events: &[&NewEvent]) -> bool {
        self.trouble.borrow().poison.is_some_and(|poison| {
            let (topic, id) = (topic(poison), event_id(poison));
            events.iter().any(|event| event.topic.as_str() == topic && event.event_id.as_str() == id)
        })
    }

    /// A write that never returns. The client of its leader goes away after a while.
    async fn vanish(&self, events: &[&NewEvent], leader: Option<TaskId>) -> Committed {
        if self.sim.draw(fastrand::Rng::bool) {
            self.store(events);
        }
        let end = self.sim.now() + self.sim.below_millis(20_000);
        leader.into_iter().for_each(|leader| self.sim.doom(leader, Doom::Time(end)));
        pending().await
    }

    pub(super) fn store(&self, events: &[&NewEvent]) -> Vec<Outcome> {
        let (mut seqs, mut stored) = (self.seqs.borrow_mut(), self.events.borrow_mut());
        let outcome = |event: &&NewEvent| {
            let digest = event.payload.digest();
            let seq = match seqs.entry((event.topic.to_string(), event.event_id.to_string())) {
                Entry::Vacant(entry) => {
                    let (event, at) = ((*event).clone(), self.sim.now());
                    stored.push(Stored { event, digest, deliveries: 1, conflicts: 0, at });
                    let seq = *entry.insert(stored.len() as Seq);
                    return Outcome { seq, status: Status::Stored };
                }
                Entry::Occupied(entry) => *entry.get(),
            };
            let known = &mut stored[seq as usize - 1];
            known.deliveries += 1;
            let is_same = known.digest == digest;
            known.conflicts += u64::from(!is_same);
            Outcome { seq, status: if is_same { Status::Duplicate } else { Status::Conflict } }
        };
        let outcomes = events.iter().map(outcome).collect();
        self.sim.log(format!("commit up to {}", stored.len()));
        outcomes
    }
}

impl WriteStore for SimStore {
    async fn append(&self, events: &[&NewEvent], _: &[Keyed<'_>]) -> Committed {
        let write = self.writes.begin(events);
        let result = self.write(events, write.leader).await;
        write.end(&result);
        result
    }

    async fn answered(&self, _: &str) -> Result<Option<Answered>, StoreError> {
        Err(StoreError::Failed("nobody sends a key".into()))
    }
}
