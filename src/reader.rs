//! Reading: the events of a selection, page by page, in the order of seq. Routes and followers share it.
//!
//! The store is read in windows of bounded cost. An answer that finds nothing in many of them goes on in pieces: an
//! empty page of a stream, which shows whether the client is still there, or a limited answer with fewer events than
//! its limit, whose link leads on.

use std::rc::Rc;

use crate::event::{EventId, Topic, TopicPattern};
use crate::store::{
    Filter, Found, Index, Layout, Ledger, LogState, Order, Page, PageSize, ReadStore, Seq, Span, StoreError,
    Window,
};

/// The events that a client asks for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The condition that they meet.
    pub filter: Filter,
    /// The seq behind which they begin, in the order of reading.
    pub after: Option<Seq>,
    /// The most of them.
    pub limit: Option<u32>,
    /// The order of reading.
    pub order: Order,
}

/// The reason for which nothing is read.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The cursor is beyond every seq that the store has given.
    CursorAhead {
        /// The newest seq.
        last_seq: Seq,
    },
    /// The store cannot be read.
    Store(StoreError),
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Windows without a match that one page looks at.
const WINDOWS_OF_PAGE: usize = if cfg!(test) { 16 } else { 64 };

/// Windows that a limited answer looks at. Tests see its end in a small store.
const WINDOWS_OF_ANSWER: usize = if cfg!(test) { 100 } else { 1000 };

/// Reads the events of a store.
pub struct Reader<S>(Rc<S>);

impl<S> Clone for Reader<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// The pages of a selection, of which the first was read already.
pub struct Listing<S> {
    /// The first page; `None` if no event matches.
    pub first: Option<Page>,
    /// The pages behind the first; `None` if the first is the last.
    pub rest: Option<Pages<S>>,
    /// The last seq of a limited selection, if more events match behind it.
    pub next_after: Option<Seq>,
}

impl<S: ReadStore> Reader<S> {
    /// A reader of `store`.
    pub fn new(store: Rc<S>) -> Self {
        Self(store)
    }

    /// The seqs that can be read.
    ///
    /// # Errors
    /// When the store cannot be read, here and below.
    pub async fn readable(&self) -> Result<Span, StoreError> {
        self.0.readable().await
    }

    /// The settings that endanger the events in the store, a phrase each.
    pub async fn risks(&self) -> Result<Vec<String>, StoreError> {
        self.0.risks().await
    }

    /// True if the store takes writes.
    pub async fn is_writable(&self) -> Result<bool, StoreError> {
        self.0.is_writable().await
    }

    /// The state of the store's write-ahead log, if it has one.
    pub async fn log(&self) -> Result<Option<LogState>, StoreError> {
        self.0.log().await
    }

    /// The seqs that can be read, whose end a cursor must not be beyond.
    ///
    /// # Errors
    /// [`ReadError::CursorAhead`] when it is.
    pub async fn readable_from(&self, cursor: Option<Seq>) -> Result<Span, ReadError> {
        let readable = self.readable().await?;
        let Some(cursor) = cursor.filter(|cursor| *cursor > readable.through) else { return Ok(readable) };
        // A replica may not have it yet, and after a failover seqs are reserved for what was lost.
        let newest = self.0.newest().await?;
        if cursor > newest {
            return Err(ReadError::CursorAhead { last_seq: newest });
        }
        Ok(Span { through: newest, ..readable })
    }

    /// One identity; `None` if it is not stored.
    pub async fn event(&self, topic: &Topic, event_id: &EventId) -> Result<Option<Found>, StoreError> {
        self.0.event(topic, event_id).await
    }

    /// The account of all deliveries: of the latest active topics among those that are named, or among all.
    pub async fn ledger(&self, topics: &[TopicPattern]) -> Result<Ledger, StoreError> {
        self.0.ledger(topics).await
    }

    /// The totals of the last minutes, as far as they were kept: a JSON array, oldest first.
    pub async fn history(&self, minutes: u32) -> Result<String, StoreError> {
        self.0.history(minutes).await
    }

    /// The events of a selection that are stored at this moment: events that come later are not part of the listing.
    pub async fn list(&self, selection: Selection, layout: Layout) -> Result<Listing<S>, ReadError> {
        let Selection { filter, after, limit, order } = selection;
        let readable = self.readable_from(after).await?;
        let span = match order {
            Order::Ascending => Span { after: readable.after.max(after.unwrap_or(0)), ..readable },
            Order::Descending => Span { through: after.map_or(readable.through, |seq| seq - 1), ..readable },
        };
        let (span, next_after) = match limit {
            Some(limit) => self.limited(&filter, span, order, limit).await?,
            None => (span, None),
        };
        let (reader, size) = (self.clone(), PageSize::LARGE);
        let mut pages = Pages { reader, filter, span, window: None, order, layout, size };
        let first = pages.next().await?;
        Ok(Listing { rest: Some(pages).filter(|pages| !pages.is_finished()), next_after, first })
    }

