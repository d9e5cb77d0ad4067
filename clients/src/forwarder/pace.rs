//! The limits that keep a forwarder from taking too much: events a second, and bytes of a claim.

use std::time::Duration;

use sekali_common::consumers::Claim;
use tokio::time::Instant;

/// The most events of a claim.
const MOST_EVENTS: u32 = 1_000;

/// The bytes of payloads that a claim should have. A claim is held in memory.
const BYTES: usize = 4 << 20;

/// The events of the first claim. An event has at most 256 KiB, unless the service is set to more.
const FIRST: u32 = 16;

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

/// The number of events to claim, which follows from the size of those before.
#[derive(Debug)]
pub struct Appetite {
    limit: u32,
}

impl Appetite {
    /// A small first claim.
    pub fn new() -> Self {
        Self { limit: FIRST }
    }

    /// The most events of the next claim.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Learns from a claim. A claim of a few small events says little about the next, so it grows in steps.
    pub fn learn(&mut self, claim: &Claim) {
        let bytes: usize = claim.events.iter().map(|event| event.payload.get().len()).sum();
        let average = bytes / claim.events.len().max(1);
        let fit = u32::try_from(BYTES / average.max(1)).unwrap_or(MOST_EVENTS);
        self.limit = fit.min(self.limit * 4).clamp(1, MOST_EVENTS);
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

    fn claim(payload: &str, count: usize) -> Claim {
        let event = format!(
            r#"{{"seq":1,"topic":"t","event_id":"e","timestamp":"","payload":"{payload}","received_at":"","attempt":1}}"#
        );
        let events = vec![event; count].join(",");
        serde_json::from_str(&format!(
            r#"{{"claim":"c","kind":"new","from":0,"to":1,"expires_at":"","attempt":1,"events":[{events}]}}"#
        ))
        .unwrap()
    }

    #[test]
    fn claims_of_large_events_are_small() {
        let mut appetite = Appetite::new();
        let mut limits = Vec::new();
        for _ in 0..4 {
            appetite.learn(&claim("small", 10));
            limits.push(appetite.limit());
        }
        assert_eq!(limits, [64, 256, 1_000, 1_000]);
        appetite.learn(&claim(&"x".repeat(1 << 18), 2));
        assert_eq!(appetite.limit(), 15);
        appetite.learn(&claim("", 0));
        assert_eq!(appetite.limit(), 60);
    }
}
