//! Rules of `/stats`.

use sekali_clients::account::{Growth, Wrong, check_balance};
use sekali_clients::api::{Account, Stats};

use super::model::Model;
use crate::history::identities::{TOPICS, topic_number};
use crate::history::record::{NEVER, Snapshot, Span};

/// Received is the sum of stored and dropped, and the total is the sum of the topics.
pub fn check_balances(model: &Model<'_>, wrong: &mut Wrong) {
    for stats in model.history.snapshots.iter().map(|snapshot| &snapshot.stats).chain([&model.end.stats]) {
        check_balance(stats, wrong);
        let sum = stats.by_topic.iter().fold([0; 4], |sum, topic| add(sum, counts(&topic.account)));
        if sum != counts(&stats.total) {
            wrong.add(|| format!("the total is {}, the sum of the topics {sum:?}", stats.total));
        }
    }
}

/// Each count lies between what was answered before and what was sent by then.
pub fn check_growth(model: &Model<'_>, wrong: &mut Wrong) {
    let end = Snapshot { span: Span { began: NEVER, ended: NEVER }, stats: model.end.stats.clone() };
    for Snapshot { span, stats } in model.history.snapshots.iter().chain([&end]) {
        let mut growth = [Growth::default(); TOPICS.len()];
        for identity in 0..model.deliveries.len() {
            let payload = model.stored(identity).map_or(0, |stored| stored.payload);
            growth[topic_number(identity)].add(&model.register(identity, *span), payload);
        }
        for (topic, growth) in TOPICS.into_iter().zip(growth) {
            if let Some(contradiction) = growth.contradiction(&account(stats, topic)) {
                wrong.add(|| format!("/stats {span} of {topic}: {contradiction}"));
            }
        }
    }
}

/// A snapshot counts the events up to its last seq, and that is no lower than what was known before.
pub fn check_snapshots(model: &Model<'_>, wrong: &mut Wrong) {
    for Snapshot { span, stats } in &model.history.snapshots {
        let events = model.ordered.partition_point(|(_, stored)| stored.seq <= stats.last_seq) as u64;
        if events != stats.total.unique_processed {
            let last_seq = stats.last_seq;
            wrong.add(|| {
                format!("/stats {span}: {}, but {events} events have a seq up to {last_seq}", stats.total)
            });
        }
        if let Some(known) = model.highest_before(span.began).filter(|known| *known > stats.last_seq) {
            wrong.add(|| format!("/stats {span}: last_seq {}, but {known} was known before", stats.last_seq));
        }
    }
}

/// No count ever shrinks.
pub fn check_monotony(model: &Model<'_>, wrong: &mut Wrong) {
    for later in &model.history.snapshots {
        for earlier in model.history.snapshots.iter().filter(|earlier| earlier.span.ended < later.span.began)
        {
            for name in TOPICS {
                let [before, after] = [earlier, later].map(|snapshot| account(&snapshot.stats, name));
                if counts(&before).iter().zip(counts(&after)).any(|(before, after)| *before > after) {
                    wrong.add(|| {
                        format!("{name}: {before} at {}, then {after} at {}", earlier.span, later.span)
                    });
                }
            }
        }
    }
}

/// The account of each topic at the end is the sum of its events.
pub fn check_sums(model: &Model<'_>, wrong: &mut Wrong) {
    for (topic, sum) in TOPICS.into_iter().zip(&model.end.read.accounts) {
        let account = account(&model.end.stats, topic);
        if account != *sum {
            wrong.add(|| format!("{topic}: {account}, but its events add up to {sum}"));
        }
    }
}

fn account(stats: &Stats, name: &str) -> Account {
    let found = stats.by_topic.iter().find(|topic| topic.topic == name);
    found.map(|topic| topic.account).unwrap_or_default()
}

fn counts(account: &Account) -> [u64; 4] {
    [account.received, account.unique_processed, account.duplicate_dropped, account.conflicts]
}

fn add(one: [u64; 4], other: [u64; 4]) -> [u64; 4] {
    std::array::from_fn(|at| one[at] + other[at])
}
