//! The history of a scenario: each attempt at a request, and its answer.

use std::cell::RefCell;
use std::rc::Rc;

use sekali_harness::Answer;
use serde_json::Value;

use super::request::Request;

/// An attempt at a request.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The request.
    pub request: Request,
    /// Its idempotency key.
    pub key: Option<&'static str>,
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
}

/// The attempts of a scenario.
#[derive(Default)]
pub struct History {
    attempts: RefCell<Vec<Attempt>>,
    places: RefCell<usize>,
}

impl History {
    /// Notes the begin of an attempt.
    pub fn begin(self: &Rc<Self>, request: &Request, key: Option<&'static str>) -> Begun {
        let mut attempts = self.attempts.borrow_mut();
        let (request, began) = (request.clone(), self.next());
        attempts.push(Attempt { request, key, began, ended: usize::MAX, answer: None });
        Begun { history: Rc::clone(self), number: attempts.len() - 1 }
    }

    /// All attempts.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.attempts.borrow().clone()
    }

    fn next(&self) -> usize {
        let mut place = self.places.borrow_mut();
        *place += 1;
        *place
    }
}

/// An attempt that has not ended. Dropping it ends it without an answer.
pub struct Begun {
    history: Rc<History>,
    /// The number of the attempt.
    pub number: usize,
}

impl Begun {
    /// Notes the answer.
    pub fn answer(self, answer: Answered) {
        self.history.attempts.borrow_mut()[self.number].answer = Some(answer);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let place = self.history.next();
        self.history.attempts.borrow_mut()[self.number].ended = place;
    }
}
