//! Retention: events that are too old or too many leave the store, identities that are older still are forgotten, and so
//! are the answers to requests with an Idempotency-Key.
//!
//! It works beside the requests, in steps that are short and far apart: publishing goes first. When steps find more than
//! they may take, they become longer and come closer, up to half of the writer's time and more: the disk must not fill
//! because producers are fast. One instance works at a time; another takes over when it is gone.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::clock::Clock;
use crate::store::{Kept, RemoveStore, Step, StoreError};
use crate::yield_to_writers::YieldToWriters;

/// The length of a step, in short ones, and the rest after it, in tenths of its time, as long as there is more to do.
const PACE: [(u32, u32); 9] =
    [(1, 80), (1, 80), (1, 40), (2, 40), (4, 20), (8, 10), (16, 5), (16, 0), (32, 0)];

/// A round of steps that removed so many has others behind it soon: it does not end the work, which would rest for long.
const MANY: u32 = 256;

/// The time until then.
const SOON: Duration = Duration::from_millis(200);

/// The most rest after a step while producers do not write, in tenths of its time.
const IDLE_REST: u32 = 10;

/// The longest time at work without looking whether others want to.
const SHIFT: Duration = Duration::from_secs(30);

/// The time for which an instance has the work. It is longer than any shift, so that only one that vanished loses it.
const LEASE: Duration = Duration::from_secs(60);

/// The time between two looks when nothing is due.
const INTERVAL: Duration = Duration::from_secs(2);

/// The bounds of what is kept. Zero keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The events that are kept.
    pub kept: Kept,
    /// Days after which the identity of an event that is gone is forgotten.
    pub forget_days: u32,
}

/// Carries out a policy.
pub struct Retention<S, C> {
    store: Rc<S>,
    clock: C,
    policy: Policy,
    yielding: YieldToWriters<C>,
    /// True if the store may have answers of keys that are to be removed.
    has_answers: Cell<bool>,
    /// The time of this instance's next look; `None` while it is at work.
    next: Cell<Option<Duration>>,
}

/// A task of retention.
#[derive(Clone, Copy)]
enum Task {
    Expire,
    Forget,
    ForgetAnswers,
    Sweep,
}

impl<S: RemoveStore, C: Clock + Clone> Retention<S, C> {
    /// The retention of a store. It gives way to the writes that are counted.
    pub fn new(store: Rc<S>, clock: C, policy: Policy, writes: Rc<Cell<u64>>) -> Self {
        let yielding = YieldToWriters::new(clock.clone(), writes);
        let (has_answers, next) = (Cell::new(false), Cell::new(Some(Duration::ZERO)));
        Self { store, clock, policy, yielding, has_answers, next }
    }

    /// Tells it that answers of keys are kept, which it will have to remove.
    pub fn note_answer(&self) {
        self.has_answers.set(true);
    }

    /// The events that are too many, of so many that can be read.
    pub fn backlog(&self, readable: i64) -> i64 {
        match self.policy.kept.events {
            0 => 0,
            kept => (readable - i64::from(kept)).max(0),
        }
    }

    /// True if [`work`](Self::work) should be called. It costs nothing if everything is kept.
    pub fn is_due(&self) -> bool {
        (self.policy != Policy::default() || self.has_answers.get())
            && self.next.get().is_some_and(|next| next <= self.clock.now())
    }

    /// Does what is due, for half a minute at most.
    pub async fn work(&self) {
        let _at_work = AtWork { next: &self.next, clock: &self.clock };
        self.next.set(None);
        if let Err(error) = self.shift().await
            && error != StoreError::Busy
        {
            sekali_common::log::error("retention", error);
        }
    }

    async fn shift(&self) -> Result<(), StoreError> {
        if !self.store.claim(LEASE).await? {
            return Ok(());
        }
        let is_finished = self.steps().await;
        let pause = if is_finished == Ok(true) { INTERVAL } else { Duration::ZERO };
        self.store.release(pause).await?;
        is_finished.map(drop)
    }

    /// Takes steps, of each task in turn, until nothing is due any more; false if the shift ended before.
    async fn steps(&self) -> Result<bool, StoreError> {
        let ends = self.clock.now() + SHIFT;
        let mut due = self.tasks();
        let mut level: usize = 0;
        while !due.is_empty() {
            let (mut left, mut removed) = (Vec::new(), 0);
            for task in due {
                let work = self.yielding.begin();
                if work.began >= ends {
                    return Ok(false);
                }
                let (length, rest) = PACE[level];
                let Step { events, has_more } = self.step(task, length).await?;
                removed += events;
                if has_more {
                    left.push(task);
                }
                work.rest(rest, rest.min(IDLE_REST)).await;
            }
            due = left;
            level = match (due.is_empty(), removed) {
                // Only rows that were gone already: nothing to hurry for.
                (false, 0) => level.min(2),
                (false, _) => (level + 1).min(PACE.len() - 1),
                (true, _) => level.saturating_sub(2),
            };
            if due.is_empty() && removed >= MANY {
                self.clock.sleep(SOON).await;
                due = self.tasks();
            }
        }
        Ok(true)
    }

