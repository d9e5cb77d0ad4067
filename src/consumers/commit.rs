//! A commit: every event of a claim up to a seq is done, but for those that have failed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::claim::{CLAIM_EVENTS, READ_AT_ONCE};
use super::draft::Draft;
use super::events::Event;
use super::outcome::{Done, Outcome, Refusal, Standing};
use super::schedule;
use super::state::{Claim, Kind, Skipped, State};
use crate::event::{EventId, NewEvent, Timestamp, Topic};
use crate::payload::Payload;
use crate::store::consume::{ConsumeStore, Failure, FailureState, Moment, Which};
use crate::store::{ReadStore, Seq, StoreError};

/// Bytes of a reason that are kept.
const REASON_BYTES: usize = 2048;
/// The longest pause that a holder may ask for, in seconds.
const LONGEST_PAUSE: u32 = 7 * 24 * 3600;

/// What a holder tells of its claim.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// The token of the claim.
    pub claim: String,
    /// The last seq that was done, or has failed.
    #[serde(default)]
    pub upto: Option<Seq>,
    /// The events up to it that have failed.
    #[serde(default)]
    pub failed: Vec<Failed>,
    /// True if the rest of the claim is given back.
    #[serde(default)]
    pub release: bool,
}

/// An event that has failed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// The event.
    pub seq: Seq,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Seconds until it comes again; by the schedule if there are none.
    #[serde(default)]
    pub retry_in: Option<u32>,
    /// True if it is not to come again.
    #[serde(default)]
    pub dead: bool,
}

impl<S: ReadStore + ConsumeStore> Draft<'_, S> {
    pub(super) async fn commit(&mut self, commit: &Commit) -> Outcome {
        let done = Ok(Done::Stands(Standing::default())); // filled in when it is written
        let lost = Refusal::ClaimLost { position: self.state.position() };
        let Some(place) = self.state.claims.iter().position(|claim| claim.token == commit.claim) else {
            return if self.was_told(commit) { done } else { Err(lost) };
        };
        let mut claim = self.state.claims[place].clone();
        if !claim.is_live(self.now) {
            return Err(lost);
        }
        let upto = check(commit, &claim)?;
        if upto > claim.from {
            let told: BTreeMap<Seq, &Failed> =
                commit.failed.iter().map(|failed| (failed.seq, failed)).collect();
            let failed = match claim.kind {
                Kind::New => self.new_failures(&claim, upto, &told).await?,
                Kind::Retry => self.old_failures(&claim, upto, &told).await?,
            };
            self.fail(&claim, &failed, &told).await?;
            claim.from = upto;
            claim.missing = Skipped::default(); // it was told
            claim.seqs.retain(|seq| *seq > upto);
            claim.aside.retain(|seq| *seq > upto);
        }
        if claim.from == claim.to {
            self.state.claims.remove(place);
            self.state.remember(claim.token, claim.to);
            return done;
        }
        if commit.release {
            self.state.remember(claim.token.clone(), claim.from);
            claim.give_back();
        } else {
            claim.extend(self.now);
        }
        self.state.claims[place] = claim;
        done
    }

    /// True if a commit tells of a claim that has ended what a commit before has told.
    fn was_told(&self, commit: &Commit) -> bool {
        let tells = commit.upto.is_some() || commit.release;
        let is_same = |(token, to): &(String, Seq)| {
            *token == commit.claim && commit.upto.is_none_or(|upto| upto <= *to)
        };
        tells && self.state.ended.iter().any(is_same)
    }

    /// The events of a range that have failed now. Those that are gone are left out.
    ///
    /// # Errors
    /// When one is not of the claim.
    async fn new_failures(
        &self,
        claim: &Claim,
        upto: Seq,
        told: &BTreeMap<Seq, &Failed>,
    ) -> Result<Vec<Tried>, Refusal> {
        let specification = &self.state.specification;
        let filter = specification.filter();
        let seqs: Vec<_> = told.keys().copied().collect();
        if let Some(seq) =
            seqs.iter().find(|seq| **seq <= claim.from || **seq > upto || claim.aside.contains(seq))
        {
            // What a commit before this one has told is not told again.
            return Err(not_of_claim(*seq));
        }
        let mut failed = Vec::new();
        for seqs in seqs.chunks(READ_AT_ONCE) {
            let lines = self.ground.store.events_of(seqs).await?;
            for event in Event::read_all(lines.iter().map(String::as_str))? {
                let is_given = filter.matches(&event.topic, event.details()?.source.as_deref());
                if !is_given || specification.leaves_out(&event.topic) {
                    return Err(not_of_claim(event.seq));
                }
                let lane = specification.lane(&event.topic, event.seq);
                let failure = Failure::untried(&event, lane)?;
                failed.push(Tried { failure, is_stored: false });
            }
        }
        Ok(failed)
    }

    /// The events of a claim on what failed that have failed again. The others up to that seq are done.
    ///
    /// # Errors
    /// When one is not of the claim.
    async fn old_failures(
        &mut self,
        claim: &Claim,
        upto: Seq,
        told: &BTreeMap<Seq, &Failed>,
    ) -> Result<Vec<Tried>, Refusal> {
        let part: Vec<_> = claim.seqs.iter().copied().filter(|seq| *seq <= upto).collect();
        if let Some(seq) = told.keys().find(|seq| !part.contains(seq)) {
            return Err(not_of_claim(*seq));
        }
        let stored = self.ground.store.failures(self.name, Which::Of(&part), CLAIM_EVENTS).await?;
        let (failed, done): (Vec<_>, Vec<_>) =
            stored.into_iter().partition(|failure| told.contains_key(&failure.seq));
        for failure in &done {
            self.remove(failure);
        }
        Ok(failed.into_iter().map(|failure| Tried { failure, is_stored: true }).collect())
    }

    /// Events of a claim have failed. In each lane the lowest has; the others wait behind it, and were not tried.
    async fn fail(
        &mut self,
        claim: &Claim,
        failed: &[Tried],
        told: &BTreeMap<Seq, &Failed>,
    ) -> Result<(), Refusal> {
        let lanes = failed.iter().map(|tried| tried.failure.lane.clone());
        let lowest = self.lowest(lanes, &claim.seqs).await?;
        let mut has_failed = BTreeSet::new();
        for Tried { failure, is_stored } in failed {
            let is_behind = has_failed.contains(&failure.lane)
                || lowest.iter().any(|low| low.lane == failure.lane && low.seq < failure.seq);
            has_failed.insert(failure.lane.clone());
            match told.get(&failure.seq) {
                Some(told) if !is_behind => {
                    let after = self.failed_once_more(failure, told);
                    if after.state == FailureState::Dead {
                        let event = dead_event(self.name, &self.state, &after)?;
                        self.dead.push(event);
                    }
                    self.keep(is_stored.then_some(failure), after);
                }
                _ if !is_stored => self.keep(None, failure.clone()),
                _ => {} // it waits already
            }
        }
        Ok(())
    }

    /// A failure after one more attempt.
    fn failed_once_more(&self, failure: &Failure, told: &Failed) -> Failure {
        let attempts = failure.attempts + 1;
        let most = self.state.specification.attempts;
        let is_dead = told.dead || most > 0 && attempts >= most;
        let pause = match told.retry_in {
            Some(seconds) => Duration::from_secs(seconds.into()),
            None => schedule::pause(attempts, self.random()),
        };
        let first = if failure.first_failed_at == 0 { self.now } else { failure.first_failed_at };
        let due_at = self.now.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
        Failure {
            state: if is_dead { FailureState::Dead } else { FailureState::Parked },
            attempts,
            due_at: if is_dead { 0 } else { due_at },
            reason: reason(&told.reason),
            first_failed_at: first,
            last_failed_at: self.now,
            ..failure.clone()
        }
    }
}

