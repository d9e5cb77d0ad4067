//! What the service must hold after the deliveries that it has acknowledged.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// A delivery of an event.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its topic.
    pub topic: String,
    /// Its id in the topic.
    pub id: String,
    /// Its payload: a number, which may be followed by a filling.
    pub payload: Value,
}

/// The deliveries of one request, stored at once or not at all.
pub type Group = Vec<Delivery>;

/// The body of a request with a group.
pub fn body(group: &[Delivery]) -> String {
    let event = |Delivery { topic, id, payload }: &Delivery| json!({"topic": topic, "event_id": id, "payload": payload});
    group.iter().map(event).collect::<Value>().to_string()
}

/// A stored event.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its position.
    pub seq: i64,
    /// The payload of its first delivery.
    pub payload: Value,
    /// Its deliveries.
    pub deliveries: i64,
    /// Those of another payload.
    pub conflicts: i64,
}

/// The outcome of one delivery, as an answer names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Outcome {
    /// `stored`, `duplicate` or `conflict`.
    pub status: String,
    /// The position of the event.
    pub seq: i64,
}

/// Everything that the service holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    events: BTreeMap<(String, String), Stored>,
    last_seq: i64,
}

impl Model {
    /// The number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Adds an event that was read.
    ///
    /// # Errors
    /// When it was read before, or out of order.
    pub fn add(&mut self, identity: (String, String), stored: Stored) -> Result<(), String> {
        if stored.seq <= self.last_seq {
            return Err(format!("seq {} is read behind seq {}", stored.seq, self.last_seq));
        }
        self.last_seq = stored.seq;
        match self.events.insert(identity.clone(), stored) {
            Some(_) => Err(format!("{identity:?} is read twice")),
            None => Ok(()),
        }
    }

    /// Takes a group in, and returns the outcomes that the service owes.
    pub fn publish(&mut self, group: &[Delivery]) -> Vec<Outcome> {
        group.iter().map(|delivery| self.deliver(delivery)).collect()
    }

    fn deliver(&mut self, Delivery { topic, id, payload }: &Delivery) -> Outcome {
        let next = self.last_seq + 1;
        let stored = self.events.entry((topic.clone(), id.clone())).or_insert_with(|| Stored {
            seq: next,
            payload: payload.clone(),
            deliveries: 0,
            conflicts: 0,
        });
        stored.deliveries += 1;
        let status = if stored.seq == next {
            self.last_seq = next;
            "stored"
        } else if stored.payload == *payload {
            "duplicate"
        } else {
            stored.conflicts += 1;
            "conflict"
        };
        Outcome { status: status.into(), seq: stored.seq }
    }

    /// The accounts of all topics, as `/stats` owes them.
    pub fn books(&self) -> BTreeMap<String, Account> {
        let mut books = BTreeMap::<String, Account>::new();
        for ((topic, _), stored) in &self.events {
            let account = books.entry(topic.clone()).or_default();
            account.unique_processed += 1;
            account.received += stored.deliveries;
            account.duplicate_dropped += stored.deliveries - 1;
            account.conflicts += stored.conflicts;
            account.last_seq = account.last_seq.max(stored.seq);
        }
        books
    }

    /// The first differences to what was found, for a reader.
    pub fn differences(&self, found: &Self) -> String {
        let identities =
            self.events.keys().chain(found.events.keys().filter(|key| !self.events.contains_key(key)));
        let differing = identities.filter(|key| self.events.get(key) != found.events.get(key));
        let lines: Vec<_> = differing
            .map(|key| {
                format!("{key:?}: {:?} expected, {:?} found", self.events.get(key), found.events.get(key))
            })
            .collect();
        format!("{} differences, such as {}", lines.len(), lines[..lines.len().min(3)].join("; "))
    }
}

/// The account of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Account {
    received: i64,
    unique_processed: i64,
    duplicate_dropped: i64,
    conflicts: i64,
    last_seq: i64,
}
