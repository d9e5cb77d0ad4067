//! What the clients of a scenario sent, and what they were answered.

use std::cell::RefCell;
use std::rc::Rc;

use sekali_harness::Answer;
use serde_json::Value;

use crate::requests::{Request, Sent};
use crate::sim::executor::{Handle, TaskId};

/// A request, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The request.
    pub request: Request,
    /// True if all of it is refused because its body is malformed.
    pub is_unreadable: bool,
}

impl Message {
    /// A request, as it is.
    pub fn of(request: Request) -> Self {
        Self { request, is_unreadable: false }
    }

    /// A request with a body that does not end where it should. In part, what is too much in lines is a line.
    pub fn malformed(mut request: Request) -> Self {
        if request.header("content-encoding").is_some() {
            return Self::of(request);
        }
        request.body.push(b'{');
        let is_line = request.is_partial() && request.header("content-type") == Some("application/x-ndjson");
        request.invalid += usize::from(is_line);
        Self { request, is_unreadable: !is_line }
    }

    /// True if all of it is refused because an event is invalid.
    pub fn is_invalid(&self) -> bool {
        self.request.invalid > 0 && !self.request.is_partial()
    }

    /// The events that it stores or finds stored.
    pub fn taken(&self) -> &[Sent] {
        if self.is_unreadable || self.is_invalid() { &[] } else { &self.request.events }
    }
}

/// An attempt at a request.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The request.
    pub message: Rc<Message>,
    /// Its idempotency key.
    pub key: Option<&'static str>,
    /// The task of its client.
    pub task: Option<TaskId>,
    /// The places of its begin and its end among the begins and ends of all attempts.
    pub began: usize,
    /// See `began`.
    pub ended: usize,
    /// The answer; `None` if the client went away.
    pub answer: Option<Answered>,
}

/// An answer, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// Its `Preference-Applied`.
    pub preference: Option<String>,
    /// True if it says that it is sent again.
    pub is_replayed: bool,
    /// Its body.
    pub text: String,
}

impl Answered {
    /// An answer of the service.
    pub fn of(answer: &Answer) -> Self {
        Self {
            status: answer.status,
            preference: answer.header("preference-applied").map(ToOwned::to_owned),
            is_replayed: answer.header("idempotent-replayed") == Some("true"),
            text: answer.text.clone(),
        }
    }

    /// True if it acknowledges events.
    pub fn is_success(&self) -> bool {
        matches!(self.status, 200 | 207)
    }

    /// The name of the problem that it reports.
    pub fn problem(&self) -> String {
        let body: Value = serde_json::from_str(&self.text).unwrap_or_default();
        body["type"].as_str().unwrap_or_default().trim_start_matches("/problems/").to_owned()
    }

    /// True if both answers are the same, but for the header that marks one as repeated.
    pub fn says(&self, other: &Self) -> bool {
        (self.status, &self.preference, &self.text) == (other.status, &other.preference, &other.text)
    }
}

impl Attempt {
    /// The answer of a request that was carried out and acknowledged.
    pub fn receipt(&self) -> Option<&Answered> {
        self.answer.as_ref().filter(|answer| answer.is_success() && !answer.is_replayed)
    }

    /// True if nobody knows what it did: its client went away, or the service does not know.
    pub fn is_unknown(&self) -> bool {
        self.answer.as_ref().is_none_or(|answer| answer.status == 500)
    }

    /// True if its answer may be saved although no client has it.
    pub fn may_be_saved(&self) -> bool {
        self.answer.as_ref().is_none_or(|answer| answer.status >= 500)
    }

    /// The number of the events that it acknowledges.
    pub fn acknowledged(&self) -> u64 {
        self.receipt().map_or(0, |_| self.message.taken().len() as u64)
    }
}

/// The attempts of a scenario.
pub struct Attempts {
    sim: Handle,
    attempts: RefCell<Vec<Attempt>>,
    places: RefCell<usize>,
}

impl Attempts {
    /// No attempts yet.
    pub fn new(sim: Handle) -> Self {
        Self { sim, attempts: RefCell::default(), places: RefCell::default() }
    }

    /// Notes the begin of an attempt.
    pub fn begin(self: &Rc<Self>, message: &Rc<Message>, key: Option<&'static str>) -> Begun {
        let mut attempts = self.attempts.borrow_mut();
        let (message, task, began) = (Rc::clone(message), self.sim.running(), self.next());
        attempts.push(Attempt { message, key, task, began, ended: usize::MAX, answer: None });
        Begun { attempts: Rc::clone(self), number: attempts.len() - 1 }
    }

    /// All attempts.
    pub fn all(&self) -> Vec<Attempt> {
        self.attempts.borrow().clone()
    }

    /// The number of attempts that have not ended.
    pub fn under_way(&self) -> usize {
        self.attempts.borrow().iter().filter(|attempt| attempt.ended == usize::MAX).count()
    }

    fn next(&self) -> usize {
        let mut place = self.places.borrow_mut();
        *place += 1;
        *place
    }
}

/// An attempt that has not ended. Dropping it ends it without an answer.
pub struct Begun {
    attempts: Rc<Attempts>,
    /// The number of the attempt.
    pub number: usize,
}

impl Begun {
    /// Notes the answer.
    pub fn answer(self, answer: Answered) {
        self.attempts.attempts.borrow_mut()[self.number].answer = Some(answer);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let place = self.attempts.next();
        self.attempts.attempts.borrow_mut()[self.number].ended = place;
    }
}
