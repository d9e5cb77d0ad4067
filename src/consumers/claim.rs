//! A claim: what is given out next.
//!
//! First of all the holder's own live claim, then a claim that ran out, whole; then, in turns, events that failed and are
//! due, and new ones. An event whose lane has a lower one that failed is given in none of them: it waits.

use std::time::Duration;

use super::draft::Draft;
use super::events::Event;
use super::outcome::{Claimed, Done, Outcome, Refusal, Skipped};
use super::specification::Order;
use super::state::{Claim, Kind};
use crate::store::consume::{ConsumeStore, Failure, FailureState, Which};
use crate::store::{Layout, PageSize, ReadStore, Seq, Span};

/// Bytes of events after which a claim takes no more of them.
const CLAIM_BYTES: usize = 1 << 20;

/// The most events of a claim.
pub const CLAIM_EVENTS: u32 = 1000;

/// Pages that one claim looks at.
const PAGES: usize = 64;

/// Events that are looked at in one page where some may have to wait.
const PAGE_EVENTS: u32 = 256;

/// Failed events that are read by one statement.
pub const READ_AT_ONCE: usize = 16;

/// Seqs without an event of the consumer after which its place is kept, so that they are not looked at again.
const FAR: Seq = 100_000;

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
        self.refuse_beyond_workers()?;
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
            return Ok(None); // no commit has ended it, so none of it is taken any more
        };
        if claim.kind == Kind::Retry {
            claim.to = *last;
            claim.seqs = events.iter().map(|(seq, _)| *seq).collect();
        }
        claim.holder.clone_from(&wanted.holder);
        claim.events = events.len() as i64;
        claim.extend(self.now);
        if ran_out {
            self.state.redelivered += claim.events;
        }
        Ok(Some(self.give(claim, skipped, events)))
    }

    /// The next failed events of all lanes in the order in which they become due: as many as a claim takes, and one more.
    async fn heads(&self, limit: u32) -> Result<Vec<Failure>, Refusal> {
        if self.state.held == 0 {
            return Ok(Vec::new());
        }
        let which = Which::Heads { but: &self.state.seqs_out() };
        Ok(self.ground.store.failures(self.name, which, limit + 1).await?)
    }

    /// A claim of events that have failed and are due, each with those of its lane that may follow it.
    async fn claim_failed(&mut self, due: &[Failure], wanted: &Wanted) -> Result<Option<Claimed>, Refusal> {
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
        let (Some(first), Some(last)) = (seqs.first(), seqs.last()) else { return Ok(None) };
        let claim = self.new_claim(Kind::Retry, first - 1, *last, wanted, seqs.len());
        let claim = Claim { seqs, ..claim };
        self.state.redelivered += claim.events;
        Ok(Some(self.give(claim, skipped, events)))
    }

    /// A claim of events that were never given out.
    async fn claim_new(&mut self, wanted: &Wanted) -> Result<Option<Claimed>, Refusal> {
        let has_held = self.state.held > 0;
        if has_held && self.state.specification.order == Order::Total {
            return Ok(None);
        }
        let room = u32::try_from(self.state.room()).unwrap_or_default();
        let limit = wanted.limit.min(room);
        if limit == 0 {
            return Ok(None);
        }
        let looked_at = if has_held { limit.max(PAGE_EVENTS).min(room) } else { limit };
        let size = PageSize { events: looked_at, bytes: CLAIM_BYTES as u32 };
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
            let found = page.map(|page| Event::read_all(&page.text)).transpose()?.unwrap_or_default();
            let found_count = found.len();
            let (mut free, mut waiting) = self.apart_from_waiting(found).await?;
            next = match free.get(limit as usize) {
                Some(beyond) => beyond.seq - 1,
                None => through,
            };
            let is_whole = next == through;
            free.retain(|event| event.seq <= next);
            waiting.retain(|event| event.seq <= next);
            let aside: Vec<_> = waiting.iter().map(|event| event.seq).collect();
            self.put_aside(waiting);
            if found_count > 0 {
                self.state.next = next; // also where all of them tell of its own failures: it is behind no more
            }
            if !aside.is_empty() && free.is_empty() {
                break; // what waits is written before more is looked at
            }
            if free.is_empty() {
                continue;
            }
            let found = if is_whole { found_count } else { free.len() + aside.len() };
            let skipped = self.skipped(Span { after: from, through: next }, readable, found).await?;
            let claim = self.new_claim(Kind::New, from, next, wanted, free.len());
            let claim = Claim { aside, ..claim };
            self.state.delivered += claim.events;
            let events = free.iter().map(|event| (event.seq, attempted(&event.json, 1))).collect();
            return Ok(Some(self.give(claim, skipped, events)));
        }
        if next - self.state.next > FAR {
            self.state.next = next;
        }
        Ok(None)
    }

    /// New events in two parts: those that are given out, and those that have to wait for a lower one of their lane. Those
    /// that the consumer is not given at all are in neither.
    async fn apart_from_waiting(&self, mut events: Vec<Event>) -> Result<(Vec<Event>, Vec<Event>), Refusal> {
        let specification = &self.state.specification;
        events.retain(|event| !specification.leaves_out(&event.topic));
        if self.state.held == 0 || events.is_empty() || specification.order == Order::None {
            return Ok((events, Vec::new()));
        }
        let lane = |event: &Event| specification.lane(&event.topic, event.seq);
        let mut lanes: Vec<_> = events.iter().map(lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let lowest = self.lowest(&lanes, &[]).await?;
        let waits = |event: &Event| lowest.iter().any(|low| low.seq < event.seq && low.lane == lane(event));
        let (waiting, free) = events.into_iter().partition(waits);
        Ok((free, waiting))
    }

    /// New events wait from now on.
    fn put_aside(&mut self, waiting: Vec<Event>) {
        for Event { seq, topic, event_id, .. } in waiting {
            let lane = self.state.specification.lane(&topic, seq);
            self.keep(None, Failure::untried(seq, lane, topic, event_id));
        }
    }

    /// Failed events but for those whose lane has a lower one, apart from some.
    async fn not_behind_others(&self, mut rows: Vec<Failure>, but: &[Seq]) -> Result<Vec<Failure>, Refusal> {
        rows.retain(|failure| failure.state != FailureState::Dead);
        let mut lanes: Vec<_> = rows.iter().map(|failure| failure.lane.clone()).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let lowest = self.lowest(&lanes, but).await?;
        rows.retain(|row| !lowest.iter().any(|low| low.lane == row.lane && low.seq < row.seq));
        Ok(rows)
    }

    /// The lowest held event of each of some lanes, as the store has them, but for some.
    pub(super) async fn lowest(&self, lanes: &[String], but: &[Seq]) -> Result<Vec<Failure>, Refusal> {
        if lanes.is_empty() || self.state.held == 0 {
            return Ok(Vec::new());
        }
        let which = Which::Lowest { lanes, but };
        Ok(self.ground.store.failures(self.name, which, lanes.len() as u32).await?)
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
        };
        claim.extend(self.now);
        claim
    }

    fn give(&mut self, claim: Claim, skipped: Skipped, events: Vec<(Seq, String)>) -> Claimed {
        self.state.claims.push(claim.clone());
        let events: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
        self.bytes += events.iter().map(String::len).sum::<usize>();
        Claimed { claim, skipped, events }
    }

    /// The events of a range that was given out before, but for those that wait. Where the consumer is given more events than
    /// it was then, the rest of the range is left for the next claim.
    async fn range(&mut self, claim: &mut Claim) -> Result<Contents, Refusal> {
        let (filter, readable) = (self.state.specification.filter(), self.ground.reader.readable().await?);
        let after = claim.from.max(readable.after);
        let (mut rest, mut events, mut bytes) = (Span { after, through: claim.to }, Vec::new(), 0);
        while !rest.is_empty() && events.len() < CLAIM_EVENTS as usize && bytes < CLAIM_BYTES {
            let size = PageSize { events: CLAIM_EVENTS - events.len() as u32, ..PageSize::LARGE };
            let (page, through) = self.ground.reader.next_page(&filter, rest, Layout::Lines, size).await?;
            rest.after = through;
            if let Some(page) = page {
                bytes += page.text.len();
                events.extend(Event::read_all(&page.text)?);
            }
        }
        if !rest.is_empty() {
            let mut left = Claim { from: rest.after, expires_at: 0, ..claim.clone() };
            left.give_back();
            self.state.claims.push(left);
            claim.to = rest.after;
        }
        claim.aside.retain(|seq| *seq <= claim.to);
        let skipped =
            self.skipped(Span { after: claim.from, through: claim.to }, readable, events.len()).await?;
        events.retain(|event| !claim.aside.contains(&event.seq));
        let (free, waiting) = self.apart_from_waiting(events).await?;
        claim.aside.extend(waiting.iter().map(|event| event.seq));
        self.put_aside(waiting);
        Ok((free.iter().map(|event| (event.seq, attempted(&event.json, claim.attempt))).collect(), skipped))
    }

    /// The events of failures, as many as fit. Those that are gone are failures no more.
    async fn failed(&mut self, rows: &[Failure], attempt: u32) -> Result<Contents, Refusal> {
        let readable = self.ground.reader.readable().await?;
        let (mut events, mut skipped, mut bytes) = (Vec::new(), Skipped::default(), 0);
        for rows in rows.chunks(READ_AT_ONCE) {
            if bytes >= CLAIM_BYTES {
                break;
            }
            let seqs: Vec<_> = rows.iter().map(|failure| failure.seq).collect();
            let mut found =
                Event::read_lines(self.ground.store.events_of(&seqs).await?)?.into_iter().peekable();
            for failure in rows {
                if let Some(event) = found.next_if(|event| event.seq == failure.seq) {
                    bytes += event.json.len();
                    events.push((event.seq, attempted(&event.json, failure.attempts + attempt)));
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

impl Failure {
    /// An event that waits for one which failed, and was not tried.
    pub(super) fn untried(seq: Seq, lane: String, topic: String, event_id: String) -> Self {
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
