//! The checks of each call against what is certain of a consumer.

use std::collections::{BTreeMap, BTreeSet};

use super::call::{Ask, Call, Given};
use super::claims::Known;
use super::events::{Dead, Log};
use super::replay::{Began, Replay};
use super::rules::Rules;

/// Holds the calls of all clients of a consumer against the events. The first call makes it. In the end its clients have
/// claimed and committed until nothing was left.
pub fn check(calls: &[Call], log: &Log) -> Rules {
    let mut replay = Replay::of(calls, log);
    for seq in replay.events.open(u64::MAX) {
        replay.rules.skipped.add(|| format!("{seq} was not"));
    }
    replay.check_dead(log);
    replay.rules
}

impl Replay<'_> {
    /// A claim was given out.
    pub(super) fn given(&mut self, call: &Call, began: &Began, given: &Given, (holder, lease): (&str, u32)) {
        let Given { token, seqs, .. } = given;
        let is_certain = began.turn == self.turn && self.doubts.is_empty();
        let of_before = self.claims.0.get(token).cloned();
        let known = self
            .claims
            .0
            .entry(token.clone())
            .or_insert_with(|| Known::new(given, call.ended.place, holder, lease));
        known.give_again(given);
        (known.turn, known.life, known.is_certain) = (self.turn, self.life, is_certain);
        self.check_contents(given, is_certain);
        if !is_certain {
            return;
        }
        for &seq in seqs {
            let done = self.events.fate(seq).done;
            if done.is_some_and(|place| place < call.began.place) {
                self.rules.repeated.add(|| format!("{seq} was done, and is given out again as {token}"));
            } else if seq <= began.settled && !self.has_people {
                self.rules
                    .repeated
                    .add(|| format!("{seq} is given out behind {}, which was settled", began.settled));
            }
        }
        if let Some((first, later)) = self.events.passed(seqs, self.order()) {
            self.rules.passed.add(|| format!("{later} is given out as {token}, and {first} is open"));
        }
        self.check_alone(call, given, holder);
        if let Some(known) = &of_before {
            if known.holder != holder {
                let (token, other) = (&given.token, &known.holder);
                self.rules.shared.add(|| format!("{token} of {other} is given to {holder}"));
            }
            self.check_whole(known, given);
        } else {
            self.check_first(call, given);
        }
    }

    fn check_contents(&mut self, given: &Given, is_certain: bool) {
        let Given { token, from, to, seqs, .. } = given;
        let is_in_order = seqs.is_sorted_by(|one, other| one < other);
        if seqs.is_empty() || !is_in_order || seqs.iter().any(|seq| seq <= from || seq > to) {
            self.rules.foreign.add(|| format!("{token} is from {from} to {to} and has {seqs:?}"));
        }
        let Some(specification) = self.specification.as_ref().filter(|_| is_certain && !given.is_retry)
        else {
            return;
        };
        let is_foreign = |seq: &&u64| self.events.topic(**seq).is_some_and(|topic| !specification.has(topic));
        if let Some(seq) = seqs.iter().find(is_foreign) {
            self.rules
                .foreign
                .add(|| format!("{token} has {seq}, which is not of {:?}", specification.topics));
        }
    }

    /// A claim that is given out again has all that is left of it.
    fn check_whole(&mut self, known: &Known, given: &Given) {
        let is_missing = |seq: &u64| self.events.is_free(*seq, self.order()) && !given.seqs.contains(seq);
        if let Some(seq) = known.rest().find(is_missing) {
            self.rules
                .left
                .add(|| format!("{} is given out again as {} without {seq}", known.given.token, given.token));
        }
    }

    /// A new token is that of a claim that ran out, if there is any.
    fn check_first(&mut self, call: &Call, given: &Given) {
        let others = self.claims.0.values().filter(|known| known.given.token != given.token);
        let others: Vec<_> = others.filter(|known| known.lost_at.is_none()).cloned().collect();
        let succeeded = others.iter().find(|known| known.untold().any(|seq| given.seqs.contains(&seq)));
        if let Some(known) = succeeded {
            if known.given_at > call.began.place {
                // Both were asked for at the same time, and nobody knows which of them took the place of the other.
                self.claims.change(&known.given.token, |known| known.is_certain = false);
                self.claims.change(&given.token, |known| known.is_certain = false);
                return;
            }
            self.claims.change(&known.given.token, |known| known.lost_at = Some(call.ended.place));
            if known.is_certain && known.turn == self.turn {
                self.check_whole(known, given);
            }
            return;
        }
        let waits = |known: &&Known| {
            let ran_out_at =
                known.run_out_at().filter(|at| *at > self.unknown_until && *at <= call.began.clock);
            let has_open = known.rest().any(|seq| self.events.is_free(seq, self.order()));
            known.turn == self.turn
                && known.ending == 0
                && ran_out_at.is_some()
                && self.claiming == 0
                && has_open
        };
        if let Some(known) = others.iter().find(waits) {
            self.rules
                .left
                .add(|| format!("{} ran out, and {} is given out before it", known.given.token, given.token));
        }
    }

    /// While a claim is live, nobody else has its events, and all workers have no more claims than they may.
    fn check_alone(&mut self, call: &Call, given: &Given, holder: &str) {
        let clock = call.ended.clock;
        let is_live = |known: &&Known| {
            known.turn == self.turn
                && known.is_live(clock)
                && known.rest().any(|seq| self.events.is_free(seq, self.order()))
        };
        let live: Vec<_> = self.claims.0.values().filter(is_live).collect();
        if !live.iter().any(|known| known.given.token == given.token) {
            return;
        }
        for other in live.iter().filter(|known| known.given.token != given.token) {
            let is_shared = |seq: &u64| given.seqs.contains(seq) && self.events.is_free(*seq, self.order());
            let shared = other.rest().find(is_shared);
            if shared.is_some() || other.holder == holder {
                self.rules.shared.add(|| {
                    let (one, holder) = (&other.given.token, &other.holder);
                    format!("{one} of {holder} is live, and {} is given out, with {shared:?}", given.token)
                });
            }
        }
        let workers = self.specification.as_ref().map_or(usize::MAX, |known| known.workers as usize);
        if live.len() > workers {
            self.rules.shared.add(|| format!("{} claims are live, and {workers} may be", live.len()));
        }
    }

    /// A call was told where the consumer stands.
    pub(super) fn stands(&mut self, call: &Call, began: &Began, position: u64, settled: u64) {
        let is_moving = |number: &usize| !matches!(self.calls[*number].ask, Ask::Change(_));
        if began.life != self.life || self.doubts.iter().any(is_moving) {
            return;
        }
        let mut wrong = |text: String| self.rules.misplaced.add(|| format!("{:?}: {text}", call.ask));
        if position < self.position.min(began.position) {
            wrong(format!("the position is {position}, and was {}", began.position));
        }
        if settled > position {
            wrong(format!("{settled} is settled, and the position is {position}"));
        }
        if let Some(seq) = self.events.open(settled).next() {
            wrong(format!("all up to {settled} is settled, and {seq} is open"));
        }
        let order = self.specification.as_ref().filter(|_| self.doubts.is_empty()).map(|known| known.order);
        if let Some(seq) = order.and_then(|order| self.events.overlooked(position, order)) {
            wrong(format!("the position is {position}, and {seq} is open and has not failed"));
        }
        self.position = self.position.max(position);
        self.settled = self.settled.max(settled);
    }

    fn check_dead(&mut self, log: &Log) {
        let mut lives: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for Dead { generation, seq } in &log.dead {
            lives.entry(*seq).or_default().push(*generation);
        }
        for (seq, generations) in &lives {
            let kills = self.kills.get(seq).copied().unwrap_or_default();
            let different: BTreeSet<_> = generations.iter().collect();
            if different.len() < generations.len() || generations.len() as u64 > kills {
                self.rules
                    .dead
                    .add(|| format!("{seq} is stored of {generations:?}, and may have died {kills} times"));
            }
        }
        let is_missing = |seq: &&u64| !lives.contains_key(seq) && !log.gone.contains(seq);
        let missing: Vec<_> = self.died.iter().filter(is_missing).collect();
        for seq in missing.iter().skip(usize::try_from(log.dead_gone).unwrap_or(usize::MAX)) {
            self.rules.dead.add(|| format!("{seq} died, and is not stored"));
        }
    }
}
