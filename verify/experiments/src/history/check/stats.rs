//! Rules of `/stats`.

use sekali_common::api::Account;
use sekali_model::{Bounds, Growth, Wrong, account_of, check_balance};

use super::model::Model;
use crate::history::record::{NEVER, Snapshot, Span, Turn};
use crate::requests::identities::{TOPICS, topic_number};

/// Received is the sum of stored and dropped, no more is gone than was stored, and the total is the sum of the topics.
pub fn check_balances(model: &Model<'_>, wrong: &mut Wrong) {
    for stats in model.history.snapshots.iter().map(|snapshot| &snapshot.stats).chain([&model.end.stats]) {
        check_balance(stats, wrong);
        let sum = stats.by_topic.iter().fold([0; 6], |sum, topic| add(sum, counts(&topic.account)));
        if sum != counts(&stats.total) {
            wrong.add(|| format!("the total is {}, the sum of the topics {sum:?}", stats.total));
        }
        if stats.total.expired + stats.total.erased > stats.total.unique_processed {
            wrong.add(|| format!("more is gone than was stored: {}", stats.total));
        }
    }
}

/// Each count lies between what was answered before and what was sent by then.
pub fn check_growth(model: &Model<'_>, wrong: &mut Wrong) {
    let end = Snapshot { span: Span { began: NEVER, ended: NEVER }, stats: model.end.stats.clone() };
    for Snapshot { span, stats } in model.history.snapshots.iter().chain([&end]) {
        let mut growth = [Growth::default(); TOPICS.len()];
        for identity in 0..model.deliveries.len() {
            let payload = model.stored(identity).and_then(|stored| stored.payload);
            let register = model.register(identity, *span);
            let growth = &mut growth[topic_number(identity)];
            let others = growth.conflicts;
            growth.add(&register, payload.unwrap_or_default());
            if payload.is_none() || model.goes[identity] < span.ended {
                // Of what is gone, nobody knows any more whether a duplicate differs.
                growth.conflicts = others;
                growth.conflicts.add(Bounds { least: 0, most: register.deliveries().most });
            }
        }
        for (topic, growth) in TOPICS.into_iter().zip(growth) {
            if let Some(contradiction) = growth.contradiction(&account_of(stats, topic)) {
                wrong.add(|| format!("/stats {span} of {topic}: {contradiction}"));
            }
        }
    }
}

/// A snapshot counts the events up to its last seq, and that is no lower than what was known before.
pub fn check_snapshots(model: &Model<'_>, wrong: &mut Wrong) {
    let is_unseen = |identity: &usize| {
        let may_be_stored = model.register(*identity, Span { began: NEVER, ended: NEVER }).unique().most > 0;
        may_be_stored && model.stored(*identity).is_none() && !model.is_lost(*identity)
    };
    let unseen = (0..model.deliveries.len()).filter(is_unseen).count() as u64;
    for Snapshot { span, stats } in &model.history.snapshots {
        let events = model.ordered.partition_point(|(_, stored)| stored.seq <= stats.last_seq) as u64;
        let unique: u64 = TOPICS.into_iter().map(|topic| account_of(stats, topic).unique_processed).sum();
        if !(events..=events + unseen).contains(&unique) {
            let last_seq = stats.last_seq;
            wrong.add(|| {
                format!("/stats {span}: {unique} unique, but {events} events have a seq up to {last_seq}")
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
                let [before, after] = [earlier, later].map(|snapshot| account_of(&snapshot.stats, name));
                if counts(&before).iter().zip(counts(&after)).any(|(before, after)| *before > after) {
                    wrong.add(|| {
                        format!("{name}: {before} at {}, then {after} at {}", earlier.span, later.span)
                    });
                }
            }
        }
    }
}

/// The account of each topic at the end is the sum of its events, if none of them is gone; otherwise it counts those that
/// are.
pub fn check_sums(model: &Model<'_>, wrong: &mut Wrong) {
    for (topic, sum) in TOPICS.into_iter().zip(&model.end.read.accounts) {
        let account = account_of(&model.end.stats, topic);
        let Account { unique_processed, expired, erased, .. } = account;
        let expires = model.history.kept.is_some() || matches!(model.history.turn, Turn::Aged(_));
        let may_be = (expires || expired == 0) && (!model.history.erasures.is_empty() || erased == 0);
        let is_right = match expired + erased {
            0 => account == *sum,
            gone => may_be && unique_processed == sum.unique_processed + gone,
        };
        if !is_right {
            wrong.add(|| format!("{topic}: {account}, but its events add up to {sum}"));
        }
    }
}

fn counts(account: &Account) -> [u64; 6] {
    let Account { received, unique_processed, duplicate_dropped, conflicts, expired, erased } = *account;
    [received, unique_processed, duplicate_dropped, conflicts, expired, erased]
}

fn add(one: [u64; 6], other: [u64; 6]) -> [u64; 6] {
    std::array::from_fn(|at| one[at] + other[at])
}
