//! The account of a client: what was sent, what became of it, and what the service must therefore show.

use std::collections::{BTreeMap, HashSet};
use std::io;

use serde_json::{Value, json};

use super::raw_client::Answer;

/// The topic of all events.
const TOPIC: &str = "siege";

/// The number of faults of one kind that are told in full.
const TOLD: usize = 5;

/// Deliveries by event id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    events: BTreeMap<String, Deliveries>,
}

/// The deliveries of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Deliveries {
    acknowledged: u64,
    /// Those whose answer was lost or is a 500: each may have counted or not.
    unknown: u64,
}

/// The end of a request that publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of its events are stored.
    Acknowledged,
    /// Nothing of it is stored.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl Outcome {
    /// The outcome that an answer tells.
    pub fn of(answer: &io::Result<Answer>) -> Self {
        match answer {
            Ok(Answer { status: 200, .. }) => Self::Acknowledged,
            Ok(Answer { status: 400..=499 | 503, .. }) => Self::Refused,
            _ => Self::Unknown,
        }
    }
}

/// An event by its id, as it is always sent.
pub fn event(id: &str) -> Value {
    json!({"topic": TOPIC, "event_id": id, "payload": payload(id)})
}

/// Events that begin so have five kilobytes, so that a thousand of them are more than sockets hold.
pub const LARGE: &str = "large-";

fn payload(id: &str) -> Value {
    let fill = if id.starts_with(LARGE) { "x".repeat(5_000) } else { String::new() };
    json!({"of": id, "fill": fill})
}

impl Account {
    /// Notes one delivery of each event.
    pub fn note(&mut self, ids: &[String], outcome: Outcome) {
        for id in ids {
            let deliveries = self.events.entry(id.clone()).or_default();
            match outcome {
                Outcome::Acknowledged => deliveries.acknowledged += 1,
                Outcome::Refused => {}
                Outcome::Unknown => deliveries.unknown += 1,
            }
        }
    }

    /// Adds the account of another client.
    pub fn add(&mut self, other: Self) {
        for (id, Deliveries { acknowledged, unknown }) in other.events {
            let deliveries = self.events.entry(id).or_default();
            deliveries.acknowledged += acknowledged;
            deliveries.unknown += unknown;
        }
    }

    fn of(&self, id: &str) -> Deliveries {
        self.events.get(id).copied().unwrap_or_default()
    }

    /// Deliveries that were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.events.values().map(|deliveries| deliveries.acknowledged).sum()
    }

    /// Compares the account with all events that can be read back, and with `/stats`. Returns the promises that are
    /// broken.
    pub fn check(&self, events: &[Value], stats: &Value) -> Vec<String> {
        let mut audit = Audit::of(self);
        audit.add(events);
        audit.end(stats)
    }
}

/// A comparison of an account with what the service stores, page by page.
pub struct Audit<'a> {
    account: &'a Account,
    seen: HashSet<String>,
    last_seq: i64,
    delivered: u64,
    faults: Faults,
}

impl<'a> Audit<'a> {
    /// An audit that has seen nothing yet.
    pub fn of(account: &'a Account) -> Self {
        Self { account, seen: HashSet::new(), last_seq: 0, delivered: 0, faults: Faults::default() }
    }

    /// The seq of the last event that it has seen.
    pub fn last_seq(&self) -> i64 {
        self.last_seq
    }

    /// Looks at the next events.
    pub fn add(&mut self, events: &[Value]) {
        for event in events {
            let id = event["event_id"].as_str().unwrap_or_default();
            let seq = event["seq"].as_i64().unwrap_or_default();
            let count = event["deliveries"].as_u64().unwrap_or_default();
            if seq <= self.last_seq {
                self.faults.note("out of order", format!("{event} follows seq {}", self.last_seq));
            }
            self.last_seq = self.last_seq.max(seq);
            self.delivered += count;
            if !self.seen.insert(id.to_owned()) {
                self.faults.note("stored twice", event);
            }
            if event["payload"] != payload(id) || event["topic"] != TOPIC {
                self.faults.note("altered", event);
            }
            let Deliveries { acknowledged, unknown } = self.account.of(id);
            let possible = acknowledged.max(1)..=acknowledged + unknown;
            if possible.is_empty() {
                self.faults.note("stored, though it was refused or never sent", event);
            } else if !possible.contains(&count) {
                self.faults.note("counted wrongly", format!("{event} was delivered {possible:?} times"));
            }
        }
    }

