//! A claim: what is given out next.
//!
//! First of all the holder's own live claim, then a claim that ran out, whole; then, in turns, events that failed and are
//! due, and new ones.

use std::time::Duration;

use super::draft::Draft;
use super::events::Event;
use super::outcome::{Claimed, Done, Outcome, Refusal, Skipped};
use super::specification::Order;
use super::state::{Claim, Kind};
use crate::store::consume::{ConsumeStore, Failure, FailureState, Moment, Which};
use crate::store::{Layout, PageSize, ReadStore, Seq, Span};

/// Bytes of payload after which a claim takes no more events.
const CLAIM_BYTES: usize = 1 << 20;

/// Pages that one claim looks at.
const PAGES: usize = 64;

/// Seqs without an event of the consumer after which its place is kept, so that they are not looked at again.
const FAR: Seq = 100_000;

/// There may be something at once: the store has to know what was decided before more is read.
const AGAIN: Outcome = Ok(Done::Nothing(Some(Duration::ZERO)));

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

/// The events of a claim with their seqs, and what is missing.
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
        while let Some(place) = self.ran_out() {
            if let Some(claimed) = self.give_again(place, wanted, true).await? {
                return Ok(Done::Claimed(claimed));
            }
        }
        self.refuse_beyond_workers()?;
        if self.changes_failures() {
            return AGAIN;
        }
        let parked = self.parked(wanted.limit).await?;
        let next_due = parked.iter().find(|failure| failure.due_at > now);
        let next_due = next_due.map(|failure| Duration::from_millis((failure.due_at - now).unsigned_abs()));
        let due: Vec<_> = parked.into_iter().filter(|failure| failure.due_at <= now).collect();
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
                return AGAIN;
            }
        }
        Ok(Done::Nothing(next_due))
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

    /// Gives out a claim again: to its holder as it is, or to another after it ran out. `None` if none of its events is
    /// there any more; then it has ended.
    async fn give_again(
        &mut self,
        place: usize,
        wanted: &Wanted,
        ran_out: bool,
    ) -> Result<Option<Claimed>, Refusal> {
        let claim = self.state.claims[place].clone();
        let (events, skipped) = match claim.kind {
            Kind::New => self.range(&claim).await?,
            Kind::Retry => self.failed(&claim.seqs, claim.attempt_next(self.now)).await?,
        };
        if events.is_empty() {
            self.state.end(place);
            return Ok(None);
        }
        let token = if ran_out { self.token() } else { claim.token };
        let now = self.now;
        let count = events.len() as i64;
        let claim = &mut self.state.claims[place];
        claim.token = token;
        claim.holder.clone_from(&wanted.holder);
        claim.events = count;
        if ran_out {
            claim.attempt += 1;
            claim.expires_at = 0;
            claim.lease = wanted.lease.unwrap_or(self.state.specification.lease);
            self.state.redelivered += count;
        }
        claim.extend(now);
        let claim = claim.clone();
        Ok(Some(self.given(claim, skipped, events)))
    }

    /// Parked events in the order in which they become due, as many as a claim takes and one that is not due yet.
    async fn parked(&self, limit: u32) -> Result<Vec<Failure>, Refusal> {
        if self.state.parked == 0 {
            return Ok(Vec::new());
        }
        let which = Which::Parked { but: &self.state.seqs_out() };
        Ok(self.ground.store.failures(self.name, which, limit + 1).await?)
    }

    /// A claim of events that have failed and are due, each with those that wait behind it.
    async fn claim_failed(&mut self, due: &[Failure], wanted: &Wanted) -> Result<Option<Claimed>, Refusal> {
        let limit = wanted.limit as usize;
        let mut seqs: Vec<Seq> = due.iter().take(limit).map(|failure| failure.seq).collect();
        if seqs.is_empty() {
            return Ok(None);
        }
        if self.state.waiting > 0 && seqs.len() < limit {
            let lanes: Vec<_> = due.iter().map(|failure| failure.lane.clone()).collect();
            let most = wanted.limit - seqs.len() as u32;
            let behind = self.ground.store.failures(self.name, Which::Waiting(&lanes), most).await?;
            seqs.extend(behind.iter().map(|failure| failure.seq));
        }
        seqs.sort_unstable();
        let (events, skipped) = self.failed(&seqs, 1).await?;
        let given: Vec<Seq> = events.iter().map(|(seq, _)| *seq).collect();
        let (Some(first), Some(last)) = (given.first(), given.last()) else { return Ok(None) };
        let claim = self.new_claim(Kind::Retry, first - 1, *last, wanted, given.len());
        let claim = Claim { seqs: given, ..claim };
        self.state.redelivered += claim.events;
        Ok(Some(self.give(claim, skipped, events)))
    }

    /// A claim of events that were never given out.
    async fn claim_new(&mut self, wanted: &Wanted) -> Result<Option<Claimed>, Refusal> {
        let held = self.state.held();
        if held > 0 && self.state.specification.order == Order::Total {
            return Ok(None);
        }
        let Ok(limit @ 1..) = u32::try_from(self.state.room().clamp(0, i64::from(wanted.limit))) else {
            return Ok(None);
        };
        let size = PageSize { events: limit, bytes: CLAIM_BYTES as u32 };
        let filter = self.state.specification.filter();
        let readable = self.ground.reader.readable().await?;
        let from = self.state.next;
        let mut next = from.max(readable.after);
        for _ in 0..PAGES {
            let span = Span { after: next, ..readable };
            if span.is_empty() {
                break;
            }
            let (page, through) = self.ground.reader.next_page(&filter, span, Layout::Lines, size).await?;
            next = through;
            let Some(page) = page else { continue };
            let events = self.apart_from_waiting(Event::read_all(&page.text)?).await?;
            if events.is_empty() {
                // All of them wait, or tell of its own failures. What waits is written before more is looked at.
                self.state.next = next;
                if self.kept().next().is_some() {
                    break;
                }
                continue;
            }
            self.state.next = next;
            let skipped = self.skipped(Span { after: from, through: next }, readable, events.len()).await?;
            let claim = self.new_claim(Kind::New, from, next, wanted, events.len());
            self.state.delivered += claim.events;
            let events = events.iter().map(|event| (event.seq, attempted(&event.json, 1))).collect();
            return Ok(Some(self.give(claim, skipped, events)));
        }
        if next - self.state.next > FAR {
            self.state.next = next;
        }
        Ok(None)
    }

    /// Those events that need not wait. The others are put behind the failed one of their lane.
    async fn apart_from_waiting(&mut self, mut events: Vec<Event>) -> Result<Vec<Event>, Refusal> {
        let specification = self.state.specification.clone();
        events.retain(|event| !specification.leaves_out(&event.topic));
        if self.state.held() == 0 || specification.order == Order::None {
            return Ok(events);
        }
        let lane = |event: &Event| specification.lane(&event.topic, event.seq);
        let mut lanes: Vec<_> = events.iter().map(lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let heads = Which::Heads { lanes: &lanes, but: &[] };
        let most = 2 * lanes.len() as u32;
        let heads = self.ground.store.failures(self.name, heads, most).await?;
        let (waiting, free) =
            events.into_iter().partition(|event| heads.iter().any(|head| head.lane == lane(event)));
        for event in Vec::<Event>::into_iter(waiting) {
            let lane = lane(&event);
            self.keep(None, Failure::waiting(event.seq, lane, event.topic, event.event_id));
        }
        Ok(free)
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
            expires_at: 0,
            lease,
            attempt: 1,
            events: events as i64,
        };
        claim.extend(self.now);
        claim
    }

    fn give(&mut self, claim: Claim, skipped: Skipped, events: Vec<(Seq, String)>) -> Claimed {
        self.state.claims.push(claim.clone());
        self.given(claim, skipped, events)
    }

    fn given(&mut self, claim: Claim, skipped: Skipped, events: Vec<(Seq, String)>) -> Claimed {
        let events: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
        self.bytes += events.iter().map(String::len).sum::<usize>();
        Claimed { claim, skipped, events }
    }

    /// The events of a claim that was given out before, but for those that wait.
    async fn range(&self, claim: &Claim) -> Result<Contents, Refusal> {
        let specification = &self.state.specification;
        let (filter, readable) = (specification.filter(), self.ground.reader.readable().await?);
        let whole = Span { after: claim.from, through: claim.to };
        let others = match self.state.held() + self.state.dead {
            0 => Vec::new(),
            _ => self.ground.store.failures(self.name, Which::In(whole), u32::MAX).await?,
        };
        let mut rest = Span { after: claim.from.max(readable.after), ..whole };
        let mut events = Vec::new();
        while !rest.is_empty() {
            let size = PageSize::LARGE;
            let (page, through) = self.ground.reader.next_page(&filter, rest, Layout::Lines, size).await?;
            rest.after = through;
            events.extend(page.map(|page| Event::read_all(&page.text)).transpose()?.unwrap_or_default());
        }
        let skipped = self.skipped(whole, readable, events.len()).await?;
        events.retain(|event| {
            !specification.leaves_out(&event.topic) && !others.iter().any(|other| other.seq == event.seq)
        });
        let attempt = claim.attempt_next(self.now);
        Ok((events.iter().map(|event| (event.seq, attempted(&event.json, attempt))).collect(), skipped))
    }

    /// The events of some seqs that have failed or wait. Those that are gone are failures no more.
    async fn failed(&mut self, seqs: &[Seq], attempt: u32) -> Result<Contents, Refusal> {
        let readable = self.ground.reader.readable().await?;
        let failures = self.ground.store.failures(self.name, Which::Of(seqs), u32::MAX).await?;
        let (mut events, mut skipped, mut bytes) = (Vec::new(), Skipped::default(), 0);
        let (mut lanes_given, mut lanes_left) = (Vec::new(), Vec::new());
        for failure in &failures {
            if bytes >= CLAIM_BYTES {
                break;
            }
            match self.ground.store.event_of(failure.seq).await? {
                Some(event) => {
                    bytes += event.len();
                    events.push((failure.seq, attempted(&event, failure.attempts + attempt)));
                    lanes_given.push(&failure.lane);
                }
                None => {
                    match failure.seq <= readable.after {
                        true => skipped.expired += 1,
                        false => skipped.erased += 1,
                    }
                    self.remove(failure);
                    lanes_left.push(failure.lane.clone());
                }
            }
        }
        lanes_left.retain(|lane| !lanes_given.contains(&lane));
        let all: Vec<_> = failures.iter().map(|failure| failure.seq).collect();
        self.release_lanes(&lanes_left, &all).await?;
        Ok((events, skipped))
    }

    /// What is missing in a range of which so many events were found.
    async fn skipped(&self, span: Span, readable: Span, found: usize) -> Result<Skipped, Refusal> {
        let expired = (readable.after.min(span.through) - span.after).max(0);
        let rest = Span { after: span.after.max(readable.after), ..span };
        if rest.len() == found as i64 || rest.is_empty() {
            return Ok(Skipped { expired, erased: 0 }); // nothing is missing
        }
        let erased = self.ground.store.erased(&self.state.specification.patterns(), rest).await?;
        Ok(Skipped { expired, erased })
    }
}

impl Claim {
    /// How often it will have been given out.
    fn attempt_next(&self, now: Moment) -> u32 {
        if self.is_live(now) { self.attempt } else { self.attempt + 1 }
    }
}

impl Failure {
    /// An event that waits for one which failed.
    pub(super) fn waiting(seq: Seq, lane: String, topic: String, event_id: String) -> Self {
        Self {
            seq,
            lane,
            topic,
            event_id,
            state: FailureState::Waiting,
            attempts: 0,
            due_at: 0,
            reason: String::new(),
            first_failed_at: 0,
            last_failed_at: 0,
        }
    }
}

/// An event with the number of times that it was given out.
fn attempted(event: &str, attempt: u32) -> String {
    let open = event.strip_suffix('}').unwrap_or(event);
    format!("{open},\"attempt\":{attempt}}}")
}