/// An event of a claim that has failed, or that was not tried because a lower one of its lane has.
struct Tried {
    failure: Failure,
    /// True if the store knows it as a failure.
    is_stored: bool,
}

fn not_of_claim(seq: Seq) -> Refusal {
    Refusal::Invalid(format!("failed: {seq} is no event of this claim"))
}

/// The seq up to which a commit tells, which is that of the claim if it tells nothing.
///
/// # Errors
/// When a field breaks a rule.
fn check(commit: &Commit, claim: &Claim) -> Result<Seq, Refusal> {
    let invalid = |rule: String| Err(Refusal::Invalid(rule));
    let Some(upto) = commit.upto else {
        return match commit.failed.is_empty() {
            true => Ok(claim.from),
            false => invalid("failed: a commit with failed events needs upto".into()),
        };
    };
    if upto > claim.to || upto < 0 {
        return invalid(format!("upto: must be up to {}, the end of the claim", claim.to));
    }
    if commit.failed.len() > CLAIM_EVENTS as usize {
        return invalid(format!("failed: has up to {CLAIM_EVENTS} events, as a claim has"));
    }
    for failed in &commit.failed {
        if failed.retry_in.is_some_and(|seconds| seconds > LONGEST_PAUSE) {
            return invalid(format!("retry_in: must be up to {LONGEST_PAUSE} seconds"));
        }
    }
    Ok(upto)
}

/// A reason as it is kept: not too long, and without what PostgreSQL cannot keep.
fn reason(told: &str) -> String {
    let mut reason = told.replace('\0', "\u{fffd}");
    let end = (0..=REASON_BYTES.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
    reason.truncate(end.unwrap_or_default());
    reason
}

/// The event that tells of a dead one. It refers to it, so that what is erased is erased in one place.
fn dead_event(name: &str, state: &State, failure: &Failure) -> Result<NewEvent, StoreError> {
    let failed = |cause: String| StoreError::Failed(cause);
    let payload = json!({
        "consumer": name,
        "seq": failure.seq,
        "topic": failure.topic,
        "event_id": failure.event_id,
        "reason": failure.reason,
        "attempts": failure.attempts,
        "first_failed_at": moment(failure.first_failed_at),
    });
    let raw = serde_json::value::to_raw_value(&payload).map_err(|error| failed(error.to_string()))?;
    let event_id = format!("{}-{}", state.generation, failure.seq);
    Ok(NewEvent {
        topic: Topic::parse(state.specification.dead.as_str()).map_err(|rule| failed(rule.to_string()))?,
        event_id: EventId::parse(event_id).map_err(|rule| failed(rule.to_string()))?,
        timestamp: None,
        source: None,
        payload: Payload::new(&raw, 0).map_err(|error| failed(error.to_string()))?,
        attributes: None,
    })
}

/// A moment as clients see it: RFC 3339, to the millisecond.
pub fn moment(moment: Moment) -> String {
    let (seconds, millis) = (moment.div_euclid(1000), moment.rem_euclid(1000));
    let nanos = u32::try_from(millis).unwrap_or_default() * 1_000_000;
    Timestamp::of_unix(seconds, nanos).map(|moment| moment.to_string()).unwrap_or_default()
}
