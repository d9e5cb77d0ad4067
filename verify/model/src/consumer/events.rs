//! What is certain of each event.

use std::collections::{BTreeMap, BTreeSet};

use super::call::{Order, Specification};

/// An event that tells of a dead one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dead {
    /// The life of the consumer in which it died.
    pub generation: u64,
    /// The dead event.
    pub seq: u64,
}

/// The events in the end.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Topics by seq: of all events that are there, and of those that were given out and are gone.
    pub topics: BTreeMap<u64, String>,
    /// Those that are gone. Since when is not known, so nobody has to be given them.
    pub gone: BTreeSet<u64>,
    /// Events that tell of dead ones.
    pub dead: Vec<Dead>,
    /// The number of those that did, and are gone.
    pub dead_gone: u64,
}

/// The events of the log, and what has become of them in the present life of a consumer.
pub struct Events<'e> {
    log: &'e Log,
    fates: BTreeMap<u64, Fate>,
    /// Those that are open for certain, by topic.
    open: BTreeMap<&'e str, BTreeSet<u64>>,
    /// Those that have failed and are not done for certain, by topic.
    failed: BTreeMap<&'e str, BTreeSet<u64>>,
}

/// What has become of an event.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    /// True if it has to be given out.
    pub is_owed: bool,
    /// Calls that may have settled it.
    pub maybe: u32,
    /// The place of the answer by which it was done.
    pub done: Option<u64>,
    /// Calls that named it as failed.
    pub named: u32,
    /// True if it may have failed in another order, in which others need not have waited for it.
    pub is_loose: bool,
}

impl<'e> Events<'e> {
    /// The events of a log, none of which is owed yet.
    pub fn new(log: &'e Log) -> Self {
        Self { log, fates: BTreeMap::new(), open: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// Begins a life behind a seq, in which nothing has happened.
    pub fn begin_anew(&mut self, after: u64, specification: &Specification) {
        self.fates.clear();
        self.open.clear();
        self.failed.clear();
        let log = self.log;
        for (&seq, topic) in log.topics.range(after + 1..) {
            self.change(seq, |fate| fate.is_owed = specification.has(topic) && !log.gone.contains(&seq));
        }
    }

    /// Takes note of another specification: what it leaves out may be passed over, and what waits in an order that it
    /// changes does not keep it.
    pub fn respecify(&mut self, specification: &Specification, order: Order) {
        let held = if specification.order == order { BTreeSet::new() } else { self.held(order) };
        for (&seq, topic) in &self.log.topics {
            self.change(seq, |fate| {
                fate.is_owed &= specification.has(topic);
                fate.is_loose |= held.contains(&seq);
            });
        }
    }

    /// What has become of an event.
    pub fn fate(&self, seq: u64) -> Fate {
        self.fates.get(&seq).cloned().unwrap_or_default()
    }

    /// The topic of an event, if it is there.
    pub fn topic(&self, seq: u64) -> Option<&'e str> {
        self.log.topics.get(&seq).map(String::as_str)
    }

    /// Changes what is known of an event. What nobody knows stays out of account.
    pub fn change(&mut self, seq: u64, change: impl FnOnce(&mut Fate)) {
        let Some(topic) = self.topic(seq) else { return };
        let fate = self.fates.entry(seq).or_default();
        change(fate);
        let is_open = fate.is_owed && fate.maybe == 0 && fate.done.is_none();
        let has_failed = fate.named > 0 && fate.done.is_none();
        for (of_topic, belongs) in [(&mut self.open, is_open), (&mut self.failed, has_failed)] {
            let seqs = of_topic.entry(topic).or_default();
            if belongs {
                seqs.insert(seq)
            } else {
                seqs.remove(&seq)
            };
        }
    }

    /// True if it has to be given out yet, for certain.
    pub fn is_open(&self, seq: u64) -> bool {
        self.topic(seq).is_some_and(|topic| self.open.get(topic).is_some_and(|open| open.contains(&seq)))
    }

    /// All that are open, up to a seq.
    pub fn open(&self, through: u64) -> impl Iterator<Item = u64> {
        self.open.values().flat_map(move |open| open.range(..=through).copied())
    }

    /// An open event that one of these passes in an order, if there is any.
    pub fn passed(&self, seqs: &[u64], order: Order) -> Option<(u64, u64)> {
        let given: BTreeSet<_> = seqs.iter().copied().collect();
        let mut last_of = BTreeMap::new();
        for &seq in seqs.iter().filter(|seq| !self.fate(**seq).is_loose) {
            let Some(topic) = self.topic(seq) else { continue };
            match order {
                Order::None => {}
                Order::Topic => drop(last_of.insert(topic, seq)),
                Order::Total => last_of.extend(self.open.keys().map(|topic| (*topic, seq))),
            }
        }
        last_of.into_iter().find_map(|(topic, last)| {
            let mut before = self.open.get(topic)?.range(..last);
            before.find(|seq| !given.contains(seq) && !self.fate(**seq).is_loose).map(|seq| (*seq, last))
        })
    }

    /// The open events that may have failed, or may wait for one that did.
    pub fn held(&self, order: Order) -> BTreeSet<u64> {
        self.open(u64::MAX).filter(|seq| self.fate(*seq).named > 0 || self.may_wait(*seq, order)).collect()
    }

    /// True if an event may have to wait for one that failed.
    pub fn may_wait(&self, seq: u64, order: Order) -> bool {
        let Some(topic) = self.topic(seq) else { return false };
        let is_behind = |failed: &BTreeSet<u64>| failed.first().is_some_and(|first| *first < seq);
        match order {
            Order::None => false,
            Order::Topic => self.failed.get(topic).is_some_and(is_behind),
            Order::Total => self.failed.values().any(is_behind),
        }
    }

    /// An open event up to a seq that never failed, and never had to wait.
    pub fn overlooked(&self, through: u64, order: Order) -> Option<u64> {
        let named = self.fates.iter().filter(|(_, fate)| fate.named > 0);
        let topics: BTreeSet<_> = named.filter_map(|(seq, _)| self.topic(*seq)).collect();
        self.open(through).find(|seq| {
            let fate = self.fate(*seq);
            let has_waited = match order {
                Order::None => false,
                Order::Topic => self.topic(*seq).is_some_and(|topic| topics.contains(topic)),
                Order::Total => !topics.is_empty(),
            };
            fate.named == 0 && !fate.is_loose && !has_waited
        })
    }

    /// True if it has to be given out at once: it is open, and has not to wait.
    pub fn is_free(&self, seq: u64, order: Order) -> bool {
        self.is_open(seq) && !self.fate(seq).is_loose && !self.may_wait(seq, order)
    }
}
