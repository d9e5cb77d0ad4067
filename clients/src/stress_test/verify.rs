//! Compares what the service says with what was sent and answered.

use anyhow::{Context, Result, bail};
use indicatif::{HumanCount, ProgressBar};
use sekali_clients::api::{Account, EventStatus, Stats, StoredEvent};
use sekali_clients::client::Client;
use sekali_clients::retry::{self, Patience};
use sekali_clients::terminal::count;
use serde_json::Value;

use crate::ledger::{Ledger, Wrong};
use crate::workload::{Delivery, Workload};

/// How often everything is read before what still changes is given up.
const READINGS: usize = 10;

/// One thing that was promised, and whether it is so.
#[derive(Debug)]
pub struct Check {
    /// What was promised.
    pub name: &'static str,
    /// What was found.
    pub found: String,
    /// The first examples of what is wrong; empty when nothing is.
    pub wrong: Vec<String>,
}

/// What the verification came to.
pub struct Verdict {
    /// All that was looked at.
    pub checks: Vec<Check>,
    /// Deliveries of others that the service counted meanwhile.
    pub other_traffic: u64,
    /// The account at the end.
    pub after: Stats,
}

/// A count that is known, or known to lie between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bounds {
    least: u64,
    most: u64,
}

/// What must be true of one event.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    /// Deliveries that were answered, with the original payload and with the other.
    answered: [u32; 2],
    /// Deliveries that may have been counted though their answers were lost.
    lost: [u32; 2],
    /// Deliveries that were answered as having stored it.
    stored: u32,
}

/// What was read back.
struct Read {
    /// Which payload of each event is stored, if it was read.
    stored: Vec<Option<Stored>>,
    /// What the events of each topic add up to.
    accounts: Vec<Account>,
    /// Events that are read twice.
    doubled: Wrong,
    /// Events of our topics that we never sent.
    unknown: Wrong,
    /// Events that say something else than was sent.
    altered: Wrong,
    /// Events that come before one with a lower `seq`.
    disordered: Wrong,
}

#[derive(Clone, Copy)]
struct Stored {
    seq: u64,
    is_altered: bool,
    deliveries: u64,
    conflicts: u64,
}

/// Verifies everything, by the accounts from before and after the load and by reading all that was stored between.
pub async fn verify(
    workload: &Workload,
    ledger: &Ledger,
    before: &Stats,
    (reader, patience): (&Client, Patience),
    bar: &ProgressBar,
) -> Result<Verdict> {
    let expected = expect(workload, ledger);
    let (read, after) = read_at_rest(workload, before.last_seq, (reader, patience), bar).await?;
    let mut checks = check_answers(workload, ledger, &expected, &read);
    checks.extend(check_events(workload, ledger, &expected, &read));
    let totals = sum(workload, &expected, &read);
    checks.extend(check_accounts(workload, &totals, &read, (before, &after)));

    let others = |stats: &Stats| -> u64 {
        let others = stats.by_topic.iter().filter(|topic| workload.number_of(&topic.topic).is_none());
        others.map(|topic| topic.account.received).sum()
    };
    let other_traffic = others(&after).saturating_sub(others(before));
    Ok(Verdict { checks, other_traffic, after })
}

/// Reads everything back between two equal accounts of our topics: a request whose answer was lost may still be at
/// work.
async fn read_at_rest(
    workload: &Workload,
    seq: u64,
    (reader, patience): (&Client, Patience),
    bar: &ProgressBar,
) -> Result<(Read, Stats)> {
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
    bail!("the account of this run's topics still changes, after the last request was answered");
}

/// The account of the service, which may have to be asked for more than once.
pub async fn read_stats(reader: &Client, patience: Patience) -> Result<Stats> {
    retry::persist(patience, |_| {}, || reader.stats())
        .await
        .context("the account of the service cannot be read")
}

/// The accounts of our topics.
fn accounts(workload: &Workload, stats: &Stats) -> Vec<Account> {
    let mut accounts = vec![Account::default(); workload.topics().count()];
    for topic in &stats.by_topic {
        if let Some(number) = workload.number_of(&topic.topic) {
            accounts[number] = topic.account;
        }
    }
    accounts
}

fn expect(workload: &Workload, ledger: &Ledger) -> Vec<Expected> {
    let mut expected = vec![Expected::default(); workload.events as usize];
    for (delivery, outcome) in workload.deliveries.iter().zip(&ledger.outcomes) {
        let expected = &mut expected[delivery.event as usize];
        let payload = usize::from(delivery.is_altered);
        expected.answered[payload] += u32::from(outcome.answer.is_some());
        expected.lost[payload] += outcome.lost;
        expected.stored += u32::from(outcome.answer == Some(EventStatus::Stored));
    }
    expected
}

