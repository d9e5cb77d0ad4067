//! New events: those that were never given out, and the ranges of claims that are given again.

use super::super::draft::{Ahead, Draft};
use super::super::events::Event;
use super::super::outcome::{Claimed, Refusal};
use super::super::specification::Order;
use super::super::state::{Claim, Kind, Skipped};
use super::{CLAIM_BYTES, CLAIM_EVENTS, Contents, Wanted};
use crate::store::consume::{ConsumeStore, Failure};
use crate::store::{Layout, PageSize, ReadStore, Seq, Span, StoreError};

/// Parts of the log that one claim looks at.
const PARTS: usize = 64;

/// Events that are looked at in one page where some may have to wait.
const PAGE_EVENTS: u32 = 256;

/// Seqs without an event of the consumer after which its place is kept, so that they are not looked at again.
const FAR: Seq = 100_000;

/// The next part of the log, as a consumer is given it.
struct Part {
    /// Events that can be given out.
    free: Vec<Event>,
    /// Events that have to wait.
    waiting: Vec<Event>,
    /// All events of it, also those that the consumer is not given.
    found: usize,
    /// Its last seq.
    through: Seq,
}

impl<S: ReadStore + ConsumeStore> Draft<'_, S> {
    /// A claim of events that were never given out.
    pub(super) async fn claim_new(&mut self, wanted: &Wanted) -> Result<Option<Claimed>, Refusal> {
        let limit = wanted.limit.min(u32::try_from(self.state.room()).unwrap_or_default());
        if limit == 0 || self.state.held > 0 && self.state.specification.order == Order::Total {
            return Ok(None);
        }
        let readable = self.readable_for(limit.max(self.expected)).await?;
        let mut through = self.state.next.max(readable.after);
        for _ in 0..PARTS {
            let rest = Span { after: through, ..readable };
            if rest.is_empty() {
                break;
            }
            let part = self.next_part(rest, limit).await?;
            through = part.through;
            if part.found == 0 {
                continue;
            }
            let from = std::mem::replace(&mut self.state.next, through);
            let skipped = self.skipped(Span { after: from, through }, part.found).await?;
            if !part.free.is_empty() {
                return Ok(Some(self.give_new(from, part, skipped, wanted)?));
            }
            self.state.missing += skipped;
            if !part.waiting.is_empty() {
                self.put_aside(part.waiting)?;
                return Ok(None); // what waits is written before more is looked at
            }
        }
        if through - self.state.next > FAR {
            let from = std::mem::replace(&mut self.state.next, through);
            self.state.missing += self.skipped(Span { after: from, through }, 0).await?;
        }
        Ok(None)
    }

    fn give_new(
        &mut self,
        from: Seq,
        part: Part,
        skipped: Skipped,
        wanted: &Wanted,
    ) -> Result<Claimed, StoreError> {
        let claim = self.new_claim(Kind::New, from, part.through, wanted, part.free.len());
        let claim = Claim { aside: part.waiting.iter().map(|event| event.seq).collect(), ..claim };
        self.put_aside(part.waiting)?;
        self.state.delivered += claim.events;
        let events = part.free.into_iter().map(|event| (event.seq, event.attempted(1))).collect();
        Ok(self.give(claim, events, skipped))
    }

    /// The next part of a span: up to so many events that can be given out, with those that have to wait before them.
    async fn next_part(&mut self, rest: Span, limit: u32) -> Result<Part, Refusal> {
        let (events, mut through) = self.next_events(rest, limit).await?;
        let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
        let (mut free, mut waiting) = self.apart_from_waiting(events).await?;
        if free.len() > limit as usize {
            let beyond = free.split_off(limit as usize);
            let after = beyond[0].seq - 1;
            if waiting.is_empty() {
                self.ahead = Some(Ahead { after, events: beyond, through });
            }
            through = after;
        }
        waiting.retain(|event| event.seq <= through);
        let found = seqs.iter().filter(|seq| **seq <= through).count();
        Ok(Part { free, waiting, found, through })
    }

    /// The next events of a span, and the seq up to which there are no more. One page has those of all claims of a draft.
    async fn next_events(&mut self, rest: Span, limit: u32) -> Result<(Vec<Event>, Seq), Refusal> {
        if let Some(ahead) = self.ahead.take().filter(|ahead| ahead.after == rest.after) {
            return Ok((ahead.events, ahead.through));
        }
        let lookahead = if self.state.held > 0 { PAGE_EVENTS } else { self.expected.min(CLAIM_EVENTS) };
        let room = u32::try_from(self.state.room()).unwrap_or_default();
        let size = PageSize { events: limit.max(lookahead.min(room)), bytes: CLAIM_BYTES as u32 };
        let filter = self.state.specification.filter();
        let (page, through) = self.ground.reader.next_page(&filter, rest, Layout::Lines, size).await?;
        let events = page.map(|page| Event::read_all(page.text.lines())).transpose()?;
        Ok((events.unwrap_or_default(), through))
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
        let lowest = self.lowest(events.iter().map(lane), &[]).await?;
        let waits = |event: &Event| lowest.iter().any(|low| low.seq < event.seq && low.lane == lane(event));
        let (waiting, free) = events.into_iter().partition(waits);
        Ok((free, waiting))
    }

    /// New events wait from now on.
    fn put_aside(&mut self, waiting: Vec<Event>) -> Result<(), StoreError> {
        for event in waiting {
            let lane = self.state.specification.lane(&event.topic, event.seq);
            self.keep(None, Failure::untried(&event, lane)?);
        }
        Ok(())
    }

    /// The events of a range that was given out before, but for those that wait. Where the consumer is given more events than
    /// it was then, the rest of the range is left for the next claim.
    pub(super) async fn range(&mut self, claim: &mut Claim) -> Result<Contents, Refusal> {
        let (filter, readable) = (self.state.specification.filter(), self.readable().await?);
        let after = claim.from.max(readable.after);
        let (mut rest, mut events, mut bytes) = (Span { after, through: claim.to }, Vec::new(), 0);
        while !rest.is_empty() && events.len() < CLAIM_EVENTS as usize && bytes < CLAIM_BYTES {
            let size = PageSize { events: CLAIM_EVENTS - events.len() as u32, ..PageSize::LARGE };
            let (page, through) = self.ground.reader.next_page(&filter, rest, Layout::Lines, size).await?;
            rest.after = through;
            if let Some(page) = page {
                bytes += page.text.len();
                events.extend(Event::read_all(page.text.lines())?);
            }
        }
        if !rest.is_empty() {
            let mut left = Claim { from: rest.after, expires_at: 0, ..claim.clone() };
            left.give_back();
            self.state.claims.push(left);
            claim.to = rest.after;
        }
        claim.aside.retain(|seq| *seq <= claim.to);
        let skipped = self.skipped(Span { after: claim.from, through: claim.to }, events.len()).await?;
        events.retain(|event| !claim.aside.contains(&event.seq));
        let (free, waiting) = self.apart_from_waiting(events).await?;
        claim.aside.extend(waiting.iter().map(|event| event.seq));
        self.put_aside(waiting)?;
        Ok((free.into_iter().map(|event| (event.seq, event.attempted(claim.attempt))).collect(), skipped))
    }

    /// What is missing in a range of which so many events were found.
    async fn skipped(&self, span: Span, found: usize) -> Result<Skipped, Refusal> {
        if span.len() == found as i64 {
            return Ok(Skipped::default());
        }
        let readable = self.readable().await?;
        let expired = (readable.after.min(span.through) - span.after).max(0);
        let rest = Span { after: span.after.max(readable.after), ..span };
        if rest.is_empty() || rest.len() == found as i64 {
            return Ok(Skipped { expired, erased: 0 });
        }
        let erased = self.ground.store.erased(&self.state.specification.patterns(), rest).await?;
        Ok(Skipped { expired, erased })
    }
}
