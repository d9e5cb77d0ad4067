//! The record of all deliveries and their answers.

use std::collections::{BTreeMap, BTreeSet};

use sekali_common::api::EventStatus;

use crate::{Comparison, Growth, ReadBack, Register, Seen};

/// What clients sent, and what became of it: a register for each event, whatever names it, and the seqs that were
/// answered.
#[derive(Clone, Debug)]
pub struct Ledger<E, const PAYLOADS: usize> {
    events: BTreeMap<E, Entry<PAYLOADS>>,
    /// The highest seq that was answered.
    highest_seq: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry<const PAYLOADS: usize> {
    register: Register<PAYLOADS>,
    seen: Seen,
}

impl<E, const PAYLOADS: usize> Default for Ledger<E, PAYLOADS> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), highest_seq: 0 }
    }
}

impl<E: Ord + Clone, const PAYLOADS: usize> Ledger<E, PAYLOADS> {
    /// Notes that an event is about to be sent: its seq will be higher than those that were answered before.
    pub fn sent(&mut self, event: E) {
        let floor = self.highest_seq;
        self.entry(event).seen.floor.get_or_insert(floor);
    }

    /// Notes a delivery that was answered, with its status and the event's seq if the answer tells them.
    pub fn answered(&mut self, event: E, payload: usize, status: Option<EventStatus>, seq: Option<u64>) {
        let entry = self.entry(event);
        entry.register.answer(payload, status);
        if let Some(seq) = seq {
            entry.seen.add(Some((seq, seq)));
            self.highest_seq = self.highest_seq.max(seq);
        }
    }

    /// Notes an attempt that may have been carried out.
    pub fn lost(&mut self, event: E, payload: usize) {
        self.entry(event).register.lose(payload);
    }

    /// Adds the record of another client.
    pub fn add(&mut self, other: Self) {
        for (event, Entry { register, seen }) in other.events {
            let entry = self.entry(event);
            entry.register.add(&register);
            entry.seen.add(seen.own);
            // Nobody knows which of them was the first to send it.
            entry.seen.floor = entry.seen.floor.into_iter().chain(seen.floor).min();
        }
        self.highest_seq = self.highest_seq.max(other.highest_seq);
    }

    /// Deliveries that were answered.
    pub fn acknowledged(&self) -> u64 {
        self.events.values().map(|entry| entry.register.deliveries().least).sum()
    }

    /// Deliveries that were answered as stored.
    pub fn stored(&self) -> u64 {
        self.events.values().map(|entry| u64::from(entry.register.storers())).sum()
    }

    /// Compares all events with those that were read back. `name` names an event.
    pub fn compare(&self, read: &ReadBack<E>, name: impl Fn(&E) -> String) -> Comparison {
        let mut comparison = Comparison::default();
        for event in self.events.keys().chain(read.stored.keys()).collect::<BTreeSet<_>>() {
            let Entry { register, seen } = self.events.get(event).copied().unwrap_or_default();
            comparison.compare_answers(&register, || name(event));
            comparison.compare(&register, read.stored.get(event), seen, || name(event));
        }
        comparison
    }

    /// The growth of the counts of each topic that these deliveries must have made. `topic` numbers the topic of an event.
    /// What was neither answered nor read was not carried out.
    pub fn growth(&self, read: &ReadBack<E>, topic: impl Fn(&E) -> usize) -> Vec<Growth> {
        let mut growth = vec![Growth::default(); read.accounts.len()];
        for (event, Entry { register, .. }) in &self.events {
            let stored = read.stored.get(event);
            if stored.is_some() || register.deliveries().least > 0 {
                growth[topic(event)].add(register, stored.map_or(0, |stored| stored.payload));
            }
        }
        growth
    }

    fn entry(&mut self, event: E) -> &mut Entry<PAYLOADS> {
        self.events.entry(event).or_default()
    }
}

impl Seen {
    fn add(&mut self, own: Option<(u64, u64)>) {
        let both = self.own.into_iter().chain(own);
        self.own = both.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    }
}

#[cfg(test)]
mod tests {
    use EventStatus::{Conflict, Duplicate, Stored};
    use sekali_common::api::StoredEvent;
    use serde_json::{Value, json};

    use super::*;
    use crate::{Catalogue, Recognised};

    /// The events of a topic, each with the payloads 0 and 1.
    struct Topic;

    impl Catalogue for Topic {
        type Event = String;

        fn topic(&self, name: &str) -> Option<usize> {
            (name == "t").then_some(0)
        }

