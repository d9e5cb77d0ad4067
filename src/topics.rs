//! The topics of the store, whose number is bounded: producers invent them, and each has an account.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use crate::event::{NewEvent, Topic};
use crate::store::{ReadStore, StoreError};

/// Names of topics that an instance remembers. When they are more, it begins anew.
const REMEMBERED: usize = 10_000;

/// Knows which topics an event may have.
pub struct Topics<S> {
    store: Rc<S>,
    /// The most topics of the store.
    most: usize,
    /// Topics that are in the store. None of them ever leaves it.
    known: RefCell<HashSet<Topic>>,
}

impl<S: ReadStore> Topics<S> {
    /// The topics of `store`, which are `most` at most.
    pub fn new(store: Rc<S>, most: usize) -> Self {
        Self { store, most, known: RefCell::default() }
    }

    /// The most topics.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Those topics of some events for which there is no room. Requests at the same moment do not know of each other,
    /// so the store may come to have a few more topics.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn refused(&self, events: &[NewEvent]) -> Result<HashSet<Topic>, StoreError> {
        let unknown = self.unknown(events);
        if unknown.is_empty() {
            return Ok(HashSet::new());
        }
        let (found, count) = self.store.find_topics(&unknown).await?;
        let room = self.most.saturating_sub(count);
        let new = unknown.into_iter().filter(|topic| !found.contains(topic));
        let refused = new.skip(room).cloned().collect();
        self.remember(found);
        Ok(refused)
    }

    /// The topics of some events that are not known, each once, in the order of the events.
    fn unknown<'e>(&self, events: &'e [NewEvent]) -> Vec<&'e Topic> {
        let known = self.known.borrow();
        let mut seen = HashSet::new();
        let topics = events.iter().map(|event| &event.topic);
        topics.filter(|topic| !known.contains(*topic) && seen.insert(*topic)).collect()
    }

    fn remember(&self, topics: HashSet<Topic>) {
        let mut known = self.known.borrow_mut();
        if known.len() + topics.len() > REMEMBERED {
            known.clear();
        }
        known.extend(topics);
    }
}
