//! The promises about answers and books, checked against a history and what is stored in the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::history::{Answered, Attempt};
use super::request::{Event, Request};
use crate::sim::Violations;

/// The topic and the id of an event.
pub type Identity = (String, String);

/// A stored event, as it is read back.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its seq.
    pub seq: i64,
    /// Its payload.
    pub payload: Value,
    /// Its deliveries.
    pub deliveries: u64,
    /// Those with another payload.
    pub conflicts: u64,
}

/// All that is stored in the end.
pub type Register = BTreeMap<Identity, Stored>;

/// The identity of an event of a request.
pub fn identity(request: &Request, event: &Event) -> Identity {
    (event.topic.to_owned(), request.event_id(event))
}

/// The events of a request that it stores or drops, with their places.
fn taken(request: &Request) -> Vec<(usize, &Event)> {
    let all_or_nothing = !request.partial && request.events.iter().any(|event| !event.is_valid);
    if request.is_unreadable() || all_or_nothing {
        return Vec::new();
    }
    request.events.iter().enumerate().filter(|(_, event)| event.is_valid).collect()
}

/// Checks every answer, and the books.
pub fn check(attempts: &[Attempt], register: &Register, may_fail: bool, violations: &Violations) {
    let mut claims = Claims::default();
    for attempt in attempts {
        let Some(answer) = &attempt.answer else { continue };
        let judged = match answer.status {
            200 | 207 => judge(&attempt.request, answer, register),
            _ => refusal(&attempt.request, answer, may_fail).map(|()| Vec::new()),
        };
        match judged {
            Ok(stored) if !answer.is_replayed => claims.add(attempt, stored),
            Ok(_) => {}
            Err(reason) => violations.note(format!("{reason}: {attempt:?}")),
        }
    }
    claims.check(attempts, violations);
    check_counts(attempts, register, violations);
}

/// Judges an answer that refuses a request.
fn refusal(request: &Request, answer: &Answered, may_fail: bool) -> Result<(), String> {
    let is_invalid = !request.partial && request.events.iter().any(|event| !event.is_valid);
    let is_right = match (answer.status, answer.problem().as_str()) {
        (400, "malformed-body") => request.is_unreadable(),
        (422, "invalid-event") => is_invalid && !request.is_unreadable(),
        (409, "idempotency-key-in-use") | (422, "idempotency-key-mismatch") => true, // judged with the keys
        (500, "internal") | (503, "busy") => may_fail && !request.is_unreadable() && !is_invalid,
        _ => false,
    };
    if is_right { Ok(()) } else { Err("a request was refused for no reason".into()) }
}