    /// Looks for what it has not seen, and compares the rest with `/stats`. Returns the promises that are broken.
    pub fn end(mut self, stats: &Value) -> Vec<String> {
        for (id, deliveries) in &self.account.events {
            if deliveries.acknowledged > 0 && !self.seen.contains(id) {
                self.faults.note("LOST", format!("{id}: {deliveries:?}"));
            }
        }
        let tell = |(fault, (count, told)): (_, (usize, Vec<String>))| {
            format!("{count} {fault}: {}", told.join("; "))
        };
        let mut broken: Vec<_> = self.faults.0.into_iter().map(tell).collect();
        let (unique, received) = (self.seen.len() as u64, self.delivered);
        let expected = json!([unique, received, received.saturating_sub(unique)]);
        let said = ["unique_processed", "received", "duplicate_dropped"].map(|name| &stats[name]);
        if json!(said) != expected {
            broken.push(format!(
                "{unique} events with {received} deliveries can be read, but /stats says {stats}"
            ));
        }
        broken
    }
}

/// The number of each kind of fault, and the first few of it.
#[derive(Default)]
struct Faults(BTreeMap<&'static str, (usize, Vec<String>)>);

impl Faults {
    fn note(&mut self, fault: &'static str, what: impl ToString) {
        let (count, told) = self.0.entry(fault).or_default();
        *count += 1;
        if told.len() < TOLD {
            told.push(what.to_string().chars().take(300).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(seq: u64, id: &str, deliveries: u64) -> Value {
        let mut stored = event(id);
        stored["seq"] = seq.into();
        stored["deliveries"] = deliveries.into();
        stored
    }

    fn account() -> Account {
        let mut account = Account::default();
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        account.note(&ids(&["a", "b"]), Outcome::Acknowledged);
        account.note(&ids(&["b", "c"]), Outcome::Unknown);
        account.note(&ids(&["d"]), Outcome::Refused);
        account
    }

    fn check(events: &[Value], received: u64) -> Vec<String> {
        let unique = events.len() as u64;
        let dropped = received - unique;
        let stats = json!({"unique_processed": unique, "received": received, "duplicate_dropped": dropped});
        account().check(events, &stats)
    }

    #[test]
    fn each_outcome_that_the_answers_allow_is_in_order() {
        assert_eq!(check(&[stored(1, "a", 1), stored(2, "b", 1)], 2), Vec::<String>::new());
        assert_eq!(
            check(&[stored(1, "c", 1), stored(2, "b", 2), stored(4, "a", 1)], 4),
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_broken_promise_is_found() {
        let (a, b) = (stored(1, "a", 1), stored(2, "b", 1));
        let mut altered = stored(2, "b", 1);
        altered["payload"]["of"] = "x".into();
        for (events, fault) in [
            (vec![a.clone()], "1 LOST: b"),
            (vec![a.clone(), a.clone(), b.clone()], "stored twice"),
            (vec![a.clone(), altered], "altered"),
            (vec![stored(3, "a", 1), b.clone()], "out of order"),
            (vec![a.clone(), b.clone(), stored(3, "d", 1)], "refused or never sent"),
            (vec![a.clone(), b.clone(), stored(3, "e", 1)], "refused or never sent"),
            (vec![stored(1, "a", 2), b.clone()], "counted wrongly"),
            (vec![a.clone(), stored(2, "b", 3)], "counted wrongly"),
        ] {
            let received = events.iter().filter_map(|event| event["deliveries"].as_u64()).sum();
            let broken = check(&events, received);
            assert!(broken.iter().any(|broken| broken.contains(fault)), "{fault}: {broken:?}");
        }
        assert!(check(&[a, b], 3)[0].contains("/stats says"));
    }
}
