//! The replay of calls: what becomes certain, and what becomes doubtful, with each that begins or ends.

use std::collections::{BTreeMap, BTreeSet};

use super::call::{Ask, Call, Failed, Order, Place, Selected, Specification, Told};
use super::claims::{Claims, Known};
use super::events::{Events, Log};
use super::rules::Rules;

/// Milliseconds after the end of a claim without an answer in which it may still be carried out.
const LATE: i64 = 120_000;

/// A replay.
pub struct Replay<'c> {
    /// The calls.
    pub calls: &'c [Call],
    began: Vec<Began>,
    /// What the consumer is; `None` before it is made.
    pub specification: Option<Specification>,
    /// The events.
    pub events: Events<'c>,
    /// The claims.
    pub claims: Claims,
    /// Grows with each call that may end claims, when it begins and when it ends.
    pub turn: u64,
    /// Grows with each call that may begin a new life, likewise.
    pub life: u64,
    /// Calls of these kinds of which nobody knows yet whether they were done.
    pub doubts: BTreeSet<usize>,
    /// The highest position that was told in this life.
    pub position: u64,
    /// The highest seq that was told to be settled.
    pub settled: u64,
    /// True if people have given failed events out again in this life.
    pub has_people: bool,
    /// Claims that are being asked for.
    pub claiming: usize,
    /// The clock until which a claim may be made of which nobody will know.
    pub unknown_until: i64,
    /// The number of commits by which an event may have died.
    pub kills: BTreeMap<u64, u64>,
    /// The events that have died for certain.
    pub died: BTreeSet<u64>,
    /// What was broken.
    pub rules: Rules,
}

/// What was known when a call began.
#[derive(Clone, Debug, Default)]
pub struct Began {
    /// As in [`Replay`], here and below.
    pub turn: u64,
    /// The life.
    pub life: u64,
    /// The position.
    pub position: u64,
    /// What was settled.
    pub settled: u64,
    /// The claims that it may extend.
    pub extends: Vec<String>,
    /// The time from which on the claim of a commit has run out, if it is known.
    pub run_out_at: Option<i64>,
    /// True if the claim of a commit may have ended.
    pub has_ended: bool,
}

impl<'c> Replay<'c> {
    /// Replays the calls of a consumer's clients in the order in which they began and ended, over the events of a log.
    pub fn of(calls: &'c [Call], log: &'c Log) -> Self {
        let mut replay = Self {
            calls,
            began: vec![Began::default(); calls.len()],
            specification: None,
            events: Events::new(log),
            claims: Claims::default(),
            turn: 0,
            life: 0,
            doubts: BTreeSet::new(),
            position: 0,
            settled: 0,
            has_people: false,
            claiming: 0,
            unknown_until: 0,
            kills: BTreeMap::new(),
            died: BTreeSet::new(),
            rules: Rules::default(),
        };
        let moments = calls.iter().enumerate();
        let mut moments: Vec<_> = moments
            .flat_map(|(number, call)| [(call.began.place, number, false), (call.ended.place, number, true)])
            .collect();
        moments.sort_unstable();
        for (_, number, has_ended) in moments {
            if has_ended { replay.end(number) } else { replay.begin(number) }
        }
        replay
    }
}

