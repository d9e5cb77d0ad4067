//! The end of the store, as followers see it: all followers of an instance share one look at it.
//!
//! Time goes in ticks. The first follower to wake in a tick asks where the store ends, and the first to want
//! a page reads it; the others find both here. Commits become visible in the order of seq, for a database
//! has one writer at a time, so a follower that goes from seq to seq misses nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures::Stream;
use futures::stream;
use tokio::sync::Semaphore;

use crate::store::{Clock, Direction, Filter, Format, Page, PageSize, Seq, Span, Store, StoreError};

/// How often followers look. An event is seen within a tick and the time of two reads.
const TICK: Duration = Duration::from_millis(150);

/// Followers of an instance that read what they have missed at the same time.
const CATCHING_UP: usize = 2;

/// How long a follower hears nothing before it is told that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

type Pages = HashMap<(Filter, Span), Option<Rc<Page>>>;

/// What the followers of an instance share.
pub struct Tail<S, C> {
    store: Rc<S>,
    clock: C,
    /// Whoever reads holds it, so that the others find what was read, or read themselves.
    reading: Semaphore,
    /// Who is behind the end reads for itself, a few at a time, and does not make the others wait.
    catching_up: Semaphore,
    tick: Cell<Option<u128>>,
    newest: Cell<Seq>,
    /// The pages read in this tick, by what was asked for.
    pages: RefCell<Pages>,
}

impl<S: Store, C: Clock> Tail<S, C> {
    /// The end of a store.
    pub fn new(store: Rc<S>, clock: C) -> Self {
        Self {
            store,
            clock,
            reading: Semaphore::new(1),
            catching_up: Semaphore::new(CATCHING_UP),
            tick: Cell::new(None),
            newest: Cell::new(0),
            pages: RefCell::default(),
        }
    }

    /// The events of the filter after `after`, as server-sent events, without an end: those that are stored,
    /// and those to come.
    pub fn follow(
        self: Rc<Self>,
        filter: Filter,
        after: Seq,
    ) -> impl Stream<Item = Result<Vec<u8>, StoreError>> + 'static {
        let follower = Follower { after, spoke_at: self.clock.now(), waits: false };
        // What comes at once tells the client that it is connected.
        let hello = stream::iter([Ok(b": following\n\n".to_vec())]);
        let events = stream::try_unfold((self, filter, follower), |(tail, filter, mut follower)| async {
            let text = tail.next(&filter, &mut follower).await?;
            Ok(Some((text, (tail, filter, follower))))
        });
        stream::StreamExt::chain(hello, events)
    }

    /// The next events for a follower, or a heartbeat.
    async fn next(&self, filter: &Filter, follower: &mut Follower) -> Result<Vec<u8>, StoreError> {
        loop {
            if follower.waits {
                self.clock.sleep(self.until_next_tick()).await;
            }
            let through = self.newest().await?;
            let page = if through > follower.after {
                let span = Span { after: follower.after, through };
                if follower.waits {
                    self.shared_page(filter, span).await?
                } else {
                    self.missed_page(filter, span).await?
                }
            } else {
                None
            };
            follower.waits = page.as_ref().is_none_or(|page| page.is_last);
            follower.after = match &page {
                Some(page) if !page.is_last => page.last,
                _ => through.max(follower.after),
            };
            let now = self.clock.now();
            if let Some(page) = page {
                follower.spoke_at = now;
                return Ok(format!("{}\n\n", page.text).into_bytes());
            }
            if now - follower.spoke_at >= HEARTBEAT {
                follower.spoke_at = now;
                return Ok(b": still here\n\n".to_vec());
            }
        }
    }

    async fn newest(&self) -> Result<Seq, StoreError> {
        // The semaphore is never closed.
        let _permit = self.reading.acquire().await;
        let tick = self.clock.now().as_millis() / TICK.as_millis();
        if self.tick.get() != Some(tick) {
            self.newest.set(self.store.last_seq().await?);
            self.pages.borrow_mut().clear();
            self.tick.set(Some(tick));
        }
        Ok(self.newest.get())
    }

    async fn missed_page(&self, filter: &Filter, span: Span) -> Result<Option<Rc<Page>>, StoreError> {
        let _permit = self.catching_up.acquire().await;
        let span = self.store.narrow(filter, span).await?;
        let page =
            self.store.page(filter, span, Direction::Ascending, Format::Events, PageSize::SMALL).await?;
        Ok(page.map(Rc::new))
    }

    async fn shared_page(&self, filter: &Filter, span: Span) -> Result<Option<Rc<Page>>, StoreError> {
        let _permit = self.reading.acquire().await;
        let wanted = (filter.clone(), span);
        if let Some(page) = self.pages.borrow().get(&wanted) {
            return Ok(page.clone());
        }
        let page =
            self.store.page(filter, span, Direction::Ascending, Format::Events, PageSize::SMALL).await?;
        let page = page.map(Rc::new);
        self.pages.borrow_mut().insert(wanted, page.clone());
        Ok(page)
    }

    fn until_next_tick(&self) -> Duration {
        let tick = TICK.as_micros();
        let into_tick = self.clock.now().as_micros() % tick;
        Duration::from_micros(u64::try_from(tick - into_tick).unwrap_or_default())
    }
}

struct Follower {
    /// The last seq that it has passed.
    after: Seq,
    /// When it was last told anything.
    spoke_at: Duration,
    /// Whether it has all there was.
    waits: bool,
}
