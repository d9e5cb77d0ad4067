//! How far an input is: numbers that grow while it is shipped, for its report and for `--metrics`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::counts::Counts;
use crate::input::now;

/// The numbers of an input.
#[derive(Debug, Default)]
pub struct Progress {
    /// What became of its lines.
    pub lines: Counts,
    /// Events that are stored with another payload.
    pub conflicts: Counter,
    /// Places where lines are missing, or may be.
    pub gaps: Counter,
    /// Requests that were sent again.
    pub retries: Counter,
    /// Bytes that are done.
    pub bytes: Counter,
    /// True while the service does not answer.
    pub is_away: Flag,
    /// True while it has failed, and is not read.
    pub has_failed: Flag,
    /// The time of the last answer to a batch, in milliseconds since 1970; 0 before the first.
    acknowledged: Counter,
    /// When the first line of the batch was read that is not done yet.
    oldest: Mutex<Option<Instant>>,
    /// Batches that are done.
    pub batches: Counter,
    /// The microseconds that these took, from their first line to their end.
    micros: Counter,
}

impl Progress {
    /// A batch is to be sent whose first line was read then.
    pub fn begin(&self, read: Option<Instant>) {
        *self.oldest() = read;
    }

    /// The batch is done.
    pub fn finish(&self) {
        if let Some(read) = self.oldest().take() {
            self.batches.add(1);
            self.micros.add(u64::try_from(read.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// The service has taken events.
    pub fn acknowledge(&self) {
        self.acknowledged.0.store(u64::try_from(now().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The time of the last answer to a batch since 1970; zero before the first.
    pub fn acknowledged(&self) -> Duration {
        Duration::from_millis(self.acknowledged.get())
    }

    /// The age of the oldest line that is read and not done.
    pub fn lag(&self) -> Duration {
        self.oldest().map_or(Duration::ZERO, |read| read.elapsed())
    }

    /// The time that all batches took, each from its first line to its end.
    pub fn taken(&self) -> Duration {
        Duration::from_micros(self.micros.get())
    }

    fn oldest(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.oldest.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A number that grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is so, or is not.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Changes it.
    pub fn set(&self, is_so: bool) {
        self.0.store(is_so, Ordering::Relaxed);
    }

    /// True if it is so.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
