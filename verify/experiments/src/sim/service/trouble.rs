//! The troubles of the simulated store: of its writes, and of its reads.

use std::ops::Range;
use std::time::Duration;

use crate::sim::executor::Handle;

/// The longest write that meets no trouble.
pub const SLOWEST: Duration = Duration::from_millis(200);

/// The troubles of writes.
#[derive(Default)]
pub struct Trouble {
    /// The times at which another connection writes.
    busy: Vec<Range<Duration>>,
    /// The probability of each other trouble, for a write.
    pub chance: f64,
    /// True if writes may never return.
    pub vanishes: bool,
    /// An identity that no statement can carry.
    pub poison: Option<usize>,
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
        let poison = sim.draw(|random| random.bool().then(|| random.usize(..40)));
        Self { busy, chance, vanishes: sim.draw(fastrand::Rng::bool), poison }
    }

    /// True while another connection writes.
    pub fn is_busy(&self, now: Duration) -> bool {
        self.busy.iter().any(|time| time.contains(&now))
    }
}

/// The manner in which a store answers reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Within milliseconds.
    Fast,
    /// Within milliseconds, but for pages of the topic that is [`SLOW`].
    OneSlow,
    /// Within seconds, and sometimes within half a minute.
    Slow,
    /// Within milliseconds, and with errors.
    Failing,
}

/// The number of the topic whose pages take long where the manner says so.
pub const SLOW: usize = 2;

impl Manner {
    /// Draws a manner.
    pub fn draw(sim: &Handle) -> Self {
        let manners = [Self::Fast, Self::Fast, Self::OneSlow, Self::Slow, Self::Failing];
        sim.draw(|random| random.choice(manners)).unwrap_or(Self::Fast)
    }
}
