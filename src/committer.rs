//! Group commit: the events of all waiting requests become one write.
//!
//! The first request to come leads: it writes what has queued up with its own, hands leadership to
//! the next in the queue, and wakes each of its group with its own outcome. So a request alone waits
//! for nobody, and under load one sync of the disk serves many.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::event::NewEvent;
use crate::store::{Clock, Outcome, Store, StoreError};

/// Events after which a group takes no further request.
const GROUP_EVENTS: usize = 1024;

/// Turns without another request after which no more are waited for. A request takes several from its
/// connection to the queue: two are too few, more than four gain nothing.
const GATHER_TURNS: usize = 4;

/// How long a request waits for a database that others keep busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause before a busy database is tried again, at least and at most. It follows what contention
/// shows: longer after each try that found the database busy, shorter after a write. It stays short,
/// for writes are: pauses that double without end leave the database idle and some requests behind.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(3);
const LONGER: f64 = 1.2;
const SHORTER: f64 = 0.5;

/// What a request gets: an outcome for each of its events, in their order.
pub type Committed = Result<Vec<Outcome>, StoreError>;

/// Writes the events of concurrent requests in groups.
pub struct Committer<S, C>(Rc<Shared<S, C>>);

struct Shared<S, C> {
    store: Rc<S>,
    clock: C,
    random: RefCell<fastrand::Rng>,
    pause: Cell<Duration>,
    /// Whether the last leader gathered nobody.
    was_alone: Cell<bool>,
    queue: RefCell<Queue<S, C>>,
}

struct Queue<S, C> {
    followers: VecDeque<Follower<S, C>>,
    /// Whether one of the requests leads. While it does, those that come only queue.
    led: bool,
}

/// A request that waits for its turn.
struct Follower<S, C> {
    request: Request,
    turn: oneshot::Sender<Turn<S, C>>,
}

/// The events of a request.
struct Request {
    events: Rc<[NewEvent]>,
    /// When it first waited for a database that was busy. Few ever do, and a clock has its price.
    since: Option<Duration>,
    /// Whether it is written by itself, because a group that it was in failed.
    alone: bool,
}

impl Request {
    fn is_impatient(&mut self, now: Duration) -> bool {
        now.saturating_sub(*self.since.get_or_insert(now)) >= PATIENCE
    }
}

/// What a follower is woken for.
enum Turn<S, C> {
    Done(Committed),
    /// It leads now, with its own events given back to it.
    Lead(Leadership<S, C>, Request),
}

impl<S: Store, C: Clock> Committer<S, C> {
    /// The committer of an instance. `seed` must differ from instance to instance, or their pauses meet.
    pub fn new(store: Rc<S>, clock: C, seed: u64) -> Self {
        let queue = RefCell::new(Queue { followers: VecDeque::new(), led: false });
        Self(Rc::new(Shared {
            store,
            clock,
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            pause: Cell::new(SHORTEST_PAUSE),
            was_alone: Cell::new(false),
            queue,
        }))
    }

