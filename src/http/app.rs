//! The service in one instance: the state that its requests share.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::access::Access;
use super::budget::Budget;
use super::origin::Origins;
use super::saved_answers::{KeyValue, SavedAnswers};
use super::settings::{Instances, Settings};
use crate::clock::Clock;
use crate::committer::Committer;
use crate::consumers::Consumers;
use crate::eraser::Eraser;
use crate::event::Timestamp;
use crate::history::History;
use crate::ingest::UnknownFields;
use crate::limits::{ANSWERS_BYTES, BODIES_BYTES, FOLLOWERS, Limits, STREAMS};
use crate::reader::Reader;
use crate::receivers::Receiver;
use crate::retention::Retention;
use crate::store::Store;
use crate::tail::Tail;
use crate::topics::Topics;

/// The platform of the service: Spin, or a test.
pub trait Platform: 'static {
    /// The store of events.
    type Store: Store;
    /// The store of saved answers.
    type KeyValue: KeyValue;
    /// The clock.
    type Clock: Clock + Clone;

    /// The metrics of the host process in Prometheus' text format, or nothing.
    #[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
    async fn host_metrics() -> String;
}

/// The service in one instance. It survives from one request to the next, but may vanish at any moment, so everything
/// in it is also in the store or may be lost.
pub struct App<P: Platform> {
    /// The largest requests that are accepted.
    pub limits: Limits,
    /// The treatment of fields that no event has.
    pub unknown_fields: UnknownFields,
    /// The tokens.
    pub access: Access,
    /// The access of pages in browsers.
    pub origins: Origins,
    /// The receivers of webhooks, by name.
    pub receivers: BTreeMap<String, Receiver>,
    /// The start of the service.
    pub started_at: Timestamp,
    /// Reads events.
    pub reader: Reader<P::Store>,
    /// Writes events.
    pub committer: Committer<P::Store, P::Clock>,
    /// Gives events out, and keeps the places of consumers.
    pub consumers: Consumers<P::Store, P::Clock>,
    /// Knows which topics an event may have.
    pub topics: Topics<P::Store>,
    /// Erases events.
    pub eraser: Eraser<P::Store>,
    /// Takes old events away. Whoever runs the service has to call it.
    pub retention: Retention<P::Store, P::Clock>,
    /// Keeps the totals once a minute. Whoever runs the service has to call it.
    pub history: History<P::Store, P::Clock>,
    /// The answers to requests with an Idempotency-Key.
    pub saved_answers: SavedAnswers<P::KeyValue, P::Store>,
    /// Follows the end of the store.
    pub tail: Rc<Tail<P::Store, P::Clock>>,
    /// The memory of request bodies, and of the answers to them.
    pub bodies: Budget,
    /// The memory of other large answers.
    pub answers: Budget,
    /// A permit for each streamed answer.
    pub streams: Arc<Semaphore>,
    /// A permit for each follower.
    pub followers: Arc<Semaphore>,
    /// The clock.
    pub clock: P::Clock,
    instances: Instances,
}

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
        let reader = Reader::new(Rc::clone(&store));
        let committer = Committer::new(Rc::clone(&store), clock.clone(), seed);
        let retention =
            Retention::new(Rc::clone(&store), clock.clone(), settings.retention, committer.writes());
        let history = History::new(Rc::clone(&store), clock.clone(), committer.writes());
        Self {
            limits: settings.limits,
            unknown_fields: settings.unknown_fields,
            access: settings.access,
            origins: settings.origins,
            receivers: settings.receivers,
            started_at,
            consumers: Consumers::new(Rc::clone(&store), reader.clone(), clock.clone(), seed),
            topics: Topics::new(Rc::clone(&store), settings.max_topics),
            saved_answers: SavedAnswers::new(settings.answers, key_value, Rc::clone(&store)),
            eraser: Eraser::new(store),
            retention,
            history,
            committer,
            tail: Rc::new(Tail::new(reader.clone(), clock.clone())),
            reader,
            bodies: Budget::new(BODIES_BYTES),
            answers: Budget::new(ANSWERS_BYTES),
            streams: Arc::new(Semaphore::new(STREAMS)),
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
            clock,
            instances: settings.instances,
        }
    }

    /// True if the host should give further requests to other instances, and end this one after its last answer. One
    /// with live streams stays, because its followers share what it reads.
    pub fn should_retire(&self) -> bool {
        self.instances == Instances::Elastic
            && (self.committer.is_crowded() || self.consumers.is_crowded())
            && self.followers.available_permits() == FOLLOWERS
    }
}
