//! Contents that were not found where they were: they may be found elsewhere, or lines are lost.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The time in which a content may appear in another file that is read for itself before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

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
                list.push(Suspect { number, path: path.into(), since: Instant::now() });
            }
        }
    }

    /// Those that were missed for long enough, or all at the end.
    pub fn take(&self, is_end: bool) -> Vec<Suspect> {
        let is_due = |suspect: &mut Suspect| is_end || suspect.since.elapsed() >= self.patience;
        self.list.borrow_mut().extract_if(.., is_due).collect()
    }
}
