//! The limit of events a second.

use std::time::Duration;

use tokio::time::Instant;

/// Events a second.
#[derive(Debug)]
pub struct Pace {
    /// The time of one event; nothing without a limit.
    each: Duration,
    next: Instant,
}

impl Pace {
    /// At most so many a second, if there is a limit.
    pub fn new(rate: Option<f64>) -> Self {
        let each = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate));
        Self { each, next: Instant::now() }
    }

    /// The time at which the next event may be sent.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Events are sent now. What was not used of the time before is not made up for.
    pub fn sent(&mut self, events: usize, now: Instant) {
        self.next = self.next.max(now) + self.each * events as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pace_spreads_events_and_makes_up_for_nothing() {
        let mut pace = Pace::new(Some(10.0));
        let began = Instant::now();
        assert_eq!(pace.next(), began);
        pace.sent(1, began);
        pace.sent(2, began + Duration::from_millis(100));
        assert_eq!(pace.next(), began + Duration::from_millis(300));
        let later = began + Duration::from_secs(60);
        pace.sent(1, later);
        assert_eq!(pace.next(), later + Duration::from_millis(100));
        let mut none = Pace::new(None);
        none.sent(1_000, began);
        assert!(none.next() <= began);
    }
}
