//! The account of requests and writes, which the promises are checked against.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sekali::committer::Committed;
use sekali::event::NewEvent;
use sekali::store::{Outcome, StoreError};

use crate::sim::Violations;
use crate::sim::executor::{Handle, TaskId};

/// The events of a group that takes no further request.
const GROUP_EVENTS: usize = 1024;

/// The time that a request waits for a busy database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The time beyond it: a pause between two tries, and a write that finds the database busy.
const BEYOND_BUSY_TIMEOUT: Duration = Duration::from_millis(110);

/// The account of a scenario.
pub struct Account {
    sim: Handle,
    violations: Violations,
    requests: RefCell<Vec<Request>>,
    is_writing: Cell<bool>,
    /// Writes that began and did not find the database busy, and the time that they took.
    writes: Cell<(usize, Duration)>,
}

struct Request {
    events: usize,
    task: TaskId,
    state: State,
    last: Attempt,
    /// The time of its arrival, the writes until then, and the requests that waited then.
    arrival: (Duration, (usize, Duration), usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ToCome,
    Waits,
    Answered,
    /// Its client went away.
    Gone,
}

/// The last write with the events of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Attempt {
    None,
    /// It runs, led by this request.
    Running(usize),
    /// It was dropped midway.
    Dropped(usize),
    /// Its result for this request, its leader, and the number of requests in it.
    Ended(Committed, usize, usize),
}

impl Account {
    /// An account without requests.
    pub fn new(sim: Handle, violations: Violations) -> Self {
        let (requests, is_writing, writes) = Default::default();
        Self { sim, violations, requests, is_writing, writes }
    }

    /// The number of the next request.
    pub fn next(&self) -> usize {
        self.requests.borrow().len()
    }

    /// Takes in a request of so many events.
    pub fn open(&self, number: usize, events: usize) {
        self.violations.check(number == self.next(), || format!("request {number} is out of order"));
        let (state, last) = (State::ToCome, Attempt::None);
        self.requests.borrow_mut().push(Request {
            events,
            task: 0,
            state,
            last,
            arrival: Default::default(),
        });
    }

    /// Notes the task of a request.
    pub fn set_task(&self, number: usize, task: TaskId) {
        self.requests.borrow_mut()[number].task = task;
    }

    /// The task of a request.
    pub fn task(&self, number: usize) -> TaskId {
        self.requests.borrow()[number].task
    }

    /// Notes that a request enters the queue.
    pub fn arrive(self: &Rc<Self>, number: usize) -> Arrival {
        let mut requests = self.requests.borrow_mut();
        let ahead = requests.iter().filter(|request| request.state == State::Waits).count();
        requests[number].state = State::Waits;
        requests[number].arrival = (self.sim.now(), self.writes.get(), ahead);
        Arrival { account: Rc::clone(self), number }
    }

