//! Contents that were not found where they were: they may be found elsewhere, or lines are lost.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The time in which a content may appear in another file that is read for itself before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time for which a file may be looked at again that may have it.
const LONGEST: Duration = Duration::from_secs(20);

/// The contents that are missed.
pub struct Suspects {
    list: RefCell<Vec<Suspect>>,
    patience: Duration,
}

/// A content that is missed.
pub struct Suspect {
    /// Its number.
    pub number: usize,
    /// The log that it is of.
    pub path: PathBuf,
    /// Since when it is missed, and since when all that may have it was looked at.
    missed: Instant,
    since: Instant,
}

impl Suspects {
    /// None yet. Contents may appear elsewhere if there are patterns, whose files are read for themselves.
    pub fn new(has_patterns: bool) -> Self {
        let patience = if has_patterns { PATIENCE } else { Duration::ZERO };
        Self { list: RefCell::default(), patience }
    }

    /// True if what is missed now may appear.
    pub fn may_appear(&self) -> bool {
        !self.patience.is_zero()
    }

    /// Adds contents of the log at `path` that are missed from now on.
    pub fn add(&self, path: &Path, missed: Vec<usize>) {
        let mut list = self.list.borrow_mut();
        for number in missed {
            if list.iter().all(|suspect| suspect.number != number) {
                let now = Instant::now();
                list.push(Suspect { number, path: path.into(), missed: now, since: now });
            }
        }
    }

    /// True if nothing is missed.
    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// Begins the time anew, because not all files were looked at, or one of them is looked at again: that one may stay as
    /// it is for ever, and is waited for no longer than [`LONGEST`].
    pub fn postpone(&self, were_all_looked_at: bool) {
        let now = Instant::now();
        for suspect in self.list.borrow_mut().iter_mut() {
            if !were_all_looked_at {
                suspect.missed = now;
            }
            if suspect.missed.elapsed() < LONGEST {
                suspect.since = now;
            }
        }
    }

    /// Those that were missed for long enough, or all at the end.
    pub fn take(&self, is_end: bool) -> Vec<Suspect> {
        let is_due = |suspect: &mut Suspect| is_end || suspect.since.elapsed() >= self.patience;
        self.list.borrow_mut().extract_if(.., is_due).collect()
    }
}
