//! The record of what clients did and saw.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use sekali_common::api::Stats;
use sekali_model::consumer::Call;
use sekali_model::{ReadBack, Stored};

use super::stage::Losses;
use crate::consumers::Found;
use crate::requests::Request;
use crate::requests::identities::{source_number, topic_number};

/// The time of an operation, in ticks: from before it was sent until after its answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Before it was sent.
    pub began: u64,
    /// After its answer came; [`NEVER`] if none came.
    pub ended: u64,
}

/// The end of an operation that was never answered, and of time.
pub const NEVER: u64 = u64::MAX;

/// All that the clients of a round did and saw.
#[derive(Debug, Default)]
pub struct History {
    /// Requests to publish.
    pub publishes: Vec<Publish>,
    /// Reads of events.
    pub reads: Vec<Read>,
    /// Live streams.
    pub follows: Vec<Follow>,
    /// Calls of a consumer's clients.
    pub calls: Vec<Call>,
    /// Events that they were given.
    pub claims: Vec<Claimed>,
    /// Requests to erase events.
    pub erasures: Vec<Erasure>,
    /// Answers that an identity was never stored.
    pub strangers: Vec<(Span, usize)>,
    /// Answers of `/stats`.
    pub snapshots: Vec<Snapshot>,
    /// The newest events, which retention keeps; `None` if it keeps all.
    pub kept: Option<usize>,
    /// Reads whose answer was lost, each with its time and its cause.
    pub lost_reads: Vec<(u64, String)>,
    /// Answers that no client should ever see, whatever the order of things.
    pub faults: Vec<String>,
    /// The losses that the service may have had.
    pub losses: Losses,
    /// What happened to the store as a whole.
    pub turn: Turn,
}

impl Span {
    /// All time.
    pub const ALWAYS: Self = Self { began: 0, ended: NEVER };
}

impl History {
    /// Adds what another client did and saw.
    pub fn add(&mut self, other: Self) {
        self.publishes.extend(other.publishes);
        self.reads.extend(other.reads);
        self.follows.extend(other.follows);
        self.calls.extend(other.calls);
        self.claims.extend(other.claims);
        self.erasures.extend(other.erasures);
        self.strangers.extend(other.strangers);
        self.snapshots.extend(other.snapshots);
        self.lost_reads.extend(other.lost_reads);
        self.faults.extend(other.faults);
    }

    /// Leaves what is certain when a copy has taken the place of the store: whatever was answered before may be lost, as
    /// if no answer had come. Live streams have shown what is lost, and go on.
    pub fn forget_lost(&mut self, end: &End) {
        let Turn::TakenOver(taken_over) = self.turn else { return };
        let is_later = |span: &Span| span.began > taken_over;
        self.publishes.retain(|publish| match &publish.outcome {
            Outcome::Answered(Answer { status, is_replayed, .. }) => {
                is_later(&publish.span) || (!is_replayed && (*status < 300 || *status == 500))
            }
            _ => true,
        });
        for publish in self.publishes.iter_mut().filter(|publish| !is_later(&publish.span)) {
            if publish.is_acknowledged() {
                publish.outcome = Outcome::Lost("a copy took over".into());
                publish.span.ended = NEVER;
            }
        }
        self.reads.retain(|read| is_later(&read.span));
        self.claims.retain(|claim| is_later(&claim.span));
        self.snapshots.retain(|snapshot| is_later(&snapshot.span));
        self.strangers.retain(|(span, _)| is_later(span));
        for follow in &mut self.follows {
            follow.events.retain(|(tick, identity, seen)| {
                let last = end.read.stored.get(identity);
                *tick > taken_over || last.is_some_and(|last| last.seq == seen.seq)
            });
        }
    }
}

/// What happened to the store as a whole in a round.
#[derive(Clone, Copy, Debug, Default)]
pub enum Turn {
    /// Nothing.
    #[default]
    None,
    /// From this tick on a copy of it served, which may lack the newest events of before.
    TakenOver(u64),
    /// In this time all events of before became too old to be kept.
    Aged(Span),
}

/// The state of the service at the end, when nothing is in progress.
pub struct End {
    /// All events.
    pub read: ReadBack<usize>,
    /// The identities of which a payload of their own is anywhere in the store.
    pub payloads: BTreeSet<usize>,
    /// The account.
    pub stats: Stats,
    /// The events as the consumer is held against them.
    pub found: Found,
}

