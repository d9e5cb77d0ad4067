//! Group commit: the events of all waiting requests become one write.
//!
//! The first request leads: it writes the events that have queued up together with its own, hands leadership to the
//! next request in the queue, and wakes each request of its group with the outcomes of its events. A lone request
//! waits for nobody, and under load one sync of the disk serves many.
//!
//! The file is long because it is one algorithm, whose parts mean nothing apart.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::event::NewEvent;
use crate::store::{Keyed, Outcome, RequestKey, StoreError, WriteStore};

/// A group of so many events takes no further request.
const GROUP_EVENTS: usize = 1024;

/// Turns of the scheduler without a new request after which the leader waits no longer. A request takes several from
/// its connection to the queue: two are too few, more than four gain nothing.
const GATHER_TURNS: usize = 4;

/// The longest wait of a request before it is written: for a busy database, or behind others. It begins when a leader
/// first finds the request waiting.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bounds of the pause before a busy database is tried again. The pause follows the contention: it grows with each try
/// that finds the database busy, and shrinks with each write. It stays short because writes are short: pauses that
/// double without end leave the database idle and some requests behind.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(3);
const LONGER: f64 = 1.2;
const SHORTER: f64 = 0.5;

/// A write of fewer events that found the database busy is a sign of too many instances: each has few requests, and
/// they wait for each other.
const FEW_EVENTS: usize = 8;

/// The share of such writes after which an instance assumes that there are too many instances, and ends. Not all of them
/// must.
const SHARE_OF_DOUBT: f64 = 0.2;

/// The outcomes of a request's events, in their order.
pub type Committed = Result<Vec<Outcome>, StoreError>;

/// Writes the events of concurrent requests in groups.
pub struct Committer<S, C>(Rc<Shared<S, C>>);

struct Shared<S, C> {
    store: Rc<S>,
    clock: C,
    random: RefCell<fastrand::Rng>,
    pause: Cell<Duration>,
    /// True if the last leader gathered nobody.
    was_alone: Cell<bool>,
    is_crowded: Cell<bool>,
    writes: Rc<Cell<u64>>,
    queue: RefCell<Queue<S, C>>,
}

struct Queue<S, C> {
    waiters: VecDeque<Waiter<S, C>>,
    /// True while a request leads. Until it has finished, new requests only queue.
    is_led: bool,
}

/// A request that waits for its turn.
struct Waiter<S, C> {
    request: Request,
    turn: oneshot::Sender<Turn<S, C>>,
}

/// The events of a request.
struct Request {
    events: Rc<[NewEvent]>,
    key: Option<RequestKey>,
    /// The start of its wait. A leader sets it: reading the clock for each request would be a call to the host.
    since: Option<Duration>,
    /// True if it is written alone, because a group with it has failed.
    alone: bool,
}

impl Request {
    fn is_impatient(&mut self, now: Duration) -> bool {
        now.saturating_sub(*self.since.get_or_insert(now)) >= BUSY_TIMEOUT
    }

    fn is_one_of(&self, keys: &[String]) -> bool {
        self.key.as_ref().is_some_and(|key| keys.contains(&key.key))
    }
}

/// The reason for which a waiter is woken.
enum Turn<S, C> {
    Done(Committed),
    /// It leads now, and gets its own events back.
    Lead(Leadership<S, C>, Request),
}

impl<S: WriteStore, C: Clock> Committer<S, C> {
    /// The committer of an instance. `seed` must differ from instance to instance, or their pauses meet.
    pub fn new(store: Rc<S>, clock: C, seed: u64) -> Self {
        let queue = RefCell::new(Queue { waiters: VecDeque::new(), is_led: false });
        Self(Rc::new(Shared {
            store,
            clock,
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            pause: Cell::new(SHORTEST_PAUSE),
            was_alone: Cell::new(false),
            is_crowded: Cell::new(false),
            writes: Rc::default(),
            queue,
        }))
    }

    /// True once the writes of this instance have shown that others would write its few events as well, and faster.
    pub fn is_crowded(&self) -> bool {
        self.0.is_crowded.get()
    }

