//! Compares the counts and events of the service with the deliveries and their answers.

use anyhow::{Context, Result, bail};
use indicatif::{HumanCount, ProgressBar};
use sekali_clients::api::{Account, EventStatus, Stats, StoredEvent};
use sekali_clients::client::Client;
use sekali_clients::retry::{self, Patience};
use sekali_clients::terminal::count;
use serde_json::Value;

use crate::ledger::{Ledger, Wrong};
use crate::workload::{Delivery, Event, Workload};

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

/// A count that lies between two bounds, which are equal if it is known exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bounds {
    least: u64,
    most: u64,
}

/// The expected counts of one event.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    /// Deliveries that were answered, with the original payload and with the altered one.
    answered: [u32; 2],
    /// Lost attempts, which may have been counted, by payload as above.
    lost: [u32; 2],
    /// Deliveries that were answered as stored.
    stored: u32,
}

/// The events that were read back, and the errors in them.
struct Read {
    /// Each event of the workload; `None` if it was not read.
    stored: Vec<Option<Stored>>,
    /// The sums of the events of each topic.
    accounts: Vec<Account>,
    /// Events that were read twice.
    doubled: Wrong,
    /// Events that were not sent, or not to this topic.
    unknown: Wrong,
    /// Events with other fields than were sent.
    altered: Wrong,
    /// Events after one with a higher or the same `seq`.
    disordered: Wrong,
}

/// An event as it was read back.
#[derive(Clone, Copy)]
struct Stored {
    seq: u64,
    is_altered: bool,
    deliveries: u64,
    conflicts: u64,
}

/// Runs all checks. `before` is the answer of `/stats` before the load; all later events are read back.
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

/// Reads everything back until `/stats` of this run's topics is the same before and after it, because a request whose
/// answer was lost may still be in progress.
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

    /// Deliveries with another payload than the stored one.
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

    /// The difference, whose bounds are as far apart as those of both together.
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

/// Reads all events after `seq`, and compares each with what was sent.
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
            let event: StoredEvent = serde_json::from_slice(line).with_context(|| {
                format!("/events returned an invalid event: {}", String::from_utf8_lossy(line))
            })?;
            read.take(workload, &event, &mut last_seq);
            bar.inc(1);
        }
        held = rest;
    }
    if !held.is_empty() {
        bail!("/events ended in the middle of an event: {}", String::from_utf8_lossy(&held));
    }
    Ok(read)
}

impl Read {
    /// Compares an event with what was sent, and adds it to the account of its topic.
    fn take(&mut self, workload: &Workload, event: &StoredEvent<'_>, last_seq: &mut u64) {
        if event.seq <= *last_seq {
            self.disordered.add(|| format!("{} comes after seq {last_seq}", name(event)));
        }
        *last_seq = event.seq;
        let Some(topic) = workload.number_of(&event.topic) else {
            self.take_foreign(workload, event);
            return;
        };
        self.count(topic, event);
        let Some((number, is_altered)) = identify(workload, event) else {
            self.altered.add(|| format!("{} has the payload {}", name(event), event.payload.get()));
            return;
        };
        let sent = workload.event(Delivery { event: number, is_altered });
        if (&sent.topic, &sent.event_id) != (&event.topic, &event.event_id) {
            self.unknown
                .add(|| format!("{} has the payload of {}/{}", name(event), sent.topic, sent.event_id));
            return;
        }
        self.compare_fields(event, &sent);
        let StoredEvent { seq, deliveries, conflicts, .. } = *event;
        let stored = Stored { seq, is_altered, deliveries, conflicts };
        if let Some(first) = self.stored[number as usize].replace(stored) {
            self.doubled.add(|| format!("{} is also seq {}", name(event), first.seq));
        }
    }

    /// Takes an event in a topic of others, where an event of this run must not be.
    fn take_foreign(&mut self, workload: &Workload, event: &StoredEvent<'_>) {
        let source = workload.source();
        if event.source.as_deref() == Some(&source) {
            self.unknown.add(|| format!("{} is an event of {source}, in a topic of others", name(event)));
        }
    }

