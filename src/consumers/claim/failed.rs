//! Events that have failed, and those that wait behind them.

use std::collections::BTreeSet;

use super::super::draft::Draft;
use super::super::events::Event;
use super::super::outcome::{Claimed, Refusal};
use super::super::specification::Order;
use super::super::state::{Claim, Kind, Skipped};
use super::{CLAIM_BYTES, Contents, READ_AT_ONCE, Wanted};
use crate::store::consume::{ConsumeStore, Failure, FailureState, Which};
use crate::store::{ReadStore, Seq, StoreError};

impl<S: ReadStore + ConsumeStore> Draft<'_, S> {
    /// The next failed events of all lanes in the order in which they become due: as many as a claim takes, and one more.
    pub(super) async fn heads(&self, limit: u32) -> Result<Vec<Failure>, Refusal> {
        if self.state.held == 0 {
            return Ok(Vec::new());
        }
        let which = Which::Heads { but: &self.state.seqs_out() };
        Ok(self.ground.store.failures(self.name, which, limit + 1).await?)
    }

    /// A claim of events that have failed and are due, each with those of its lane that may follow it.
    pub(super) async fn claim_failed(
        &mut self,
        due: &[Failure],
        wanted: &Wanted,
    ) -> Result<Option<Claimed>, Refusal> {
        let due = &due[..due.len().min(wanted.limit as usize)];
        if due.is_empty() {
            return Ok(None);
        }
        let mut rows = due.to_vec();
        if self.state.specification.order != Order::None {
            let lanes: Vec<_> = due.iter().map(|failure| failure.lane.clone()).collect();
            rows = self.ground.store.failures(self.name, Which::Lanes(&lanes), wanted.limit).await?;
        }
        rows.sort_unstable_by_key(|failure| failure.seq);
        let mut stopped = Vec::new();
        rows.retain(|failure| {
            let follows = failure.due_at <= self.now && !stopped.contains(&failure.lane);
            if !follows {
                stopped.push(failure.lane.clone());
            }
            follows
        });
        let (events, skipped) = self.failed(&rows, 1).await?;
        let seqs: Vec<Seq> = events.iter().map(|(seq, _)| *seq).collect();
        self.state.missing += skipped;
        let (Some(first), Some(last)) = (seqs.first(), seqs.last()) else { return Ok(None) };
        let claim = self.new_claim(Kind::Retry, first - 1, *last, wanted, seqs.len());
        let claim = Claim { seqs, ..claim };
        self.state.redelivered += claim.events;
        Ok(Some(self.give(claim, events, Skipped::default())))
    }

    /// Failed events but for those whose lane has a lower one, apart from some.
    pub(super) async fn not_behind_others(
        &self,
        mut rows: Vec<Failure>,
        but: &[Seq],
    ) -> Result<Vec<Failure>, Refusal> {
        rows.retain(|failure| failure.state != FailureState::Dead);
        let lowest = self.lowest(rows.iter().map(|failure| failure.lane.clone()), but).await?;
        rows.retain(|row| !lowest.iter().any(|low| low.lane == row.lane && low.seq < row.seq));
        Ok(rows)
    }

    /// The lowest held event of each of some lanes, as the store has them, but for some.
    pub(in super::super) async fn lowest(
        &self,
        lanes: impl Iterator<Item = String>,
        but: &[Seq],
    ) -> Result<Vec<Failure>, Refusal> {
        let lanes: Vec<_> = lanes.collect::<BTreeSet<_>>().into_iter().collect();
        if lanes.is_empty() || self.state.held == 0 {
            return Ok(Vec::new());
        }
        let which = Which::Lowest { lanes: &lanes, but };
        Ok(self.ground.store.failures(self.name, which, lanes.len() as u32).await?)
    }

    /// The events of failures, as many as fit. Those that are gone are failures no more.
    pub(super) async fn failed(&mut self, rows: &[Failure], attempt: u32) -> Result<Contents, Refusal> {
        let readable = self.readable().await?;
        let (mut events, mut skipped, mut bytes) = (Vec::new(), Skipped::default(), 0);
        for rows in rows.chunks(READ_AT_ONCE) {
            if bytes >= CLAIM_BYTES {
                break;
            }
            let seqs: Vec<_> = rows.iter().map(|failure| failure.seq).collect();
            let lines = self.ground.store.events_of(&seqs).await?;
            let mut found = Event::read_all(lines.iter().map(String::as_str))?.into_iter().peekable();
            for failure in rows {
                if let Some(event) = found.next_if(|event| event.seq == failure.seq) {
                    bytes += event.bytes();
                    events.push((event.seq, event.attempted(failure.attempts + attempt)));
                    continue;
                }
                match failure.seq <= readable.after {
                    true => skipped.expired += 1,
                    false => skipped.erased += 1,
                }
                self.remove(failure);
            }
        }
        Ok((events, skipped))
    }
}

impl Failure {
    /// An event that waits for one which failed, and was not tried.
    ///
    /// # Errors
    /// When the event is none: a fault of the store.
    pub(in super::super) fn untried(event: &Event, lane: String) -> Result<Self, StoreError> {
        Ok(Self {
            seq: event.seq,
            lane,
            topic: event.topic.clone(),
            event_id: event.details()?.event_id.into_owned(),
            state: FailureState::Waiting,
            attempts: 0,
            due_at: 0,
            reason: String::new(),
            first_failed_at: 0,
            last_failed_at: 0,
        })
    }
}