impl Expected {
    fn deliveries(&self) -> Bounds {
        Bounds::new(self.answered.iter().sum(), self.lost.iter().sum())
    }

    /// Deliveries with another payload than what is stored.
    fn conflicts(&self, is_altered: bool) -> Bounds {
        let other = usize::from(!is_altered);
        Bounds::new(self.answered[other], self.lost[other])
    }
}

impl Bounds {
    fn new(least: u32, more: u32) -> Self {
        Self { least: least.into(), most: u64::from(least) + u64::from(more) }
    }

    fn contains(self, count: u64) -> bool {
        (self.least..=self.most).contains(&count)
    }

    fn add(&mut self, other: Self) {
        self.least += other.least;
        self.most += other.most;
    }

    /// Both can be true of the same deliveries, so the difference is as uncertain as both.
    fn minus(self, other: Self) -> Self {
        Self { least: self.least.saturating_sub(other.most), most: self.most - other.least }
    }
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", HumanCount(self.least))?;
        if self.most > self.least {
            write!(out, " to {}", HumanCount(self.most))?;
        }
        Ok(())
    }
}

/// Reads all events behind `seq`, and compares each with what was sent.
async fn read_back(workload: &Workload, seq: u64, reader: &Client, bar: &ProgressBar) -> Result<Read> {
    let mut read = Read {
        stored: vec![None; workload.events as usize],
        accounts: vec![Account::default(); workload.topics().count()],
        doubled: Wrong::default(),
        unknown: Wrong::default(),
        altered: Wrong::default(),
        disordered: Wrong::default(),
    };
    let mut last_seq = seq;
    let mut response = reader.events_after(seq).await.context("the events cannot be read back")?;
    let mut held = Vec::new();
    while let Some(chunk) = response.chunk().await.context("the events cannot be read to their end")? {
        held.extend_from_slice(&chunk);
        let Some(end) = held.iter().rposition(|&byte| byte == b'\n') else { continue };
        let rest = held.split_off(end + 1);
        for line in held.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let event: StoredEvent = serde_json::from_slice(line)
                .with_context(|| format!("this is no event: {}", String::from_utf8_lossy(line)))?;
            read.take(workload, &event, &mut last_seq);
            bar.inc(1);
        }
        held = rest;
    }
    if !held.is_empty() {
        bail!("the events end in the middle of one: {}", String::from_utf8_lossy(&held));
    }
    Ok(read)
}

impl Read {
    fn take(&mut self, workload: &Workload, event: &StoredEvent<'_>, last_seq: &mut u64) {
        let StoredEvent { seq, deliveries, conflicts, .. } = *event;
        let name = || format!("{}/{} (seq {seq})", event.topic, event.event_id);
        if seq <= *last_seq {
            self.disordered.add(|| format!("{} comes behind seq {last_seq}", name()));
        }
        *last_seq = seq;
        let Some(topic) = workload.number_of(&event.topic) else {
            if event.source.as_deref() == Some(&workload.source()) {
                self.unknown
                    .add(|| format!("{} is one of {}, in a topic of others", name(), workload.source()));
            }
            return;
        };
        let account = &mut self.accounts[topic];
        account.received += deliveries;
        account.unique_processed += 1;
        account.duplicate_dropped += deliveries.saturating_sub(1);
        account.conflicts += conflicts;
        let Some((number, is_altered)) = identify(workload, event) else {
            self.altered.add(|| format!("{} says {}", name(), event.payload.get()));
            return;
        };
        let sent = workload.event(Delivery { event: number, is_altered });
        if (&sent.topic, &sent.event_id) != (&event.topic, &event.event_id) {
            self.unknown.add(|| format!("{} has the payload of {}/{}", name(), sent.topic, sent.event_id));
            return;
        }
        if event.timestamp.parse::<chrono::DateTime<chrono::Utc>>().ok() != sent.timestamp.parse().ok()
            || event.source.as_deref() != Some(&sent.source)
        {
            self.altered.add(|| {
                format!("{} has timestamp {} and source {:?}", name(), event.timestamp, event.source)
            });
        }
        let stored = Stored { seq, is_altered, deliveries, conflicts };
        if let Some(first) = self.stored[number as usize].replace(stored) {
            self.doubled.add(|| format!("{} is also seq {}", name(), first.seq));
        }
    }
}

