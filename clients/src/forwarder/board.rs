//! The counts of a run, its progress and messages on the terminal, and the report at its end.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use console::style;
use indicatif::{HumanCount, HumanDuration, ProgressBar};
use sekali_clients::client::Failure;
use sekali_clients::terminal::{count, tell, warn};
use sekali_common::consumers::{Claim, ClaimedEvent, Committed};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Failed events that are told one by one; later ones are only counted.
const FAILURES_TOLD: u64 = 10;

/// The counts of a run, and its terminal.
pub struct Board {
    /// The name of the consumer.
    consumer: String,
    /// The progress bar.
    bar: ProgressBar,
    /// False if nothing but the report is printed.
    tells: bool,
    began: Instant,
    counts: Mutex<Counts>,
}

/// The counts of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Events that were delivered.
    pub delivered: u64,
    /// Attempts that failed because of their events.
    pub failed: u64,
    /// Times that the endpoint was away.
    pub outages: u64,
    /// Claims that were lost.
    pub claims_lost: u64,
    /// Events that retention or erasure took before they were claimed.
    pub skipped: u64,
    /// Deliveries on their way.
    pub in_flight: usize,
    /// Events of the claim that are to be delivered.
    pub open: usize,
    /// Events that are not committed, by the latest commit.
    pub lag: u64,
    /// True while the endpoint is away.
    pub is_away: bool,
    /// True while another holds the claim.
    pub stands_by: bool,
    /// True while the service is not reached.
    pub is_cut_off: bool,
}

impl Board {
    /// A board on which nothing stands.
    pub fn new(consumer: &str, bar: ProgressBar, tells: bool) -> Self {
        Self {
            consumer: consumer.into(),
            bar,
            tells,
            began: Instant::now(),
            counts: Mutex::new(Counts::default()),
        }
    }

    /// The counts up to now.
    pub fn counts(&self) -> Counts {
        *self.lock()
    }

    /// A claim came.
    pub fn claimed(&self, claim: &Claim) {
        let skipped = claim.skipped.expired + claim.skipped.erased;
        let mut counts = self.lock();
        counts.skipped += skipped;
        counts.is_cut_off = false;
        let stood_by = std::mem::take(&mut counts.stands_by);
        drop(counts);
        if stood_by {
            self.tell(format_args!("took over {}", self.consumer));
        }
        if claim.skipped.expired > 0 {
            let events = count(claim.skipped.expired, "event");
            self.warn(format_args!("{events} expired before they were delivered"));
        }
    }

    /// Another holds the claim.
    pub fn stands_by(&self, failure: &Failure) {
        if std::mem::replace(&mut self.lock().stands_by, true) {
            return;
        }
        let holder = match failure {
            Failure::Refused(refusal) => refusal.problem.holders.first(),
            _ => None,
        };
        let holder = holder.map_or_else(|| "another".into(), |holder| holder.holder.clone());
        self.tell(format_args!("{} is held by {holder}: standing by", self.consumer));
    }

    /// The claim has so many events left, and so many deliveries are on their way.
    pub fn shows(&self, open: usize, in_flight: usize) {
        let mut counts = self.lock();
        (counts.open, counts.in_flight) = (open, in_flight);
    }

    /// Events were delivered.
    pub fn delivered(&self, events: usize) {
        self.lock().delivered += events as u64;
        self.show();
    }

    /// An event failed.
    pub fn failed(&self, event: &ClaimedEvent, reason: &str) {
        let mut counts = self.lock();
        counts.failed += 1;
        let failed = counts.failed;
        drop(counts);
        let ClaimedEvent { seq, topic, attempt, .. } = event;
        if failed <= FAILURES_TOLD {
            self.warn(format_args!("event {seq} of {topic} failed at attempt {attempt}: {reason}"));
        }
        if failed == FAILURES_TOLD {
            self.warn("more failures are only counted; GET /consumers/NAME/failed lists them");
        }
        self.show();
    }

    /// The endpoint is away, and is tried again after a pause.
    pub fn is_away(&self, reason: &str, pause: Duration, open: usize) {
        let mut counts = self.lock();
        counts.outages += 1;
        counts.is_away = true;
        drop(counts);
        let events = count(open as u64, "event");
        self.warn(format_args!("{reason}; {events} wait, trying again in {}", HumanDuration(pause)));
        self.show();
    }

    /// The endpoint is back.
    pub fn is_back(&self, outage: Duration) {
        self.lock().is_away = false;
        self.tell(format_args!("the endpoint is back after {}", HumanDuration(outage)));
    }

    /// A commit was answered.
    pub fn committed(&self, committed: &Committed) {
        let mut counts = self.lock();
        counts.lag = committed.lag;
        counts.is_cut_off = false;
        drop(counts);
        self.show();
    }

    /// A claim was lost: its lease ended, or the consumer was moved.
    pub fn lost(&self) {
        self.lock().claims_lost += 1;
        self.warn("the claim was lost: its lease ended, or the consumer was moved; what is not committed comes again");
    }

    /// A request to the service is sent again after this failure.
    pub fn is_cut_off(&self, failure: &Failure) {
        if !std::mem::replace(&mut self.lock().is_cut_off, true) {
            self.warn(format_args!("{failure}; trying again"));
        }
    }

    /// The report for machines. `error` is the reason why the run ended.
    pub fn to_json(&self, error: Option<&str>) -> Value {
        let counts = self.counts();
        json!({
            "consumer": self.consumer,
            "delivered": counts.delivered,
            "failed": counts.failed,
            "outages": counts.outages,
            "claims_lost": counts.claims_lost,
            "skipped": counts.skipped,
            "lag": counts.lag,
            "seconds": self.began.elapsed().as_secs_f64(),
            "error": error,
        })
    }

    /// The report for people.
    pub fn to_text(&self) -> String {
        let counts = self.counts();
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = HumanCount((counts.delivered as f64 / seconds.max(0.001)) as u64);
        let events = style(count(counts.delivered, "event")).bold();
        let mut text = format!("{events} delivered in {seconds:.1} s, {rate}/s");
        if counts.failed > 0 {
            text += &format!(", {} failed", count(counts.failed, "attempt"));
        }
        if counts.outages > 0 {
            text += &format!("; the endpoint was away {}", count(counts.outages, "time"));
        }
        text + "\n"
    }

    fn show(&self) {
        let counts = self.counts();
        let state = match counts {
            Counts { is_away: true, .. } => format!(", away: {} wait", count(counts.open as u64, "event")),
            _ => format!(", {} on their way, {} behind", counts.in_flight, HumanCount(counts.lag)),
        };
        let failed = match counts.failed {
            0 => String::new(),
            failed => format!(", {} failed", HumanCount(failed)),
        };
        self.bar.set_message(format!("{} delivered{failed}{state}", HumanCount(counts.delivered)));
        self.bar.set_position(counts.delivered);
    }

    fn tell(&self, text: impl std::fmt::Display) {
        if self.tells {
            tell(&self.bar, text);
        }
    }

    fn warn(&self, text: impl std::fmt::Display) {
        if self.tells {
            warn(&self.bar, text);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
