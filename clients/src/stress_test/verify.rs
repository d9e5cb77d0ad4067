//! Compares the counts and events of the service with the deliveries and their answers.

use anyhow::Result;
use indicatif::{HumanCount, ProgressBar};
use sekali_clients::client::Client;
use sekali_clients::retry::Patience;
use sekali_clients::terminal::count;
use sekali_common::api::{Account, EventStatus, Stats};
use sekali_model::{Bounds, Comparison, Growth, ReadBack, Register, Seen, Wrong, check_balance};

use crate::ledger::Ledger;
use crate::read_back::{accounts, read_at_rest};
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

/// An event, whose payloads are the original and the altered one.
type Event = Register<2>;

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

fn expect(workload: &Workload, ledger: &Ledger) -> Vec<Event> {
    let mut expected = vec![Event::default(); workload.events as usize];
    for (delivery, outcome) in workload.deliveries.iter().zip(&ledger.outcomes) {
        let (event, payload) = (&mut expected[delivery.event as usize], usize::from(delivery.is_altered));
        event.lose(payload, outcome.lost);
        if outcome.answer.is_some() {
            event.answer(payload, outcome.answer);
        }
    }
    expected
}

fn check_answers(workload: &Workload, ledger: &Ledger, expected: &[Event], read: &ReadBack) -> Vec<Check> {
    let answered = ledger.outcomes.iter().filter(|outcome| outcome.answer.is_some()).count() as u64;
    let stored: u64 = expected.iter().map(|event| u64::from(event.storers())).sum();
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
fn find_wrong_storers(workload: &Workload, expected: &[Event]) -> Wrong {
    let mut wrong = Wrong::default();
    for (event, expected) in (0..).zip(expected) {
        if !expected.is_set_once() {
            let (name, storers) = (workload.name(event), expected.storers());
            wrong.add(|| format!("{name} was answered as stored {storers} times"));
        }
    }
    wrong
}

/// Finds deliveries that should have been answered as conflicts, and others that were.
fn find_wrong_conflicts(workload: &Workload, ledger: &Ledger, read: &ReadBack) -> Wrong {
    let mut wrong = Wrong::default();
    for (delivery, outcome) in workload.deliveries.iter().zip(&ledger.outcomes) {
        let (Some(answer), Some(stored)) = (outcome.answer, read.stored[delivery.event as usize]) else {
            continue;
        };
        // The payload decides: the retry of a lost attempt may find its own event stored, which is not a conflict.
        let differs = stored.payload != usize::from(delivery.is_altered);
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

fn check_events(workload: &Workload, ledger: &Ledger, expected: &[Event], read: &ReadBack) -> Vec<Check> {
    let mut wrong = Comparison::default();
    for (event, (expected, stored)) in (0..).zip(expected.iter().zip(&read.stored)) {
        let own = Some(ledger.seqs[event as usize]).filter(|seq| *seq != 0);
        let seen = Seen { own, floor: ledger.floors[event as usize] };
        wrong.compare(expected, stored.as_ref(), seen, || workload.name(event));
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

/// The expected growth of the counts of `/stats`, in total and by topic.
struct Totals {
    all: Growth,
    by_topic: Vec<Growth>,
}

fn sum(workload: &Workload, expected: &[Event], read: &ReadBack) -> Totals {
    let mut totals =
        Totals { all: Growth::default(), by_topic: vec![Growth::default(); workload.topics().count()] };
    for (event, (expected, stored)) in (0..).zip(expected.iter().zip(&read.stored)) {
        let payload = stored.map_or(0, |stored| stored.payload);
        for growth in [&mut totals.all, &mut totals.by_topic[workload.topic_of(event)]] {
            growth.add(expected, payload);
        }
    }
    totals
}

fn check_accounts(
    workload: &Workload,
    totals: &Totals,
    read: &ReadBack,
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
    vec![
        total("/stats received", growth.received, |account| account.received),
        total("/stats unique_processed", growth.unique, |account| account.unique_processed),
        total("/stats duplicate_dropped", growth.duplicates(), |account| account.duplicate_dropped),
        total("/stats conflicts", growth.conflicts, |account| account.conflicts),
    ]
}

/// Compares the account of each topic with its expected growth and with the sum of its events.
fn check_topics(workload: &Workload, totals: &Totals, read: &ReadBack, accounts: &[Account]) -> Vec<Check> {
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
