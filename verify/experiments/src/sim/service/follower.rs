//! A follower, and the watch over what it gets.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sekali::event::{Source, TopicPattern};
use sekali::http::reply::ReplyBody;
use sekali::http::send_stream::{Broken, send_stream};
use sekali::store::{Filter, Seq, Span, StoreError};

use super::clients::Clients;
use super::store::SimStore;
use super::trouble::{Manner, SLOW};
use crate::requests::format::encoded;
use crate::requests::identities::{PREFIX, SOURCES, TOPICS};
use crate::sim::Violations;
use crate::sim::executor::Handle;

/// The longest silence of a stream: 15 s, and the time until the next tick.
const HEARTBEAT_BOUND: Duration = Duration::from_secs(16);

/// The time from a commit until a follower has the event, if the store answers fast.
const DELAY_BOUND: Duration = Duration::from_millis(500);

/// The shortest pause of a client before it connects again. Followers of a tick share also an error.
const RECONNECT: Duration = Duration::from_millis(150);

/// Events of a page.
const PAGE: u64 = 256;

/// A query of a live stream.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The events that it selects.
    pub filter: Filter,
    target: String,
}

impl Query {
    /// Draws a query: some are by topic or by a prefix of them, some by source, some without a condition.
    pub fn draw(random: &mut fastrand::Rng) -> Self {
        let topic = random.choice([TOPICS[0], TOPICS[1], TOPICS[2], PREFIX]).unwrap_or_default();
        let (name, value, filter) = match random.u32(..4) {
            0 => return Self { filter: Filter::default(), target: "/events".into() },
            1 => {
                let sources = Source::parse(SOURCES[0]).into_iter().collect();
                ("source", SOURCES[0], Filter { sources, ..Filter::default() })
            }
            _ => {
                let topics = TopicPattern::parse(topic).into_iter().collect();
                ("topic", topic, Filter { topics, ..Filter::default() })
            }
        };
        Self { filter, target: format!("/events?{name}={}", encoded(value)) }
    }
}

/// A client that follows, and connects again when it is cut off.
pub struct Follower {
    /// The probability that it goes away after a piece, and soon comes again.
    restlessness: f64,
    sim: Handle,
    clients: Rc<Clients<SimStore>>,
    presence: Presence,
}

impl Follower {
    /// A client that has not connected yet.
    pub fn new(clients: Rc<Clients<SimStore>>, watch: Rc<Watch>) -> Self {
        let sim = clients.sim.clone();
        let restlessness = sim.draw(|random| random.choice([0.0, 0.0, 0.1])).unwrap_or_default();
        Self { restlessness, sim, clients, presence: Presence(watch) }
    }

    /// Follows for ever.
    pub async fn run(self, start: Duration) {
        let Self { restlessness, sim, clients, presence: Presence(watch) } = &self;
        sim.sleep(start).await;
        watch.cursor.set(if sim.chance(0.3) { 0 } else { watch.store.last_seq() });
        loop {
            let reply = clients.follow(&watch.query.target, watch.cursor.get()).await;
            match reply.body {
                ReplyBody::Stream(events, comments) => {
                    watch.connect();
                    let take = async |piece: Vec<u8>| {
                        watch.take(&String::from_utf8_lossy(&piece));
                        !sim.chance(*restlessness)
                    };
                    // The stream ends with the connection: it may hold what other followers wait for.
                    if let Err(Broken::Unmade(error)) = send_stream(events, comments, take).await {
                        watch.cut_off(&error);
                    }
                }
                ReplyBody::Full(_) => watch.refused(reply.status.as_u16()),
            }
            watch.disconnect();
            sim.sleep(RECONNECT + sim.below_millis(2000)).await;
        }
    }
}

/// The time in which the task of a follower lives.
struct Presence(Rc<Watch>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.disconnect();
        self.0.is_gone.set(true);
    }
}

/// The watch over a follower.
pub struct Watch {
    /// Its number.
    pub number: u64,
    query: Query,
    sim: Handle,
    store: SimStore,
    violations: Violations,
    /// The last seq that it has.
    cursor: Cell<Seq>,
    /// The time of the last piece, or of the connection, while it is connected.
    heard_at: Cell<Option<Duration>>,
    /// The time at which this connection had everything that was stored.
    up_to_date_at: Cell<Option<Duration>>,
    /// The number of pages that it missed, for each connection.
    missed: RefCell<Vec<u64>>,
    /// Events that it received.
    pub received: Cell<u64>,
    errors: Cell<u64>,
    /// True if its client went away.
    pub is_gone: Cell<bool>,
}

impl Watch {
    /// A watch over a follower that has nothing yet.
    pub fn new(number: u64, query: Query, sim: Handle, store: SimStore, violations: Violations) -> Self {
        let (cursor, heard_at, up_to_date_at, missed, received, errors, is_gone) = Default::default();
        Self {
            number,
            query,
            sim,
            store,
            violations,
            cursor,
            heard_at,
            up_to_date_at,
            missed,
            received,
            errors,
            is_gone,
        }
    }

