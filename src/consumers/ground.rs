//! What every step stands on.

use std::cell::RefCell;
use std::rc::Rc;

use super::outcome::Refusal;
use super::place::Place;
use crate::reader::Reader;
use crate::store::consume::ConsumeStore;
use crate::store::{Filter, Layout, PageSize, ReadStore, Seq, Span};

/// The store and its reader.
pub struct Ground<S> {
    /// The store.
    pub store: Rc<S>,
    /// Reads its events.
    pub reader: Reader<S>,
    /// Tokens, and the jitter of pauses.
    pub random: RefCell<fastrand::Rng>,
}

impl<S: ReadStore + ConsumeStore> Ground<S> {
    /// The seq behind which a consumer goes on.
    ///
    /// # Errors
    /// [`Refusal::Ahead`], or when the store fails.
    pub async fn place(&self, from: &Place) -> Result<Seq, Refusal> {
        let readable = self.reader.readable().await?;
        match from {
            Place::Start => Ok(readable.after),
            Place::Now => Ok(self.store.newest().await?),
            Place::Seq(seq) => {
                let newest = if *seq > readable.through { self.store.newest().await? } else { *seq };
                if *seq > newest { Err(Refusal::Ahead { last_seq: newest }) } else { Ok(*seq) }
            }
            Place::Time(since) => {
                let filter = Filter { since: Some(since.clone()), ..Filter::default() };
                let mut rest = Span { through: self.store.newest().await?, ..readable };
                while !rest.is_empty() {
                    let size = PageSize { events: 1, bytes: 1 };
                    let (page, through) = self.reader.next_page(&filter, rest, Layout::Lines, size).await?;
                    if let Some(page) = page {
                        return Ok(page.last - 1);
                    }
                    rest.after = through;
                }
                Ok(rest.through)
            }
        }
    }
}