    /// Deliveries that were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        let requests = self.requests.borrow();
        let is_acknowledged = |request: &&Request| {
            request.state == State::Answered && matches!(request.last, Attempt::Ended(Ok(_), ..))
        };
        requests.iter().filter(is_acknowledged).map(|request| request.events as u64).sum()
    }

    /// True if the newest request was stored, or refused for an event of its own.
    pub fn is_last_stored(&self) -> bool {
        let requests = self.requests.borrow();
        requests.last().is_some_and(|request| match &request.last {
            Attempt::Ended(Ok(_), ..) => request.state == State::Answered,
            Attempt::Ended(Err(StoreError::Failed(cause)), ..) => cause == "poison",
            _ => false,
        })
    }

    /// Notes that a write begins, and checks its events.
    pub fn begin(self: &Rc<Self>, events: &[&NewEvent]) -> Write {
        let group = self.group(events);
        self.sim.log(format!("write of requests {group:?}"));
        self.violations.check(!self.is_writing.replace(true), || format!("{group:?}: two writes at once"));
        let mut requests = self.requests.borrow_mut();
        let of_all_but_last: usize =
            group.split_last().map_or(0, |(_, others)| others.iter().map(|of| requests[*of].events).sum());
        self.violations.check(of_all_but_last < GROUP_EVENTS, || {
            format!("{group:?}: {of_all_but_last} events, and yet another request was taken")
        });
        for number in &group {
            let Request { state, last, .. } = &requests[*number];
            let wrote_nothing = matches!(
                last,
                Attempt::None | Attempt::Ended(Err(StoreError::Busy | StoreError::Failed(_)), ..)
            );
            self.violations
                .check(wrote_nothing, || format!("request {number} is written again after {last:?}"));
            self.violations.check(matches!(state, State::Waits | State::Gone), || {
                format!("request {number} is written, and it is {state:?}")
            });
            requests[*number].last = Attempt::Running(group[0]);
        }
        Write { account: Rc::clone(self), group, began: self.sim.now(), is_ended: false }
    }

    /// The requests of a write, of which each has to be there with all of its events, in their order.
    fn group(&self, events: &[&NewEvent]) -> Vec<usize> {
        let place = |event: &&NewEvent| -> Option<(usize, usize)> {
            let (request, place) = event.source.as_ref()?.as_str().split_once('/')?;
            Some((request.parse().ok()?, place.parse().ok()?))
        };
        let places: Vec<_> = events.iter().filter_map(place).collect();
        let mut group: Vec<_> = places.iter().map(|(request, _)| *request).collect();
        group.dedup();
        let requests = self.requests.borrow();
        let of = |number: usize| (0..requests[number].events).map(move |place| (number, place));
        let expected: Vec<_> = group.iter().copied().flat_map(of).collect();
        self.violations.check(places == expected && places.len() == events.len(), || {
            format!("a write of requests {group:?} does not have exactly their events: {places:?}")
        });
        group
    }

    fn check_answer(&self, number: usize, committed: &Committed) {
        let requests = self.requests.borrow();
        let Request { last, .. } = &requests[number];
        let is_gone = |leader: usize| requests[leader].state == State::Gone;
        let is_right = match (committed, last) {
            (Err(StoreError::Failed(_)), Attempt::Ended(result, _, group)) => {
                result == committed && *group == 1
            }
            (Err(StoreError::Uncertain(cause)), Attempt::Ended(Err(StoreError::Busy), leader, _))
            | (Err(StoreError::Uncertain(cause)), Attempt::Dropped(leader)) => {
                is_gone(*leader) && cause.contains("went away")
            }
            // It waited behind the writes of others for too long, which the check below sees to.
            (Err(StoreError::Busy), Attempt::None | Attempt::Ended(Err(StoreError::Failed(_)), ..)) => true,
            (_, Attempt::Ended(result, ..)) => result == committed,
            _ => false,
        };
        self.violations.check(is_right, || {
            format!("request {number} was answered {committed:?}, and its last write: {last:?}")
        });
        self.check_wait(number, &requests[number], committed);
    }

    fn check_wait(&self, number: usize, request: &Request, committed: &Committed) {
        let (arrived, (writes_before, worked_before), ahead) = request.arrival;
        let waited = self.sim.now() - arrived;
        let (writes, worked) = self.writes.get();
        let (writes, worked) = (writes - writes_before, worked - worked_before);
        self.violations.check(waited.saturating_sub(worked) <= BUSY_TIMEOUT + BEYOND_BUSY_TIMEOUT, || {
            format!("request {number} waited for {waited:?}, of which the store worked for {worked:?}")
        });
        // Each request is written at most twice before: in a group that fails, and alone.
        let most = 2 * (ahead + 1) + 2;
        self.violations.check(writes <= most, || {
            format!("request {number} waited for {writes} writes, and {ahead} requests were ahead of it")
        });
        self.violations.check(*committed != Err(StoreError::Busy) || waited >= BUSY_TIMEOUT, || {
            format!("request {number} was answered busy after {waited:?}")
        });
    }
}

/// A request that waits. Dropping it means that its client has gone.
pub struct Arrival {
    account: Rc<Account>,
    number: usize,
}

impl Arrival {
    /// Checks the answer to the request.
    pub fn answer(self, committed: Committed) {
        let answer = committed.as_ref().map(Vec::len);
        self.account.sim.log(format!("request {} is answered {answer:?}", self.number));
        self.account.check_answer(self.number, &committed);
        self.account.requests.borrow_mut()[self.number].state = State::Answered;
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut requests = self.account.requests.borrow_mut();
        let state = &mut requests[self.number].state;
        if *state == State::Waits {
            *state = State::Gone;
        }
    }
}

/// A write that runs. Dropping it means that its leader has gone.
pub struct Write {
    account: Rc<Account>,
    group: Vec<usize>,
    began: Duration,
    is_ended: bool,
}

impl Write {
    /// The request that leads.
    pub fn leader(&self) -> Option<usize> {
        self.group.first().copied()
    }

    /// Notes the result.
    pub fn end(mut self, result: &Committed) {
        self.is_ended = true;
        self.account.sim.log(format!("write ended: {:?}", result.as_ref().map(Vec::len)));
        let mut outcomes = result.clone().map(Vec::into_iter);
        let mut requests = self.account.requests.borrow_mut();
        for number in &self.group {
            let share = match &mut outcomes {
                Ok(outcomes) => {
                    Ok(outcomes.by_ref().take(requests[*number].events).collect::<Vec<Outcome>>())
                }
                Err(error) => Err(error.clone()),
            };
            requests[*number].last = Attempt::Ended(share, self.group[0], self.group.len());
        }
        if *result != Err(StoreError::Busy) {
            self.count();
        }
    }

    fn count(&self) {
        let (writes, worked) = self.account.writes.get();
        self.account.writes.set((writes + 1, worked + (self.account.sim.now() - self.began)));
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        self.account.is_writing.set(false);
        if !self.is_ended {
            self.account.sim.log("write dropped");
            self.count();
            let leader = self.group[0];
            for number in &self.group {
                self.account.requests.borrow_mut()[*number].last = Attempt::Dropped(leader);
            }
        }
    }
}
