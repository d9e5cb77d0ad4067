//! How far a consumer is, and how far behind.

use super::events::Event;
use super::ground::Ground;
use super::outcome::Standing;
use super::state::State;
use crate::event::Timestamp;
use crate::store::consume::{ConsumeStore, Moment, Which};
use crate::store::{Filter, Layout, Order, PageSize, ReadStore, Seq, Span, StoreError};

/// Events that are counted. A greater lag is an estimate: the rest is taken to be as dense as these.
const COUNTED: u32 = 1000;

/// Windows that are looked at for events, before a consumer is taken to have none in the rest.
const WINDOWS: usize = 64;

/// No real lag has so many seqs: beyond, seqs were reserved by a failover.
const RESERVED: Seq = 1 << 31;

/// All that is told of a consumer.
pub struct Status {
    /// Its name.
    pub name: String,
    /// What it is, and what it has out.
    pub state: State,
    /// Failed events that come again; the others that are held wait for them.
    pub parked: i64,
    /// Where it stands.
    pub standing: Standing,
    /// Seconds since the oldest event was received that is not done.
    pub behind_seconds: i64,
    /// The present moment, by the clock of the database.
    pub now: Moment,
}

impl<S: ReadStore + ConsumeStore> Ground<S> {
    /// The status of each consumer that `is_wanted`, in the order of their names.
    ///
    /// # Errors
    /// When the store fails, here and below.
    pub async fn list(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<Status>, StoreError> {
        let (consumers, now) = self.store.consumers().await?;
        let mut listed = Vec::with_capacity(consumers.len());
        for stored in consumers {
            let state = State::read(&stored)?;
            if is_wanted(&stored.name) {
                listed.push(self.status_of(stored.name, state, now).await?);
            }
        }
        Ok(listed)
    }

    /// The status of one consumer; `None` if there is none of this name.
    pub async fn status(&self, name: &str) -> Result<Option<Status>, StoreError> {
        let (stored, now) = self.store.consumer(name).await?;
        let Some(stored) = stored else { return Ok(None) };
        self.status_of(stored.name.clone(), State::read(&stored)?, now).await.map(Some)
    }

    async fn status_of(&self, name: String, state: State, now: Moment) -> Result<Status, StoreError> {
        let readable = self.reader.readable().await?;
        let standing = self.standing(&name, &state, readable).await?;
        let mut oldest = None;
        if state.held > 0 && standing.settled < standing.position {
            oldest = self.store.events_of(&[standing.settled + 1]).await?.pop();
        }
        if oldest.is_none() && standing.lag > 0 {
            let rest = Span { after: standing.position.max(readable.after), ..readable };
            oldest = self.first(&state.specification.filter(), rest).await?;
        }
        let behind_seconds = match oldest {
            Some(event) => seconds_since(Event::read(&event)?.details()?.received_at, now),
            None => 0,
        };
        let parked = if state.held == 0 { 0 } else { self.store.lanes(&name).await? };
        Ok(Status { name, parked, state, standing, behind_seconds, now })
    }

    /// Where a consumer in this state stands, among the seqs that can be read.
    pub async fn standing(&self, name: &str, state: &State, readable: Span) -> Result<Standing, StoreError> {
        let position = state.position();
        let lowest = match state.held {
            0 => None,
            _ => self.store.failures(name, Which::Held(0), 1).await?.first().map(|failure| failure.seq),
        };
        let settled = lowest.map_or(position, |lowest| position.min(lowest - 1));
        let rest = Span { after: position.max(readable.after), ..readable };
        let lag = self.lag(&state.specification.filter(), rest).await?;
        Ok(Standing { position, settled, lag })
    }

    /// The events of a filter in a span.
    async fn lag(&self, filter: &Filter, all: Span) -> Result<i64, StoreError> {
        if all.is_empty() {
            return Ok(0);
        }
        if *filter == Filter::default() && all.len() < RESERVED {
            return Ok(all.len());
        }
        let (mut rest, mut count) = (all, 0);
        for _ in 0..WINDOWS {
            if rest.is_empty() {
                break;
            }
            let window = self.store.window(filter, rest, Order::Ascending).await?;
            let matches = self.store.matches(filter, window, Order::Ascending, COUNTED - count).await?;
            count += matches.count;
            if let Some(last) = matches.last.filter(|_| matches.has_more || count >= COUNTED) {
                let counted = last - all.after;
                return Ok(
                    i64::from(count).max((all.len() as f64 / counted as f64 * f64::from(count)) as i64)
                );
            }
            rest = rest.behind(window.span, Order::Ascending);
        }
        Ok(count.into())
    }

    /// The first event of a filter in a span.
    async fn first(&self, filter: &Filter, mut rest: Span) -> Result<Option<String>, StoreError> {
        let size = PageSize { events: 1, bytes: 1 };
        for _ in 0..WINDOWS {
            if rest.is_empty() {
                break;
            }
            let (page, through) = self.reader.next_page(filter, rest, Layout::Lines, size).await?;
            if let Some(page) = page {
                return Ok(Some(page.text));
            }
            rest.after = through;
        }
        Ok(None)
    }
}

fn seconds_since(moment: &str, now: Moment) -> i64 {
    let micros = Timestamp::parse(moment).map_or(0, |moment| moment.as_micros().0);
    ((now - micros / 1000) / 1000).max(0)
}
