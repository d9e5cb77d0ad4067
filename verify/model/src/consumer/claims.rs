//! What is certain of each claim.

use std::collections::{BTreeMap, BTreeSet};

use super::call::{Given, Moment};

/// Milliseconds by which the clock of a client and that of the store may differ in what they round.
const SLACK: i64 = 5;

/// The claims of a consumer, by their tokens.
#[derive(Default)]
pub struct Claims(pub BTreeMap<String, Known>);

impl Claims {
    /// The tokens of a holder's claims.
    pub fn of_holder(&self, holder: &str) -> Vec<String> {
        self.0.iter().filter(|(_, known)| known.holder == holder).map(|(token, _)| token.clone()).collect()
    }

    /// Changes what is known of a claim.
    pub fn change(&mut self, token: &str, change: impl FnOnce(&mut Known)) {
        self.0.get_mut(token).map(change);
    }
}

/// A claim that was given out.
#[derive(Clone, Debug)]
pub struct Known {
    /// As it was given out first.
    pub given: Given,
    /// The place of the answer by which it was known.
    pub given_at: u64,
    /// Its holder.
    pub holder: String,
    /// Seconds by which a commit extends it.
    lease: u32,
    /// The turn in which it was given out last: see `Replay`.
    pub turn: u64,
    /// The life, likewise.
    pub life: u64,
    /// True if nothing at that time could make it a claim of before.
    pub is_certain: bool,
    /// The last event of which a commit told that was answered.
    pub from: u64,
    /// The last event of which a commit told.
    pub upto: u64,
    /// The events that commits named as failed.
    pub named: BTreeSet<u64>,
    /// It is live until then, if nothing ends it.
    live_until: i64,
    /// It has run out then, if nothing else extends it.
    run_out_at: i64,
    /// Calls that may extend it further, and are not answered.
    pub extending: u32,
    /// Calls that may have ended it.
    pub ending: u32,
    /// The place of the answer from which on it is no claim.
    pub lost_at: Option<u64>,
}

impl Known {
    /// A claim, given to a holder.
    pub fn new(given: &Given, given_at: u64, holder: &str, lease: u32) -> Self {
        Self {
            given_at,
            holder: holder.to_owned(),
            lease,
            turn: 0,
            life: 0,
            is_certain: false,
            from: given.from,
            upto: given.from,
            named: BTreeSet::new(),
            live_until: given.expires_at,
            run_out_at: given.expires_at,
            extending: 0,
            ending: 0,
            lost_at: None,
            given: given.clone(),
        }
    }

    /// Takes note that a call has extended it.
    pub fn extend(&mut self, began: Moment, ended: Moment) {
        let lease = i64::from(self.lease) * 1000;
        self.live_until = self.live_until.max(began.clock + lease);
        self.run_out_at = self.run_out_at.max(ended.clock + lease);
    }

    /// Takes note of its end and its events as they were told.
    pub fn give_again(&mut self, given: &Given) {
        self.given.seqs.clone_from(&given.seqs);
        self.live_until = self.live_until.max(given.expires_at);
        self.run_out_at = self.run_out_at.max(given.expires_at);
    }

    /// True if it is live at this time for certain.
    pub fn is_live(&self, clock: i64) -> bool {
        self.is_certain && self.ending == 0 && self.lost_at.is_none() && self.live_until > clock + SLACK
    }

    /// The time from which on it has run out for certain, if it is known.
    pub fn run_out_at(&self) -> Option<i64> {
        (self.is_certain && self.extending == 0).then_some(self.run_out_at + SLACK)
    }

    /// Its events that no commit was sent for.
    pub fn rest(&self) -> impl Iterator<Item = u64> {
        self.given.seqs.iter().copied().filter(|seq| *seq > self.upto)
    }

    /// Its events that no answered commit told of.
    pub fn untold(&self) -> impl Iterator<Item = u64> {
        self.given.seqs.iter().copied().filter(|seq| *seq > self.from)
    }
}
