//! The history as the model sees it: the deliveries of each identity, and the time from which it was known.

use std::collections::HashSet;

use sekali_common::api::EventStatus;
use sekali_model::{Register, Stored, Wrong, account_of};

use super::executions::{Execution, executions};
use crate::consumers::DEAD;
use crate::history::record::{End, Erasure, History, NEVER, Publish, Span, Turn};
use crate::requests::identities::{IDENTITIES, PAYLOADS};
use crate::requests::receipt::{self, Receipt};

/// The history, the end, and what follows from them.
pub struct Model<'h> {
    /// What clients did and saw.
    pub history: &'h History,
    /// The state at the end.
    pub end: &'h End,
    /// The events that were ever seen with their identities, in the order of seq.
    pub ordered: Vec<(usize, Known)>,
    /// Requests that were carried out, or may have been.
    pub executions: Vec<Execution<'h>>,
    /// Replayed answers to which no request is known.
    pub strays: Vec<&'h Publish>,
    /// The deliveries of each identity.
    pub deliveries: Vec<Vec<Delivery>>,
    /// For each identity, the first tick at which a client knew that it was stored.
    pub known: Vec<u64>,
    /// For each identity, the tick from which its event may be gone, erased or expired.
    pub goes: Vec<u64>,
    /// For each identity, the tick from which its event must be gone.
    pub gone: Vec<u64>,
    /// The identities whose events were erased one by one, also if they had expired.
    pub erased: HashSet<usize>,
    /// Answers that contradict their requests.
    pub wrong_answers: Wrong,
    /// The events that were ever seen, by identity.
    stored: Vec<Option<Known>>,
    /// The times at which clients knew of a seq, and the highest of those known by then.
    highest: Vec<(u64, u64)>,
}