    /// The number of writes so far. It grows with each.
    pub fn writes(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.0.writes)
    }

    /// Stores the events, at once or not at all, durably before it returns.
    ///
    /// # Errors
    /// [`StoreError::Busy`] after five seconds in which it could not be written, and what the store says otherwise.
    pub async fn commit(&self, events: Rc<[NewEvent]>) -> Committed {
        self.commit_request(events, None, None).await
    }

    /// The same for the events of a request that may have a key, and that may have begun to wait before.
    ///
    /// # Errors
    /// Also [`StoreError::Repeated`], when the store has an answer to the key already.
    pub async fn commit_request(
        &self,
        events: Rc<[NewEvent]>,
        key: Option<RequestKey>,
        since: Option<Duration>,
    ) -> Committed {
        if events.is_empty() && key.is_none() {
            return Ok(vec![]);
        }
        let request = Request { events, key, since, alone: false };
        let waiting = {
            let mut queue = self.0.queue.borrow_mut();
            if queue.is_led {
                let (turn, woken) = oneshot::channel();
                queue.waiters.push_back(Waiter { request, turn });
                Ok(woken)
            } else {
                queue.is_led = true;
                Err(request)
            }
        };
        match waiting {
            Err(request) => Leadership(Rc::clone(&self.0)).write(request).await,
            Ok(woken) => match woken.await {
                Ok(Turn::Done(committed)) => committed,
                Ok(Turn::Lead(leadership, request)) => leadership.write(request).await,
                Err(_) => Err(StoreError::Uncertain("the request that led the group went away".into())),
            },
        }
    }
}

/// The right to write. Dropping it, at the end or midway, hands it on.
struct Leadership<S, C>(Rc<Shared<S, C>>);

impl<S, C> Drop for Leadership<S, C> {
    fn drop(&mut self) {
        let shared = Rc::clone(&self.0);
        let mut queue = shared.queue.borrow_mut();
        queue.is_led = false;
        while let Some(Waiter { request, turn }) = queue.waiters.pop_front() {
            if turn.is_closed() {
                continue; // its client went away
            }
            queue.is_led = true;
            // The queue must be free: a turn that is not taken is dropped, and hands leadership on again.
            drop(queue);
            let _ = turn.send(Turn::Lead(Leadership(Rc::clone(&self.0)), request));
            return;
        }
    }
}

impl<S: WriteStore, C: Clock> Leadership<S, C> {
    /// Writes the leader's events and those of the waiters, until one write succeeds or fails for good.
    async fn write(self, mut own: Request) -> Committed {
        let shared = Rc::clone(&self.0);
        let mut group = Vec::new();
        let mut was_busy = false;
        loop {
            let now = shared.clock.now();
            shared.dismiss_impatient(&mut group, now);
            if own.is_impatient(now) {
                shared.put_back(group);
                return Err(StoreError::Busy);
            }
            shared.gather(&own).await;
            shared.fill(&mut group, &own);
            let requests = || std::iter::once(&own).chain(group.iter().map(|waiter| &waiter.request));
            let events: Vec<_> = requests().flat_map(|request| request.events.iter()).collect();
            let result = shared.store.append(&events, &keys(requests())).await;
            shared.writes.update(|writes| writes + 1);
            match result {
                Err(StoreError::Busy) => {
                    was_busy = true;
                    shared.clock.sleep(shared.pause_after_busy()).await;
                }
                // Some requests need no write. The others are tried again without them.
                Err(StoreError::Repeated(keys)) => {
                    shared.dismiss_repeated(&mut group, &keys);
                    if own.is_one_of(&keys) {
                        shared.put_back(group);
                        return Err(StoreError::Repeated(keys));
                    }
                }
                // One request is at fault. Each is written alone, so that it concerns no other.
                Err(StoreError::Failed(_)) if !group.is_empty() => {
                    own.alone = true;
                    group.iter_mut().for_each(|waiter| waiter.request.alone = true);
                    shared.put_back(std::mem::take(&mut group));
                }
                result => {
                    shared.shorten_pause();
                    if was_busy && events.len() < FEW_EVENTS {
                        shared.doubt();
                    }
                    // The next group does not wait until this one has its outcomes.
                    drop(self);
                    return distribute(result, &own, group);
                }
            }
        }
    }
}

