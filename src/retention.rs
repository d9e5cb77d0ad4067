//! Retention: events that are too old or too many leave the store, and identities that are older still are forgotten.
//!
//! It works beside the requests, in steps that are short and far apart: publishing goes first. One instance works at a
//! time; another takes over when it is gone.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::clock::Clock;
use crate::event::Timestamp;
use crate::store::{RemoveStore, StoreError};

/// Rows of one step.
const STEP: u32 = 256;

/// The pause after a step, as a multiple of its time: while producers write, and while they do not.
const REST: u32 = 8;
const SHORT_REST: u32 = 1;

/// The longest time at work without looking whether requests still come.
const SHIFT: Duration = Duration::from_secs(5);

/// The time for which an instance has the work. It is longer than any shift, so that only one that vanished loses it.
const LEASE: Duration = Duration::from_secs(60);

/// The time between two looks when nothing is due.
const INTERVAL: Duration = Duration::from_secs(10);

/// What is kept. Zero keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Days after which an event expires.
    pub days: u32,
    /// Newest events that are kept.
    pub events: u32,
    /// Days after which the identity of an event that is gone is forgotten.
    pub forget_days: u32,
}

/// Carries out a policy.
pub struct Retention<S, C> {
    store: Rc<S>,
    clock: C,
    policy: Policy,
    /// The writes of this instance so far.
    writes: Rc<Cell<u64>>,
    /// The time of this instance's next look; `None` while it is at work.
    next: Cell<Option<Duration>>,
}

impl<S: RemoveStore, C: Clock> Retention<S, C> {
    /// The retention of a store. It gives way to the writes that are counted.
    pub fn new(store: Rc<S>, clock: C, policy: Policy, writes: Rc<Cell<u64>>) -> Self {
        Self { store, clock, policy, writes, next: Cell::new(Some(Duration::ZERO)) }
    }

    /// True if [`work`](Self::work) should be called. It costs nothing if everything is kept.
    pub fn is_due(&self) -> bool {
        self.policy != Policy::default() && self.next.get().is_some_and(|next| next <= self.clock.now())
    }

    /// Does what is due, for some seconds at most.
    pub async fn work(&self) {
        let _at_work = AtWork { next: &self.next, clock: &self.clock };
        self.next.set(None);
        if let Err(error) = self.shift().await
            && error != StoreError::Busy
        {
            sekali_log::error("retention", error);
        }
    }

    async fn shift(&self) -> Result<(), StoreError> {
        let now = Timestamp::now();
        if !self.store.claim(&now, &now.after(LEASE)).await? {
            return Ok(());
        }
        let is_finished = self.steps().await;
        let pause = if is_finished == Ok(true) { INTERVAL } else { Duration::ZERO };
        self.store.release(&Timestamp::now().after(pause)).await?;
        is_finished.map(drop)
    }

    /// Takes steps until nothing is due any more; false if the shift ended before.
    async fn steps(&self) -> Result<bool, StoreError> {
        let Policy { days, events, forget_days } = self.policy;
        let ends = self.clock.now() + SHIFT;
        let mut surplus = match events {
            0 => 0,
            kept => self.store.readable_events().await? - i64::from(kept),
        };
        let mut tasks = [surplus > 0, days > 0, forget_days > 0];
        let now = Timestamp::now();
        while let Some(task) = tasks.iter().position(|is_due| *is_due) {
            let (began, writes) = (self.clock.now(), self.writes.get());
            if began >= ends {
                return Ok(false);
            }
            tasks[task] = match task {
                0 => {
                    let rows = surplus.min(i64::from(STEP)) as u32;
                    let expired = self.store.expire(None, rows).await?;
                    surplus -= i64::from(expired.events);
                    surplus > 0 && expired.rows > 0
                }
                1 => self.store.expire(Some(&now.days_before(days)), STEP).await?.rows == STEP,
                _ => self.store.forget(&now.days_before(forget_days), STEP).await? == STEP,
            };
            let rest = if self.writes.get() == writes { SHORT_REST } else { REST };
            self.clock.sleep((self.clock.now() - began) * rest).await;
        }
        Ok(true)
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

    /// What can be read, and the counters of removal.
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
        service.faults.slow.set(Some(("delete from events", Duration::from_millis(500))));
        let mut shifts = 0;
        while account(&service).await[0] > 1 {
            assert!(service.app.retention.is_due() && shifts < 100);
            service.app.retention.work().await;
            assert!(!service.app.retention.is_due(), "others come first");
            tokio::time::sleep(INTERVAL).await;
            shifts += 1;
        }
        assert!(shifts > 3, "{shifts}");
    }
}
