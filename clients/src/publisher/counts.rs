//! What became of the lines of an input: the one place that says which outcomes there are. The summary, `--json` and
//! `--metrics` show these counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its event was stored.
    New,
    /// Its event was stored before.
    Again,
    /// The service found its event invalid.
    Refused,
    /// There is no event in it, and need not be: it is blank.
    Skipped,
    /// It is not what its format says, or it is too long, so that no event could be made of it.
    Undecodable,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::New, Self::Again, Self::Refused, Self::Skipped, Self::Undecodable];

    /// Its name, in reports and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Again => "again",
            Self::Refused => "refused",
            Self::Skipped => "skipped",
            Self::Undecodable => "undecodable",
        }
    }
}

/// The number of lines of each outcome.
#[derive(Debug, Default)]
pub struct Counts([AtomicU64; Outcome::ALL.len()]);

impl Counts {
    /// Counts lines.
    pub fn add(&self, outcome: Outcome, lines: u64) {
        self.0[outcome as usize].fetch_add(lines, Ordering::Relaxed);
    }

    /// The number of lines of an outcome.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].load(Ordering::Relaxed)
    }

    /// The number of lines that should have become events, and did not.
    pub fn rejected(&self) -> u64 {
        self.of(Outcome::Refused) + self.of(Outcome::Undecodable)
    }

    /// The outcomes and their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Outcome::ALL.into_iter().map(|outcome| (outcome.name(), self.of(outcome)))
    }
}
