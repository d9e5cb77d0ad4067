//! Following: the end of the store, which all followers of an instance share.
//!
//! Time is divided into ticks. The first follower that wakes in a tick asks the store for its newest seq, and the first
//! that needs a page reads it; the others find both here, also the second page of a tick and those after it. Events
//! become visible in the order of seq, so a follower that goes from seq to seq misses nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures::Stream;
use futures::stream::{self, StreamExt};
use tokio::sync::{OnceCell, Semaphore};

use crate::clock::Clock;
use crate::reader::Reader;
use crate::store::{Filter, Layout, PageSize, ReadStore, Seq, Span, StoreError};

/// The time between two looks at the store. An event reaches its followers within a tick and the time of two reads.
const TICK: Duration = Duration::from_millis(150);

/// The distance from the newest event beyond which a follower is behind: a second at full rate.
const BEHIND: Seq = 20_000;

/// Followers that are behind and read at the same time. They are fewer than the followers' connections to the store, so
/// that they do not delay the others.
const CATCHING_UP: usize = 1;

/// Pages that a tick keeps for followers who come to them later. Each has 64 KiB, or one larger event.
const SHARED_PAGES: usize = 64;

/// Silence after which a follower gets a comment, which keeps the connection open.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The end of the store, as the followers of an instance share it.
pub struct Tail<S, C> {
    reader: Reader<S>,
    clock: C,
    /// Held while a follower that is behind takes a page.
    catching_up: Semaphore,
    tick: RefCell<Rc<Tick>>,
}

/// The reads that the followers of a tick share. The first follower that needs a read does it, while the others wait; if
/// its client goes away meanwhile, the next follower reads.
#[derive(Default)]
struct Tick {
    number: u128,
    readable: OnceCell<Result<Span, StoreError>>,
    /// By filter and the seq before it.
    pages: RefCell<HashMap<(Filter, Seq), SharedPage>>,
}

type SharedPage = Rc<OnceCell<Result<Progress, StoreError>>>;

/// A step of a follower.
#[derive(Clone, Default)]
struct Progress {
    /// The events, if there are any: the bytes that each follower sends.
    events: Option<Rc<[u8]>>,
    /// The seq up to which the follower has every event then.
    through: Seq,
}

impl<S: ReadStore, C: Clock> Tail<S, C> {
    /// The end of the store of `reader`.
    pub fn new(reader: Reader<S>, clock: C) -> Self {
        Self { reader, clock, catching_up: Semaphore::new(CATCHING_UP), tick: RefCell::default() }
    }

    /// The events of the filter after `after` as server-sent events: those that are stored, and then those to come,
    /// without an end. Beside them, the comments that break their silence.
    ///
    /// A caller has to poll the events until one is ready: they may hold what other followers wait for.
    pub fn follow(
        self: Rc<Self>,
        filter: Filter,
        after: Seq,
    ) -> (impl Stream<Item = Result<Vec<u8>, StoreError>> + 'static, impl Stream<Item = Vec<u8>> + 'static)
    {
        // Sent at once, so that the client knows that it is connected.
        let hello = stream::iter([Ok(b": following\n\n".to_vec())]);
        let spoke_at = Rc::new(Cell::new(self.clock.now()));
        // Apart from the events, so that a slow read does not delay them.
        let heartbeats = heartbeats(Rc::clone(&self), Rc::clone(&spoke_at));
        let follower = Follower { after, waits: false };
        let events = stream::try_unfold((self, filter, follower), move |(tail, filter, mut follower)| {
            let spoke_at = Rc::clone(&spoke_at);
            async move {
                let events = tail.next(&filter, &mut follower).await?;
                spoke_at.set(tail.clock.now());
                Ok(Some((events.to_vec(), (tail, filter, follower))))
            }
        });
        (hello.chain(events), heartbeats)
    }

