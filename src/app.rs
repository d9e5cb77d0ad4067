//! What the requests of an instance share.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::body::Budget;
use crate::committer::Committer;
use crate::event::Timestamp;
use crate::settings::Limits;
use crate::store::{Clock, Store};

/// The service in one instance. It survives from one request to the next, but may vanish at any
/// moment: it holds nothing that is not in the store or can be lost.
pub struct App<S, C> {
    /// How much a client may send.
    pub limits: Limits,
    /// When the service started, as `/stats` tells it.
    pub started_at: Timestamp,
    /// Where events are read.
    pub store: Rc<S>,
    /// Where events are written.
    pub committer: Committer<S, C>,
    /// What all bodies being read may hold.
    pub bodies: Budget,
    /// Answers that may be streamed at once, for each holds two pages.
    pub streams: Arc<Semaphore>,
    /// The time.
    pub clock: C,
}

/// Streamed answers of an instance at once.
const STREAMS: usize = 32;

impl<S: Store, C: Clock + Clone> App<S, C> {
    /// The service on a store. `seed` must differ from instance to instance.
    pub fn new(limits: Limits, started_at: Timestamp, store: S, clock: C, seed: u64) -> Self {
        let store = Rc::new(store);
        let committer = Committer::new(Rc::clone(&store), clock.clone(), seed);
        let streams = Arc::new(Semaphore::new(STREAMS));
        Self { limits, started_at, store, committer, bodies: Budget::default(), streams, clock }
    }
}
