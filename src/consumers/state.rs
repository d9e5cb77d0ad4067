//! Where a consumer stands: what the store keeps of it, as one JSON object.

use std::collections::VecDeque;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

use super::specification::Specification;
use crate::store::consume::{FailureState, Moment, Stored};
use crate::store::{Seq, StoreError};

/// The most events of a consumer that are parked or wait.
pub const MOST_HELD: i64 = 10_000;

/// Ended claims that are remembered, so that a commit whose answer was lost can be repeated.
const REMEMBERED: usize = 32;

/// Where a consumer stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What it is.
    pub specification: Specification,
    /// Which life of it this is: the moment at which it began. No two of a name have the same, not even after it was
    /// deleted, so that the ids of dead events of one are not those of another.
    pub generation: Moment,
    /// Up to this seq, every event was given out, or passed over.
    pub next: Seq,
    /// What was given out, and is not done: also claims that ran out, until they are given out again.
    pub claims: Vec<Claim>,
    /// The last claims that ended, each with its last seq.
    pub ended: VecDeque<(String, Seq)>,
    /// True if the last claim had events that failed: they take turns with new ones.
    pub has_retried: bool,
    /// Events that failed and come again, and those that wait for one which did.
    pub held: i64,
    /// Events that come no more by themselves.
    pub dead: i64,
    /// Events that were given out, each counted once.
    pub delivered: i64,
    /// Events that were given out again.
    pub redelivered: i64,
    /// What is missing behind the last claims, and was told by none.
    #[serde(default, skip_serializing_if = "Skipped::is_none")]
    pub missing: Skipped,
}

/// The kind of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// All events of a range.
    New,
    /// Events that failed, and those that waited behind them.
    Retry,
}

/// A leased range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What its holder shows.
    pub token: String,
    /// Who has it; empty after it was given back.
    pub holder: String,
    /// Its kind.
    pub kind: Kind,
    /// The seq before its first, which moves on with each commit.
    pub from: Seq,
    /// Its last seq.
    pub to: Seq,
    /// The events of a retry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seqs: Vec<Seq>,
    /// The events of a range that are not given out: they wait, as failures do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aside: Vec<Seq>,
    /// When it runs out.
    pub expires_at: Moment,
    /// Seconds by which a commit extends it.
    pub lease: u32,
    /// How often it was given out.
    pub attempt: u32,
    /// The number of its events.
    pub events: i64,
    /// What it tells to be missing, beside what is missing in its range.
    #[serde(default, skip_serializing_if = "Skipped::is_none")]
    pub missing: Skipped,
}

/// Events of a range that are not there any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Seqs that have expired, whatever their topic was.
    pub expired: i64,
    /// Events that were erased.
    pub erased: i64,
}

impl Skipped {
    /// True if nothing is missing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Add for Skipped {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { expired: self.expired + other.expired, erased: self.erased + other.erased }
    }
}

impl AddAssign for Skipped {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl State {
    /// That of a new consumer.
    pub fn new(specification: Specification, generation: Moment, next: Seq) -> Self {
        Self {
            specification,
            generation,
            next,
            claims: Vec::new(),
            ended: VecDeque::new(),
            has_retried: false,
            held: 0,
            dead: 0,
            delivered: 0,
            redelivered: 0,
            missing: Skipped::default(),
        }
    }

    /// The state from what is stored.
    ///
    /// # Errors
    /// When it is none, here and below: a fault of the program.
    pub fn read(stored: &Stored) -> Result<Self, StoreError> {
        serde_json::from_str(&stored.state)
            .map_err(|error| StoreError::Failed(format!("consumer {}: {error}", stored.name)))
    }

    /// The state as it is stored.
    pub fn written(&self) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(|error| StoreError::Failed(error.to_string()))
    }

    /// The seq up to which no event has to be given out the first time, or again because a claim ran out.
    pub fn position(&self) -> Seq {
        let open = self.claims.iter().filter(|claim| claim.kind == Kind::New).map(|claim| claim.from).min();
        open.unwrap_or(self.next)
    }

    /// True if nothing new is given out, because too many events are parked or wait.
    pub fn is_blocked(&self) -> bool {
        self.held >= MOST_HELD
    }

    /// Events that may still be claimed, if all that are out should fail.
    pub fn room(&self) -> i64 {
        let out = self.claims.iter().filter(|claim| claim.kind == Kind::New).map(|claim| claim.events);
        MOST_HELD - self.held - out.sum::<i64>()
    }

    /// The events of claims on what failed.
    pub fn seqs_out(&self) -> Vec<Seq> {
        self.claims.iter().flat_map(|claim| claim.seqs.iter().copied()).collect()
    }

    /// The claims that are live.
    pub fn live(&self, now: Moment) -> impl Iterator<Item = &Claim> {
        self.claims.iter().filter(move |claim| claim.is_live(now))
    }

    /// Remembers a claim that has ended, up to a seq.
    pub fn remember(&mut self, token: String, upto: Seq) {
        self.ended.push_back((token, upto));
        if self.ended.len() > REMEMBERED {
            self.ended.pop_front();
        }
    }

    /// Begins a new life at a seq: claims have ended, and what had failed is forgotten.
    pub fn begin_anew(&mut self, now: Moment, next: Seq) {
        let generation = now.max(self.generation + 1);
        let Self { specification, delivered, redelivered, .. } = self.clone();
        *self = Self { delivered, redelivered, ..Self::new(specification, generation, next) };
    }

    /// Counts a failure that was dead or not, or is so now; `None` is no failure at all.
    pub fn count(&mut self, before: Option<FailureState>, after: Option<FailureState>) {
        for (state, change) in [(before, -1), (after, 1)] {
            match state {
                Some(FailureState::Dead) => self.dead += change,
                Some(_) => self.held += change,
                None => {}
            }
        }
    }
}

impl Claim {
    /// True until it runs out.
    pub fn is_live(&self, now: Moment) -> bool {
        self.expires_at > now
    }

    /// Its lease begins now.
    pub fn extend(&mut self, now: Moment) {
        self.expires_at = self.expires_at.max(now + i64::from(self.lease) * 1000);
    }

    /// It is given out again, first of all, and its holder has it no more. No attempt is counted.
    pub fn give_back(&mut self) {
        self.token.clear();
        self.holder.clear();
        self.expires_at = 0;
        self.attempt = self.attempt.saturating_sub(1); // it is counted again when it is given out
    }
}
