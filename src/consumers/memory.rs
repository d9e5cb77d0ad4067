//! What an instance remembers of consumers that it alone changes, so that a step need not read what the one before it has
//! written. The store has the last word: it refuses what was decided on a state that is not the present one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use super::state::State;
use crate::store::Span;
use crate::store::consume::Moment;

/// The longest time since the database was asked for the present moment.
const LONGEST: Duration = Duration::from_secs(1);

/// The consumers that were changed last.
#[derive(Default)]
pub struct Memory(RefCell<HashMap<String, Remembered>>);

/// A consumer as it was written, or read.
#[derive(Clone)]
pub struct Remembered {
    /// Its version in the store.
    pub version: i64,
    /// Its state.
    pub state: State,
    /// The moment at which it was read, by the clock of the database.
    pub moment: Moment,
    /// The same by the clock of the instance, or a little later.
    pub read_at: Duration,
    /// The seqs that could be read when it was written last, if it was.
    pub readable: Option<Span>,
    /// True if nobody else has changed it since this instance came to it the last time.
    pub is_own: bool,
}

impl Remembered {
    /// The moment that is `now` by the clock of the instance.
    pub fn moment_at(&self, now: Duration) -> Moment {
        self.moment + Moment::try_from(now.saturating_sub(self.read_at).as_millis()).unwrap_or_default()
    }
}

impl Memory {
    /// The consumer of a name, if nobody else seems to change it.
    pub fn recall(&self, name: &str, now: Duration) -> Option<Remembered> {
        let remembered = self.0.borrow().get(name)?.clone();
        (remembered.is_own && now.saturating_sub(remembered.read_at) < LONGEST).then_some(remembered)
    }

    /// True if this instance was the last to change, or to look at, a consumer that was read in this version.
    pub fn knows(&self, name: &str, version: i64) -> bool {
        self.0.borrow().get(name).is_some_and(|remembered| remembered.version == version)
    }

    /// A consumer was written, or is as it was read. What was not written for long is forgotten.
    pub fn remember(&self, name: &str, remembered: Remembered) {
        let mut all = self.0.borrow_mut();
        all.retain(|_, other| remembered.read_at.saturating_sub(other.read_at) < 2 * LONGEST);
        all.insert(name.to_owned(), remembered);
    }

    /// A consumer is not as it was remembered.
    pub fn forget(&self, name: &str) {
        self.0.borrow_mut().remove(name);
    }
}