impl Replay<'_> {
    fn begin(&mut self, number: usize) {
        let call = &self.calls[number];
        let Self { turn, life, position, settled, .. } = *self;
        let mut began = Began { turn, life, position, settled, ..Began::default() };
        match &call.ask {
            Ask::Claim { holder, .. } => {
                self.claiming += 1;
                self.doubt_what_waits();
                began.extends = self.claims.of_holder(holder);
            }
            Ask::Commit { token, .. } => {
                if let Some(known) = self.claims.0.get(token) {
                    began.run_out_at = known.run_out_at();
                    began.has_ended = known.ending > 0;
                    began.extends = vec![token.clone()];
                }
            }
            Ask::Make(..) | Ask::Seek(_) | Ask::Restore(..) => {
                self.life += 1;
                self.turn += 1;
                self.doubts.insert(number);
                if matches!(call.ask, Ask::Restore(..)) {
                    // The copy may not know of them.
                    self.died.clear();
                    self.claims.0.values_mut().for_each(|known| known.is_certain = false);
                }
            }
            Ask::Change(_) => {
                self.turn += 1;
                self.doubts.insert(number);
            }
            Ask::Drop(_) => self.turn += 1,
            Ask::Upheaval => self.shake(),
            Ask::Retry(_) | Ask::Look => {}
        }
        for token in &began.extends {
            self.claims.change(token, |known| known.extending += 1);
        }
        self.began[number] = began;
        self.apply(&call.ask);
        if let Ask::Commit { token, upto, release, failed } = &call.ask {
            self.claims.change(token, |known| {
                known.ending += u32::from(*release || *upto == Some(known.given.to));
                known.upto = known.upto.max(upto.unwrap_or_default());
                known.named.extend(failed.iter().map(|failed| failed.seq));
            });
        }
    }

    /// Takes note of what a call may do to events, now that it has begun.
    fn apply(&mut self, ask: &Ask) {
        let order = self.order();
        match ask {
            Ask::Commit { token, upto, failed, .. } => {
                for (seq, failed) in self.told_of(token, *upto, failed) {
                    let may_settle = failed.is_none_or(|failed| self.may_die(&failed));
                    if failed.is_some() && may_settle {
                        *self.kills.entry(seq).or_default() += 1;
                    }
                    self.events.change(seq, |fate| {
                        fate.named += u32::from(failed.is_some());
                        fate.maybe += u32::from(may_settle);
                    });
                }
            }
            Ask::Change(specification) => self.events.respecify(specification, order),
            Ask::Retry(_) => self.has_people = true,
            Ask::Drop(selected) => {
                let mut seqs = self.events.held(order);
                if let Selected::Seqs(only) = selected {
                    seqs.retain(|seq| only.contains(seq));
                }
                seqs.into_iter().for_each(|seq| self.events.change(seq, |fate| fate.maybe += 1));
            }
            _ => {}
        }
    }

    /// The events of a claim that a commit tells of, each with its failure. What was told before is not told again.
    fn told_of(&self, token: &str, upto: Option<u64>, failed: &[Failed]) -> Vec<(u64, Option<Failed>)> {
        let (Some(known), Some(upto)) = (self.claims.0.get(token), upto) else { return Vec::new() };
        let failure = |seq: u64| failed.iter().find(|failed| failed.seq == seq).copied();
        known.untold().filter(|seq| *seq <= upto).map(|seq| (seq, failure(seq))).collect()
    }

    /// True if an event may be dead after one more failure.
    fn may_die(&self, failed: &Failed) -> bool {
        let most = self.specification.as_ref().map_or(1, |known| known.attempts);
        let named = self.events.fate(failed.seq).named + 1;
        failed.dead || !self.doubts.is_empty() || (most > 0 && named >= most)
    }

    pub(super) fn order(&self) -> Order {
        self.specification.as_ref().map_or(Order::None, |known| known.order)
    }

    fn end(&mut self, number: usize) {
        let (call, began) = (&self.calls[number], self.began[number].clone());
        if matches!(call.ask, Ask::Claim { .. }) {
            self.claiming -= 1;
            self.doubt_what_waits();
        }
        if call.ask == Ask::Upheaval {
            self.shake();
        }
        if call.told == Told::Nothing {
            if matches!(call.ask, Ask::Claim { .. }) {
                self.unknown_until = self.unknown_until.max(call.ended.clock + LATE);
            }
            return;
        }
        for token in &began.extends {
            self.claims.change(token, |known| known.extending -= 1);
        }
        match (&call.ask, &call.told) {
            (Ask::Claim { holder, lease, .. }, Told::Given(given)) => {
                self.given(call, &began, given, (holder, *lease));
            }
            (Ask::Commit { token, upto, failed, release }, Told::Refused(_)) => {
                self.refused(&began, (token, *upto, failed), *release);
            }
            (Ask::Commit { token, upto, failed, .. }, Told::Stands { .. }) => {
                self.committed(call, &began, (token, *upto, failed));
            }
            (Ask::Make(..) | Ask::Seek(_) | Ask::Change(_) | Ask::Restore(..), Told::Refused(_)) => {
                self.doubts.remove(&number);
            }
            (
                Ask::Make(..) | Ask::Seek(_) | Ask::Change(_) | Ask::Restore(..),
                Told::Stands { position, .. },
            ) => self.changed(call, &began, *position),
            _ => {}
        }
        if let Told::Stands { position, settled, .. } = call.told {
            self.stands(call, &began, position, settled);
        }
    }

    /// A claim all of whose rest has to wait may end when another is asked for, and nobody is told: the rest comes again by
    /// and by.
    fn doubt_what_waits(&mut self) {
        let order = self.order();
        let events = &self.events;
        let waits = |known: &&mut Known| {
            known.rest().next().is_some() && !known.rest().any(|seq| events.is_free(seq, order))
        };
        self.claims.0.values_mut().filter(waits).for_each(|known| known.is_certain = false);
    }

    /// Claims may be lost, and with them that the place had passed over what was not for the consumer.
    fn shake(&mut self) {
        self.turn += 1;
        self.position = 0;
    }

    /// A commit was not done.
    fn refused(
        &mut self,
        began: &Began,
        (token, upto, failed): (&str, Option<u64>, &[Failed]),
        release: bool,
    ) {
        self.claims.change(token, |known| {
            known.ending -= u32::from(release || upto == Some(known.given.to));
        });
        if began.life == self.life {
            for (seq, _) in self.told_of(token, upto, failed).iter().filter(|(_, failed)| failed.is_none()) {
                self.events.change(*seq, |fate| fate.maybe = fate.maybe.saturating_sub(1));
            }
        }
    }

    /// A commit was done.
    fn committed(
        &mut self,
        call: &Call,
        began: &Began,
        (token, upto, failed): (&str, Option<u64>, &[Failed]),
    ) {
        let Some(known) = self.claims.0.get(token).filter(|known| known.is_certain).cloned() else { return };
        let was_lost = known.lost_at.is_some_and(|place| place < call.began.place)
            || began.run_out_at.is_some_and(|run_out_at| run_out_at <= call.began.clock);
        // A commit before it may have ended the claim, or given it back, and have told as much.
        let is_repeated = began.has_ended && upto.is_none_or(|upto| upto <= known.given.to);
        if was_lost && !is_repeated {
            self.rules
                .lost
                .add(|| format!("{token} had run out or was given to another, and {upto:?} was taken"));
        }
        self.claims.change(token, |known| known.extend(call.began, call.ended));
        if began.life != self.life || known.life != self.life {
            return;
        }
        let told = self.told_of(token, upto, failed);
        self.claims.change(token, |known| known.from = known.from.max(upto.unwrap_or_default()));
        for (seq, failure) in told {
            match failure {
                // A commit whose answer was lost may have told that it failed, or it may have been taken from the claim to wait.
                None if known.named.contains(&seq) || self.events.may_wait(seq, self.order()) => {}
                None => self.events.change(seq, |fate| {
                    fate.maybe = fate.maybe.saturating_sub(1);
                    fate.done.get_or_insert(call.ended.place);
                }),
                Some(failure) if self.has_died(&failure) => drop(self.died.insert(seq)),
                Some(_) => {}
            }
        }
    }

    /// True if an event that was named must be dead: it was not to wait for another that failed.
    fn has_died(&self, failed: &Failed) -> bool {
        let Some(specification) = &self.specification else { return false };
        let is_last = failed.dead || specification.attempts == 1;
        is_last && !self.has_people && !self.events.may_wait(failed.seq, specification.order)
    }

    /// A consumer was made, changed or moved.
    fn changed(&mut self, call: &Call, began: &Began, position: u64) {
        let is_life = |ask: &Ask| matches!(ask, Ask::Make(..) | Ask::Seek(_) | Ask::Restore(..));
        let begins_anew = is_life(&call.ask);
        // What was in doubt before it began can be done no more, as the store compares versions.
        self.doubts.retain(|other| {
            let other = &self.calls[*other];
            other.ended.place > call.ended.place || (!begins_anew && is_life(&other.ask))
        });
        let before = self.specification.clone();
        if let Ask::Make(specification, _) | Ask::Change(specification) | Ask::Restore(specification, _) =
            &call.ask
        {
            self.specification = Some(specification.clone());
        }
        let Some(specification) = self.specification.clone() else { return };
        let is_other = before.is_none_or(|before| {
            (before.order, &before.topics) != (specification.order, &specification.topics)
        });
        self.turn += 1;
        if matches!(call.ask, Ask::Make(..) | Ask::Seek(_)) || (is_other && !begins_anew) {
            let ended = self.claims.0.values_mut().filter(|known| known.turn <= began.turn);
            ended.for_each(|known| known.lost_at = known.lost_at.or(Some(call.ended.place)));
        }
        if begins_anew {
            self.life += 1;
            let (after, place) = match &call.ask {
                Ask::Make(_, Place::Seq(seq)) | Ask::Seek(Place::Seq(seq)) => (*seq, *seq),
                Ask::Make(_, Place::Now) | Ask::Seek(Place::Now) => (position, position),
                // Of what the copy had, nobody knows what it had made of it.
                Ask::Restore(_, newest) => (*newest, 0),
                _ => (0, 0),
            };
            (self.position, self.settled, self.has_people) = (place, place, false);
            self.events.begin_anew(after, &specification);
            // What was asked for since it began may have been done in the new life.
            let calls = self.calls;
            let is_since = |other: &&Call| {
                (call.began.place..call.ended.place).contains(&other.began.place)
                    || matches!(other.ask, Ask::Change(_)) && other.told == Told::Nothing
            };
            calls.iter().filter(is_since).for_each(|other| self.apply(&other.ask));
        }
    }
}
