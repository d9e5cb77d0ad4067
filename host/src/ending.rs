//! The end of a server: requests finish, and nobody is refused before the listener closes.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{self, Receiver, Sender};

/// The phases of a server, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are kept alive.
    Serving,
    /// Each connection ends with its request. Live streams go on.
    Draining,
    /// Live streams end, too: their clients resume elsewhere.
    Ending,
}

/// The requests that are running, except live streams.
pub struct Requests(Mutex<Channel>);

/// Nothing is ever sent: the channel closes when the last sender is dropped.
type Channel = (Sender<Infallible>, Receiver<Infallible>);

/// A running request. It ends when this is dropped.
pub struct Running {
    _sender: Sender<Infallible>,
}

impl Requests {
    /// No requests.
    pub fn new() -> Self {
        Self(Mutex::new(mpsc::channel(1)))
    }

    /// Begins a request.
    pub fn begin(&self) -> Running {
        Running { _sender: self.lock().0.clone() }
    }

    /// Waits until the requests that are running now have ended. It does not wait for later ones.
    pub async fn wait(&self) {
        let (sender, mut receiver) = std::mem::replace(&mut *self.lock(), mpsc::channel(1));
        drop(sender);
        receiver.recv().await;
    }

    fn lock(&self) -> MutexGuard<'_, Channel> {
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
        let requests = Requests::new();
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
