//! The rules: what the endpoint's log, the events and the consumer have to say of each other in the end.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use sekali_common::consumers::Consumer;
use serde_json::Value;

use super::NAME;
use super::endpoint::{Arrival, Fate};
use super::forwarders::ATTEMPTS;
use super::provider::{Sent, is_poisoned};
use super::service::{Failure, Stored};

/// All that is known in the end.
pub struct Evidence {
    /// What providers delivered, by the ids of events.
    pub sent: BTreeMap<String, Sent>,
    /// The events of the service, by their seqs.
    pub stored: BTreeMap<u64, Stored>,
    /// What the service says has failed.
    pub failed: Vec<Failure>,
    /// Events that were seen to wait for another attempt, by their seqs.
    pub parked: BTreeMap<u64, String>,
    /// The consumer.
    pub consumer: Consumer,
    /// The log of the endpoint.
    pub arrivals: Vec<Arrival>,
}

/// The promises that are broken.
pub fn check(evidence: &Evidence) -> Vec<String> {
    let at_any_time = [stored, copies, order, attempts, standing];
    let broken: Vec<_> = at_any_time.iter().flat_map(|rule| rule(evidence)).collect();
    if !standing(evidence).is_empty() {
        return broken; // the rest would be all that was not delivered yet
    }
    let in_the_end = [arrived, failures, dead].iter().flat_map(|rule| rule(evidence));
    broken.into_iter().chain(in_the_end).collect()
}

impl Evidence {
    /// The events that the consumer has, by their seqs: those that providers delivered.
    fn events(&self) -> impl Iterator<Item = (u64, &Stored)> {
        let events = self.stored.iter().filter(|(_, stored)| stored.topic != dead_topic());
        events.map(|(seq, stored)| (*seq, stored))
    }

    fn poisoned(&self) -> BTreeSet<u64> {
        self.events().filter(|(_, stored)| is_poisoned(&stored.id)).map(|(seq, _)| seq).collect()
    }
}

fn dead_topic() -> String {
    format!("dead.{NAME}")
}

/// The seq in a `webhook-id`.
fn seq_of(id: &str) -> Option<u64> {
    id.strip_prefix("evt_")?.parse().ok()
}

/// What was acknowledged is stored, once, and what is stored was delivered.
fn stored(evidence: &Evidence) -> Vec<String> {
    let (mut broken, mut seqs) = (Vec::new(), BTreeMap::new());
    for (seq, stored) in evidence.events() {
        if let Some(first) = seqs.insert(&stored.id, seq) {
            broken.push(format!("{} is stored twice: seq {first} and seq {seq}", stored.id));
        }
        let sent = evidence.sent.get(&stored.id);
        if !sent.is_some_and(|sent| sent.topic == stored.topic && sent.payload == stored.payload) {
            broken.push(format!("seq {seq} is {stored:?}, and {sent:?} was delivered"));
        }
    }
    let acknowledged = evidence.sent.iter().filter(|(_, sent)| sent.acknowledged > 0);
    let lost = acknowledged.filter(|(id, _)| !seqs.contains_key(id));
    broken.extend(lost.map(|(id, _)| format!("{id} was acknowledged, and is not stored")));
    broken
}

/// Each event was taken by the endpoint, but for those that it refuses.
fn arrived(evidence: &Evidence) -> Vec<String> {
    let taken: BTreeSet<_> =
        evidence.arrivals.iter().filter(|arrival| arrival.is_taken()).filter_map(Arrival::seq).collect();
    let lost = evidence.events().filter(|(seq, stored)| !is_poisoned(&stored.id) && !taken.contains(seq));
    lost.map(|(seq, stored)| format!("seq {seq}, {}, never arrived at the endpoint", stored.id)).collect()
}

/// What arrived is an event, under its id, signed; copies are the same to the last byte.
fn copies(evidence: &Evidence) -> Vec<String> {
    let (mut broken, mut bodies) = (Vec::new(), BTreeMap::new());
    for arrival in &evidence.arrivals {
        let Some((seq, stored)) = arrival.seq().and_then(|seq| Some((seq, evidence.stored.get(&seq)?)))
        else {
            broken.push(format!("no event has the webhook-id of {arrival:?}"));
            continue;
        };
        let payload: Option<Value> = serde_json::from_str(&arrival.body).ok();
        if payload.as_ref() != Some(&stored.payload) || arrival.topic != stored.topic {
            broken.push(format!("seq {seq} is {stored:?}, and arrived as {arrival:?}"));
        }
        let first: &mut &str = bodies.entry(seq).or_insert(&arrival.body);
        if *first != arrival.body {
            broken.push(format!("seq {seq} arrived as {first} and as {}", arrival.body));
        }
        if !arrival.is_signed {
            broken.push(format!("seq {seq} is not signed: {arrival:?}"));
        }
    }
    broken
}