/// An event that was seen, and may be gone at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its place in the order of all events.
    pub seq: u64,
    /// The number of its payload, unless nobody saw it.
    pub payload: Option<usize>,
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
        let mut model = Self {
            history,
            end,
            ordered: Vec::new(),
            executions,
            strays,
            deliveries: vec![Vec::new(); IDENTITIES],
            known: vec![NEVER; IDENTITIES],
            goes: vec![NEVER; IDENTITIES],
            gone: vec![NEVER; IDENTITIES],
            erased: HashSet::new(),
            wrong_answers: Wrong::default(),
            stored: vec![None; IDENTITIES],
            highest: Vec::new(),
        };
        model.add_deliveries();
        model.add_events();
        model.add_knowledge();
        model.add_removal();
        model
    }

    /// The event as it was stored, if anybody ever saw it.
    pub fn stored(&self, identity: usize) -> Option<Known> {
        self.stored[identity]
    }

    /// The event as it is read at the end.
    pub fn last(&self, identity: usize) -> Option<&Stored> {
        self.end.read.stored.get(&identity)
    }

    /// True if the event is not read at the end, and may not be gone.
    pub fn is_lost(&self, identity: usize) -> bool {
        self.last(identity).is_none() && self.goes[identity] == NEVER
    }

    /// The register of an identity as an operation may have found it: a delivery that was neither answered before nor
    /// sent after it counts as unknown.
    pub fn register(&self, identity: usize, span: Span) -> Register<PAYLOADS> {
        let mut register = Register::default();
        for delivery in &self.deliveries[identity] {
            if delivery.span.ended < span.began {
                register.answer(delivery.payload, delivery.status);
            } else if delivery.span.began < span.ended {
                register.lose(delivery.payload);
            }
        }
        register
    }

    /// The register of an identity at the end.
    pub fn last_register(&self, identity: usize) -> Register<PAYLOADS> {
        self.register(identity, Span { began: NEVER, ended: NEVER })
    }

    /// The lowest and the highest seq that was answered for an identity.
    pub fn answered_seqs(&self, identity: usize) -> Option<(u64, u64)> {
        let seqs = || self.deliveries[identity].iter().filter_map(|delivery| delivery.seq);
        Some((seqs().min()?, seqs().max()?))
    }

    /// The highest seq that any client knew before a tick.
    pub fn highest_before(&self, tick: u64) -> Option<u64> {
        let count = self.highest.partition_point(|(known, _)| *known < tick);
        Some(self.highest[count.checked_sub(1)?].1)
    }

    fn add_deliveries(&mut self) {
        for (number, execution) in self.executions.iter().enumerate() {
            let receipt = execution
                .answer
                .map(|answer| receipt::read(&execution.publish.request, answer.status, &answer.body));
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

    /// Adds the events that were read, or whose seq was answered.
    fn add_events(&mut self) {
        let last = self.end.read.stored.iter().map(|(identity, stored)| (*identity, *stored));
        let reads = self.history.reads.iter().flat_map(|read| &read.events).copied();
        let follows = self.history.follows.iter().flat_map(|follow| &follow.events);
        let follows = follows.map(|(_, identity, stored)| (*identity, *stored));
        let claims = self.history.claims.iter().flat_map(|claim| &claim.events).copied();
        let known = |stored: Stored| Known { seq: stored.seq, payload: Some(stored.payload) };
        for (identity, stored) in last.chain(reads).chain(follows).chain(claims) {
            self.stored[identity].get_or_insert(known(stored));
        }
        for (deliveries, stored) in self.deliveries.iter().zip(&mut self.stored) {
            let seq = deliveries.iter().find_map(|delivery| delivery.seq);
            let storer = deliveries.iter().find(|delivery| delivery.status == Some(EventStatus::Stored));
            let payload = storer.map(|storer| storer.payload);
            *stored = stored.or_else(|| Some(Known { seq: seq?, payload }));
        }
        let stored = self.stored.iter().enumerate();
        self.ordered = stored.filter_map(|(identity, known)| Some((identity, (*known)?))).collect();
        self.ordered.sort_by_key(|(_, known)| known.seq);
    }

    /// Adds what took events away: an event may be gone once a request that erases it was sent, or once as many newer
    /// ones as are kept may have been stored.
    fn add_removal(&mut self) {
        if let Some(kept) = self.history.kept {
            // What tells of dead events is kept among the others, and may have come at any time.
            let deaths = account_of(&self.end.stats, DEAD).unique_processed as usize;
            let sent: Vec<_> = self.deliveries.iter().map(|deliveries| first(deliveries)).collect();
            let is_unseen = |identity: &usize| self.stored[*identity].is_none() && sent[*identity] < NEVER;
            // An event whose seq nobody saw may stand anywhere.
            let unseen: Vec<_> = (0..IDENTITIES).filter(is_unseen).collect();
            let mut newer: Vec<_> = unseen.iter().map(|identity| sent[*identity]).collect();
            newer.sort_unstable();
            for (identity, _) in self.ordered.iter().rev() {
                self.goes[*identity] = newer.get(kept.saturating_sub(deaths + 1)).copied().unwrap_or(NEVER);
                newer.insert(newer.partition_point(|tick| *tick < sent[*identity]), sent[*identity]);
            }
            for identity in unseen {
                self.goes[identity] = newer.get(kept.saturating_sub(deaths)).copied().unwrap_or(NEVER);
            }
        }
        if let Turn::Aged(span) = self.history.turn {
            for (identity, deliveries) in self.deliveries.iter().enumerate() {
                if first(deliveries) < span.ended {
                    self.goes[identity] = self.goes[identity].min(span.began);
                }
            }
        }
        for Erasure { span, selection, is_whole } in &self.history.erasures {
            for identity in (0..IDENTITIES).filter(|identity| selection.matches(*identity)) {
                self.goes[identity] = self.goes[identity].min(span.began);
                if *is_whole && self.known[identity] < span.began {
                    self.gone[identity] = self.gone[identity].min(span.ended);
                    self.erased.extend(selection.identity);
                }
            }
        }
        // A read that did not show an event, which was known before, shows that it is gone.
        for read in self.history.reads.iter().filter(|read| read.is_complete && !read.is_late) {
            let shown: HashSet<_> = read.events.iter().map(|(identity, _)| *identity).collect();
            for (identity, known) in &self.ordered {
                let is_asked = read.selection.matches(*identity) && known.seq > read.after;
                if is_asked && self.known[*identity] < read.span.began && !shown.contains(identity) {
                    self.gone[*identity] = self.gone[*identity].min(read.span.ended);
                }
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
        let claims = self.history.claims.iter();
        let claims =
            claims.flat_map(|claim| claim.events.iter().map(|(identity, _)| (*identity, claim.span.ended)));
        for (identity, tick) in answers.chain(replays).chain(reads).chain(follows).chain(claims) {
            self.known[identity] = self.known[identity].min(tick);
        }
        let stored = self.stored.iter().zip(&self.known);
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

/// The tick before the first of these deliveries.
fn first(deliveries: &[Delivery]) -> u64 {
    deliveries.iter().map(|delivery| delivery.span.began).min().unwrap_or(NEVER)
}