    fn count(&mut self, topic: usize, event: &StoredEvent<'_>) {
        let account = &mut self.accounts[topic];
        account.received += event.deliveries;
        account.unique_processed += 1;
        account.duplicate_dropped += event.deliveries.saturating_sub(1);
        account.conflicts += event.conflicts;
    }

    fn compare_fields(&mut self, event: &StoredEvent<'_>, sent: &Event) {
        if event.timestamp.parse::<chrono::DateTime<chrono::Utc>>().ok() != sent.timestamp.parse().ok()
            || event.source.as_deref() != Some(&sent.source)
        {
            self.altered.add(|| {
                format!("{} has timestamp {} and source {:?}", name(event), event.timestamp, event.source)
            });
        }
    }
}

/// The name of an event that was read, for people.
fn name(event: &StoredEvent<'_>) -> String {
    format!("{}/{} (seq {})", event.topic, event.event_id, event.seq)
}

/// The event whose payload was read, and true if it is its altered payload; `None` for a payload that was not sent.
fn identify(workload: &Workload, event: &StoredEvent<'_>) -> Option<(u32, bool)> {
    let payload: Value = serde_json::from_str(event.payload.get()).ok()?;
    let number = u32::try_from(payload["event"].as_u64()?).ok().filter(|&number| number < workload.events)?;
    let is_altered = payload["is_altered"].as_bool()?;
    let sent = workload.event(Delivery { event: number, is_altered }).payload;
    (serde_json::to_value(sent).ok()? == payload).then_some((number, is_altered))
}

fn check_answers(workload: &Workload, ledger: &Ledger, expected: &[Expected], read: &Read) -> Vec<Check> {
    let answered = ledger.outcomes.iter().filter(|outcome| outcome.answer.is_some()).count() as u64;
    let stored: u64 = expected.iter().map(|expected| u64::from(expected.stored)).sum();
    let storers = find_wrong_storers(workload, expected);
    let conflicts = find_wrong_conflicts(workload, ledger, read);
    vec![
        Check::new(
            "answers account for each delivery",
            counted(answered, "answered"),
            [&ledger.wrong_answers],
        ),
        Check::new("each event stored by one delivery", counted(stored, "stored"), [&storers]),
        Check::new("conflicts are named, and nothing else is", String::new(), [&conflicts]),
    ]
}

/// Finds events that were not answered as stored by exactly one delivery.
fn find_wrong_storers(workload: &Workload, expected: &[Expected]) -> Wrong {
    let mut wrong = Wrong::default();
    for (event, expected) in (0..).zip(expected) {
        let is_answered = expected.deliveries().least > 0;
        // A lost attempt may be the one that stored it.
        let may_be_none = !is_answered || expected.lost != [0, 0];
        if expected.stored > 1 || (expected.stored == 0 && !may_be_none) {
            wrong
                .add(|| format!("{} was answered as stored {} times", workload.name(event), expected.stored));
        }
    }
    wrong
}

/// Finds deliveries that should have been answered as conflicts, and others that were.
fn find_wrong_conflicts(workload: &Workload, ledger: &Ledger, read: &Read) -> Wrong {
    let mut wrong = Wrong::default();
    for (delivery, outcome) in workload.deliveries.iter().zip(&ledger.outcomes) {
        let (Some(answer), Some(stored)) = (outcome.answer, read.stored[delivery.event as usize]) else {
            continue;
        };
        // The payload decides: the retry of a lost attempt may find its own event stored, which is not a conflict.
        let differs = stored.is_altered != delivery.is_altered;
        if differs != (answer == EventStatus::Conflict) {
            let payload = if differs { "another payload" } else { "the stored payload" };
            wrong.add(|| {
                format!(
                    "{} was delivered with {payload} and answered as {answer:?}",
                    workload.name(delivery.event)
                )
            });
        }
    }
    wrong
}

/// The errors of events that were read back, or should have been.
#[derive(Default)]
struct WrongEvents {
    missing: Wrong,
    miscounted: Wrong,
    /// Events with another `seq` than was answered.
    moved: Wrong,
    /// Events with a lower `seq` than one that was acknowledged before they were sent.
    behind: Wrong,
}

