//! Reading: the events of a selection, page by page, in the order of seq. Routes and followers share it.

use std::rc::Rc;

use crate::event::{EventId, Topic};
use crate::store::{Extent, Filter, Layout, Ledger, Order, Page, PageSize, ReadStore, Seq, Span, StoreError};

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

    /// The newest seq; 0 before the first event.
    ///
    /// # Errors
    /// When the store cannot be read, here and below.
    pub async fn last_seq(&self) -> Result<Seq, StoreError> {
        self.0.last_seq().await
    }

    /// The newest seq, which a cursor must not be beyond.
    ///
    /// # Errors
    /// [`ReadError::CursorAhead`] when it is.
    pub async fn newest(&self, cursor: Option<Seq>) -> Result<Seq, ReadError> {
        let last_seq = self.last_seq().await?;
        if cursor > Some(last_seq) {
            return Err(ReadError::CursorAhead { last_seq });
        }
        Ok(last_seq)
    }

    /// One event as a JSON object; `None` if it is not stored.
    pub async fn event(&self, topic: &Topic, event_id: &EventId) -> Result<Option<String>, StoreError> {
        self.0.event(topic, event_id).await
    }

    /// The account of all deliveries.
    pub async fn ledger(&self) -> Result<Ledger, StoreError> {
        self.0.ledger().await
    }

    /// The events of a selection that are stored at this moment: events that come later are not part of the listing.
    pub async fn list(&self, selection: Selection, layout: Layout) -> Result<Listing<S>, ReadError> {
        let Selection { filter, after, limit, order } = selection;
        let newest = self.newest(after).await?;
        let span = match order {
            Order::Ascending => Span { after: after.unwrap_or(0), through: newest },
            Order::Descending => Span { after: 0, through: after.map_or(newest, |seq| seq - 1) },
        };
        let Extent { span, has_more } = self.0.extent(&filter, span, order, limit).await?;
        let mut pages = Pages { reader: self.clone(), filter, span, order, layout, size: PageSize::LARGE };
        let first = pages.next().await?;
        Ok(Listing {
            rest: Some(pages).filter(|pages| !pages.is_finished()),
            next_after: has_more.then(|| span.last(order)),
            first,
        })
    }

    /// The first events behind `span.after` as server-sent events, for a follower that has all the others.
    pub async fn newest_page(&self, filter: &Filter, span: Span) -> Result<Option<Page>, StoreError> {
        self.0.page(filter, span, Order::Ascending, Layout::ServerSent, PageSize::SMALL).await
    }

    /// The same for a follower that may be far behind: the span is narrowed first, where the store can do so.
    pub async fn missed_page(&self, filter: &Filter, span: Span) -> Result<Option<Page>, StoreError> {
        let extent = self.0.extent(filter, span, Order::Ascending, None).await?;
        if extent.span.is_empty() {
            return Ok(None);
        }
        self.newest_page(filter, extent.span).await
    }
}

/// The pages of a span, read one at a time.
pub struct Pages<S> {
    reader: Reader<S>,
    filter: Filter,
    /// The part that was not read yet.
    span: Span,
    order: Order,
    layout: Layout,
    size: PageSize,
}

impl<S: ReadStore> Pages<S> {
    /// The next page; `None` behind the last.
    pub async fn next(&mut self) -> Result<Option<Page>, StoreError> {
        if self.is_finished() {
            return Ok(None);
        }
        let Self { reader, filter, span, order, layout, size } = self;
        let page = reader.0.page(filter, *span, *order, *layout, *size).await?;
        self.span = match &page {
            Some(page) if !page.is_last => span.beyond(page.last, *order),
            _ => Span { through: span.after, ..*span },
        };
        Ok(page)
    }

    fn is_finished(&self) -> bool {
        self.span.is_empty()
    }
}