    fn tasks(&self) -> Vec<Task> {
        let Policy { kept, forget_days } = self.policy;
        let expires = kept != Kept::default();
        [
            (Task::Expire, expires),
            (Task::Forget, forget_days > 0),
            (Task::ForgetAnswers, self.has_answers.get()),
            (Task::Sweep, expires),
        ]
        .into_iter()
        .filter_map(|(task, is_wanted)| is_wanted.then_some(task))
        .collect()
    }

    async fn step(&self, task: Task, length: u32) -> Result<Step, StoreError> {
        match task {
            Task::Expire => self.store.expire(self.policy.kept, length).await,
            Task::Forget => self.store.forget(self.policy.forget_days, length).await,
            Task::ForgetAnswers => self.store.forget_answers(length).await,
            Task::Sweep => self.store.sweep(length).await,
        }
    }
}

/// While it lives, the instance is at work; then it looks again after an interval.
struct AtWork<'r, C: Clock> {
    next: &'r Cell<Option<Duration>>,
    clock: &'r C,
}

impl<C: Clock> Drop for AtWork<'_, C> {
    fn drop(&mut self) {
        self.next.set(Some(self.clock.now() + INTERVAL / 10));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::service::Service;

    /// A service with so many events, the first `old` of which were received long ago.
    async fn with_events(variables: &[(&str, &str)], count: usize, old: u32) -> Service {
        let service = Service::with_variables(variables);
        let events: Vec<_> = (1..=count).map(|n| json!({"topic": "t", "event_id": n.to_string()})).collect();
        for batch in events.chunks(1000) {
            assert_eq!(service.publish(&json!(batch)).await.status, 200);
        }
        let age = "update events set received_at = '2020-01-01T00:00:00' where seq <= ?1";
        service.database().execute(age, [old]).unwrap();
        service
    }

    /// The number of readable events, and the counters of removal.
    async fn account(service: &Service) -> [i64; 4] {
        let stats = service.get("/stats").await.json();
        let read = service.get("/events").await.json().as_array().unwrap().len() as i64;
        let count = |name: &str| stats[name].as_i64().unwrap();
        assert_eq!(read, count("unique_processed") - count("expired") - count("erased"));
        [read, count("expired"), count("forgotten"), count("first_seq")]
    }

    #[tokio::test]
    async fn everything_is_kept_unless_an_operator_says_otherwise() {
        let service = with_events(&[], 10, 10).await;
        assert!(!service.app.retention.is_due());
    }

    #[tokio::test(start_paused = true)]
    async fn events_expire_by_their_age_and_by_their_number() {
        for (variables, left) in [
            (vec![("retention_days", "30")], 2000),
            (vec![("retention_events", "1700")], 1700),
            (vec![("retention_days", "30"), ("retention_events", "2500")], 2000),
            (vec![("retention_days", "100000")], 3000),
        ] {
            let service = with_events(&variables, 3000, 1000).await;
            assert!(service.app.retention.is_due());
            service.app.retention.work().await;
            assert_eq!(account(&service).await, [left, 3000 - left, 0, 3001 - left], "{variables:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn identities_are_forgotten_only_when_their_events_are_gone_and_old() {
        let service = with_events(&[("retention_events", "500"), ("forget_days", "30")], 2000, 1000).await;
        service.app.retention.work().await;
        assert_eq!(account(&service).await, [500, 1500, 1000, 1501]);
        let again = json!([{"topic": "t", "event_id": "1000"}, {"topic": "t", "event_id": "1001"}]);
        let receipt = service.publish(&again).await.json();
        assert_eq!((&receipt["processed"], &receipt["duplicate_ids"]), (&json!(["1000"]), &json!(["1001"])));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shift_ends_and_the_next_look_goes_on_with_what_is_left() {
        let service = with_events(&[("retention_events", "1")], 5000, 0).await;
        service.faults.slow.set(Some(("delete from events", Duration::from_secs(10))));
        let mut shifts = 0;
        while account(&service).await[0] > 1 {
            assert!(service.app.retention.is_due() && shifts < 100);
            service.app.retention.work().await;
            assert!(!service.app.retention.is_due(), "others come first");
            tokio::time::sleep(INTERVAL).await;
            shifts += 1;
        }
        assert!(shifts > 1, "{shifts}");
    }
}
