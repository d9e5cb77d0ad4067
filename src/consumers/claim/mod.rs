//! A claim: what is given out next.
//!
//! First of all the holder's own live claim, then a claim that ran out, whole; then, in turns, events that failed and are
//! due (`failed`), and new ones (`new`). An event whose lane has a lower one that failed is given in none of them: it
//! waits.

mod failed;
mod new;

use std::time::Duration;

use super::draft::Draft;
use super::outcome::{Claimed, Done, Outcome, Refusal};
use super::state::{Claim, Kind, Skipped};
use crate::store::consume::{ConsumeStore, Which};
use crate::store::{ReadStore, Seq};

/// Bytes of events after which a claim takes no more of them.
const CLAIM_BYTES: usize = 1 << 20;

/// The most events of a claim.
pub const CLAIM_EVENTS: u32 = 1000;

/// Failed events that are read by one statement.
pub const READ_AT_ONCE: usize = 16;

/// What a holder asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Who asks.
    pub holder: String,
    /// The most events.
    pub limit: u32,
    /// Seconds until the claim runs out, if it is not the consumer's usual lease.
    pub lease: Option<u32>,
}

/// The events of a claim with their seqs, and what is missing among them.
type Contents = (Vec<(Seq, String)>, Skipped);

impl<S: ReadStore + ConsumeStore> Draft<'_, S> {
    pub(super) async fn claim(&mut self, wanted: &Wanted) -> Outcome {
        let now = self.now;
        let own = |claim: &Claim| claim.is_live(now) && claim.holder == wanted.holder;
        if let Some(place) = self.state.claims.iter().position(own)
            && let Some(claimed) = self.give_again(place, wanted, false).await?
        {
            return Ok(Done::Claimed(claimed));
        }
        self.refuse_beyond_workers()?;
        while let Some(place) = self.ran_out()
            && !self.changes_failures()
        {
            if let Some(claimed) = self.give_again(place, wanted, true).await? {
                return Ok(Done::Claimed(claimed));
            }
        }
        if self.changes_failures() {
            return Ok(self.nothing(Some(Duration::ZERO))); // the store has to know before more is read
        }
        let heads = self.heads(wanted.limit).await?;
        let next_due = heads.iter().find(|failure| failure.due_at > now);
        let next_due = next_due.map(|failure| Duration::from_millis((failure.due_at - now).unsigned_abs()));
        let due: Vec<_> = heads.into_iter().filter(|failure| failure.due_at <= now).collect();
        let retries_first = !self.state.has_retried;
        for retries in [retries_first, !retries_first] {
            let claimed = match retries {
                true => self.claim_failed(&due, wanted).await?,
                false => self.claim_new(wanted).await?,
            };
            if let Some(claimed) = claimed {
                self.state.has_retried = retries;
                return Ok(Done::Claimed(claimed));
            }
            if self.changes_failures() {
                return Ok(self.nothing(Some(Duration::ZERO)));
            }
        }
        Ok(self.nothing(next_due))
    }

    fn nothing(&self, until: Option<Duration>) -> Done {
        Done::Nothing(until, self.state.specification.filter())
    }

    /// The claim to give out before all others: of those that ran out, the one that begins first.
    fn ran_out(&self) -> Option<usize> {
        let claims = self.state.claims.iter().enumerate().filter(|(_, claim)| !claim.is_live(self.now));
        claims.min_by_key(|(_, claim)| claim.from).map(|(place, _)| place)
    }

    fn refuse_beyond_workers(&self) -> Result<(), Refusal> {
        let holders: Vec<_> =
            self.state.live(self.now).map(|claim| (claim.holder.clone(), claim.expires_at)).collect();
        if holders.len() < self.state.specification.workers as usize {
            return Ok(());
        }
        let first = holders.iter().map(|(_, expires_at)| expires_at - self.now).min().unwrap_or_default();
        let seconds = u32::try_from(first / 1000 + 1).unwrap_or(1);
        Err(Refusal::Claimed { holders, seconds })
    }

    /// Gives out a claim again: to its holder as it is, or to another after it ran out. `None` if none of its events can be
    /// given; then it has ended.
    async fn give_again(
        &mut self,
        place: usize,
        wanted: &Wanted,
        ran_out: bool,
    ) -> Result<Option<Claimed>, Refusal> {
        let mut claim = self.state.claims.remove(place);
        if ran_out {
            claim.attempt += 1;
            claim.token = self.token();
            claim.expires_at = 0;
            claim.lease = wanted.lease.unwrap_or(self.state.specification.lease);
        }
        let (events, skipped) = match claim.kind {
            Kind::New => self.range(&mut claim).await?,
            Kind::Retry => {
                let rows =
                    self.ground.store.failures(self.name, Which::Of(&claim.seqs), CLAIM_EVENTS).await?;
                let rows = self.not_behind_others(rows, &claim.seqs).await?;
                self.failed(&rows, claim.attempt).await?
            }
        };
        let Some((last, _)) = events.last() else {
            self.state.missing += claim.missing + skipped;
            return Ok(None); // no commit has ended it, so none of it is taken any more
        };
        let mut in_range = skipped;
        if claim.kind == Kind::Retry {
            claim.missing += std::mem::take(&mut in_range); // of failures, what is gone is found once
            claim.to = *last;
            claim.seqs = events.iter().map(|(seq, _)| *seq).collect();
        }
        claim.holder.clone_from(&wanted.holder);
        claim.events = events.len() as i64;
        claim.extend(self.now);
        if ran_out {
            self.state.redelivered += claim.events;
        }
        Ok(Some(self.give(claim, events, in_range)))
    }

    fn new_claim(&self, kind: Kind, from: Seq, to: Seq, wanted: &Wanted, events: usize) -> Claim {
        let lease = wanted.lease.unwrap_or(self.state.specification.lease);
        let mut claim = Claim {
            token: self.token(),
            holder: wanted.holder.clone(),
            kind,
            from,
            to,
            seqs: Vec::new(),
            aside: Vec::new(),
            expires_at: 0,
            lease,
            attempt: 1,
            events: events as i64,
            missing: Skipped::default(),
        };
        claim.extend(self.now);
        claim
    }

    /// Gives out a claim. It tells what is missing in its range, and what no claim has told yet.
    fn give(&mut self, mut claim: Claim, events: Vec<(Seq, String)>, in_range: Skipped) -> Claimed {
        claim.missing += std::mem::take(&mut self.state.missing);
        self.state.claims.push(claim.clone());
        let events: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
        self.bytes += events.iter().map(String::len).sum::<usize>();
        Claimed { skipped: claim.missing + in_range, claim, events }
    }
}
