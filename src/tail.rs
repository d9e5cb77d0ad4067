//! Following: the end of the store, which all followers of an instance share.
//!
//! Time is divided into ticks. The first follower that wakes in a tick asks the store for its newest seq, and the first
//! that needs a page reads it; the others find both here. Events become visible in the order of seq, so a follower
//! that goes from seq to seq misses nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures::Stream;
use futures::stream;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::reader::Reader;
use crate::store::{Filter, Page, ReadStore, Seq, Span, StoreError};

/// The time between two looks at the store. An event reaches its followers within a tick and the time of two reads.
const TICK: Duration = Duration::from_millis(150);

/// Followers that read missed events at the same time.
const CATCHING_UP: usize = 2;

/// Silence after which a follower gets a comment, which keeps the connection open.
const HEARTBEAT: Duration = Duration::from_secs(15);

type Pages = HashMap<(Filter, Span), Option<Rc<Page>>>;

/// The end of the store, as the followers of an instance share it.
pub struct Tail<S, C> {
    reader: Reader<S>,
    clock: C,
    /// Held while a follower reads for all.
    reading: Semaphore,
    /// Held while a follower that is behind reads for itself: it must not make the others wait.
    catching_up: Semaphore,
    tick: Cell<Option<u128>>,
    newest: Cell<Seq>,
    /// The pages that were read in this tick.
    pages: RefCell<Pages>,
}

impl<S: ReadStore, C: Clock> Tail<S, C> {
    /// The end of the store of `reader`.
    pub fn new(reader: Reader<S>, clock: C) -> Self {
        Self {
            reader,
            clock,
            reading: Semaphore::new(1),
            catching_up: Semaphore::new(CATCHING_UP),
            tick: Cell::new(None),
            newest: Cell::new(0),
            pages: RefCell::default(),
        }
    }

    /// The events of the filter after `after` as server-sent events: those that are stored, and then those to come,
    /// without an end.
    pub fn follow(
        self: Rc<Self>,
        filter: Filter,
        after: Seq,
    ) -> impl Stream<Item = Result<Vec<u8>, StoreError>> + 'static {
        let follower = Follower { after, spoke_at: self.clock.now(), waits: false };
        // Sent at once, so that the client knows that it is connected.
        let hello = stream::iter([Ok(b": following\n\n".to_vec())]);
        let events = stream::try_unfold((self, filter, follower), |(tail, filter, mut follower)| async {
            let text = tail.next(&filter, &mut follower).await?;
            Ok(Some((text, (tail, filter, follower))))
        });
        stream::StreamExt::chain(hello, events)
    }

    /// The next events of a follower, or a heartbeat.
    async fn next(&self, filter: &Filter, follower: &mut Follower) -> Result<Vec<u8>, StoreError> {
        let mut is_refused = false;
        loop {
            if follower.waits || is_refused {
                self.clock.sleep(self.until_next_tick()).await;
            }
            let page = self.look(filter, follower).await;
            is_refused = page == Err(StoreError::Overloaded); // it tries again at the next tick
            let page = if is_refused { None } else { page? };
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

    /// Moves a follower on by a page.
    async fn look(&self, filter: &Filter, follower: &mut Follower) -> Result<Option<Rc<Page>>, StoreError> {
        let through = self.newest().await?;
        let page = self.page(filter, follower, through).await?;
        follower.waits = page.as_ref().is_none_or(|page| page.is_last);
        follower.after = match &page {
            Some(page) if !page.is_last => page.last,
            _ => through.max(follower.after),
        };
        Ok(page)
    }

    /// The next page for a follower, up to the newest seq.
    async fn page(
        &self,
        filter: &Filter,
        follower: &Follower,
        through: Seq,
    ) -> Result<Option<Rc<Page>>, StoreError> {
        let span = Span { after: follower.after, through };
        if span.is_empty() {
            Ok(None)
        } else if follower.waits {
            self.shared_page(filter, span).await
        } else {
            self.missed_page(filter, span).await
        }
    }

    async fn newest(&self) -> Result<Seq, StoreError> {
        // The semaphore is never closed.
        let _permit = self.reading.acquire().await;
        let tick = self.clock.now().as_millis() / TICK.as_millis();
        if self.tick.get() != Some(tick) {
            self.newest.set(self.reader.last_seq().await?);
            self.pages.borrow_mut().clear();
            self.tick.set(Some(tick));
        }
        Ok(self.newest.get())
    }

    async fn missed_page(&self, filter: &Filter, span: Span) -> Result<Option<Rc<Page>>, StoreError> {
        let _permit = self.catching_up.acquire().await;
        Ok(self.reader.missed_page(filter, span).await?.map(Rc::new))
    }

    async fn shared_page(&self, filter: &Filter, span: Span) -> Result<Option<Rc<Page>>, StoreError> {
        let _permit = self.reading.acquire().await;
        let wanted = (filter.clone(), span);
        if let Some(page) = self.pages.borrow().get(&wanted) {
            return Ok(page.clone());
        }
        let page = self.reader.newest_page(filter, span).await?.map(Rc::new);
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
    /// The last seq that it has, or that does not match its filter.
    after: Seq,
    /// The time when it last got anything.
    spoke_at: Duration,
    /// True if it has every event that was stored in the last tick.
    waits: bool,
}