    /// Stores the events, at once or not at all, durably before it returns.
    ///
    /// # Errors
    /// [`StoreError::Busy`] after five seconds of it, and what the store says otherwise.
    pub async fn commit(&self, events: Rc<[NewEvent]>) -> Committed {
        if events.is_empty() {
            return Ok(vec![]);
        }
        let request = Request { events, since: None, alone: false };
        let waiting = {
            let mut queue = self.0.queue.borrow_mut();
            if queue.led {
                let (turn, woken) = oneshot::channel();
                queue.followers.push_back(Follower { request, turn });
                Ok(woken)
            } else {
                queue.led = true;
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

/// The right to write. Whoever loses it, by finishing or by being dropped midway, hands it on.
struct Leadership<S, C>(Rc<Shared<S, C>>);

impl<S, C> Drop for Leadership<S, C> {
    fn drop(&mut self) {
        let shared = Rc::clone(&self.0);
        let mut queue = shared.queue.borrow_mut();
        queue.led = false;
        while let Some(Follower { request, turn }) = queue.followers.pop_front() {
            if turn.is_closed() {
                continue; // it went away, and nobody is left to be told
            }
            queue.led = true;
            // Not while the queue is borrowed: a turn that is not taken is dropped, and hands on again.
            drop(queue);
            let _ = turn.send(Turn::Lead(Leadership(Rc::clone(&self.0)), request));
            return;
        }
    }
}

impl<S: Store, C: Clock> Leadership<S, C> {
    /// Writes the leader's events and those of whoever waits, until one write succeeds or fails for good.
    async fn write(self, mut own: Request) -> Committed {
        let shared = Rc::clone(&self.0);
        let mut group = Vec::new();
        loop {
            shared.gather(&own).await;
            shared.fill(&mut group, &own);
            let requests = || std::iter::once(&own).chain(group.iter().map(|follower| &follower.request));
            let events: Vec<_> = requests().flat_map(|request| request.events.iter()).collect();
            let result = shared.store.append(&events).await;
            match result {
                Err(StoreError::Busy) => {
                    let now = shared.clock.now();
                    shared.dismiss_impatient(&mut group, now);
                    if own.is_impatient(now) {
                        shared.put_back(group);
                        return Err(StoreError::Busy);
                    }
                    shared.clock.sleep(shared.pause_after_busy()).await;
                }
                // One of them is at fault, and the others shall not be told that they are.
                Err(StoreError::Failed(_)) if !group.is_empty() => {
                    own.alone = true;
                    group.iter_mut().for_each(|follower| follower.request.alone = true);
                    shared.put_back(std::mem::take(&mut group));
                }
                result => {
                    shared.shorten_pause();
                    // The next group need not wait until this one has been told.
                    drop(self);
                    return distribute(result, &own, group);
                }
            }
        }
    }
}

impl<S: Store, C: Clock> Shared<S, C> {
    /// Lets those queue up who are on their way, for as long as they keep coming: a sync of the disk costs
    /// more than these turns. Who is alone loses some microseconds.
    async fn gather(&self, own: &Request) {
        // Who was alone the last time probably still is, and looks only once.
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
        self.queue.borrow().followers.iter().map(|follower| follower.request.events.len()).sum()
    }

    /// Takes waiting requests into the group until it is large enough.
    fn fill(&self, group: &mut Vec<Follower<S, C>>, own: &Request) {
        let mut queue = self.queue.borrow_mut();
        let mut events =
            own.events.len() + group.iter().map(|follower| follower.request.events.len()).sum::<usize>();
        while !own.alone
            && events < GROUP_EVENTS
            && let Some(follower) = queue.followers.pop_front_if(|follower| !follower.request.alone)
        {
            if !follower.turn.is_closed() {
                events += follower.request.events.len();
                group.push(follower);
            }
        }
    }

    fn put_back(&self, group: Vec<Follower<S, C>>) {
        let mut queue = self.queue.borrow_mut();
        for follower in group.into_iter().rev() {
            queue.followers.push_front(follower);
        }
    }

    /// Tells those who have waited long enough that the database is busy. Who is not in the group yet
    /// begins to wait all the same.
    fn dismiss_impatient(&self, group: &mut Vec<Follower<S, C>>, now: Duration) {
        for follower in group.extract_if(.., |follower| follower.request.is_impatient(now)) {
            let _ = follower.turn.send(Turn::Done(Err(StoreError::Busy)));
        }
        for follower in self.queue.borrow_mut().followers.iter_mut() {
            follower.request.since.get_or_insert(now);
        }
    }

    /// Half to one and a half of the pause, which is longer the next time.
    fn pause_after_busy(&self) -> Duration {
        let pause = self.pause.get();
        self.pause.set(pause.mul_f64(LONGER).min(LONGEST_PAUSE));
        pause.mul_f64(0.5 + self.random.borrow_mut().f64())
    }

    fn shorten_pause(&self) {
        self.pause.set(self.pause.get().mul_f64(SHORTER).max(SHORTEST_PAUSE));
    }
}

/// Gives each follower its share of the outcomes, and returns the leader's.
fn distribute<S, C>(result: Committed, own: &Request, group: Vec<Follower<S, C>>) -> Committed {
    let mut rest = result.map(Vec::into_iter);
    let mut share = |request: &Request| match &mut rest {
        Ok(outcomes) => Ok(outcomes.by_ref().take(request.events.len()).collect()),
        Err(error) => Err(error.clone()),
    };
    let own = share(own);
    for Follower { request, turn } in group {
        let _ = turn.send(Turn::Done(share(&request)));
    }
    own
}

#[cfg(test)]
mod tests;
