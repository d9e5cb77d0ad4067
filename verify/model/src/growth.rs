//! The counts of `/stats`.

use std::iter::Sum;

use crate::{Bounds, Register, Wrong};
use sekali_common::api::{Account, Stats};

/// The expected growth of the counts of a topic, or of all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Growth {
    /// Deliveries.
    pub received: Bounds,
    /// Deliveries that stored their event.
    pub unique: Bounds,
    /// Deliveries with another payload than the stored one.
    pub conflicts: Bounds,
}

impl Growth {
    /// Adds the deliveries of an event that has the payload `stored`.
    pub fn add<const PAYLOADS: usize>(&mut self, register: &Register<PAYLOADS>, stored: usize) {
        self.received.add(register.deliveries());
        self.unique.add(register.unique());
        self.conflicts.add(register.conflicts(stored));
    }

    /// Deliveries that were dropped.
    pub fn duplicates(&self) -> Bounds {
        self.received.minus(self.unique)
    }

    /// The difference from an account, if there is any.
    pub fn contradiction(&self, account: &Account) -> Option<String> {
        let (Self { received, unique, conflicts }, duplicates) = (self, self.duplicates());
        let is_so = received.contains(account.received)
            && unique.contains(account.unique_processed)
            && duplicates.contains(account.duplicate_dropped)
            && conflicts.contains(account.conflicts);
        (!is_so).then(|| format!("{account} instead of {received}, {unique}, {duplicates}, {conflicts}"))
    }
}

impl Sum for Growth {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, Self { received, unique, conflicts }| {
            sum.received.add(received);
            sum.unique.add(unique);
            sum.conflicts.add(conflicts);
            sum
        })
    }
}

/// The account of a topic.
pub fn account_of(stats: &Stats, topic: &str) -> Account {
    let found = stats.by_topic.iter().find(|found| found.topic == topic);
    found.map(|found| found.account).unwrap_or_default()
}

/// Finds accounts in which received is not the sum of unique and duplicates.
pub fn check_balance(stats: &Stats, unbalanced: &mut Wrong) {
    let topics = stats.by_topic.iter().map(|topic| (topic.topic.as_str(), &topic.account));
    for (name, account) in topics.chain([("in total", &stats.total)]) {
        let Account { received, unique_processed, duplicate_dropped, .. } = *account;
        if received != unique_processed + duplicate_dropped {
            unbalanced.add(|| format!("{name}: {received} is not {unique_processed} + {duplicate_dropped}"));
        }
    }
}
