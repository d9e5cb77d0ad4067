//! A commit: every event of a claim up to a seq is done, but for those that have failed.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::draft::Draft;
use super::events::Event;
use super::outcome::{Done, Outcome, Refusal, Standing};
use super::schedule;
use super::state::{Claim, Kind, State};
use crate::event::{EventId, NewEvent, Source, Timestamp, Topic};
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
            let was_same = |(token, to): &(String, Seq)| *token == commit.claim && commit.upto == Some(*to);
            return if self.state.ended.iter().any(was_same) { done } else { Err(lost) };
        };
        let claim = self.state.claims[place].clone();
        if !claim.is_live(self.now) {
            return Err(lost);
        }
        let upto = check(commit, &claim)?;
        if upto > claim.from {
            let failed = self.of_claim(&claim, upto, &commit.failed).await?;
            match claim.kind {
                Kind::New => self.fail(&failed, &commit.failed, &[]).await?,
                Kind::Retry => self.finish(&claim, upto, failed, &commit.failed).await?,
            }
        }
        let now = self.now;
        let open = &mut self.state.claims[place];
        open.from = open.from.max(upto);
        if open.from == open.to {
            self.state.end(place);
        } else if commit.release {
            open.holder.clear();
            open.expires_at = 0;
            open.attempt -= 1; // it is counted again when it is given out
        } else {
            open.extend(now);
        }
        done
    }

    /// The failed events of a claim: what the store knows of each, or what is new. Those that are gone are left out.
    ///
    /// # Errors
    /// When one is not of the claim.
    async fn of_claim(
        &self,
        claim: &Claim,
        upto: Seq,
        failed: &[Failed],
    ) -> Result<Vec<(Failure, bool)>, Refusal> {
        if failed.is_empty() && claim.kind == Kind::New {
            return Ok(Vec::new());
        }
        let specification = &self.state.specification;
        let seqs: Vec<_> = failed.iter().map(|failed| failed.seq).collect();
        let not_of_claim = |seq: Seq| Refusal::Invalid(format!("failed: {seq} is no event of this claim"));
        let outside = |seq: &&Seq| {
            **seq <= claim.from || **seq > upto || claim.kind == Kind::Retry && !claim.seqs.contains(seq)
        };
        if let Some(seq) = seqs.iter().find(outside) {
            // What a commit before this one has told is not told again.
            return Err(not_of_claim(*seq));
        }
        let store = &self.ground.store;
        let known = match claim.kind {
            Kind::Retry => {
                let part: Vec<_> =
                    claim.seqs.iter().copied().filter(|seq| *seq > claim.from && *seq <= upto).collect();
                store.failures(self.name, Which::Of(&part), u32::MAX).await?
            }
            Kind::New if self.state.held() + self.state.dead > 0 => {
                store.failures(self.name, Which::Of(&seqs), u32::MAX).await?
            }
            Kind::New => Vec::new(),
        };
        if claim.kind == Kind::Retry {
            return Ok(known.into_iter().map(|failure| (failure, true)).collect());
        }
        let filter = specification.filter();
        let mut events = Vec::new();
        for seq in seqs {
            if known.iter().any(|failure| failure.seq == seq) {
                return Err(not_of_claim(seq)); // it waits
            }
            let Some(event) = store.event_of(seq).await? else { continue };
            let event = Event::read(&event)?;
            let is_of_topics =
                filter.topics.is_empty() || filter.topics.iter().any(|pattern| pattern.matches(&event.topic));
            let is_of_sources = filter.sources.is_empty()
                || filter
                    .sources
                    .iter()
                    .any(|source| Some(Source::as_str(source)) == event.source.as_deref());
            if !is_of_topics || !is_of_sources || specification.leaves_out(&event.topic) {
                return Err(not_of_claim(seq));
            }
            let lane = specification.lane(&event.topic, seq);
            events.push((Failure::waiting(seq, lane, event.topic, event.event_id), false));
        }
        events.sort_unstable_by_key(|(failure, _)| failure.seq);
        events.dedup_by_key(|(failure, _)| failure.seq);
        Ok(events)
    }

    /// Some events of a claim on what failed are done; the others have failed again.
    async fn finish(
        &mut self,
        claim: &Claim,
        upto: Seq,
        known: Vec<(Failure, bool)>,
        told: &[Failed],
    ) -> Result<(), Refusal> {
        let (again, done): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|(failure, _)| told.iter().any(|failed| failed.seq == failure.seq));
        for (failure, _) in &done {
            self.remove(failure);
        }
        self.fail(&again, told, &claim.seqs).await?;
        // What is left of a lane in this claim is still being done.
        let left: Vec<_> = claim.seqs.iter().copied().filter(|seq| *seq > upto).collect();
        let left = match left.as_slice() {
            [] => Vec::new(),
            left => self.ground.store.failures(self.name, Which::Of(left), u32::MAX).await?,
        };
        let lanes: Vec<_> = done
            .into_iter()
            .map(|(failure, _)| failure.lane)
            .filter(|lane| !left.iter().any(|failure| failure.lane == *lane))
            .collect();
        self.release_lanes(&lanes, &claim.seqs).await
    }

    /// Parks events that have failed. In each lane the first has; the others wait behind it, and were not tried.
    /// `in_claim` are those whose state the store knows as it was before.
    async fn fail(
        &mut self,
        failed: &[(Failure, bool)],
        told: &[Failed],
        in_claim: &[Seq],
    ) -> Result<(), Refusal> {
        let mut lanes: Vec<_> = failed.iter().map(|(failure, _)| failure.lane.clone()).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let heads = self.heads(&lanes, in_claim).await?;
        let mut died = Vec::new();
        for (failure, is_known) in failed {
            let before = is_known.then_some(failure);
            let is_parked = |other: &Failure| {
                other.lane == failure.lane && other.state == FailureState::Parked && other.seq < failure.seq
            };
            if heads.iter().any(is_parked) || self.kept().any(is_parked) {
                let waiting = Failure { state: FailureState::Waiting, due_at: 0, ..failure.clone() };
                self.keep(before, waiting);
            } else if died.contains(&failure.lane) {
                let next = Failure { state: FailureState::Parked, due_at: self.now, ..failure.clone() };
                self.keep(before, next);
            } else if let Some(told) = told.iter().find(|told| told.seq == failure.seq) {
                let after = self.failed_once_more(failure, told);
                if after.state == FailureState::Dead {
                    died.push(after.lane.clone());
                    let event = dead_event(self.name, &self.state, &after)?;
                    self.dead.push(event);
                }
                self.keep(before, after);
            }
        }
        self.release_lanes(&died, in_claim).await
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
