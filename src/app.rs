//! What the requests of an instance share.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::access::Access;
use crate::body::Budget;
use crate::committer::Committer;
use crate::event::Timestamp;
use crate::replay::{KeyValue, Replays};
use crate::settings::{Limits, Settings};
use crate::store::{Clock, Store};
use crate::tail::Tail;

/// What the service stands on: Spin, or something of a test.
pub trait Platform: 'static {
    /// Where events live.
    type Store: Store;
    /// Where saved answers live.
    type KeyValue: KeyValue;
    /// The time.
    type Clock: Clock + Clone;
}

/// The service in one instance. It survives from one request to the next, but may vanish at any
/// moment: it holds nothing that is not in the store or can be lost.
pub struct App<P: Platform> {
    /// How much a client may send.
    pub limits: Limits,
    /// Who may call what, and from where.
    pub access: Access,
    /// When the service started, as `/stats` tells it.
    pub started_at: Timestamp,
    /// Where events are read.
    pub store: Rc<P::Store>,
    /// Where events are written.
    pub committer: Committer<P::Store, P::Clock>,
    /// The answers to requests with an Idempotency-Key.
    pub replays: Replays<P::KeyValue>,
    /// The end of the store, as followers see it.
    pub tail: Rc<Tail<P::Store, P::Clock>>,
    /// What all bodies being read may hold.
    pub bodies: Budget,
    /// Answers that may be streamed at once, for each holds two pages.
    pub streams: Arc<Semaphore>,
    /// Followers that may be served at once.
    pub followers: Arc<Semaphore>,
    /// The time.
    pub clock: P::Clock,
}

/// Streamed answers of an instance at once.
const STREAMS: usize = 32;

/// Followers of an instance at once. Each holds a small page at most, and shares it with others.
const FOLLOWERS: usize = 512;

impl<P: Platform> App<P> {
    /// The service on a platform. `seed` must differ from instance to instance.
    pub fn new(
        settings: Settings,
        started_at: Timestamp,
        store: P::Store,
        key_value: P::KeyValue,
        clock: P::Clock,
        seed: u64,
    ) -> Self {
        let store = Rc::new(store);
        Self {
            limits: settings.limits,
            access: settings.access,
            started_at,
            committer: Committer::new(Rc::clone(&store), clock.clone(), seed),
            replays: Replays::new(key_value),
            tail: Rc::new(Tail::new(Rc::clone(&store), clock.clone())),
            store,
            bodies: Budget::default(),
            streams: Arc::new(Semaphore::new(STREAMS)),
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
            clock,
        }
    }
}
