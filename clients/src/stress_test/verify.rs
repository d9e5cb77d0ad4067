//! Compares the counts and events of the service with the record of the load.

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use indicatif::{HumanCount, ProgressBar};
use sekali_clients::client::Client;
use sekali_clients::retry::{self, Patience};
use sekali_clients::terminal::count;
use sekali_common::api::{Account, Stats, StoredEvent};
use sekali_model::{
    Bounds, Catalogue, Comparison, Growth, Lines, ReadBack, Recognised, Wrong, check_balance,
};
use serde_json::Value;

use crate::record::Record;
use crate::workload::{Delivery, Workload};

/// The number of readings after which counts that still change are an error.
const READINGS: usize = 10;

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

/// Reads everything back until `/stats` of this run's topics is the same before and after it, because a request whose
/// answer was lost may still be in progress.
async fn read_at_rest(
    workload: &Workload,
    seq: u64,
    (reader, patience): (&Client, Patience),
    bar: &ProgressBar,
) -> Result<(ReadBack<u32>, Stats)> {
    let mut known = read_stats(reader, patience).await?;
    for _ in 0..READINGS {
        bar.reset();
        let read = read_back(workload, seq, reader, bar).await?;
        let now = read_stats(reader, patience).await?;
        if accounts(workload, &known) == accounts(workload, &now) {
            return Ok((read, now));
        }
        known = now;
    }
    bail!("/stats of this run's topics still changes after the last request was answered");
}

async fn read_stats(reader: &Client, patience: Patience) -> Result<Stats> {
    retry::persist(patience, |_| {}, || reader.stats()).await.context("/stats cannot be read")
}

/// The accounts of this run's topics, in the order of [`Workload::topics`].
fn accounts(workload: &Workload, stats: &Stats) -> Vec<Account> {
    let mut accounts = vec![Account::default(); workload.topics().count()];
    for topic in &stats.by_topic {
        if let Some(number) = workload.number_of(&topic.topic) {
            accounts[number] = topic.account;
        }
    }
    accounts
}

/// Reads all events after `seq`, and compares each with what was sent.
async fn read_back(
    workload: &Workload,
    seq: u64,
    reader: &Client,
    bar: &ProgressBar,
) -> Result<ReadBack<u32>> {
    let mut read = ReadBack::new(workload.topics().count(), seq);
    let mut response = reader.events_after(seq).await.context("the events cannot be read back")?;
    let mut lines = Lines::default();
    while let Some(chunk) = response.chunk().await.context("the events cannot be read to their end")? {
        lines.push(&chunk, |event| {
            read.take(workload, event);
            bar.inc(1);
        })?;
    }
    lines.end()?;
    Ok(read)
}

impl Catalogue for Workload {
    type Event = u32;

    fn topic(&self, name: &str) -> Option<usize> {
        self.number_of(name)
    }

    fn recognise(&self, event: &StoredEvent<'_>) -> Recognised<u32> {
        let source = self.source();
        if self.number_of(&event.topic).is_none() {
            return match event.source.as_deref() == Some(&source) {
                true => Recognised::Unknown(format!("is an event of {source}, in a topic of others")),
                false => Recognised::Foreign,
            };
        }
        let Some(delivery) = identify(self, event) else {
            return Recognised::Altered(format!("has the payload {}", event.payload.get()));
        };
        let sent = self.event(delivery);
        if (&sent.topic, &sent.event_id) != (&event.topic, &event.event_id) {
            return Recognised::Unknown(format!("has the payload of {}/{}", sent.topic, sent.event_id));
        }
        let is_same = event.timestamp.parse::<DateTime<Utc>>().ok() == sent.timestamp.parse().ok()
            && event.source.as_deref() == Some(&sent.source);
        let difference =
            (!is_same).then(|| format!("has timestamp {} and source {:?}", event.timestamp, event.source));
        let Delivery { event, is_altered } = delivery;
        Recognised::Sent { event, payload: is_altered.into(), difference }
    }
}

/// The delivery whose payload was read; `None` for a payload that was not sent.
fn identify(workload: &Workload, event: &StoredEvent<'_>) -> Option<Delivery> {
    let payload: Value = serde_json::from_str(event.payload.get()).ok()?;
    let event = u32::try_from(payload["event"].as_u64()?).ok().filter(|&number| number < workload.events)?;
    let delivery = Delivery { event, is_altered: payload["is_altered"].as_bool()? };
    let sent = workload.event(delivery).payload;
    (serde_json::to_value(sent).ok()? == payload).then_some(delivery)
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