    /// The number of its connections.
    pub fn connections(&self) -> u64 {
        self.missed.borrow().len() as u64
    }

    /// The most pages that it reads for itself.
    pub fn pages_missed(&self) -> u64 {
        self.missed.borrow().iter().sum()
    }

    fn connect(&self) {
        let now = self.sim.now();
        self.heard_at.set(Some(now));
        let missed = self.outstanding().len() as u64;
        // While it reads them, more come.
        self.missed.borrow_mut().push(missed / PAGE + 3);
        self.up_to_date_at.set((missed == 0).then_some(now));
    }

    fn disconnect(&self) {
        self.heard_at.set(None);
        self.up_to_date_at.set(None);
    }

    /// Notes that an error cut it off. Each read that fails for good may do so once.
    fn cut_off(&self, error: &StoreError) {
        self.sim.log(format!("follower {} is cut off: {error}", self.number));
        self.errors.set(self.errors.get() + 1);
        self.violations.check(*error != StoreError::Overloaded, || {
            format!("{} was cut off by a read that had to wait for a connection", self.name())
        });
        let (errors, failures) = (self.errors.get(), self.store.failures.get());
        self.violations.check(errors <= failures, || {
            format!("{} was cut off {errors} times, and {failures} reads have failed", self.name())
        });
    }

    /// Notes that it could not connect, because a read failed.
    fn refused(&self, status: u16) {
        self.sim.log(format!("follower {} is refused with {status}", self.number));
        let is_right = self.store.manner == Manner::Failing && matches!(status, 500 | 503);
        self.violations.check(is_right, || format!("{} was refused with {status}", self.name()));
    }

    fn outstanding(&self) -> Vec<Seq> {
        self.store
            .matching(&self.query.filter, Span { after: self.cursor.get(), through: self.store.last_seq() })
    }

    /// Checks a piece of the stream.
    fn take(&self, piece: &str) {
        self.check_silence();
        self.heard_at.set(Some(self.sim.now()));
        let events = piece.split("\n\n").filter(|part| !part.is_empty() && !part.starts_with(':'));
        let seqs: Vec<Option<Seq>> =
            events.map(|event| event.strip_prefix("id: ")?.lines().next()?.parse().ok()).collect();
        if seqs.is_empty() {
            return;
        }
        let outstanding = self.outstanding();
        let expected: Vec<_> = outstanding.iter().take(seqs.len()).copied().map(Some).collect();
        self.violations.check(seqs == expected, || {
            format!("{} got {seqs:?} behind {}, and next are {expected:?}", self.name(), self.cursor.get())
        });
        self.received.set(self.received.get() + seqs.len() as u64);
        self.check_delay(&seqs);
        self.cursor.set(seqs.last().copied().flatten().unwrap_or_default().max(self.cursor.get()));
        if self.up_to_date_at.get().is_none() && outstanding.len() == seqs.len() {
            self.up_to_date_at.set(Some(self.sim.now()));
        }
    }

    fn check_silence(&self) {
        let Some(heard_at) = self.heard_at.get() else { return };
        let silence = self.sim.now() - heard_at;
        self.violations.check(silence <= HEARTBEAT_BOUND, || {
            format!("{} heard nothing for {silence:?}, from {heard_at:?} on", self.name())
        });
    }

    /// The events come soon, if this follower had all others and its own reads are fast.
    fn check_delay(&self, seqs: &[Option<Seq>]) {
        let is_slow = self.query.filter.topics.iter().any(|topic| topic.as_str() == TOPICS[SLOW]);
        let is_fast = match self.store.manner {
            Manner::Fast => true,
            Manner::OneSlow => !is_slow,
            Manner::Slow | Manner::Failing => false,
        };
        let Some(since) = self.up_to_date_at.get().filter(|_| is_fast) else { return };
        for seq in seqs.iter().flatten() {
            let committed_at = self.store.committed_at(*seq);
            let delay = self.sim.now() - committed_at.max(since);
            self.violations.check(delay <= DELAY_BOUND, || {
                format!("{} got {seq} after {delay:?}; it was committed at {committed_at:?}", self.name())
            });
        }
    }

    /// Checks that it has everything, unless it went away.
    pub fn check_end(&self) {
        if self.is_gone.get() {
            return;
        }
        self.check_silence();
        let outstanding = self.outstanding();
        self.violations.check(outstanding.is_empty(), || {
            format!("{} never got {outstanding:?}, which are all behind {}", self.name(), self.cursor.get())
        });
    }

    fn name(&self) -> String {
        format!("follower {} of {:?}", self.number, self.query.filter)
    }
}
