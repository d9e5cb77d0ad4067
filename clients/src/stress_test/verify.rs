//! Compares the counts and events of the service with the record of the load.

use anyhow::Result;
use indicatif::{HumanCount, ProgressBar};
use sekali_clients::client::Client;
use sekali_clients::retry::Patience;
use sekali_clients::terminal::count;
use sekali_common::api::{Account, Stats};
use sekali_model::{Bounds, Comparison, Growth, ReadBack, Wrong, check_balance};

use crate::read_back::{accounts, read_at_rest};
use crate::record::Record;
use crate::workload::Workload;

/// A promise and the result of checking it.
#[derive(Debug)]
pub struct Check {
    /// The promise.
    pub name: &'static str,
    /// The count that was found, if the check has one.
    pub found: String,
    /// The first errors; empty if the check passed.
    pub wrong: Vec<String>,
}

/// The result of the verification.
pub struct Verdict {
    /// All checks.
    pub checks: Vec<Check>,
    /// Deliveries in topics of others that the service counted meanwhile.
    pub other_traffic: u64,
    /// The answer of `/stats` at the end.
    pub after: Stats,
}

/// Runs all checks. `before` is the answer of `/stats` before the load; all later events are read back.
pub async fn verify(
    workload: &Workload,
    record: &Record,
    before: &Stats,
    (reader, patience): (&Client, Patience),
    bar: &ProgressBar,
) -> Result<Verdict> {
    let (read, after) = read_at_rest(workload, before.last_seq, (reader, patience), bar).await?;
    let wrong = record.ledger.compare(&read, |event| workload.name(*event));
    let mut checks = check_answers(record, &wrong);
    checks.extend(check_events(&read, &wrong));
    let growth = record.ledger.growth(&read, |event| workload.topic_of(*event));
    checks.extend(check_accounts(workload, &growth, &read, (before, &after)));

    let others = |stats: &Stats| -> u64 {
        let others = stats.by_topic.iter().filter(|topic| workload.number_of(&topic.topic).is_none());
        others.map(|topic| topic.account.received).sum()
    };
    let other_traffic = others(&after).saturating_sub(others(before));
    Ok(Verdict { checks, other_traffic, after })
}

fn check_answers(record: &Record, wrong: &Comparison) -> Vec<Check> {
    let answered = counted(record.ledger.acknowledged(), "answered");
    let stored = counted(record.ledger.stored(), "stored");
    vec![
        Check::new("answers account for each delivery", answered, [&record.wrong_answers]),
        Check::new("each event stored by one delivery", stored, [&wrong.unset]),
        Check::new("conflicts are named, and nothing else is", String::new(), [&wrong.misnamed]),
    ]
}

fn check_events(read: &ReadBack<u32>, wrong: &Comparison) -> Vec<Check> {
    let once = [&wrong.missing, &read.doubled, &read.unknown];
    vec![
        Check::new("each event reads back exactly once", counted(read.stored.len() as u64, "read"), once),
        Check::new("with the payload, time and source sent", String::new(), [&read.altered]),
        Check::new("in the order of seq", String::new(), [&read.disordered]),
        Check::new("with the seq that was answered", String::new(), [&wrong.moved]),
        Check::new("none stored behind an acknowledged one", String::new(), [&wrong.behind]),
        Check::new("each with its own deliveries and conflicts", String::new(), [&wrong.miscounted]),
    ]
}

fn check_accounts(
    workload: &Workload,
    growth: &[Growth],
    read: &ReadBack<u32>,
    (before, after): (&Stats, &Stats),
) -> Vec<Check> {
    let accounts = accounts(workload, after);
    let mut checks = check_totals(&growth.iter().copied().sum(), &accounts, after);
    checks.extend(check_topics(workload, growth, read, &accounts));
    let mut unbalanced = Wrong::default();
    for stats in [before, after] {
        check_balance(stats, &mut unbalanced);
    }
    checks.push(Check::new("/stats received = unique + duplicates", String::new(), [&unbalanced]));
    checks
}

/// Checks the growth of each count over all topics of this run, and that the service's total is the sum of its topics.
fn check_totals(growth: &Growth, accounts: &[Account], after: &Stats) -> Vec<Check> {
    let total = |name, growth: Bounds, get: fn(&Account) -> u64| {
        let mut wrong = Wrong::default();
        let grown: u64 = accounts.iter().map(get).sum();
        if !growth.contains(grown) {
            wrong.add(|| format!("it grew by {grown} instead of {growth}"));
        }
        let sum: u64 = after.by_topic.iter().map(|topic| get(&topic.account)).sum();
        if get(&after.total) != sum {
            wrong.add(|| format!("the total is {}, but the sum of its topics {sum}", get(&after.total)));
        }
        Check::new(name, format!("+{}", HumanCount(grown)), [&wrong]).uncertain(growth)
    };
    vec![
        total("/stats received", growth.received, |account| account.received),
        total("/stats unique_processed", growth.unique, |account| account.unique_processed),
        total("/stats duplicate_dropped", growth.duplicates(), |account| account.duplicate_dropped),
        total("/stats conflicts", growth.conflicts, |account| account.conflicts),
    ]
}

/// Compares the account of each topic with its expected growth and with the sum of its events.
fn check_topics(
    workload: &Workload,
    growth: &[Growth],
    read: &ReadBack<u32>,
    accounts: &[Account],
) -> Vec<Check> {
    let (mut unexpected, mut unlike_events) = (Wrong::default(), Wrong::default());
    for (number, topic) in workload.topics().enumerate() {
        let (account, sum) = (accounts[number], read.accounts[number]);
        if let Some(contradiction) = growth[number].contradiction(&account) {
            unexpected.add(|| format!("{topic}: {contradiction}"));
        }
        if account != sum {
            unlike_events.add(|| format!("{topic}: {account}, but its events add up to {sum}"));
        }
    }
    let topics = count(growth.len() as u64, "topic");
    vec![
        Check::new("/stats of each topic", topics, [&unexpected]),
        Check::new("/stats of each topic is the sum of its events", String::new(), [&unlike_events]),
    ]
}

impl Check {
    /// A check that fails if there are errors.
    pub fn new<'a>(name: &'static str, found: String, wrong: impl IntoIterator<Item = &'a Wrong>) -> Self {
        let mut examples = Vec::new();
        for wrong in wrong {
            examples.extend(wrong.examples.iter().cloned());
            if wrong.more() > 0 {
                examples.push(format!("and {} more", HumanCount(wrong.more())));
            }
        }
        Self { name, found, wrong: examples }
    }

    /// Adds the bounds of the count if it could have been another.
    fn uncertain(mut self, bounds: Bounds) -> Self {
        if bounds.most > bounds.least {
            self.found = format!("{}, of {bounds}, for answers were lost", self.found);
        }
        self
    }
}

fn counted(number: u64, what: &str) -> String {
    format!("{} {what}", HumanCount(number))
}
