//! The part of a round that all of its clients share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::record::Clock;
use crate::requests::identities::Identities;

/// The pause of a client that found nobody, and of a reader between two reads.
pub const PAUSE: Duration = Duration::from_millis(5);

/// The part of a round that all of its clients share.
pub struct Stage {
    /// The seed of the requests that all clients make alike.
    pub seed: u64,
    /// The addresses of the service, also after a restart.
    pub addresses: Vec<SocketAddr>,
    /// The clock of the history.
    pub clock: Clock,
    /// True if the service loses its database with writes under way.
    pub loses_database: bool,
    /// True if there are floods of events now and then.
    pub has_floods: bool,
    /// The events.
    pub identities: Identities,
    /// True when nobody is to publish or read any more.
    is_over: AtomicBool,
    /// True when nobody is to follow any more.
    is_closed: AtomicBool,
}

impl Stage {
    /// A stage that is open.
    pub fn new(seed: u64, addresses: Vec<SocketAddr>, [loses_database, has_floods]: [bool; 2]) -> Self {
        Self {
            seed,
            addresses,
            clock: Clock::default(),
            loses_database,
            has_floods,
            identities: Identities::new(),
            is_over: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Tells publishers and readers to end.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// True when nobody is to publish or read any more.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
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
