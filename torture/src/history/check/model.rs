//! The history as the model sees it: the deliveries of each identity, and the time from which it was known.

use std::collections::HashSet;

use sekali_clients::account::{Register, Stored, Wrong};
use sekali_clients::api::EventStatus;

use super::receipt::{self, Receipt};
use crate::history::identities::{IDENTITIES, PAYLOADS};
use crate::history::record::{Answer, End, History, NEVER, Outcome, Publish, Span};

/// The history, the end, and what follows from them.
pub struct Model<'h> {
    /// What clients did and saw.
    pub history: &'h History,
    /// The state at the end.
    pub end: &'h End,
    /// The events at the end with their identities, in the order of seq.
    pub ordered: Vec<(usize, Stored)>,
    /// Requests that were carried out, or may have been.
    pub executions: Vec<Execution<'h>>,
    /// Replayed answers to which no request is known.
    pub strays: Vec<&'h Publish>,
    /// The deliveries of each identity.
    pub deliveries: Vec<Vec<Delivery>>,
    /// For each identity, the first tick at which a client knew that it was stored.
    pub known: Vec<u64>,
    /// Answers that contradict their requests.
    pub wrong_answers: Wrong,
    /// The times at which clients knew of a seq, and the highest of those known by then.
    highest: Vec<(u64, u64)>,
}

/// A request that was carried out, or may have been.
#[derive(Clone, Copy, Debug)]
pub struct Execution<'h> {
    /// The request.
    pub publish: &'h Publish,
    /// Its time, until its answer came to any client.
    pub span: Span,
    /// The answer, unless it was lost.
    pub answer: Option<&'h Answer>,
}

/// A delivery of an event.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// The number of the execution that carried it.
    pub execution: usize,
    /// Its time, that of the request.
    pub span: Span,
    /// The number of its payload.
    pub payload: usize,
    /// Its status, if an answer tells it.
    pub status: Option<EventStatus>,
    /// Its seq, if an answer tells it.
    pub seq: Option<u64>,
}

impl<'h> Model<'h> {
    /// Makes the model of a history.
    pub fn new(history: &'h History, end: &'h End) -> Self {
        let (executions, strays) = executions(history);
        let stored = end.read.stored.iter().enumerate();
        let mut ordered: Vec<_> =
            stored.filter_map(|(identity, stored)| Some((identity, (*stored)?))).collect();
        ordered.sort_by_key(|(_, stored)| stored.seq);
        let mut model = Self {
            history,
            end,
            ordered,
            executions,
            strays,
            deliveries: vec![Vec::new(); IDENTITIES],
            known: vec![NEVER; IDENTITIES],
            wrong_answers: Wrong::default(),
            highest: Vec::new(),
        };
        model.add_deliveries();
        model.add_knowledge();
        model
    }

    /// The event as it is stored at the end.
    pub fn stored(&self, identity: usize) -> Option<&Stored> {
        self.end.read.stored[identity].as_ref()
    }

    /// The register of an identity as an operation may have found it: a delivery that was neither answered before nor
    /// sent after it counts as unknown.
    pub fn register(&self, identity: usize, span: Span) -> Register<PAYLOADS> {
        let mut register = Register::default();
        for delivery in &self.deliveries[identity] {
            if delivery.span.ended < span.began {
                register.answer(delivery.payload, delivery.status);
            } else if delivery.span.began < span.ended {
                register.lose(delivery.payload, 1);
            }
        }
        register
    }

    /// The register of an identity at the end.
    pub fn last_register(&self, identity: usize) -> Register<PAYLOADS> {
        self.register(identity, Span { began: NEVER, ended: NEVER })
    }

    /// The highest seq that any client knew before a tick.
    pub fn highest_before(&self, tick: u64) -> Option<u64> {
        let count = self.highest.partition_point(|(known, _)| *known < tick);
        Some(self.highest[count.checked_sub(1)?].1)
    }