/// Which of the payloads that were sent this one is: its event, and whether it is the other one of it.
fn identify(workload: &Workload, event: &StoredEvent<'_>) -> Option<(u32, bool)> {
    let payload: Value = serde_json::from_str(event.payload.get()).ok()?;
    let number = u32::try_from(payload["event"].as_u64()?).ok().filter(|&number| number < workload.events)?;
    let is_altered = payload["is_altered"].as_bool()?;
    let sent = workload.event(Delivery { event: number, is_altered }).payload;
    (serde_json::to_value(sent).ok()? == payload).then_some((number, is_altered))
}

fn check_answers(workload: &Workload, ledger: &Ledger, expected: &[Expected], read: &Read) -> Vec<Check> {
    let mut twice = Wrong::default();
    for (event, expected) in (0..).zip(expected) {
        let is_answered = expected.deliveries().least > 0;
        let may_be_none = !is_answered || expected.lost != [0, 0];
        if expected.stored > 1 || (expected.stored == 0 && !may_be_none) {
            twice
                .add(|| format!("{} was answered as stored {} times", workload.name(event), expected.stored));
        }
    }
    let mut misnamed = Wrong::default();
    for (delivery, outcome) in workload.deliveries.iter().zip(&ledger.outcomes) {
        let (Some(answer), Some(stored)) = (outcome.answer, read.stored[delivery.event as usize]) else {
            continue;
        };
        let differs = stored.is_altered != delivery.is_altered;
        // A retry finds what its lost attempt has stored: that is no conflict.
        if differs != (answer == EventStatus::Conflict) {
            let payload = if differs { "another payload" } else { "the stored payload" };
            misnamed.add(|| {
                format!(
                    "{} was delivered with {payload} and answered as {answer:?}",
                    workload.name(delivery.event)
                )
            });
        }
    }
    let answered = ledger.outcomes.iter().filter(|outcome| outcome.answer.is_some()).count() as u64;
    let stored: u64 = expected.iter().map(|expected| u64::from(expected.stored)).sum();
    vec![
        Check::new(
            "answers account for each delivery",
            counted(answered, "answered"),
            [&ledger.wrong_answers],
        ),
        Check::new("each event stored by one delivery", counted(stored, "stored"), [&twice]),
        Check::new("conflicts are named, and nothing else is", String::new(), [&misnamed]),
    ]
}

fn check_events(workload: &Workload, ledger: &Ledger, expected: &[Expected], read: &Read) -> Vec<Check> {
    let (mut missing, mut miscounted) = (Wrong::default(), Wrong::default());
    let (mut moved, mut behind) = (Wrong::default(), Wrong::default());
    for (event, (expected, stored)) in (0..).zip(expected.iter().zip(&read.stored)) {
        let Some(stored) = stored else {
            if expected.deliveries().least > 0 {
                missing.add(|| format!("{} is missing", workload.name(event)));
            }
            continue;
        };
        let (deliveries, conflicts) = (expected.deliveries(), expected.conflicts(stored.is_altered));
        if !deliveries.contains(stored.deliveries) || !conflicts.contains(stored.conflicts) {
            miscounted.add(|| {
                format!(
                    "{} has {} deliveries and {} conflicts instead of {deliveries} and {conflicts}",
                    workload.name(event),
                    stored.deliveries,
                    stored.conflicts
                )
            });
        }
        if let Some(floor) = ledger.floors[event as usize].filter(|floor| stored.seq <= *floor) {
            behind.add(|| {
                format!(
                    "{} has seq {}, and {floor} was known before it was sent",
                    workload.name(event),
                    stored.seq
                )
            });
        }
        let answered = ledger.seqs[event as usize];
        if answered != 0 && answered != stored.seq {
            moved.add(|| {
                format!("{} has seq {} and was answered {answered}", workload.name(event), stored.seq)
            });
        }
    }
    let events = read.stored.iter().flatten().count() as u64;
    let once = [&missing, &read.doubled, &read.unknown];
    vec![
        Check::new("each event reads back exactly once", counted(events, "read"), once),
        Check::new("with the payload, time and source sent", String::new(), [&read.altered]),
        Check::new("in the order of seq", String::new(), [&read.disordered]),
        Check::new("with the seq that was answered", String::new(), [&moved]),
        Check::new("none stored behind an acknowledged one", String::new(), [&behind]),
        Check::new("each with its own deliveries and conflicts", String::new(), [&miscounted]),
    ]
}

/// What the accounts should have grown by, in total and by topic.
struct Totals {
    all: Growth,
    by_topic: Vec<Growth>,
}

#[derive(Clone, Copy, Default)]
struct Growth {
    received: Bounds,
    unique: Bounds,
    conflicts: Bounds,
}

