//! The turn of the writers of a database.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest wait for the turn of another writer.
const LONGEST_TURN: Duration = Duration::from_millis(500);

/// The turn that the writers of a database take, for a statement or a transaction, in the order in which they come. SQLite
/// allows one writer at a time, and a connection that finds another writing sleeps for a millisecond or more. This wakes
/// the next writer as soon as the one before has ended.
#[derive(Default)]
pub struct Turn {
    writers: Mutex<Writers>,
    has_changed: Condvar,
}

#[derive(Default)]
struct Writers {
    is_taken: bool,
    /// The numbers of those that wait.
    waiting: VecDeque<u64>,
    last: u64,
}

/// The turn of a writer, until it is dropped.
pub struct Taken(Arc<Turn>);

impl Turn {
    /// Takes the turn; `None` if a transaction does not end. SQLite finds the database locked then, and says so.
    pub fn take(self: &Arc<Self>) -> Option<Taken> {
        let mut writers = self.lock();
        writers.last += 1;
        let number = writers.last;
        writers.waiting.push_back(number);
        let waits = |writers: &mut Writers| writers.is_taken || writers.waiting.front() != Some(&number);
        let (mut writers, waited) = self
            .has_changed
            .wait_timeout_while(writers, LONGEST_TURN, waits)
            .unwrap_or_else(PoisonError::into_inner);
        writers.waiting.retain(|waiting| *waiting != number);
        if waited.timed_out() {
            drop(writers);
            self.has_changed.notify_all(); // another may be the first now
            return None;
        }
        writers.is_taken = true;
        Some(Taken(Arc::clone(self)))
    }

    /// True if nobody has the turn, or waits for it.
    pub fn is_free(&self) -> bool {
        self.writers.try_lock().is_ok_and(|writers| !writers.is_taken && writers.waiting.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, Writers> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.lock().is_taken = false;
        self.0.has_changed.notify_all();
    }
}