/// Until an event is taken or dead, nothing behind it in its topic is taken: what arrives for the first time, or was refused,
/// is behind all that was taken.
fn order(evidence: &Evidence) -> Vec<String> {
    let (mut broken, mut taken, mut newest) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
    for arrival in &evidence.arrivals {
        let Some(seq) = arrival.seq().filter(|seq| !taken.contains(seq)) else { continue };
        let before = newest.entry(&arrival.topic).or_insert(0);
        if seq < *before {
            let (topic, at, fate) = (&arrival.topic, arrival.at, arrival.fate);
            broken.push(format!("{topic}: seq {seq} came behind seq {before}, after {at:?}: {fate:?}"));
        }
        if arrival.is_taken() {
            taken.insert(seq);
            *before = seq.max(*before);
        }
    }
    broken
}

/// No attempt of an event was burned that is not poisoned.
fn attempts(evidence: &Evidence) -> Vec<String> {
    let parked = evidence.parked.iter();
    let burned =
        parked.filter(|(seq, _)| !evidence.stored.get(seq).is_some_and(|event| is_poisoned(&event.id)));
    burned.map(|(seq, why)| format!("seq {seq} waited for another attempt: {why}")).collect()
}

/// The poisoned events have failed, each at all of its attempts, and no other has.
fn failures(evidence: &Evidence) -> Vec<String> {
    let poisoned = evidence.poisoned();
    let mut broken = Vec::new();
    for failure in &evidence.failed {
        let is_right = failure.state == "dead" && failure.attempts == ATTEMPTS;
        if !is_right || !poisoned.contains(&failure.seq) {
            broken.push(format!("seq {} has failed: {failure:?}", failure.seq));
        }
    }
    let failed: BTreeSet<_> = evidence.failed.iter().map(|failure| failure.seq).collect();
    for seq in poisoned {
        let refused = evidence.arrivals.iter().filter(|arrival| arrival.seq() == Some(seq)).count() as u64;
        if !failed.contains(&seq) || refused < ATTEMPTS {
            broken.push(format!("seq {seq} is poisoned, arrived {refused} times, and has not failed"));
        }
    }
    broken
}

/// Each poisoned event is told dead once, and no other is.
fn dead(evidence: &Evidence) -> Vec<String> {
    let mut told: BTreeMap<u64, usize> = evidence.poisoned().into_iter().map(|seq| (seq, 0)).collect();
    let mut broken = Vec::new();
    for (place, stored) in evidence.stored.iter().filter(|(_, stored)| stored.topic == dead_topic()) {
        match stored.payload["seq"].as_u64().and_then(|seq| told.get_mut(&seq)) {
            Some(times) => *times += 1,
            None => broken.push(format!("seq {place} tells the death of another event: {stored:?}")),
        }
    }
    let wrong = told.into_iter().filter(|(_, times)| *times != 1);
    broken.extend(wrong.map(|(seq, times)| format!("the death of seq {seq} is told {times} times")));
    broken
}

/// The consumer is at the newest event, and has nothing left.
fn standing(evidence: &Evidence) -> Vec<String> {
    let (newest, consumer) = (evidence.stored.keys().next_back().copied(), &evidence.consumer);
    let Consumer { position, settled, lag, parked, waiting, claims, .. } = consumer;
    let is_done = (*lag, *parked, *waiting) == (0, 0, 0) && claims.is_empty();
    let is_there = (Some(*position), Some(*settled)) == (newest, newest);
    if is_done && is_there { vec![] } else { vec![format!("the newest is seq {newest:?}, and {consumer:?}")] }
}

impl Arrival {
    fn seq(&self) -> Option<u64> {
        seq_of(&self.id)
    }

    fn is_taken(&self) -> bool {
        matches!(self.fate, Fate::Taken | Fate::TakenInSilence)
    }
}