fn check_events(workload: &Workload, ledger: &Ledger, expected: &[Expected], read: &Read) -> Vec<Check> {
    let mut wrong = WrongEvents::default();
    for (event, (expected, stored)) in (0..).zip(expected.iter().zip(&read.stored)) {
        let name = || workload.name(event);
        match stored {
            Some(stored) => {
                wrong.compare_counts(stored, expected, name);
                wrong.compare_seq(stored, ledger.seqs[event as usize], ledger.floors[event as usize], name);
            }
            None if expected.deliveries().least > 0 => wrong.missing.add(|| format!("{} is missing", name())),
            None => {}
        }
    }
    let events = read.stored.iter().flatten().count() as u64;
    let once = [&wrong.missing, &read.doubled, &read.unknown];
    vec![
        Check::new("each event reads back exactly once", counted(events, "read"), once),
        Check::new("with the payload, time and source sent", String::new(), [&read.altered]),
        Check::new("in the order of seq", String::new(), [&read.disordered]),
        Check::new("with the seq that was answered", String::new(), [&wrong.moved]),
        Check::new("none stored behind an acknowledged one", String::new(), [&wrong.behind]),
        Check::new("each with its own deliveries and conflicts", String::new(), [&wrong.miscounted]),
    ]
}

impl WrongEvents {
    fn compare_counts(&mut self, stored: &Stored, expected: &Expected, name: impl Fn() -> String) {
        let (deliveries, conflicts) = (expected.deliveries(), expected.conflicts(stored.is_altered));
        if !deliveries.contains(stored.deliveries) || !conflicts.contains(stored.conflicts) {
            self.miscounted.add(|| {
                format!(
                    "{} has {} deliveries and {} conflicts instead of {deliveries} and {conflicts}",
                    name(),
                    stored.deliveries,
                    stored.conflicts
                )
            });
        }
    }

    /// Compares the `seq` with the `answered` one (0 without an answer), and with the highest one that was acknowledged
    /// before the event was sent.
    fn compare_seq(&mut self, stored: &Stored, answered: u64, floor: Option<u64>, name: impl Fn() -> String) {
        let seq = stored.seq;
        if let Some(floor) = floor.filter(|floor| seq <= *floor) {
            self.behind
                .add(|| format!("{} has seq {seq}, but {floor} was acknowledged before it was sent", name()));
        }
        if answered != 0 && answered != seq {
            self.moved.add(|| format!("{} has seq {seq} and was answered {answered}", name()));
        }
    }
}

/// The expected growth of the counts of `/stats`, in total and by topic.
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
    let accounts = accounts(workload, after);
    let mut checks = check_totals(&totals.all, &accounts, after);
    checks.extend(check_topics(workload, totals, read, &accounts));
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
    let duplicates = growth.received.minus(growth.unique);
    vec![
        total("/stats received", growth.received, |account| account.received),
        total("/stats unique_processed", growth.unique, |account| account.unique_processed),
        total("/stats duplicate_dropped", duplicates, |account| account.duplicate_dropped),
        total("/stats conflicts", growth.conflicts, |account| account.conflicts),
    ]
}

/// Compares the account of each topic with its expected growth and with the sum of its events.
fn check_topics(workload: &Workload, totals: &Totals, read: &Read, accounts: &[Account]) -> Vec<Check> {
    let (mut unexpected, mut unlike_events) = (Wrong::default(), Wrong::default());
    for (number, topic) in workload.topics().enumerate() {
        let (account, sum) = (accounts[number], read.accounts[number]);
        if let Some(contradiction) = totals.by_topic[number].contradiction(&account) {
            unexpected.add(|| format!("{topic}: {contradiction}"));
        }
        if account != sum {
            unlike_events.add(|| format!("{topic}: {account}, but its events add up to {sum}"));
        }
    }
    let topics = count(totals.by_topic.len() as u64, "topic");
    vec![
        Check::new("/stats of each topic", topics, [&unexpected]),
        Check::new("/stats of each topic is the sum of its events", String::new(), [&unlike_events]),
    ]
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

impl Check {
    /// A check that fails if there are errors.
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
