//! How much is measured.

use std::time::Duration;

/// Clients of single events, unless a part says otherwise.
pub const CLIENTS: usize = 64;

/// Events that a rare source has, scattered over a store.
pub const RARE: u64 = 100;

/// How much is measured, and how long.
#[derive(Clone, Copy)]
pub struct Scale {
    /// The time of each measurement. Retention takes ten times that.
    pub time: Duration,
    /// Rounds of a measurement in a store that takes long to fill.
    pub rounds: usize,
    /// The events that a store is filled with, for readers, erasure and bytes: a multiple of [`BATCH`] and of [`RARE`].
    pub events: u64,
    /// The topics of a store that has many, a multiple of [`BATCH`].
    pub topics: u64,
    /// The newest events that retention keeps.
    pub kept: u64,
    /// The partitions of a store on PostgreSQL that has many.
    pub partitions: u64,
}

/// Events of a request that fills a store.
pub const BATCH: u64 = 1000;

impl Scale {
    /// The scale of a report.
    pub fn of(time: Duration, rounds: usize, partitions: u64) -> Self {
        Self { time, rounds, events: 300_000, topics: 90_000, kept: 10_000, partitions }
    }

    /// A scale at which each part shows that it works, and nothing else.
    pub fn small(partitions: u64) -> Self {
        let time = Duration::from_millis(300);
        Self { time, rounds: 1, events: 8000, topics: 2000, kept: 100, partitions }
    }
}