/// Judges a receipt, and returns the identities that it says are stored now.
fn judge(request: &Request, answer: &Answered, register: &Register) -> Result<Vec<Identity>, String> {
    let receipt: Value = serde_json::from_str(&answer.text).map_err(|error| error.to_string())?;
    let events = taken(request);
    let rejected = request.received() - events.len();
    let status = if rejected > 0 { 207 } else { 200 };
    if request.is_unreadable() || answer.status != status || answer.preference.as_deref() != request.prefer {
        return Err(format!("a receipt of {status} was due"));
    }
    let listed = |name: &str| -> BTreeSet<&str> {
        receipt[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let said_stored = listed("processed");
    let mut seen = BTreeSet::new();
    let (mut stored, mut expected) = (Vec::new(), Lists::default());
    for (place, event) in &events {
        let identity = identity(request, event);
        let Some(truth) = register.get(&identity) else {
            return Err(format!("{identity:?} was acknowledged, and is not stored"));
        };
        let is_same = truth.payload == event.payload;
        let is_first = seen.insert(identity.clone());
        // A receipt without lists says how many are stored, and not which.
        let status = match is_first && said_stored.contains(identity.1.as_str()) {
            true if !is_same => return Err(format!("{identity:?} was stored, and its payload is another's")),
            true => "stored",
            false if is_same => "duplicate",
            false => "conflict",
        };
        expected.add(*place, event.topic, &identity.1, status, truth.seq);
        if status == "stored" {
            stored.push(identity);
        }
    }
    expected.compare(&receipt, request, rejected)?;
    Ok(stored)
}

/// The parts of a receipt.
#[derive(Default)]
struct Lists {
    processed: Vec<Value>,
    duplicates: Vec<Value>,
    conflicts: Vec<Value>,
    results: Vec<Value>,
}

impl Lists {
    fn add(&mut self, index: usize, topic: &str, event_id: &str, status: &str, seq: i64) {
        match status {
            "stored" => self.processed.push(event_id.into()),
            "conflict" => {
                self.duplicates.push(event_id.into());
                self.conflicts.push(event_id.into());
            }
            _ => self.duplicates.push(event_id.into()),
        }
        self.results.push(serde_json::json!({
            "index": index, "topic": topic, "event_id": event_id, "status": status, "seq": seq
        }));
    }

    fn compare(self, receipt: &Value, request: &Request, rejected: usize) -> Result<(), String> {
        let number = |name: &str| receipt[name].as_u64().unwrap_or(u64::MAX);
        let taken = self.results.len() as u64;
        let mut wrong = Vec::new();
        let mut check = |name: &'static str, is_right: bool| {
            if !is_right {
                wrong.push(name);
            }
        };
        check("total_received", number("total_received") == request.received() as u64);
        check("conflicts", number("conflicts") == self.conflicts.len() as u64);
        check("duplicates", number("stored").checked_add(number("duplicates")) == Some(taken));
        check("rejected", receipt["rejected"].as_u64().unwrap_or(0) == rejected as u64);
        if request.prefer == Some("return=minimal") {
            check("processed", receipt.get("processed").is_none());
        } else {
            check("stored", number("stored") == self.processed.len() as u64);
            check("processed", receipt["processed"] == Value::from(self.processed));
            check("duplicate_ids", receipt["duplicate_ids"] == Value::from(self.duplicates));
            check("conflict_ids", receipt["conflict_ids"] == Value::from(self.conflicts));
        }
        if request.prefer == Some("return=representation") {
            check("results", receipt["results"] == Value::from(self.results));
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("a receipt is wrong in {}", wrong.join(", "))) }
    }
}

/// The attempts that say that they stored an event.
#[derive(Default)]
struct Claims(BTreeMap<Identity, Vec<(usize, usize)>>);

impl Claims {
    fn add(&mut self, attempt: &Attempt, stored: Vec<Identity>) {
        for identity in stored {
            self.0.entry(identity).or_default().push((attempt.began, attempt.ended));
        }
    }

    /// An event is stored once, and no answer before that says that it is a duplicate.
    fn check(&self, attempts: &[Attempt], violations: &Violations) {
        for (identity, claims) in &self.0 {
            let [(stored_from, _)] = claims[..] else {
                violations.note(format!("{identity:?} was stored {} times: {claims:?}", claims.len()));
                continue;
            };
            for attempt in attempts.iter().filter(|attempt| attempt.receipt().is_some()) {
                let events = taken(&attempt.request);
                let has =
                    || events.iter().any(|(_, event)| self::identity(&attempt.request, event) == *identity);
                violations.check(attempt.ended >= stored_from || !has(), || {
                    format!("{identity:?} was answered before it was stored by {stored_from}: {attempt:?}")
                });
            }
        }
    }
}

/// Each delivery that was acknowledged is counted once, and each that nobody knows of at most once.
fn check_counts(attempts: &[Attempt], register: &Register, violations: &Violations) {
    let (mut least, mut most) = (BTreeMap::new(), BTreeMap::new());
    for attempt in attempts.iter().filter(|attempt| attempt.receipt().is_some() || attempt.is_unknown()) {
        for (_, event) in taken(&attempt.request) {
            let identity = identity(&attempt.request, event);
            let is_conflict = register.get(&identity).is_some_and(|stored| stored.payload != event.payload);
            let count = |counts: &mut BTreeMap<Identity, (u64, u64)>| {
                let (deliveries, conflicts) = counts.entry(identity.clone()).or_default();
                *deliveries += 1;
                *conflicts += u64::from(is_conflict);
            };
            count(&mut most);
            if !attempt.is_unknown() {
                count(&mut least);
            }
        }
    }
    for (identity, stored) in register {
        let least = least.get(identity).copied().unwrap_or_default();
        let most = most.get(identity).copied().unwrap_or_default();
        let is_right =
            (least.0..=most.0).contains(&stored.deliveries) && (least.1..=most.1).contains(&stored.conflicts);
        violations.check(is_right, || {
            format!("{identity:?} is {stored:?}; deliveries and conflicts must be {least:?} to {most:?}")
        });
    }
}
