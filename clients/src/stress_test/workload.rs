//! The events, and the order in which they are delivered. A seed determines both.

use std::io::Write;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use fastrand::Rng;
use serde::Serialize;

use crate::cli::Ids;

/// The characters of notes: some are escaped in JSON, some have several bytes.
const LETTERS: [char; 12] = ['a', 'b', 'c', 'd', 'e', ' ', '"', '\\', '\n', 'é', '漢', '🙂'];

/// The events of a test and their deliveries.
pub struct Workload {
    /// The run's part in the names of its topics, different in each run.
    pub run: String,
    seed: u64,
    topics: u32,
    ids: Ids,
    began: DateTime<Utc>,
    /// The share of all deliveries that are duplicates.
    duplicates: f64,
    /// The share of duplicates with another payload.
    conflicts: f64,
    random: Rng,
    /// The number of events.
    pub events: u32,
    /// All deliveries, in the order in which they are sent.
    pub deliveries: Vec<Delivery>,
}

/// A delivery of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The number of the event, from 0.
    pub event: u32,
    /// True if it carries the altered payload.
    pub is_altered: bool,
}

/// An event of the API.
#[derive(Debug, PartialEq, Serialize)]
pub struct Event {
    pub topic: String,
    pub event_id: String,
    pub timestamp: String,
    pub source: String,
    pub payload: Payload,
}

/// The payload of an event.
#[derive(Debug, PartialEq, Serialize)]
pub struct Payload {
    /// The number of the event, by which its original is found when it is read back.
    pub event: u32,
    pub is_altered: bool,
    pub amount: f64,
    pub note: String,
    pub tags: Vec<&'static str>,
}

impl Workload {
    /// A workload without deliveries, for [`Self::extend`].
    pub fn new(seed: u64, topics: u32, ids: Ids, duplicates: f64, conflicts: f64) -> Self {
        Self {
            run: format!("{:08x}", fastrand::u32(..)),
            seed,
            topics,
            ids,
            began: Utc::now(),
            duplicates,
            conflicts,
            random: Rng::with_seed(seed),
            events: 0,
            deliveries: Vec::new(),
        }
    }

    /// Adds new events, and duplicates of these and of earlier ones, in random order.
    pub fn extend(&mut self, events: u32) {
        let first = self.deliveries.len();
        let new = self.events..self.events + events;
        self.events = new.end;
        self.deliveries.extend(new.map(|event| Delivery { event, is_altered: false }));
        let duplicates = (f64::from(events) * self.duplicates / (1.0 - self.duplicates)).round() as u64;
        for _ in 0..duplicates {
            let event = self.random.u32(..self.events);
            let is_altered = self.random.f64() < self.conflicts;
            self.deliveries.push(Delivery { event, is_altered });
        }
        self.random.shuffle(&mut self.deliveries[first..]);
    }

    /// The topics of this run.
    pub fn topics(&self) -> impl Iterator<Item = String> {
        (0..self.topics).map(|topic| self.topic(topic))
    }

    /// The number of a topic in the order of [`Self::topics`]; `None` if it belongs to another run.
    pub fn number_of(&self, topic: &str) -> Option<usize> {
        let number = topic.rsplit('-').next()?.parse().ok()?;
        (number < self.topics && self.topic(number) == topic).then_some(number as usize)
    }

    /// The source of all events of this run, by which they are recognised in a wrong topic.
    pub fn source(&self) -> String {
        format!("stress-{}", self.run)
    }

    /// The number of an event's topic, in the order of [`Self::topics`].
    pub fn topic_of(&self, event: u32) -> usize {
        (event % self.topics) as usize
    }

