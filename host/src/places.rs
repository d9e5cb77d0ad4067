//! The places of connections: as many as there are descriptors for. When all are taken, the connection that has been
//! idle for longest is closed for the next one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::metrics::{Counted, METRICS};

/// The time after which a connection without a request is idle: before, one may be on its way.
const LULL: Duration = Duration::from_millis(500);

/// The time in which a connection that is asked to leave does so. One whose client does not read may take longer, so
/// then another is asked.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// The places of a host.
pub struct Places {
    number: usize,
    free: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

/// The connections without a request, the one that has been so for longest first.
#[derive(Default)]
struct Idle {
    last: u64,
    connections: BTreeMap<u64, (Instant, Arc<Notify>)>,
}

/// The place of a connection, until it is dropped.
pub struct Place {
    places: Arc<Places>,
    leave: Arc<Notify>,
    requests: AtomicUsize,
    /// The key of the connection in [`Idle`], while it has no request.
    number: AtomicU64,
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

/// A request of a connection, until it is dropped: until its answer has been sent.
pub struct Busy(Arc<Place>);

impl Places {
    /// So many places.
    pub fn new(number: usize) -> Arc<Self> {
        Arc::new(Self { number, free: Arc::new(Semaphore::new(number)), idle: Mutex::default() })
    }

    /// Waits for a place. If none is free, it asks connections to leave, one after another.
    pub async fn take(self: &Arc<Self>) -> Place {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Place::new(self, permit);
        }
        sekali_common::log::error(
            "connections",
            format_args!(
                "all {} connections are in use, so those that are idle for longest are closed; a higher hard limit of \
                 open files allows more (LimitNOFILE in a unit, ulimit -Hn in a shell)",
                self.number
            ),
        );
        loop {
            let next_look = self.ask_one_to_leave();
            if let Ok(Ok(permit)) = timeout(next_look, Arc::clone(&self.free).acquire_owned()).await {
                return Place::new(self, permit);
            }
        }
    }

    /// Asks the connection that has been idle for longest to leave. Returns the time until another may be asked.
    fn ask_one_to_leave(&self) -> Duration {
        let mut idle = self.lock();
        let Some(first) = idle.connections.first_entry() else { return LULL };
        let since = first.get().0.elapsed();
        if since < LULL {
            return LULL - since;
        }
        first.remove().1.notify_one();
        CLOSE_TIMEOUT
    }

    fn add_idle(&self, leave: &Arc<Notify>) -> u64 {
        let mut idle = self.lock();
        idle.last += 1;
        let number = idle.last;
        idle.connections.insert(number, (Instant::now(), Arc::clone(leave)));
        number
    }

    fn remove_idle(&self, number: u64) {
        self.lock().connections.remove(&number);
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn new(places: &Arc<Places>, permit: OwnedSemaphorePermit) -> Self {
        let leave = Arc::default();
        let number = places.add_idle(&leave);
        Self {
            places: Arc::clone(places),
            leave,
            requests: AtomicUsize::new(0),
            number: AtomicU64::new(number),
            _permit: permit,
            _counted: Counted::new(&METRICS.connections),
        }
    }

    /// Begins a request: until it ends, the connection is not idle.
    pub fn begin(self: &Arc<Self>) -> Busy {
        if self.requests.fetch_add(1, Ordering::Relaxed) == 0 {
            self.places.remove_idle(self.number.load(Ordering::Relaxed));
        }
        Busy(Arc::clone(self))
    }

    /// Waits until the connection is asked to leave.
    pub async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Place { places, leave, requests, number, .. } = &*self.0;
        // All requests of a connection are on one thread.
        if requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            number.store(places.add_idle(leave), Ordering::Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.remove_idle(self.number.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::advance;

    use super::*;

    fn is_asked(place: &Place) -> bool {
        place.asked_to_leave().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_has_been_idle_for_longest_leaves_first_and_one_with_a_request_never() {
        let places = Places::new(3);
        let [busy, used, new] = [places.take().await, places.take().await, places.take().await].map(Arc::new);
        let request = busy.begin();
        advance(LULL / 2).await;
        drop((used.begin(), used.begin()));
        advance(LULL * 3 / 4).await;
        assert!(places.take().now_or_never().is_none(), "all are taken");
        assert_eq!([&busy, &used, &new].map(|place| is_asked(place)), [false, false, true]);
        drop(new);
        let next = places.take().await;
        drop(request);
        drop(busy.begin());
        assert!(timeout(LULL / 2 + CLOSE_TIMEOUT, places.take()).await.is_err());
        assert_eq!([&busy, &used, &Arc::new(next)].map(|place| is_asked(place)), [false, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_came_just_now_may_still_send_its_request() {
        let places = Places::new(1);
        let place = places.take().await;
        advance(LULL / 2).await;
        assert!(timeout(LULL / 4, places.take()).await.is_err());
        assert!(!is_asked(&place));
        assert!(timeout(LULL, places.take()).await.is_err());
        assert!(is_asked(&place));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_left_is_free_at_once() {
        let places = Places::new(1);
        let place = Arc::new(places.take().await);
        let request = place.begin();
        let (next, ()) = tokio::join!(timeout(LULL / 10, places.take()), async {
            tokio::task::yield_now().await;
            drop((place, request));
        });
        drop(next.expect("the next one has the place"));
        assert!(places.lock().connections.is_empty(), "nothing is left of those that went");
    }
}