    /// The part of a span that has its first `limit` matches, and its last seq if more may follow.
    async fn limited(
        &self,
        filter: &Filter,
        span: Span,
        order: Order,
        limit: u32,
    ) -> Result<(Span, Option<Seq>), StoreError> {
        let (mut left, mut found) = (limit, None);
        let mut rest = span;
        for _ in 0..WINDOWS_OF_ANSWER {
            if rest.is_empty() {
                break;
            }
            let window = self.0.window(filter, rest, order).await?;
            let matches = self.0.matches(filter, window, order, left).await?;
            // The last match is that of an earlier window where the limit was reached at the end of it.
            found = matches.last.or(found);
            if let Some(last) = found.filter(|_| matches.has_more) {
                return Ok((span.up_to(last, order), Some(last)));
            }
            left -= matches.count;
            rest = rest.behind(window.span, order);
        }
        let searched = span.before(rest, order);
        let next_after = (!rest.is_empty()).then(|| searched.last(order));
        Ok((searched, next_after))
    }

    /// The first events behind `span.after`, for those who go from page to page, and the seq up to which they have every
    /// event then.
    pub async fn next_page(
        &self,
        filter: &Filter,
        span: Span,
        layout: Layout,
        size: PageSize,
    ) -> Result<(Option<Page>, Seq), StoreError> {
        // Without a filter, the next events are near, unless there is a gap.
        let near = span.first(4 * i64::from(size.events), Order::Ascending);
        if *filter == Filter::default() && near.len() < span.len() {
            let window = Window { span: near, index: Index::Seq };
            if let Some(page) = self.0.page(filter, window, Order::Ascending, layout, size).await? {
                let through = if page.is_last { near.through } else { page.last };
                return Ok((Some(page), through));
            }
        }
        // So few events are read as fast with any filter.
        let is_short = span.through - span.after <= Seq::from(PageSize::SMALL.events);
        let window = match is_short {
            true => Window { span, index: Index::Seq },
            false => self.0.window(filter, span, Order::Ascending).await?,
        };
        if window.span.is_empty() {
            return Ok((None, span.through));
        }
        let page = self.0.page(filter, window, Order::Ascending, layout, size).await?;
        let through = match &page {
            Some(page) if !page.is_last => page.last,
            _ => window.span.through,
        };
        Ok((page, through))
    }
}

/// The pages of a span, read one at a time.
pub struct Pages<S> {
    reader: Reader<S>,
    filter: Filter,
    /// The part that was not read yet.
    span: Span,
    /// The beginning of that part, if it lies in a window that was begun.
    window: Option<Window>,
    order: Order,
    layout: Layout,
    size: PageSize,
}

impl<S: ReadStore> Pages<S> {
    /// The next page; `None` behind the last. What several windows have is gathered in one, so that a short answer is
    /// whole. It is empty if many events were looked at and none matched.
    pub async fn next(&mut self) -> Result<Option<Page>, StoreError> {
        let mut text = String::new();
        let mut last = self.span.after;
        for _ in 0..WINDOWS_OF_PAGE {
            if self.is_finished() || text.len() >= self.size.bytes as usize / 2 {
                break;
            }
            if let Some(page) = self.step().await? {
                if !text.is_empty() {
                    text.push_str(self.layout.separator());
                }
                text.push_str(&page.text);
                last = page.last;
                if !page.is_last {
                    break;
                }
            }
        }
        let page = Page { text, last, is_last: self.is_finished() };
        Ok(Some(page).filter(|page| !page.text.is_empty() || !page.is_last))
    }

    /// Reads a page of the present window; `None` if it has no more matches.
    async fn step(&mut self) -> Result<Option<Page>, StoreError> {
        let Self { reader, filter, order, layout, size, .. } = self;
        let (store, order) = (&reader.0, *order);
        let window = match self.window.take() {
            Some(window) => window,
            None => store.window(filter, self.span, order).await?,
        };
        if window.span.is_empty() {
            self.span = window.span;
            return Ok(None);
        }
        let page = store.page(filter, window, order, *layout, *size).await?;
        match &page {
            Some(page) if !page.is_last => {
                self.span = self.span.beyond(page.last, order);
                // A full page may end where its window does. An empty window would look like the end of all of them.
                let rest = Window { span: window.span.beyond(page.last, order), ..window };
                self.window = Some(rest).filter(|rest| !rest.span.is_empty());
            }
            _ => self.span = self.span.behind(window.span, order),
        }
        Ok(page)
    }

    fn is_finished(&self) -> bool {
        self.span.is_empty()
    }
}