    /// The newest seq that can be read, as all who wait in this instance see it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn newest(&self) -> Result<Seq, StoreError> {
        let readable = self.current_tick().readable.get_or_init(|| self.reader.readable()).await.clone()?;
        Ok(readable.through)
    }

    /// Returns when events of a filter are there behind a seq, or after so long. Those who wait for the same share what is
    /// read, with followers, too.
    pub async fn moves_beyond(&self, filter: &Filter, mut seen: Seq, within: Duration) {
        let end = self.clock.now() + within;
        while let Some(rest) = end.checked_sub(self.clock.now()).filter(|rest| !rest.is_zero()) {
            self.clock.sleep(self.until_next_tick().min(rest)).await;
            let tick = self.current_tick();
            let readable = tick.readable.get_or_init(|| self.reader.readable()).await.clone();
            let Ok(span) = readable.map(|readable| Span { after: seen.max(readable.after), ..readable })
            else {
                continue;
            };
            if span.is_empty() {
                continue;
            }
            match self.shared_page(&tick, filter, span).await {
                Ok(Progress { events: Some(_), .. }) => return,
                Ok(Progress { through, .. }) => seen = through,
                Err(_) => {} // the next tick looks again
            }
        }
    }

    /// The next events of a follower.
    async fn next(&self, filter: &Filter, follower: &mut Follower) -> Result<Rc<[u8]>, StoreError> {
        let mut tries_again = false;
        let mut has_failed = false;
        loop {
            if follower.waits || tries_again {
                self.clock.sleep(self.until_next_tick()).await;
            }
            let looked = self.look(filter, follower).await;
            tries_again = looked.is_err();
            match looked {
                Ok(Some(events)) => return Ok(events),
                Ok(None) => has_failed = false,
                Err(StoreError::Overloaded | StoreError::Busy) => {} // others are reading or writing
                // A connection may have broken, and then the store opens another.
                Err(_) if !has_failed => has_failed = true,
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves a follower on by a page.
    async fn look(&self, filter: &Filter, follower: &mut Follower) -> Result<Option<Rc<[u8]>>, StoreError> {
        let tick = self.current_tick();
        let readable = tick.readable.get_or_init(|| self.reader.readable()).await.clone()?;
        let span = Span { after: follower.after.max(readable.after), ..readable };
        let is_behind = span.through - span.after > BEHIND;
        let turn = if is_behind { Some(self.catching_up.acquire().await) } else { None };
        let Progress { events, through } = match span.is_empty() {
            true => Progress { events: None, through: span.after },
            false => self.shared_page(&tick, filter, span).await?,
        };
        if is_behind {
            self.clock.yield_now().await; // those who are not behind send first
        }
        drop(turn);
        *follower = Follower { after: through, waits: through >= readable.through };
        Ok(events)
    }

    /// The tick of this moment. It begins only when the look of the one before it has ended: a slow store gets no more
    /// looks than it answers.
    fn current_tick(&self) -> Rc<Tick> {
        let number = self.clock.now().as_millis() / TICK.as_millis();
        let mut tick = self.tick.borrow_mut();
        if tick.number != number && tick.readable.initialized() {
            *tick = Rc::new(Tick { number, ..Tick::default() });
        }
        Rc::clone(&tick)
    }

    async fn shared_page(&self, tick: &Tick, filter: &Filter, span: Span) -> Result<Progress, StoreError> {
        let shared = {
            let mut pages = tick.pages.borrow_mut();
            if pages.len() >= SHARED_PAGES {
                pages.clear(); // those who wait for one keep it
            }
            Rc::clone(pages.entry((filter.clone(), span.after)).or_default())
        };
        shared.get_or_init(|| self.read(filter, span)).await.clone()
    }

    async fn read(&self, filter: &Filter, span: Span) -> Result<Progress, StoreError> {
        let (page, through) =
            self.reader.next_page(filter, span, Layout::ServerSent, PageSize::SMALL).await?;
        let events = page.map(|page| [page.text.as_bytes(), b"\n\n"].concat().into());
        Ok(Progress { events, through })
    }

    fn until_next_tick(&self) -> Duration {
        let tick = TICK.as_micros();
        let into_tick = self.clock.now().as_micros() % tick;
        Duration::from_micros(u64::try_from(tick - into_tick).unwrap_or_default())
    }
}

/// A comment after each silence, without an end. `spoke_at` is the time of the last word.
fn heartbeats<S: ReadStore, C: Clock>(
    tail: Rc<Tail<S, C>>,
    spoke_at: Rc<Cell<Duration>>,
) -> impl Stream<Item = Vec<u8>> {
    stream::unfold((tail, spoke_at), async |(tail, spoke_at)| {
        while let Some(rest) = (spoke_at.get() + HEARTBEAT).checked_sub(tail.clock.now())
            && !rest.is_zero()
        {
            tail.clock.sleep(rest).await;
        }
        spoke_at.set(tail.clock.now());
        Some((b": still here\n\n".to_vec(), (tail, spoke_at)))
    })
}

struct Follower {
    /// The last seq that it has, or that does not match its filter.
    after: Seq,
    /// True if it has every event that was stored in the last tick.
    waits: bool,
}
