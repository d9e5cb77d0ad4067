//! The account of the writes that group commit makes, and of the time that requests wait for them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sekali::committer::Committed;
use sekali::event::NewEvent;
use sekali::store::StoreError;

use super::attempts::{Answered, Attempt};
use crate::sim::Violations;
use crate::sim::executor::{Handle, TaskId};

/// The events of a group that takes no further request.
const GROUP_EVENTS: usize = 1024;

/// The time that a request waits for a busy database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The time beyond it: a pause between two tries, and a write that finds the database busy.
const BEYOND_BUSY_TIMEOUT: Duration = Duration::from_millis(110);

/// The account of the writes of an instance.
pub struct Writes {
    sim: Handle,
    violations: Violations,
    is_writing: Cell<bool>,
    /// Writes that began and did not find the database busy, and the time that they took.
    done: Cell<(usize, Duration)>,
    /// Requests that may be answered that nobody knows what they did, or that nothing was done.
    unknown: Cell<usize>,
    /// Requests that may be answered that the disk is full.
    refused: Cell<usize>,
    /// The requests besides that of the leader in a group that found the database busy, and waits to be tried again.
    paused: RefCell<BTreeMap<TaskId, usize>>,
}

impl Writes {
    /// No writes yet.
    pub fn new(sim: Handle, violations: Violations) -> Self {
        let (is_writing, done, unknown, refused, paused) = Default::default();
        Self { sim, violations, is_writing, done, unknown, refused, paused }
    }

    /// Notes that a request arrives while others wait.
    pub fn arrive(self: &Rc<Self>, ahead: usize) -> Wait {
        Wait { writes: Rc::clone(self), at: self.sim.now(), before: self.done.get(), ahead }
    }

    /// Notes that a write begins.
    pub fn begin(self: &Rc<Self>, events: &[&NewEvent]) -> Write {
        let requests = requests(events);
        self.sim.log(format!("write of requests of {requests:?} events"));
        self.violations.check(!self.is_writing.replace(true), || "two writes at once".into());
        let of_all_but_last: usize = requests.iter().rev().skip(1).sum();
        self.violations.check(of_all_but_last < GROUP_EVENTS, || {
            format!("{of_all_but_last} events, and yet another request was taken")
        });
        let leader = self.sim.running();
        leader.map(|leader| self.paused.borrow_mut().remove(&leader));
        let (requests, began) = (requests.len(), self.sim.now());
        Write { writes: Rc::clone(self), requests, leader, began, is_ended: false }
    }

    /// Checks that no request was refused for the fault of another, nor for one that no write had.
    pub fn check(&self, attempts: &[Attempt]) {
        let answers = |status: u16, problem: &str| {
            let is_so = |answer: &&Answered| answer.status == status && answer.problem() == problem;
            attempts.iter().filter_map(|attempt| attempt.answer.as_ref()).filter(is_so).count()
        };
        let is_gone = |task: TaskId| attempts.iter().any(|of| of.task == Some(task) && of.answer.is_none());
        let left: usize =
            self.paused.borrow().iter().filter(|(task, _)| is_gone(**task)).map(|(_, others)| *others).sum();
        for (status, problem, most) in
            [(500, "internal", self.unknown.get() + left), (503, "storage-full", self.refused.get())]
        {
            let count = answers(status, problem);
            self.violations.check(count <= most, || {
                format!("{count} requests were answered {status} {problem}, and writes account for {most}")
            });
        }
    }
}

/// The numbers of events of the requests in a write. Those of one request lie one behind another in memory.
fn requests(events: &[&NewEvent]) -> Vec<usize> {
    let are_of_one = |first: &&NewEvent, second: &&NewEvent| {
        std::ptr::from_ref(*first).wrapping_add(1) == std::ptr::from_ref(*second)
    };
    events.chunk_by(are_of_one).map(<[_]>::len).collect()
}

/// The wait of a request.
pub struct Wait {
    writes: Rc<Writes>,
    at: Duration,
    /// The writes until then, and the time that they took.
    before: (usize, Duration),
    /// The requests that waited then.
    ahead: usize,
}

impl Wait {
    /// Checks that the wait until the answer was no longer than it had to be.
    pub fn check(self, number: usize, answer: &Answered) {
        let Self { writes, at, before, ahead } = &self;
        let Writes { sim, violations, done, .. } = &**writes;
        let waited = sim.now() - *at;
        let (writes, worked) = (done.get().0 - before.0, done.get().1 - before.1);
        violations.check(waited.saturating_sub(worked) <= BUSY_TIMEOUT + BEYOND_BUSY_TIMEOUT, || {
            format!("attempt {number} waited for {waited:?}, of which the store worked for {worked:?}")
        });
        // Each request is written at most twice before: in a group that fails, and alone.
        let most = 2 * (ahead + 1) + 2;
        violations.check(writes <= most, || {
            format!("attempt {number} waited for {writes} writes, and {ahead} requests were ahead of it")
        });
        violations.check(answer.problem() != "busy" || waited >= BUSY_TIMEOUT, || {
            format!("attempt {number} was answered busy after {waited:?}")
        });
    }
}

/// A write that runs. Dropping it means that its leader has gone.
pub struct Write {
    writes: Rc<Writes>,
    /// The number of requests in it.
    requests: usize,
    /// The task of the request that leads.
    pub leader: Option<TaskId>,
    began: Duration,
    is_ended: bool,
}

impl Write {
    /// Notes the result.
    pub fn end(mut self, result: &Committed) {
        self.is_ended = true;
        let Self { writes, requests, leader, .. } = &self;
        writes.sim.log(format!("write ended: {:?}", result.as_ref().map(Vec::len)));
        match (result, leader) {
            (Err(StoreError::Busy), Some(leader)) => {
                writes.paused.borrow_mut().insert(*leader, requests - 1);
                return;
            }
            (Err(StoreError::Uncertain(_)), _) => writes.unknown.update(|count| count + requests),
            // The requests of a group that fails are written again, each alone.
            (Err(StoreError::Failed(_)), _) if *requests == 1 => writes.unknown.update(|count| count + 1),
            (Err(StoreError::Full(_)), _) => writes.refused.update(|count| count + requests),
            _ => {}
        }
        self.count();
    }

    fn count(&self) {
        let (writes, worked) = self.writes.done.get();
        self.writes.done.set((writes + 1, worked + (self.writes.sim.now() - self.began)));
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        self.writes.is_writing.set(false);
        if !self.is_ended {
            self.writes.sim.log("write dropped");
            self.writes.unknown.update(|count| count + self.requests - 1);
            self.count();
        }
    }
}
