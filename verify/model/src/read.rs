//! Events that are read back.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::Wrong;
use sekali_common::api::{Account, StoredEvent};

/// The events that were sent, by which those that are read back are recognised.
pub trait Catalogue {
    /// The name of an event in a ledger.
    type Event: Ord + Clone;

    /// The number of a topic; `None` if it belongs to others.
    fn topic(&self, name: &str) -> Option<usize>;

    /// Compares an event, which is in one of our topics or not, with those that were sent.
    fn recognise(&self, event: &StoredEvent<'_>) -> Recognised<Self::Event>;
}

/// The result of comparing an event that was read with those that were sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Recognised<E> {
    /// It is an event of others.
    Foreign,
    /// It was sent.
    Sent {
        /// Its name.
        event: E,
        /// The number of its payload.
        payload: usize,
        /// The fields that differ from what was sent, if there are any.
        difference: Option<String>,
    },
    /// Its payload was not sent; the text says more.
    Altered(String),
    /// It was not sent, or not to this topic; the text says more.
    Unknown(String),
}

/// The lines of an answer in NDJSON that comes in chunks.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
}

impl Lines {
    /// Adds a chunk, and hands on each event whose line has ended.
    ///
    /// # Errors
    /// When a line is not an event.
    pub fn push(&mut self, chunk: &[u8], mut take: impl FnMut(&StoredEvent<'_>)) -> Result<()> {
        self.held.extend_from_slice(chunk);
        let Some(end) = self.held.iter().rposition(|&byte| byte == b'\n') else { return Ok(()) };
        let rest = self.held.split_off(end + 1);
        for line in self.held.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let event: StoredEvent = serde_json::from_slice(line).with_context(|| {
                format!("/events returned an invalid event: {}", String::from_utf8_lossy(line))
            })?;
            take(&event);
        }
        self.held = rest;
        Ok(())
    }

    /// Ends the answer.
    ///
    /// # Errors
    /// When the last line has not ended.
    pub fn end(self) -> Result<()> {
        if !self.held.is_empty() {
            bail!("/events ended in the middle of an event: {}", String::from_utf8_lossy(&self.held));
        }
        Ok(())
    }
}

/// The events that were read back, and the errors in them.
#[derive(Debug)]
pub struct ReadBack<E> {
    /// The events of those that were sent.
    pub stored: BTreeMap<E, Stored>,
    /// The sums of the events of each topic.
    pub accounts: Vec<Account>,
    /// Events that were read twice.
    pub doubled: Wrong,
    /// Events that were not sent, or not to this topic.
    pub unknown: Wrong,
    /// Events with other fields than were sent.
    pub altered: Wrong,
    /// Events after one with a higher or the same `seq`.
    pub disordered: Wrong,
    last_seq: u64,
}

/// An event as it was read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the order of all events.
    pub seq: u64,
    /// The number of its payload.
    pub payload: usize,
    /// The number of its deliveries.
    pub deliveries: u64,
    /// The number of its deliveries with another payload.
    pub conflicts: u64,
}

impl<E: Ord + Clone> ReadBack<E> {
    /// Nothing is read yet of so many topics, and reading begins after the seq `after`.
    pub fn new(topics: usize, after: u64) -> Self {
        Self {
            stored: BTreeMap::new(),
            accounts: vec![Account::default(); topics],
            doubled: Wrong::default(),
            unknown: Wrong::default(),
            altered: Wrong::default(),
            disordered: Wrong::default(),
            last_seq: after,
        }
    }

    /// Compares the next event with what was sent, and adds it to the account of its topic.
    pub fn take(&mut self, catalogue: &impl Catalogue<Event = E>, event: &StoredEvent<'_>) {
        if event.seq <= self.last_seq {
            self.disordered.add(|| format!("{} comes after seq {}", name(event), self.last_seq));
        }
        self.last_seq = event.seq;
        if let Some(topic) = catalogue.topic(&event.topic) {
            self.count(topic, event);
        }
        match catalogue.recognise(event) {
            Recognised::Foreign => {}
            Recognised::Unknown(text) => self.unknown.add(|| format!("{} {text}", name(event))),
            Recognised::Altered(text) => self.altered.add(|| format!("{} {text}", name(event))),
            Recognised::Sent { event: sent, payload, difference } => {
                if let Some(difference) = difference {
                    self.altered.add(|| format!("{} {difference}", name(event)));
                }
                let StoredEvent { seq, deliveries, conflicts, .. } = *event;
                let stored = Stored { seq, payload, deliveries, conflicts };
                if let Some(first) = self.stored.insert(sent, stored) {
                    self.doubled.add(|| format!("{} is also seq {}", name(event), first.seq));
                }
            }
        }
    }

    /// The seq up to which it was read.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The rules that were looked at, by name, and the errors against each.
    pub fn rules(&self) -> [(&'static str, &Wrong); 4] {
        [
            ("each event is read once", &self.doubled),
            ("only events that were sent are read", &self.unknown),
            ("each event has the fields that were sent", &self.altered),
            ("events are read in the order of seq", &self.disordered),
        ]
    }

    fn count(&mut self, topic: usize, event: &StoredEvent<'_>) {
        let account = &mut self.accounts[topic];
        account.received += event.deliveries;
        account.unique_processed += 1;
        account.duplicate_dropped += event.deliveries.saturating_sub(1);
        account.conflicts += event.conflicts;
    }
}

/// The name of an event that was read, for people.
fn name(event: &StoredEvent<'_>) -> String {
    format!("{}/{} (seq {})", event.topic, event.event_id, event.seq)
}
