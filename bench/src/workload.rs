//! The events that clients publish.

use crate::load::Workload;

/// The payload of every event.
pub const PAYLOAD: &str =
    r#"{"order":10234,"amount":"49.90","currency":"EUR","items":[{"sku":"A-113","n":2}],"express":false}"#;

/// A source of event ids.
#[derive(Clone)]
pub enum Ids {
    /// A prefix and a growing number.
    Ordered {
        /// The prefix, which no other producer has.
        prefix: String,
        /// The next number.
        next: u64,
    },
    /// Random, in the form of UUIDv4 (RFC 9562, section 5.4).
    Random(fastrand::Rng),
}

impl Ids {
    /// Ordered ids of a producer.
    pub fn ordered(prefix: String) -> Self {
        Self::Ordered { prefix, next: 0 }
    }

    /// Random ids of a producer, different in each run.
    pub fn random(_: String) -> Self {
        Self::Random(fastrand::Rng::new())
    }

    /// The next id.
    pub fn next(&mut self) -> String {
        match self {
            Self::Ordered { prefix, next } => {
                *next += 1;
                format!("{prefix}-{next:012}")
            }
            Self::Random(random) => {
                let (high, low) = (random.u64(..), random.u64(..));
                format!(
                    "{:08x}-{:04x}-4{:03x}-{:x}{:03x}-{:012x}",
                    high >> 32,
                    high >> 16 & 0xffff,
                    high & 0xfff,
                    8 + (low >> 62),
                    low >> 48 & 0xfff,
                    low & 0xffff_ffff_ffff
                )
            }
        }
    }
}

/// Ids of which a share repeat earlier ones, chosen at random. This is the hardest case for a database, which must
/// change an old row for each repetition.
#[derive(Clone)]
pub struct Repeating {
    ids: Ids,
    /// The probability of a repetition, from 0 to 1.
    share: f64,
    sent: Vec<String>,
    random: fastrand::Rng,
}

impl Repeating {
    /// Repeats a share of `ids`, from 0 to 1.
    pub fn new(ids: Ids, share: f64) -> Self {
        Self { ids, share, sent: Vec::new(), random: fastrand::Rng::with_seed(7) }
    }

    /// The next id.
    pub fn next(&mut self) -> String {
        if self.share == 0.0 {
            return self.ids.next();
        }
        if !self.sent.is_empty() && self.random.f64() < self.share {
            return self.sent[self.random.usize(..self.sent.len())].clone();
        }
        let id = self.ids.next();
        self.sent.push(id.clone());
        id
    }
}

/// Writes an event as a client publishes it.
pub fn write_event(id: &str, body: &mut Vec<u8>) {
    body.extend_from_slice(br#"{"topic":"bench","event_id":""#);
    body.extend_from_slice(id.as_bytes());
    body.extend_from_slice(br#"","timestamp":"2026-11-21T01:00:00.123Z","source":"bench","payload":"#);
    body.extend_from_slice(PAYLOAD.as_bytes());
    body.push(b'}');
}

/// Writes events as one body: a single event as it is, several as an array.
pub fn write_events<'a>(ids: impl ExactSizeIterator<Item = &'a String>, body: &mut Vec<u8>) {
    let is_array = ids.len() > 1;
    for (n, id) in ids.enumerate() {
        if is_array {
            body.push(if n == 0 { b'[' } else { b',' });
        }
        write_event(id, body);
    }
    if is_array {
        body.push(b']');
    }
}

/// A producer that publishes batches of events.
#[derive(Clone)]
pub struct Producer {
    ids: Repeating,
    /// Events in a request. A batch of 1 is sent as a single event, not as an array.
    batch: usize,
}

impl Producer {
    /// One producer. `ids` must be its own.
    pub fn new(ids: Ids, batch: usize, duplicates: f64) -> Self {
        Self { ids: Repeating::new(ids, duplicates), batch }
    }
}

impl Workload for Producer {
    fn next_body(&mut self, body: &mut Vec<u8>) {
        let ids: Vec<_> = (0..self.batch).map(|_| self.ids.next()).collect();
        write_events(ids.iter(), body);
    }
}

/// Clients that publish batches, of which a share from 0 to 1 are duplicates.
pub fn producers(count: usize, batch: usize, duplicates: f64, ids: impl Fn(String) -> Ids) -> Vec<Producer> {
    (0..count).map(|client| Producer::new(ids(format!("client-{client}")), batch, duplicates)).collect()
}
