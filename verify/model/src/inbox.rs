//! The inbox as the contract describes it, where each step and its order are known: what each delivery is owed, and
//! what can be read after deliveries, erasure and retention.

use std::collections::BTreeMap;
use std::fmt::Debug;

use sekali_common::api::{Account, EventStatus};

/// An inbox of topics `T`, ids `I` and payloads `P`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inbox<T, I, P> {
    contents: Contents<T, I, P>,
    /// The identities of which a late delivery is a duplicate, also when their events are gone.
    known: BTreeMap<(T, I), Known>,
    last_seq: u64,
}

/// Everything that clients can see of an inbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents<T, I, P> {
    /// The events that can be read, by their seq.
    pub events: BTreeMap<u64, Event<T, I, P>>,
    /// The books of all topics.
    pub books: BTreeMap<T, Book>,
}

/// An event that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<T, I, P> {
    /// Its topic.
    pub topic: T,
    /// Its id in the topic.
    pub id: I,
    /// The payload of its first delivery.
    pub payload: P,
    /// Its deliveries.
    pub deliveries: u64,
    /// Those of another payload.
    pub conflicts: u64,
}

/// The counters of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Deliveries by outcome, and events that are gone.
    pub account: Account,
    /// Identities that were forgotten.
    pub forgotten: u64,
    /// The newest seq.
    pub last_seq: u64,
}

/// What an inbox owes a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The relation to earlier deliveries.
    pub status: EventStatus,
    /// The position of the event.
    pub seq: u64,
}

/// An identity that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    seq: u64,
    /// Its age.
    days: u32,
}

impl<T: Ord + Clone, I: Ord + Clone, P: PartialEq + Clone> Inbox<T, I, P> {
    /// Everything that clients can see.
    pub fn contents(&self) -> &Contents<T, I, P> {
        &self.contents
    }

    /// True if a delivery of this identity is a duplicate.
    pub fn knows(&self, topic: &T, id: &I) -> bool {
        self.known.contains_key(&(topic.clone(), id.clone()))
    }

    /// The identities whose events are gone.
    pub fn gone(&self) -> impl Iterator<Item = &(T, I)> {
        let gone = self.known.iter().filter(|(_, known)| !self.contents.events.contains_key(&known.seq));
        gone.map(|(identity, _)| identity)
    }

    /// Takes a delivery in.
    pub fn deliver(&mut self, topic: &T, id: &I, payload: &P) -> Outcome {
        let next = self.last_seq + 1;
        let first = Known { seq: next, days: 0 };
        let seq = self.known.entry((topic.clone(), id.clone())).or_insert(first).seq;
        let book = self.contents.books.entry(topic.clone()).or_default();
        book.account.received += 1;
        if seq == next {
            self.last_seq = next;
            book.last_seq = next;
            book.account.unique_processed += 1;
            let (topic, id, payload) = (topic.clone(), id.clone(), payload.clone());
            self.contents.events.insert(seq, Event { topic, id, payload, deliveries: 1, conflicts: 0 });
            return Outcome { status: EventStatus::Stored, seq };
        }
        book.account.duplicate_dropped += 1;
        // Nobody can tell whether a payload differs from one that is gone.
        let Some(event) = self.contents.events.get_mut(&seq) else {
            return Outcome { status: EventStatus::Duplicate, seq };
        };
        event.deliveries += 1;
        if event.payload == *payload {
            return Outcome { status: EventStatus::Duplicate, seq };
        }
        event.conflicts += 1;
        book.account.conflicts += 1;
        Outcome { status: EventStatus::Conflict, seq }
    }

    /// Erases the oldest events that match, up to `most`, and returns their number.
    pub fn erase(&mut self, most: usize, matches: impl Fn(&Event<T, I, P>) -> bool) -> usize {
        let matching = self.contents.events.iter().filter(|(_, event)| matches(event));
        let seqs: Vec<_> = matching.map(|(seq, _)| *seq).take(most).collect();
        self.remove(&seqs, |account| account.erased += 1);
        seqs.len()
    }

    /// Lets days pass.
    pub fn age(&mut self, days: u32) {
        self.known.values_mut().for_each(|known| known.days += days);
    }

    /// The number of the oldest events that are not kept: those beyond the newest `events`, and those before the first
    /// that is not older than `days`. Zero is no bound.
    pub fn surplus(&self, events: usize, days: u32) -> usize {
        let all = &self.contents.events;
        let too_many = if events == 0 { 0 } else { all.len().saturating_sub(events) };
        let is_old = |event: &&Event<T, I, P>| {
            let known = self.known.get(&(event.topic.clone(), event.id.clone()));
            known.is_some_and(|known| known.days > days)
        };
        let too_old = if days == 0 { 0 } else { all.values().take_while(is_old).count() };
        too_many.max(too_old)
    }

    /// Lets the oldest `count` events expire.
    pub fn expire(&mut self, count: usize) {
        let seqs: Vec<_> = self.contents.events.keys().copied().take(count).collect();
        self.remove(&seqs, |account| account.expired += 1);
    }