    fn add_deliveries(&mut self) {
        for (number, execution) in self.executions.iter().enumerate() {
            let receipt = execution.answer.map(|answer| receipt::read(&execution.publish.request, answer));
            let receipt = match receipt.transpose() {
                Ok(receipt) => receipt,
                Err(contradiction) => {
                    self.wrong_answers.add(|| format!("{contradiction}: {}", execution.publish));
                    None
                }
            };
            let told =
                |at: usize| receipt.as_ref().map(|receipt: &Receipt| receipt.told[at]).unwrap_or_default();
            for (at, sent) in execution.publish.request.events.iter().enumerate() {
                self.deliveries[sent.identity].push(Delivery {
                    execution: number,
                    span: execution.span,
                    payload: sent.payload,
                    status: told(at).status,
                    seq: told(at).seq,
                });
            }
        }
    }

    fn add_knowledge(&mut self) {
        let deliveries = self.deliveries.iter().enumerate();
        let answers = deliveries.flat_map(|(identity, deliveries)| {
            deliveries.iter().map(move |delivery| (identity, delivery.span.ended))
        });
        let replays = self.history.publishes.iter().filter(|publish| publish.is_acknowledged());
        let replays = replays.flat_map(|publish| {
            publish.request.events.iter().map(|sent| (sent.identity, publish.span.ended))
        });
        let reads = self.history.reads.iter();
        let reads =
            reads.flat_map(|read| read.events.iter().map(|(identity, _)| (*identity, read.span.ended)));
        let follows = self.history.follows.iter().flat_map(|follow| &follow.events);
        let follows = follows.map(|(tick, identity, _)| (*identity, *tick));
        for (identity, tick) in answers.chain(replays).chain(reads).chain(follows) {
            self.known[identity] = self.known[identity].min(tick);
        }
        let stored = self.end.read.stored.iter().zip(&self.known);
        let mut known: Vec<_> = stored.filter_map(|(stored, known)| Some((*known, (*stored)?.seq))).collect();
        known.sort_unstable();
        let mut highest = 0;
        for (_, seq) in &mut known {
            highest = highest.max(*seq);
            *seq = highest;
        }
        self.highest = known;
    }
}

/// The requests that were carried out or may have been, and the replayed answers that belong to none of them.
fn executions(history: &History) -> (Vec<Execution<'_>>, Vec<&Publish>) {
    let (mut executions, mut replays) = (Vec::new(), Vec::new());
    for publish in &history.publishes {
        let mut add = |ended, answer| {
            let span = Span { began: publish.span.began, ended };
            executions.push(Execution { publish, span, answer });
        };
        match &publish.outcome {
            Outcome::Unsent => {}
            Outcome::Lost(_) => add(NEVER, None),
            Outcome::Answered(answer) if answer.is_replayed => replays.push((publish, answer)),
            Outcome::Answered(answer) if answer.status < 300 => add(publish.span.ended, Some(answer)),
            Outcome::Answered(answer) if answer.status >= 500 && answer.status != 503 => add(NEVER, None),
            Outcome::Answered(_) => {}
        }
    }
    replays.sort_by_key(|(publish, _)| publish.span.ended);
    let mut strays = Vec::new();
    for (publish, answer) in replays {
        let is_like = |execution: &&mut Execution<'_>| {
            publish.key.is_some()
                && execution.publish.key == publish.key
                && execution.publish.request == publish.request
                && execution.span.began < publish.span.ended
        };
        let mut alike: Vec<_> = executions.iter_mut().filter(is_like).collect();
        let is_answered = |execution: &&mut Execution<'_>| {
            execution.answer.is_some_and(|first| (first.status, &first.body) == (answer.status, &answer.body))
        };
        if alike.iter().any(is_answered) {
            continue;
        }
        // The answer that was lost comes late.
        match alike.iter_mut().find(|execution| execution.answer.is_none()) {
            Some(execution) => {
                execution.answer = Some(answer);
                execution.span.ended = publish.span.ended;
            }
            None => strays.push(publish),
        }
    }
    // One request of a key is carried out: if one was answered, none of those that were lost was.
    let answered = executions.iter().filter(|execution| execution.answer.is_some());
    let answered: HashSet<_> = answered.filter_map(|execution| execution.publish.key.as_deref()).collect();
    executions.retain(|execution| {
        execution.answer.is_some() || !execution.publish.key.as_deref().is_some_and(|key| answered.contains(key))
    });
    (executions, strays)
}
