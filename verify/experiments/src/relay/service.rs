//! The service, and what it says of the consumer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;
use sekali_common::api::StoredEvent;
use sekali_common::consumers::Consumer;
use sekali_harness::deployment::Deployment;
use serde::Deserialize;
use serde_json::Value;

use super::{LOOK, NAME};
use crate::attacks::expect;
use crate::attacks::raw_client::RawClient;

/// The pause between two looks at what is parked, which an event is for four seconds at least.
const WATCH: Duration = Duration::from_millis(500);

/// Events and failures of a page.
const PAGE: usize = 1_000;

/// A failure, as the service lists it.
#[derive(Clone, Debug, Deserialize)]
pub struct Failure {
    /// The seq of the event.
    pub seq: u64,
    /// The id of the event.
    pub event_id: String,
    /// `parked`, `waiting` or `dead`.
    pub state: String,
    /// How often it has failed.
    pub attempts: u64,
    /// Why it failed last.
    pub reason: Option<String>,
}

#[derive(Deserialize)]
struct Failures {
    failed: Vec<Failure>,
    next_after: Option<u64>,
}

/// An event, as the service stores it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its topic.
    pub topic: String,
    /// Its id.
    pub id: String,
    /// Its payload.
    pub payload: Value,
}

/// What was seen of the consumer while everything was killed.
#[derive(Default)]
pub struct Seen {
    /// Why events that failed wait for another attempt, by their seqs.
    pub parked: BTreeMap<u64, String>,
    /// What must not be, and was.
    pub broken: Vec<String>,
}

/// The service at its address, also after a restart.
#[derive(Clone, Copy)]
pub struct Service(SocketAddr);

/// Kills the service at random moments until a time, and serves the same state again. It lives for `life` on average, and is
/// away for up to `away`. Returns how often.
///
/// # Errors
/// When it does not serve.
pub fn torment(
    deployment: &mut Deployment,
    rng: &mut Rng,
    until: Instant,
    (life, away): (Duration, Duration),
) -> Result<usize> {
    let mut restarts = 0;
    loop {
        let life = life.mul_f64(rng.f64() * 2.0);
        if Instant::now() + life > until {
            return Ok(restarts);
        }
        sleep(life);
        let away = away.mul_f64(rng.f64());
        deployment.crash_while(|_| sleep(away))?;
        restarts += 1;
    }
}

impl Service {
    /// The service at an address.
    pub fn at(address: SocketAddr) -> Self {
        Self(address)
    }

    /// Its address.
    pub fn address(self) -> SocketAddr {
        self.0
    }

    fn get(self, path: &str) -> Result<String> {
        let answer = RawClient::connect(self.0).and_then(|mut client| client.get(path));
        Ok(expect(200, answer.with_context(|| path.to_owned())?)?.body)
    }

    fn consumer(self) -> Result<Consumer> {
        Ok(serde_json::from_str(&self.get(&format!("/consumers/{NAME}"))?)?)
    }

    /// Its failures, all or those of a state, as in `state=parked`.
    ///
    /// # Errors
    /// When the service is away, here and below.
    pub fn failed(self, state: &str) -> Result<Vec<Failure>> {
        let (mut failed, mut after) = (Vec::new(), 0);
        loop {
            let path = format!("/consumers/{NAME}/failed?limit={PAGE}&after={after}&{state}");
            let page: Failures = serde_json::from_str(&self.get(path.trim_end_matches('&'))?)?;
            failed.extend(page.failed);
            match page.next_after {
                Some(next) => after = next,
                None => return Ok(failed),
            }
        }
    }

    /// All events, by their seqs.
    pub fn events(self) -> Result<BTreeMap<u64, Stored>> {
        let mut events = BTreeMap::new();
        loop {
            let after = events.last_key_value().map_or(0, |(seq, _)| *seq);
            let body = self.get(&format!("/events?limit={PAGE}&after={after}"))?;
            let page: Vec<StoredEvent> = serde_json::from_str(&body)?;
            let length = page.len();
            for event in page {
                let payload = serde_json::from_str(event.payload.get())?;
                events.insert(event.seq, Stored { topic: event.topic, id: event.event_id, payload });
            }
            if length < PAGE {
                return Ok(events);
            }
        }
    }

    /// Waits until everything is done or dead, for so long at most, and returns what the consumer is then.
    pub fn wait_until_done(self, patience: Duration) -> Result<Consumer> {
        let began = Instant::now();
        loop {
            let consumer = self.consumer();
            let is_done = consumer.as_ref().is_ok_and(|consumer| {
                let Consumer { lag, parked, waiting, claims, .. } = consumer;
                (*lag, *parked, *waiting) == (0, 0, 0) && claims.is_empty()
            });
            if is_done || began.elapsed() > patience {
                return consumer;
            }
            sleep(LOOK);
        }
    }

    /// Looks at the consumer again and again. What cannot be seen, while the service is away, is seen later.
    pub fn watch(self, is_over: &AtomicBool) -> Seen {
        let (mut seen, mut position) = (Seen::default(), 0);
        while !is_over.load(Ordering::SeqCst) {
            // One that waited behind a dead event is parked, too, until it is given out, and has not failed.
            let parked = self.failed("state=parked").unwrap_or_default();
            for failure in parked.into_iter().filter(|failure| failure.attempts > 0) {
                let Failure { seq, event_id, reason, .. } = failure;
                seen.parked.insert(seq, format!("{event_id}: {}", reason.unwrap_or_default()));
            }
            if let Ok(consumer) = self.consumer() {
                if consumer.position < position {
                    seen.broken.push(format!("the position went from {position} to {}", consumer.position));
                }
                position = consumer.position;
            }
            sleep(WATCH);
        }
        seen
    }
}