fn sum(workload: &Workload, expected: &[Expected], read: &Read) -> Totals {
    let mut totals =
        Totals { all: Growth::default(), by_topic: vec![Growth::default(); workload.topics().count()] };
    for (event, (expected, stored)) in (0..).zip(expected.iter().zip(&read.stored)) {
        let received = expected.deliveries();
        let unique = Bounds { least: received.least.min(1), most: received.most.min(1) };
        let conflicts = expected.conflicts(stored.is_some_and(|stored| stored.is_altered));
        for growth in [&mut totals.all, &mut totals.by_topic[workload.topic_of(event)]] {
            growth.received.add(received);
            growth.unique.add(unique);
            growth.conflicts.add(conflicts);
        }
    }
    totals
}

fn check_accounts(
    workload: &Workload,
    totals: &Totals,
    read: &Read,
    (before, after): (&Stats, &Stats),
) -> Vec<Check> {
    let mut all = Account::default();
    let (mut by_topic, mut unlike_events) = (Wrong::default(), Wrong::default());
    let accounts = accounts(workload, after);
    for (number, topic) in workload.topics().enumerate() {
        let account = accounts[number];
        all.received += account.received;
        all.unique_processed += account.unique_processed;
        all.duplicate_dropped += account.duplicate_dropped;
        all.conflicts += account.conflicts;
        if let Some(wrong) = totals.by_topic[number].contradiction(&account) {
            by_topic.add(|| format!("{topic}: {wrong}"));
        }
        let sum = read.accounts[number];
        if account != sum {
            unlike_events.add(|| format!("{topic}: {account}, but its events add up to {sum}"));
        }
    }

    let total = |name, growth: Bounds, get: fn(&Account) -> u64| {
        let mut wrong = Wrong::default();
        if !growth.contains(get(&all)) {
            wrong.add(|| format!("it grew by {} instead of {growth}", get(&all)));
        }
        let sum: u64 = after.by_topic.iter().map(|topic| get(&topic.account)).sum();
        if get(&after.total) != sum {
            wrong.add(|| format!("the total is {}, but the sum of its topics {sum}", get(&after.total)));
        }
        Check::new(name, format!("+{}", HumanCount(get(&all))), [&wrong]).uncertain(growth)
    };
    let duplicates = totals.all.received.minus(totals.all.unique);
    let mut checks = vec![
        total("/stats received", totals.all.received, |account| account.received),
        total("/stats unique_processed", totals.all.unique, |account| account.unique_processed),
        total("/stats duplicate_dropped", duplicates, |account| account.duplicate_dropped),
        total("/stats conflicts", totals.all.conflicts, |account| account.conflicts),
    ];
    let mut unbalanced = Wrong::default();
    for stats in [before, after] {
        check_balance(stats, &mut unbalanced);
    }
    checks.push(Check::new(
        "/stats of each topic",
        count(totals.by_topic.len() as u64, "topic"),
        [&by_topic],
    ));
    checks.push(Check::new("/stats of each topic is the sum of its events", String::new(), [&unlike_events]));
    checks.push(Check::new("/stats received = unique + duplicates", String::new(), [&unbalanced]));
    checks
}

impl Growth {
    fn contradiction(&self, account: &Account) -> Option<String> {
        let duplicates = self.received.minus(self.unique);
        let is_so = self.received.contains(account.received)
            && self.unique.contains(account.unique_processed)
            && duplicates.contains(account.duplicate_dropped)
            && self.conflicts.contains(account.conflicts);
        (!is_so).then(|| {
            format!(
                "{account} instead of {}, {}, {duplicates}, {}",
                self.received, self.unique, self.conflicts
            )
        })
    }
}

/// Finds accounts in which deliveries are lost or made up.
pub fn check_balance(stats: &Stats, unbalanced: &mut Wrong) {
    let topics = stats.by_topic.iter().map(|topic| (topic.topic.as_str(), &topic.account));
    for (name, account) in topics.chain([("in total", &stats.total)]) {
        let Account { received, unique_processed, duplicate_dropped, .. } = *account;
        if received != unique_processed + duplicate_dropped {
            unbalanced.add(|| format!("{name}: {received} is not {unique_processed} + {duplicate_dropped}"));
        }
    }
}

impl Check {
    /// A check that fails if anything is wrong.
    pub fn new<'a>(name: &'static str, found: String, wrong: impl IntoIterator<Item = &'a Wrong>) -> Self {
        let mut examples = Vec::new();
        for wrong in wrong {
            examples.extend(wrong.examples.iter().cloned());
            let more = wrong.count - wrong.examples.len() as u64;
            if more > 0 {
                examples.push(format!("and {} more", HumanCount(more)));
            }
        }
        Self { name, found, wrong: examples }
    }

    /// Says so if the count could have been another.
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
