//! The tasks that are ready, and their wakers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use super::TaskId;

/// The tasks that were woken, each once. Wakers have to be `Send`, so it is behind a mutex.
#[derive(Default)]
pub struct Ready(Mutex<Vec<TaskId>>);

impl Ready {
    /// The tasks.
    pub fn tasks(&self) -> MutexGuard<'_, Vec<TaskId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a task.
    pub fn add(&self, task: TaskId) {
        let mut tasks = self.tasks();
        if !tasks.contains(&task) {
            tasks.push(task);
        }
    }
}

/// Wakes a task.
pub struct Signal {
    task: TaskId,
    ready: Arc<Ready>,
}

impl Signal {
    /// The signal of a task.
    pub fn new(task: TaskId, ready: Arc<Ready>) -> Self {
        Self { task, ready }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.ready.add(self.task);
    }
}