        fn recognise(&self, event: &StoredEvent<'_>) -> Recognised<String> {
            match event.payload.get().parse() {
                Ok(payload @ 0..2) => {
                    Recognised::Sent { event: event.event_id.clone(), payload, difference: None }
                }
                _ => Recognised::Altered("has another payload".into()),
            }
        }
    }

    fn event(seq: u64, id: &str, deliveries: u64) -> Value {
        json!({
            "topic": "t", "event_id": id, "timestamp": "", "payload": 0,
            "seq": seq, "deliveries": deliveries, "conflicts": 0,
        })
    }

    /// `a` was stored as seq 1, `b` was acknowledged once and lost once, `c` was lost, and `d` was refused.
    fn ledger() -> Ledger<String, 2> {
        let (mut ledger, mut other) = (Ledger::default(), Ledger::default());
        for id in ["a", "b", "d"] {
            ledger.sent(id.to_owned());
        }
        ledger.answered("a".into(), 0, Some(Stored), Some(1));
        ledger.answered("b".into(), 0, None, None);
        ledger.sent("c".into());
        ledger.lost("c".into(), 0);
        other.sent("b".to_owned());
        other.lost("b".into(), 0);
        ledger.add(other);
        ledger
    }

    fn broken(ledger: &Ledger<String, 2>, events: &[Value]) -> Vec<String> {
        let mut read = ReadBack::new(1, 0);
        for event in events {
            let text = event.to_string();
            read.take(&Topic, &serde_json::from_str(&text).unwrap());
        }
        let compared = ledger.compare(&read, |id| format!("<{id}>"));
        let rules = compared.rules().into_iter().chain(read.rules());
        rules.flat_map(|(rule, wrong)| wrong.tell(rule)).collect()
    }

    #[test]
    fn each_outcome_that_the_answers_allow_is_in_order() {
        for events in [
            vec![event(1, "a", 1), event(2, "b", 1)],
            vec![event(1, "a", 1), event(2, "b", 2), event(4, "c", 1)],
        ] {
            assert_eq!(broken(&ledger(), &events), Vec::<String>::new());
        }
        assert_eq!(ledger().acknowledged(), 2);
    }

    #[test]
    fn each_broken_promise_is_found() {
        let (a, b) = (event(1, "a", 1), event(2, "b", 1));
        let altered = json!({"payload": 7});
        let altered = Value::Object(
            b.as_object()
                .into_iter()
                .chain(altered.as_object())
                .flatten()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        );
        for (events, rule) in [
            (vec![a.clone()], "each event that was answered is stored: <b> is missing"),
            (vec![a.clone(), a.clone(), b.clone()], "each event is read once"),
            (vec![a.clone(), altered], "each event has the fields that were sent"),
            (vec![b.clone(), a.clone()], "events are read in the order of seq"),
            (vec![a.clone(), b.clone(), event(3, "d", 1)], "each event counts its deliveries: <d>"),
            (vec![a.clone(), b.clone(), event(3, "e", 1)], "each event counts its deliveries: <e>"),
            (vec![event(1, "a", 2), b.clone()], "each event counts its deliveries: <a>"),
            (vec![a.clone(), event(2, "b", 3)], "each event counts its deliveries: <b>"),
            (vec![a.clone(), b.clone(), event(3, "c", 0)], "each event counts its deliveries: <c>"),
            (vec![b.clone(), event(3, "a", 1)], "each event has the seq that was answered: <a>"),
            (vec![event(0, "c", 1), a.clone(), b.clone()], "no event is stored behind an acknowledged one"),
        ] {
            let broken = broken(&ledger(), &events);
            assert!(broken.iter().any(|broken| broken.starts_with(rule)), "{rule}: {broken:?}");
        }
    }

    #[test]
    fn each_answer_that_cannot_be_true_is_found() {
        let events = [event(1, "a", 2), event(2, "b", 1)];
        for ((status, seq), rule) in [
            ((Stored, 1), "an event is stored by one delivery: <a>"),
            ((Conflict, 1), "conflicts are named, and nothing else is: <a>"),
            ((Duplicate, 5), "each event has the seq that was answered: <a>"),
        ] {
            let mut ledger = ledger();
            ledger.answered("a".into(), 0, Some(status), Some(seq));
            let broken = broken(&ledger, &events);
            assert!(broken.iter().any(|broken| broken.starts_with(rule)), "{rule}: {broken:?}");
        }
    }
}
