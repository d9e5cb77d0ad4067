//! Erasure on demand: the content of events goes, from the files of the store, too, and their identities stay.

use std::rc::Rc;

use crate::event::{EventId, Topic};
use crate::store::{Filter, Matches, Order, ReadStore, RemoveStore, StoreError, Window};

/// Events that one request erases at most.
pub const LIMIT: u32 = 1000;

/// Events that are erased at once, while producers wait.
const STEP: u32 = 100;

/// Erases events of a store.
pub struct Eraser<S>(Rc<S>);

/// The result of one request to erase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// The number of events.
    pub erased: u32,
    /// True if more may match.
    pub has_more: bool,
}

impl<S: ReadStore + RemoveStore> Eraser<S> {
    /// An eraser of `store`.
    pub fn new(store: Rc<S>) -> Self {
        Self(store)
    }

    /// Erases one event; false if its identity is not stored. It may be gone already.
    ///
    /// # Errors
    /// When the store cannot be written, here and below. [`StoreError::Busy`] when the event is erased, but somebody
    /// reads an old state of the store, so that its files still hold it: the same call finishes the work.
    pub async fn erase_event(&self, topic: &Topic, event_id: &EventId) -> Result<bool, StoreError> {
        let is_known = self.0.erase_event(topic, event_id).await?;
        if is_known {
            self.0.scrub().await?;
        }
        Ok(is_known)
    }

    /// Erases the oldest events of a filter, up to [`LIMIT`].
    pub async fn erase(&self, filter: &Filter) -> Result<Erased, StoreError> {
        let erased = self.erase_oldest(filter).await?;
        // Also if there was nothing to erase: an earlier request may have failed here.
        self.0.scrub().await?;
        Ok(erased)
    }

    /// However many windows that takes: a request that gave up would begin anew at the next try, and never end.
    async fn erase_oldest(&self, filter: &Filter) -> Result<Erased, StoreError> {
        let mut rest = self.0.readable().await?;
        let mut erased = 0;
        while !rest.is_empty() {
            let window = self.0.window(filter, rest, Order::Ascending).await?;
            let Matches { count, has_more, .. } = self.erase_in(filter, window, LIMIT - erased).await?;
            erased += count;
            if has_more {
                return Ok(Erased { erased, has_more });
            }
            rest = rest.behind(window.span, Order::Ascending);
        }
        Ok(Erased { erased, has_more: false })
    }

    /// Erases up to `limit` events of a window.
    async fn erase_in(&self, filter: &Filter, window: Window, limit: u32) -> Result<Matches, StoreError> {
        let mut all = Matches { count: 0, last: None, has_more: true };
        while all.has_more && all.count < limit {
            let step = self.0.erase(filter, window, STEP.min(limit - all.count)).await?;
            all = Matches { count: all.count + step.count, ..step };
        }
        Ok(all)
    }
}
