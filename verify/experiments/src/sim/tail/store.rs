//! A store whose events only grow in number, and that is fast, slow or failing.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::time::Duration;

use sekali::event::{EventId, Topic};
use sekali::store::{
    Filter, Found, Index, Layout, Ledger, Matches, Order, Page, PageSize, ReadStore, Seq, Span, StoreError,
    Window,
};

use crate::sim::executor::Handle;

/// The topics of events. Pages of the last one take long where the manner says so.
pub const TOPICS: [&str; 4] = ["a", "b", "c", "slow"];

/// The manner in which a store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Within milliseconds.
    Fast,
    /// Within milliseconds, but for pages of the topic `slow`.
    OneSlow,
    /// Within seconds, and sometimes within half a minute.
    Slow,
    /// Within milliseconds, and with errors.
    Failing,
}

impl Manner {
    /// Draws a manner.
    pub fn draw(sim: &Handle) -> Self {
        let manners = [Self::Fast, Self::Fast, Self::OneSlow, Self::Slow, Self::Failing];
        sim.draw(|random| random.choice(manners)).unwrap_or(Self::Fast)
    }
}

/// A stored event.
struct Stored {
    topic: &'static str,
    source: &'static str,
    /// The time of its commit.
    at: Duration,
}

/// The store.
pub struct SimStore {
    sim: Handle,
    /// The manner in which it answers until its troubles end.
    pub manner: Manner,
    trouble_ends: Duration,
    events: RefCell<Vec<Stored>>,
    /// Reads of the newest seq, and of pages.
    reads: Cell<(u64, u64)>,
    failures: Cell<u64>,
}

impl SimStore {
    /// An empty store, which is fast from `trouble_ends` on.
    pub fn new(sim: Handle, manner: Manner, trouble_ends: Duration) -> Self {
        let (events, reads, failures) = Default::default();
        Self { sim, manner, trouble_ends, events, reads, failures }
    }

    fn manner_now(&self) -> Manner {
        if self.sim.now() < self.trouble_ends { self.manner } else { Manner::Fast }
    }

    /// Commits so many events.
    pub fn append(&self, count: usize) {
        let at = self.sim.now();
        for _ in 0..count {
            let (topic, source) =
                self.sim.draw(|random| (random.choice(TOPICS), random.choice(["odd", "even"])));
            let (topic, source) = (topic.unwrap_or_default(), source.unwrap_or_default());
            self.events.borrow_mut().push(Stored { topic, source, at });
        }
        self.sim.log(format!("commit up to {}", self.newest()));
    }

    /// The newest seq.
    pub fn newest(&self) -> Seq {
        self.events.borrow().len() as Seq
    }

    /// The seqs in a span that match, in their order.
    pub fn matching(&self, filter: &Filter, span: Span) -> Vec<Seq> {
        let events = self.events.borrow();
        let matches = |seq: &Seq| {
            let Stored { topic, source, .. } = &events[*seq as usize - 1];
            (filter.topics.is_empty() || filter.topics.iter().any(|wanted| wanted.as_str() == *topic))
                && (filter.sources.is_empty()
                    || filter.sources.iter().any(|wanted| wanted.as_str() == *source))
        };
        (span.after + 1..=span.through.min(events.len() as Seq)).filter(matches).collect()
    }

    /// The time at which an event was committed.
    pub fn committed_at(&self, seq: Seq) -> Duration {
        self.events.borrow()[seq as usize - 1].at
    }

    /// The number of reads of the newest seq, and of pages.
    pub fn reads(&self) -> (u64, u64) {
        self.reads.get()
    }

    /// The number of reads that failed for good.
    pub fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// A part of the time that a read takes.
    async fn pause(&self, is_slow: bool) {
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
        self.failures.set(self.failures.get() + 1);
        Err(error)
    }

    fn is_slow(&self, filter: &Filter) -> bool {
        self.manner_now() == Manner::OneSlow && filter.topics.iter().any(|topic| topic.as_str() == "slow")
    }
}

impl ReadStore for SimStore {
    async fn readable(&self) -> Result<Span, StoreError> {
        let (looks, pages) = self.reads.get();
        self.reads.set((looks + 1, pages));
        self.pause(false).await;
        self.fail()?;
        let newest = self.newest();
        self.pause(false).await;
        Ok(Span { after: 0, through: newest })
    }

    /// A run of the span before which nothing matches.
    async fn window(&self, filter: &Filter, span: Span, _order: Order) -> Result<Window, StoreError> {
        self.pause(false).await;
        self.fail()?;
        let index = Index::Seq;
        let Some(first) = self.matching(filter, span).first().copied() else {
            return Ok(Window { span: Span { through: span.after, ..span }, index });
        };
        let after = if self.sim.draw(fastrand::Rng::bool) { span.after } else { first - 1 };
        let through = self.sim.draw(|random| random.i64(after + 1..=span.through));
        Ok(Window { span: Span { after, through }, index })
    }

    async fn matches(&self, _: &Filter, _: Window, _: Order, _: u32) -> Result<Matches, StoreError> {
        Err(StoreError::Failed("followers have no limit".into()))
    }

    async fn page(
        &self,
        filter: &Filter,
        Window { span, .. }: Window,
        _order: Order,
        _layout: Layout,
        size: PageSize,
    ) -> Result<Option<Page>, StoreError> {
        let (looks, pages) = self.reads.get();
        self.reads.set((looks, pages + 1));
        self.sim.log(format!("page of {filter:?} {span:?}"));
        self.pause(self.is_slow(filter)).await;
        self.fail()?;
        let mut seqs = self.matching(filter, span);
        // Large payloads make a page short.
        let is_short = self.manner_now() != Manner::Fast && self.sim.chance(0.1);
        let most = if is_short { 1 } else { size.events as usize };
        let is_last = seqs.len() < most;
        seqs.truncate(most);
        self.pause(false).await;
        let Some(last) = seqs.last().copied() else { return Ok(None) };
        let texts: Vec<_> = seqs.iter().map(|seq| format!("id: {seq}\ndata: {{}}")).collect();
        Ok(Some(Page { text: texts.join("\n\n"), last, is_last }))
    }

    async fn event(&self, _topic: &Topic, _event_id: &EventId) -> Result<Option<Found>, StoreError> {
        Err(StoreError::Failed("followers read no single event".into()))
    }

    async fn ledger(&self, _topics: &[Topic]) -> Result<Ledger, StoreError> {
        Err(StoreError::Failed("followers read no account".into()))
    }

    async fn find_topics(&self, _topics: &[&Topic]) -> Result<(HashSet<Topic>, usize), StoreError> {
        Err(StoreError::Failed("followers ask for no topics".into()))
    }
}