    /// The identities that may be forgotten: their events are gone, they are older than `days`, and not the newest.
    pub fn forgettable(&self, days: u32) -> impl Iterator<Item = &(T, I)> {
        self.gone().filter(move |identity| {
            self.known.get(identity).is_some_and(|known| known.days > days && known.seq < self.last_seq)
        })
    }

    /// Forgets them.
    pub fn forget(&mut self, days: u32) {
        let identities: Vec<_> = self.forgettable(days).cloned().collect();
        for identity in identities {
            self.known.remove(&identity);
            self.contents.books.entry(identity.0).or_default().forgotten += 1;
        }
    }

    fn remove(&mut self, seqs: &[u64], count: fn(&mut Account)) {
        for event in seqs.iter().filter_map(|seq| self.contents.events.remove(seq)).collect::<Vec<_>>() {
            count(&mut self.contents.books.entry(event.topic).or_default().account);
        }
    }
}

impl<T: Ord + Debug, I: PartialEq + Debug, P: PartialEq + Debug> Contents<T, I, P> {
    /// The first differences to what was found, for a reader.
    pub fn differences(&self, found: &Self) -> String {
        let mut all = differing("seq", &self.events, &found.events);
        all.extend(differing("book", &self.books, &found.books));
        format!("{} differences, such as {}", all.len(), all[..all.len().min(3)].join("; "))
    }
}

fn differing<K: Ord + Debug, V: PartialEq + Debug>(
    kind: &str,
    owed: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
) -> Vec<String> {
    let keys = owed.keys().chain(found.keys().filter(|key| !owed.contains_key(key)));
    keys.filter(|key| owed.get(key) != found.get(key))
        .map(|key| format!("{kind} {key:?}: {:?} expected, {:?} found", owed.get(key), found.get(key)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventStatus::{Conflict, Duplicate, Stored};

    /// An inbox with the events 1 to 5 of one topic, which are as many days old as they are before the last.
    fn of_five() -> Inbox<&'static str, u32, u32> {
        let mut inbox = Inbox::default();
        for id in 1..=5 {
            inbox.age(1);
            assert_eq!(inbox.deliver(&"t", &id, &0), Outcome { status: Stored, seq: id.into() });
        }
        inbox
    }

    fn ids(inbox: &Inbox<&'static str, u32, u32>) -> Vec<u32> {
        inbox.contents().events.values().map(|event| event.id).collect()
    }

    fn counts(inbox: &Inbox<&'static str, u32, u32>) -> [u64; 7] {
        let Book { account, forgotten, .. } = inbox.contents().books["t"];
        let Account { received, unique_processed, duplicate_dropped, conflicts, expired, erased } = account;
        assert_eq!(received, unique_processed + duplicate_dropped);
        assert_eq!(inbox.contents().events.len() as u64, unique_processed - expired - erased);
        [received, unique_processed, duplicate_dropped, conflicts, expired, erased, forgotten]
    }

    #[test]
    fn the_first_delivery_stores_and_later_ones_are_duplicates_or_conflicts() {
        let mut inbox = of_five();
        assert_eq!(inbox.deliver(&"t", &2, &0), Outcome { status: Duplicate, seq: 2 });
        assert_eq!(inbox.deliver(&"t", &2, &1), Outcome { status: Conflict, seq: 2 });
        assert_eq!((inbox.contents().events[&2].deliveries, inbox.contents().events[&2].conflicts), (3, 1));
        assert_eq!(counts(&inbox), [7, 5, 2, 1, 0, 0, 0]);
    }

    #[test]
    fn a_late_delivery_of_what_is_gone_is_a_duplicate_until_its_identity_is_forgotten() {
        let mut inbox = of_five();
        assert_eq!(inbox.erase(1, |event| event.id > 1), 1);
        inbox.expire(1);
        assert_eq!(ids(&inbox), [3, 4, 5]);
        for id in [1, 2] {
            assert_eq!(inbox.deliver(&"t", &id, &9), Outcome { status: Duplicate, seq: id.into() });
        }
        assert_eq!(counts(&inbox), [7, 5, 2, 0, 1, 1, 0]);
        inbox.forget(3); // the first is four days old, the second three
        assert_eq!(inbox.deliver(&"t", &1, &9), Outcome { status: Stored, seq: 6 });
        assert_eq!(inbox.deliver(&"t", &2, &9), Outcome { status: Duplicate, seq: 2 });
        assert_eq!(counts(&inbox), [9, 6, 3, 0, 1, 1, 1]);
    }

    #[test]
    fn the_oldest_events_beyond_both_bounds_are_not_kept_and_the_newest_identity_is_never_forgotten() {
        let mut inbox = of_five();
        assert_eq!(
            [(0, 0), (4, 0), (0, 2), (4, 2), (9, 9)].map(|(events, days)| inbox.surplus(events, days)),
            [0, 1, 2, 2, 0]
        );
        inbox.expire(5);
        inbox.age(10);
        inbox.forget(1);
        assert_eq!((inbox.knows(&"t", &4), inbox.knows(&"t", &5)), (false, true));
        assert_eq!(counts(&inbox), [5, 5, 0, 0, 5, 0, 4]);
    }
}
