//! The topics of the store, whose number is bounded: producers invent them, and each has an account.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use xxhash_rust::xxh3::xxh3_64;

use crate::event::{NewEvent, Topic};
use crate::store::{ReadStore, StoreError};

/// Topics that an instance remembers, at most: more than most stores have. It remembers their hashes, 8 MiB of them.
const REMEMBERED: usize = 1 << 20;

/// Knows which topics an event may have.
pub struct Topics<S> {
    store: Rc<S>,
    /// The most topics of the store.
    most: usize,
    /// Hashes of topics that are in the store. None of them ever leaves it. If two had the same hash, the store would come
    /// to have one more than it should.
    known: RefCell<HashSet<u64>>,
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

    /// The topics of some events for which the store has no room. Requests at the same moment do not know of each other,
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
        Ok(new.skip(room).cloned().collect())
    }

    /// True if the topics of all these events are known to be in the store.
    pub fn are_known(&self, events: &[NewEvent]) -> bool {
        let known = self.known.borrow();
        events.iter().all(|event| known.contains(&hash(&event.topic)))
    }

    /// Remembers the topics of events that were stored.
    pub fn remember(&self, events: &[NewEvent]) {
        let mut known = self.known.borrow_mut();
        for event in events {
            if known.len() < REMEMBERED {
                known.insert(hash(&event.topic));
            }
        }
    }

    /// The topics of some events that are not known, each once, in the order of the events.
    fn unknown<'e>(&self, events: &'e [NewEvent]) -> Vec<&'e Topic> {
        let known = self.known.borrow();
        let mut seen = HashSet::new();
        let topics = events.iter().map(|event| &event.topic);
        topics.filter(|topic| !known.contains(&hash(topic)) && seen.insert(*topic)).collect()
    }
}

fn hash(topic: &Topic) -> u64 {
    xxh3_64(topic.as_str().as_bytes())
}