impl<S: WriteStore, C: Clock> Shared<S, C> {
    /// Lets requests queue up for as long as they keep coming: a sync of the disk costs more than these turns. A lone
    /// request pays a few microseconds.
    async fn gather(&self, own: &Request) {
        // A leader that gathered nobody the last time probably will not now, and looks once.
        let mut turns = if self.was_alone.get() { 1 } else { GATHER_TURNS };
        loop {
            let waiting = self.events_waiting();
            if own.alone || own.events.len() + waiting >= GROUP_EVENTS {
                return;
            }
            for _ in 0..turns {
                self.clock.yield_now().await;
            }
            if self.events_waiting() == waiting {
                self.was_alone.set(waiting == 0);
                return;
            }
            turns = GATHER_TURNS;
        }
    }

    fn events_waiting(&self) -> usize {
        self.queue.borrow().waiters.iter().map(|waiter| waiter.request.events.len()).sum()
    }

    /// Moves waiters into the group until it is large enough.
    fn fill(&self, group: &mut Vec<Waiter<S, C>>, own: &Request) {
        let mut queue = self.queue.borrow_mut();
        let mut events =
            own.events.len() + group.iter().map(|waiter| waiter.request.events.len()).sum::<usize>();
        while !own.alone
            && events < GROUP_EVENTS
            && let Some(waiter) = queue.waiters.pop_front_if(|waiter| !waiter.request.alone)
        {
            if !waiter.turn.is_closed() {
                events += waiter.request.events.len();
                group.push(waiter);
            }
        }
    }

    fn put_back(&self, group: Vec<Waiter<S, C>>) {
        let mut queue = self.queue.borrow_mut();
        for waiter in group.into_iter().rev() {
            queue.waiters.push_front(waiter);
        }
    }

    /// Answers the waiters whose patience has ended. The wait of those that came since the last time begins now.
    fn dismiss_impatient(&self, group: &mut Vec<Waiter<S, C>>, now: Duration) {
        let waiters = &mut self.queue.borrow_mut().waiters;
        let mut impatient: Vec<_> = group.extract_if(.., |waiter| waiter.request.is_impatient(now)).collect();
        // The queue is in the order of arrival.
        while let Some(waiter) = waiters.pop_front_if(|waiter| waiter.request.is_impatient(now)) {
            impatient.push(waiter);
        }
        for waiter in waiters.iter_mut() {
            waiter.request.since.get_or_insert(now);
        }
        for waiter in impatient {
            let _ = waiter.turn.send(Turn::Done(Err(StoreError::Busy)));
        }
    }

    /// Answers the waiters of a group whose keys are known to the store.
    fn dismiss_repeated(&self, group: &mut Vec<Waiter<S, C>>, keys: &[String]) {
        for waiter in group.extract_if(.., |waiter| waiter.request.is_one_of(keys)) {
            let _ = waiter.turn.send(Turn::Done(Err(StoreError::Repeated(vec![]))));
        }
    }

    /// The pause with jitter, from half to one and a half of it. The next one is longer.
    fn pause_after_busy(&self) -> Duration {
        let pause = self.pause.get();
        self.pause.set(pause.mul_f64(LONGER).min(LONGEST_PAUSE));
        pause.mul_f64(0.5 + self.random.borrow_mut().f64())
    }

    fn doubt(&self) {
        if self.random.borrow_mut().f64() < SHARE_OF_DOUBT {
            self.is_crowded.set(true);
        }
    }

    fn shorten_pause(&self) {
        self.pause.set(self.pause.get().mul_f64(SHORTER).max(SHORTEST_PAUSE));
    }
}

/// The keys of requests, each with the place of its events among those of all.
fn keys<'r>(requests: impl Iterator<Item = &'r Request>) -> Vec<Keyed<'r>> {
    let mut end = 0;
    let keyed = |request: &'r Request| {
        let begin = end;
        end += request.events.len();
        request.key.as_ref().map(|key| Keyed { key, events: begin..end })
    };
    requests.filter_map(keyed).collect()
}

/// Gives each waiter its share of the outcomes, and returns the share of the leader.
fn distribute<S, C>(result: Committed, own: &Request, group: Vec<Waiter<S, C>>) -> Committed {
    let mut rest = result.map(Vec::into_iter);
    let mut share = |request: &Request| match &mut rest {
        Ok(outcomes) => Ok(outcomes.by_ref().take(request.events.len()).collect()),
        Err(error) => Err(error.clone()),
    };
    let own = share(own);
    for Waiter { request, turn } in group {
        let _ = turn.send(Turn::Done(share(&request)));
    }
    own
}

#[cfg(test)]
mod tests;
