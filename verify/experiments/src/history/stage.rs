//! The part of a round that all of its clients share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::consumer::Consumer;

/// The pause of a client that found nobody, and of a reader between two reads.
pub const PAUSE: Duration = Duration::from_millis(5);

/// The clients of a round, beside those that torment the service.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// Clients that publish.
    pub publishers: u64,
    /// The rest of each between two requests.
    pub rest: Duration,
    /// Clients that read.
    pub readers: u64,
    /// True if they read pages of events, too, and not only one event at a time.
    pub read_pages: bool,
    /// Clients that follow.
    pub followers: usize,
    /// True if they go away now and then, and come again.
    pub are_fickle: bool,
    /// Workers of a consumer, which has people, too.
    pub workers: u64,
}

impl Default for Cast {
    fn default() -> Self {
        Self {
            publishers: 6,
            rest: Duration::ZERO,
            readers: 2,
            read_pages: true,
            followers: 5,
            are_fickle: false,
            workers: 0,
        }
    }
}

/// The losses that a service may have while it is tormented.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    /// It loses its database with writes under way, each of which may get 500.
    pub database: bool,
    /// It loses instances with requests under way, each of which may get 500.
    pub instances: bool,
}

/// A clock that all clients share: each tick has a number of its own, in the order of time.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// The number of this moment.
    pub fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// The part of a round that all of its clients share.
pub struct Stage {
    /// The seed of the requests that all clients make alike.
    pub seed: u64,
    /// The addresses of the service, also after a restart.
    pub addresses: Vec<SocketAddr>,
    /// The clock of the history.
    pub clock: Clock,
    /// Its clients.
    pub cast: Cast,
    /// The losses that the service may have.
    pub losses: Losses,
    /// True if there are floods of events now and then.
    pub has_floods: bool,
    /// What the clients of the consumer share.
    pub consumer: Consumer,
    /// True when nobody is to publish or read any more.
    is_over: AtomicBool,
    /// True when nobody is to follow any more.
    is_closed: AtomicBool,
}

impl Stage {
    /// A stage that is open.
    pub fn new(seed: u64, addresses: Vec<SocketAddr>, cast: Cast, losses: Losses, has_floods: bool) -> Self {
        let (is_over, is_closed) = (AtomicBool::new(false), AtomicBool::new(false));
        let (clock, consumer) = (Clock::default(), Consumer::new(seed));
        Self { seed, addresses, clock, cast, losses, has_floods, consumer, is_over, is_closed }
    }

    /// Tells publishers and readers to end.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// True when nobody is to publish or read any more.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Rests, but not for longer than anybody is to publish or read.
    pub fn rest(&self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time && !self.is_over() {
            thread::sleep(PAUSE.min(time));
        }
    }

    /// Tells followers to end.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    /// True when nobody is to follow any more.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }
}