    /// The event of a delivery.
    pub fn event(&self, delivery: Delivery) -> Event {
        let Delivery { event, is_altered } = delivery;
        // Each event has a generator of its own, so that it can be made again when it is read back.
        let mut random = Rng::with_seed(self.seed ^ u64::from(event).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let event_id = match self.ids {
            Ids::Uuid => {
                uuid::Builder::from_random_bytes(random.u128(..).to_be_bytes()).into_uuid().to_string()
            }
            Ids::Ordered => format!("{event:012}"),
        };
        let timestamp = self.began + TimeDelta::milliseconds(event.into());
        if is_altered {
            random.u64(..);
        }
        let note = (0..random.usize(8..64)).map(|_| LETTERS[random.usize(..LETTERS.len())]).collect();
        let tags = ["red", "green", "blue"];
        Event {
            topic: self.topic(event % self.topics),
            event_id,
            timestamp: timestamp.to_rfc3339_opts(SecondsFormat::Millis, true),
            source: self.source(),
            payload: Payload {
                event,
                is_altered,
                amount: f64::from(random.u32(..1_000_000)) / 100.0,
                note,
                tags: tags[..random.usize(..=tags.len())].into(),
            },
        }
    }

    /// The name of an event, for people.
    pub fn name(&self, event: u32) -> String {
        let (_, topic, event_id) = self.named(0, Delivery { event, is_altered: false });
        format!("{topic}/{event_id}")
    }

    /// The event of a delivery by its place in a request, its topic and its id.
    pub fn named(&self, index: usize, delivery: Delivery) -> (usize, String, String) {
        let Event { topic, event_id, .. } = self.event(delivery);
        (index, topic, event_id)
    }

    /// The body of a request with these deliveries: one event, or an array.
    pub fn body(&self, deliveries: &[Delivery]) -> Vec<u8> {
        let mut body = Vec::with_capacity(deliveries.len() * 256);
        let written = match deliveries {
            [one] => serde_json::to_writer(&mut body, &self.event(*one)),
            many => {
                let events: Vec<_> = many.iter().map(|&delivery| self.event(delivery)).collect();
                serde_json::to_writer(&mut body, &events)
            }
        };
        debug_assert!(written.is_ok() && body.flush().is_ok(), "writing to memory cannot fail");
        body
    }

    fn topic(&self, number: u32) -> String {
        format!("stress-{}-{number}", self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(seed: u64, events: u32) -> Workload {
        let mut workload = Workload::new(seed, 3, Ids::Uuid, 0.3, 0.1);
        workload.extend(events);
        workload
    }

    #[test]
    fn each_event_is_delivered_and_a_given_share_more_than_once() {
        let workload = workload(1, 7_000);
        assert_eq!(workload.deliveries.len(), 10_000);
        let mut originals: Vec<_> = workload
            .deliveries
            .iter()
            .filter(|delivery| !delivery.is_altered)
            .map(|delivery| delivery.event)
            .collect();
        assert!(!originals.is_sorted());
        originals.sort_unstable();
        originals.dedup();
        assert_eq!(originals, (0..7_000).collect::<Vec<_>>());
        let altered = workload.deliveries.iter().filter(|delivery| delivery.is_altered).count();
        assert!((200..400).contains(&altered), "{altered}");
    }

    #[test]
    fn the_same_seed_gives_the_same_events_in_the_same_order() {
        let (one, again, other) = (workload(1, 100), workload(1, 100), workload(2, 100));
        assert_eq!(one.deliveries, again.deliveries);
        assert_ne!(one.deliveries, other.deliveries);
        let payload = |workload: &Workload| workload.event(workload.deliveries[0]).payload;
        assert_eq!(payload(&one), payload(&again));
        assert_ne!(one.topic(0), again.topic(0), "a second run is not all duplicates");
    }

    #[test]
    fn the_altered_payload_has_the_same_identity() {
        let workload = workload(1, 1);
        let [one, other] = [false, true].map(|is_altered| workload.event(Delivery { event: 0, is_altered }));
        assert_eq!((&one.topic, &one.event_id), (&other.topic, &other.event_id));
        assert_ne!(one.payload, other.payload);
    }

    #[test]
    fn later_deliveries_repeat_earlier_events() {
        let mut workload = workload(1, 100);
        let first = workload.deliveries.len();
        workload.extend(100);
        assert!(workload.deliveries[first..].iter().any(|delivery| delivery.event < 100));
        assert!(workload.deliveries[first..].iter().any(|delivery| delivery.event >= 100));
    }
}
