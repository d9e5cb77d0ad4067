//! The end of a server: requests finish, and nobody is refused before the listener closes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The phases of a server, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are kept alive.
    #[default]
    Serving,
    /// Each connection ends with its request. Live streams go on.
    Draining,
    /// Live streams end, too: their clients resume elsewhere.
    Ending,
}

/// The requests that are running, except live streams.
#[derive(Default)]
pub struct Requests(Mutex<TaskTracker>);

impl Requests {
    /// Begins a request, which runs until the token is dropped.
    pub fn begin(&self) -> TaskTrackerToken {
        self.lock().token()
    }

    /// Waits until the requests that are running now have ended. It does not wait for later ones.
    pub async fn wait(&self) {
        let running = std::mem::take(&mut *self.lock());
        running.close();
        running.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, TaskTracker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn only_the_requests_of_this_moment_are_waited_for() {
        let requests = Requests::default();
        timeout(Duration::from_secs(5), requests.wait()).await.unwrap();
        let running = requests.begin();
        let waiting = requests.wait();
        let (later, waited) = tokio::join!(
            async {
                tokio::task::yield_now().await;
                let later = requests.begin();
                drop(running);
                later
            },
            timeout(Duration::from_secs(5), waiting),
        );
        waited.unwrap();
        assert!(timeout(Duration::from_millis(50), requests.wait()).await.is_err(), "the later one runs");
        drop(later);
    }
}
