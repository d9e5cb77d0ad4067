//! Reading from the store.

use std::collections::HashSet;
use std::time::Duration;

use sekali::event::{EventId, Topic, TopicPattern};
use sekali::store::{
    Filter, Found, Index, Layout, Ledger, Matches, Order, Page, PageSize, ReadStore, Seq, Span, StoreError,
    Window,
};
use serde_json::{Value, json};

use super::{SimStore, State, Stored};
use crate::requests::identities::TOPICS;
use crate::sim::service::trouble::{Manner, SLOW};

/// The time at which events are received, as far as readers see it.
const RECEIVED_AT: &str = "1970-01-01T00:00:00Z";

impl State {
    fn manner_now(&self) -> Manner {
        if self.sim.now() < self.manner_ends { self.manner } else { Manner::Fast }
    }

    /// A part of the time that a read takes.
    async fn pause_read(&self, is_slow: bool) {
        let sim = &self.sim;
        if is_slow {
            return sim.sleep(Duration::from_secs(5) + sim.below_millis(35_000)).await;
        }
        match (self.manner_now(), sim.draw(|random| random.u32(..20))) {
            (_, 0..5) => {}
            (_, 5..8) => sim.yield_now().await,
            (Manner::Slow, 8) => sim.sleep(sim.below_millis(15_000)).await,
            (Manner::Slow, _) => sim.sleep(sim.below_millis(500)).await,
            _ => sim.sleep(sim.below_millis(1)).await,
        }
    }

    fn fail(&self) -> Result<(), StoreError> {
        if self.manner_now() != Manner::Failing || !self.sim.chance(0.1) {
            return Ok(());
        }
        let error = match self.sim.draw(|random| random.u32(..3)) {
            0 => return Err(StoreError::Overloaded),
            1 => StoreError::Busy,
            _ => StoreError::Failed("this time only".into()),
        };
        self.failures.update(|failures| failures + 1);
        Err(error)
    }

    /// A part of the time of a step of a consumer, which may fail.
    pub(super) async fn hesitate(&self) -> Result<(), StoreError> {
        self.pause_read(false).await;
        self.fail()
    }

    fn is_slow(&self, filter: &Filter) -> bool {
        self.manner_now() == Manner::OneSlow && filter.topics.iter().any(|topic| topic.matches(TOPICS[SLOW]))
    }

    /// The text of an event.
    pub(super) fn text(&self, seq: Seq, layout: Layout) -> String {
        if layout == Layout::ServerSent {
            return format!("id: {seq}\ndata: {{}}");
        }
        let Stored { event, deliveries, conflicts, .. } = &self.events.borrow()[seq as usize - 1];
        let names = json!({
            "seq": seq, "topic": event.topic.as_str(), "event_id": event.event_id.as_str(),
            "timestamp": event.timestamp.as_ref().map_or(RECEIVED_AT.to_owned(), ToString::to_string),
            "source": event.source.as_ref().map(|source| source.as_str()),
            "deliveries": deliveries, "conflicts": conflicts, "received_at": RECEIVED_AT,
        });
        // As it came, and not as a value of ours.
        format!("{},\"payload\":{}}}", names.to_string().trim_end_matches('}'), event.payload.as_json())
    }
}

impl ReadStore for SimStore {
    async fn readable(&self) -> Result<Span, StoreError> {
        self.looks.update(|looks| looks + 1);
        self.pause_read(false).await;
        self.fail()?;
        let newest = self.last_seq();
        self.pause_read(false).await;
        Ok(Span { after: 0, through: newest })
    }

    /// A run of the span before which nothing matches.
    async fn window(&self, filter: &Filter, span: Span, _order: Order) -> Result<Window, StoreError> {
        self.pause_read(false).await;
        self.fail()?;
        let index = Index::Seq;
        let Some(first) = self.matching(filter, span).first().copied() else {
            return Ok(Window { span: Span { through: span.after, ..span }, index });
        };
        let after = if self.sim.draw(fastrand::Rng::bool) { span.after } else { first - 1 };
        let through = self.sim.draw(|random| random.i64(after + 1..=span.through));
        Ok(Window { span: Span { after, through }, index })
    }

    async fn matches(
        &self,
        filter: &Filter,
        Window { span, .. }: Window,
        _order: Order,
        limit: u32,
    ) -> Result<Matches, StoreError> {
        self.pause_read(false).await;
        self.fail()?;
        let mut seqs = self.matching(filter, span);
        let has_more = seqs.len() > limit as usize;
        seqs.truncate(limit as usize);
        Ok(Matches { count: seqs.len() as u32, last: seqs.last().copied(), has_more })
    }

    async fn page(
        &self,
        filter: &Filter,
        Window { span, .. }: Window,
        _order: Order,
        layout: Layout,
        size: PageSize,
    ) -> Result<Option<Page>, StoreError> {
        if size == PageSize::SMALL {
            self.pages.update(|pages| pages + 1);
        }
        self.sim.log(format!("page of {filter:?} {span:?}"));
        self.pause_read(self.is_slow(filter)).await;
        self.fail()?;
        let mut seqs = self.matching(filter, span);
        // Large payloads make a page short.
        let is_short = self.manner_now() != Manner::Fast && self.sim.chance(0.1);
        let most = if is_short { 1 } else { size.events as usize };
        let is_last = seqs.len() < most;
        seqs.truncate(most);
        self.pause_read(false).await;
        let Some(last) = seqs.last().copied() else { return Ok(None) };
        let texts: Vec<_> = seqs.iter().map(|seq| self.text(*seq, layout)).collect();
        Ok(Some(Page { text: texts.join(layout.separator()), last, is_last }))
    }

    async fn event(&self, _: &Topic, _: &EventId) -> Result<Option<Found>, StoreError> {
        Err(StoreError::Failed("nobody reads a single event".into()))
    }

    async fn ledger(&self, _: &[TopicPattern]) -> Result<Ledger, StoreError> {
        let events = self.events.borrow();
        let account = |topic: Option<&str>| {
            let of_topic =
                events.iter().filter(|stored| topic.is_none_or(|name| stored.event.topic.as_str() == name));
            of_topic.fold([0, 0, 0], |[unique, received, conflicts], stored| {
                [unique + 1, received + stored.deliveries as i64, conflicts + stored.conflicts as i64]
            })
        };
        let by_topic = TOPICS.map(|topic| {
            let [unique, received, conflicts] = account(Some(topic));
            json!({"topic": topic, "received": received, "unique_processed": unique,
                "duplicate_dropped": received - unique, "conflicts": conflicts})
        });
        let [unique_processed, received, conflicts] = account(None);
        Ok(Ledger {
            unique_processed,
            duplicate_dropped: received - unique_processed,
            conflicts,
            expired: 0,
            erased: 0,
            forgotten: 0,
            first_seq: 1,
            last_seq: self.last_seq(),
            topics_total: TOPICS.len() as i64,
            topics: json!(TOPICS).to_string(),
            by_topic: Value::from_iter(by_topic).to_string(),
            store_id: "memory".into(),
        })
    }

    /// All of them. A look at the store would let a request overtake another on its way to the queue.
    async fn find_topics(&self, topics: &[&Topic]) -> Result<(HashSet<Topic>, usize), StoreError> {
        Ok((topics.iter().map(|topic| (*topic).clone()).collect(), TOPICS.len()))
    }
}
