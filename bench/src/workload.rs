//! What clients publish.

use crate::load::Workload;

/// The payload of every event.
pub const PAYLOAD: &str =
    r#"{"order":10234,"amount":"49.90","currency":"EUR","items":[{"sku":"A-113","n":2}],"express":false}"#;

/// Where event ids come from.
#[derive(Clone)]
pub enum Ids {
    /// A prefix and a number that grows.
    Ordered {
        /// Tells this producer from the others.
        prefix: String,
        /// The next number.
        next: u64,
    },
    /// Random, in the form of UUIDv4 (RFC 9562, section 5.4).
    Random(fastrand::Rng),
}

impl Ids {
    /// Ordered ids of a producer.
    pub fn ordered(prefix: impl Into<String>) -> Self {
        Self::Ordered { prefix: prefix.into(), next: 0 }
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

/// A producer that publishes batches of events, of which a share has been sent before.
#[derive(Clone)]
pub struct Producer {
    ids: Ids,
    /// Events a request; 1 is a single event and no array.
    batch: usize,
    /// How likely an event is a repetition, from 0 to 1.
    duplicates: f64,
    sent: Vec<String>,
    random: fastrand::Rng,
}

impl Producer {
    /// One producer. `ids` must be its own.
    pub fn new(ids: Ids, batch: usize, duplicates: f64) -> Self {
        Self { ids, batch, duplicates, sent: Vec::new(), random: fastrand::Rng::with_seed(7) }
    }

    fn id(&mut self) -> String {
        if self.duplicates > 0.0 {
            if !self.sent.is_empty() && self.random.f64() < self.duplicates {
                return self.sent[self.random.usize(..self.sent.len())].clone();
            }
            let id = self.ids.next();
            self.sent.push(id.clone());
            return id;
        }
        self.ids.next()
    }

    fn event(&mut self, body: &mut Vec<u8>) {
        body.extend_from_slice(br#"{"topic":"bench","event_id":""#);
        body.extend_from_slice(self.id().as_bytes());
        body.extend_from_slice(br#"","timestamp":"2026-11-21T01:00:00.123Z","source":"bench","payload":"#);
        body.extend_from_slice(PAYLOAD.as_bytes());
        body.push(b'}');
    }
}

impl Workload for Producer {
    fn next_body(&mut self, body: &mut Vec<u8>) {
        if self.batch == 1 {
            return self.event(body);
        }
        for n in 0..self.batch {
            body.push(if n == 0 { b'[' } else { b',' });
            self.event(body);
        }
        body.push(b']');
    }
}
