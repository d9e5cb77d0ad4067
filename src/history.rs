//! The history of the account: its totals once a minute, for a day, so that whoever looks sees more than this moment.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::clock::Clock;
use crate::store::{StoreError, WriteStore};

/// The time between two looks of an instance.
const INTERVAL: Duration = Duration::from_secs(60);

/// Keeps the totals of a store. A minute in which nothing is written has none.
pub struct History<S, C> {
    store: Rc<S>,
    clock: C,
    /// The writes of this instance so far, and how many there were at its last look.
    writes: Rc<Cell<u64>>,
    seen: Cell<u64>,
    /// The time of its next look.
    next: Cell<Duration>,
}

impl<S: WriteStore, C: Clock> History<S, C> {
    /// The history of a store on which these writes are counted.
    pub fn new(store: Rc<S>, clock: C, writes: Rc<Cell<u64>>) -> Self {
        Self { store, clock, writes, seen: Cell::default(), next: Cell::default() }
    }

    /// True if [`record`](Self::record) should be called.
    pub fn is_due(&self) -> bool {
        self.writes.get() != self.seen.get() && self.next.get() <= self.clock.now()
    }

    /// Keeps the totals of this minute.
    pub async fn record(&self) {
        self.seen.set(self.writes.get());
        self.next.set(self.clock.now() + INTERVAL);
        if let Err(error) = self.store.record_totals().await
            && error != StoreError::Busy
        {
            sekali_common::log::error("history", error);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::service::Service;

    #[tokio::test(start_paused = true)]
    async fn the_totals_are_kept_once_a_minute_in_which_something_is_written() {
        let service = Service::start();
        assert!(!service.app.history.is_due(), "nothing was written");
        service.publish(&json!({"topic": "t", "event_id": "1"})).await;
        assert!(service.app.history.is_due());
        service.app.history.record().await;
        service.publish(&json!({"topic": "t", "event_id": "1"})).await;
        assert!(!service.app.history.is_due(), "this minute is kept");
        tokio::time::sleep(INTERVAL).await;
        assert!(service.app.history.is_due());

        let history = service.get("/stats?history=24h").await.json()["history"].clone();
        assert_eq!(history.as_array().unwrap().len(), 1, "{history}");
        assert_eq!((&history[0]["received"], &history[0]["unique_processed"]), (&json!(1), &json!(1)));
        // The clock of the database goes on by itself: as if these totals were of two days ago.
        service.database().execute("update history set minute = minute - 2880", []).unwrap();
        assert_eq!(service.get("/stats?history=24h").await.json()["history"], json!([]));
        service.app.history.record().await;
        let history = service.get("/stats?history=5m").await.json()["history"].clone();
        assert_eq!((history.as_array().unwrap().len(), &history[0]["duplicate_dropped"]), (1, &json!(1)));
        assert_eq!(service.get("/stats").await.json().get("history"), None);
        for wrong in ["1", "25h", "0m", "day", "-1h", "h"] {
            service.get(&format!("/stats?history={wrong}")).await.problem(400, "invalid-parameter");
        }
    }
}