/// A request to publish.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Its time.
    pub span: Span,
    /// Its idempotency key.
    pub key: Option<String>,
    /// The request.
    pub request: Request,
    /// Its outcome.
    pub outcome: Outcome,
    /// The time that it took.
    pub took: Duration,
}

impl Publish {
    /// True if its client was told that its valid events are stored.
    pub fn is_acknowledged(&self) -> bool {
        self.status().is_some_and(|status| status < 300)
    }

    /// The status of its answer.
    pub fn status(&self) -> Option<u16> {
        match &self.outcome {
            Outcome::Answered(answer) => Some(answer.status),
            _ => None,
        }
    }
}

/// The outcome of a request, as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not sent, or not to its end, so nothing of it is carried out.
    Unsent,
    /// It was sent and no answer came, for this cause: it may have been carried out.
    Lost(String),
    /// As [`Outcome::Lost`], after its client had waited for longer than anybody should.
    Late(String),
    /// It was answered.
    Answered(Answer),
}

/// An answer to a request to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// True if it is said to be that of an earlier request.
    pub is_replayed: bool,
    /// True if it says when to come again.
    pub names_retry: bool,
    /// Its body.
    pub body: String,
}

/// A read of events, of one answer or of several pages.
#[derive(Clone, Debug)]
pub struct Read {
    /// Its time, from the first page to the last.
    pub span: Span,
    /// The events that it asked for.
    pub selection: Selection,
    /// The seq after which it began.
    pub after: u64,
    /// True if it began with the newest.
    pub is_descending: bool,
    /// The events, in the order in which they came.
    pub events: Vec<(usize, Stored)>,
    /// True if it was read to its end.
    pub is_complete: bool,
    /// True if it may show an earlier moment, each page another.
    pub is_late: bool,
    /// The time that it took.
    pub took: Duration,
}

/// Events that a consumer's client was given.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The time of the claim.
    pub span: Span,
    /// The events, each as it was then.
    pub events: Vec<(usize, Stored)>,
}

/// A live stream, resumed whenever it broke.
#[derive(Clone, Debug)]
pub struct Follow {
    /// The events that it asked for.
    pub selection: Selection,
    /// The seq after which it began; `None` if it began at its moment.
    pub after: Option<u64>,
    /// The time of its beginning, until the service confirmed it.
    pub start: Span,
    /// True if it kept to an address where the present may come late.
    pub is_late: bool,
    /// The events, in the order in which they came, each with its time.
    pub events: Vec<(u64, usize, Stored)>,
}

/// A request to erase events, which may have been carried out.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// Its time.
    pub span: Span,
    /// The events that are to go.
    pub selection: Selection,
    /// True if the answer says that none of them is left.
    pub is_whole: bool,
}

/// An answer of `/stats`.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its time.
    pub span: Span,
    /// The account.
    pub stats: Stats,
}

/// A filter of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Numbers of topics; empty for all.
    pub topics: Vec<usize>,
    /// The number of a source.
    pub source: Option<usize>,
    /// The first identity by its time, and the one after the last.
    pub times: Option<(usize, usize)>,
    /// The only identity.
    pub identity: Option<usize>,
}

impl Selection {
    /// True if it asks for this identity.
    pub fn matches(&self, identity: usize) -> bool {
        (self.topics.is_empty() || self.topics.contains(&topic_number(identity)))
            && self.source.is_none_or(|source| source == source_number(identity))
            && self.times.is_none_or(|(since, until)| (since..until).contains(&identity))
            && self.identity.is_none_or(|only| only == identity)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ended {
            NEVER => write!(out, "[{}..]", self.began),
            ended => write!(out, "[{}..{ended}]", self.began),
        }
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.span)?;
        if let Some(key) = &self.key {
            write!(out, " key {key}")?;
        }
        write!(out, " {} -> ", self.request)?;
        match &self.outcome {
            Outcome::Unsent => write!(out, "not sent"),
            Outcome::Lost(cause) | Outcome::Late(cause) => write!(out, "no answer: {cause}"),
            Outcome::Answered(answer) => {
                let replayed = if answer.is_replayed { " (replayed)" } else { "" };
                write!(out, "{}{replayed} {}", answer.status, answer.body)
            }
        }
    }
}

impl fmt::Display for Read {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.is_descending { ", newest first" } else { "" };
        write!(out, "the read {} of {:?} after {}{order}", self.span, self.selection, self.after)
    }
}
