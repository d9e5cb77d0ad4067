//! What the service stores, read as it grows.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sekali_common::api::{Stats, StoredEvent};
use sekali_model::account_of;

use super::line::Line;
use super::{LOOK, TOPIC};
use crate::attacks::expect;
use crate::attacks::raw_client::RawClient;

/// Events of a page.
const PAGE: usize = 1_000;

/// An event, as far as it helps to find a defect.
pub struct Event {
    /// Its place in the order of all.
    pub seq: u64,
    /// Its id: the identity of the file, the offset and the hash of the line.
    pub id: String,
    /// Its source: the name of the file in which the publisher found it.
    pub source: String,
}

impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "seq {}, id {}, source {}", self.seq, self.id, self.source)
    }
}

/// The events so far.
pub struct Stored {
    /// Those of each line.
    pub lines: HashMap<Line, Vec<Event>>,
    /// Those that are no line, with their texts.
    pub foreign: Vec<(String, Event)>,
    last: u64,
    total: u64,
    changed: Instant,
}

impl Default for Stored {
    fn default() -> Self {
        Self { lines: HashMap::new(), foreign: Vec::new(), last: 0, total: 0, changed: Instant::now() }
    }
}

/// The service at its address, and what it was seen to store.
pub struct Store {
    address: SocketAddr,
    stored: Mutex<Stored>,
}

impl Store {
    /// The store of the service at an address.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, stored: Mutex::default() }
    }

    /// What is stored, as far as it was seen.
    pub fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of events.
    pub fn total(&self) -> u64 {
        self.stored().total
    }

    /// The time since the last event came.
    pub fn silence(&self) -> Duration {
        self.stored().changed.elapsed()
    }

    /// True if all of these numbered lines of a writer are stored.
    pub fn has(&self, writer: usize, lines: Range<usize>) -> bool {
        let stored = self.stored();
        lines.rev().all(|number| stored.lines.contains_key(&Line::Numbered(writer, number)))
    }

    /// Reads on until it is over. While the service is away, it waits.
    pub fn read_on(&self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::SeqCst) {
            if self.read_page().is_ok_and(|events| events == PAGE) {
                continue;
            }
            sleep(LOOK);
        }
    }

    /// Reads all that is there.
    ///
    /// # Errors
    /// When the service is away, here and below.
    pub fn catch_up(&self) -> Result<()> {
        while self.read_page()? == PAGE {}
        Ok(())
    }

    /// How often lines were delivered, the first time or again.
    pub fn deliveries(&self) -> Result<u64> {
        let stats: Stats = serde_json::from_str(&self.get("/stats")?).context("/stats")?;
        Ok(account_of(&stats, TOPIC).received)
    }

    fn read_page(&self) -> Result<usize> {
        let after = self.stored().last;
        let body = self.get(&format!("/events?limit={PAGE}&after={after}"))?;
        let page: Vec<StoredEvent> = serde_json::from_str(&body)?;
        let mut stored = self.stored();
        // Another thread may have read the same page.
        let new = page.iter().filter(|event| event.seq > after).collect::<Vec<_>>();
        if stored.last != after {
            return Ok(PAGE);
        }
        for event in &new {
            let text: String = serde_json::from_str(event.payload.get())?;
            let source = event.source.clone().unwrap_or_default();
            let seen = Event { seq: event.seq, id: event.event_id.clone(), source };
            match Line::of(&text) {
                Some(line) => stored.lines.entry(line).or_default().push(seen),
                None => stored.foreign.push((text, seen)),
            }
            stored.last = event.seq;
            stored.total += 1;
            stored.changed = Instant::now();
        }
        Ok(new.len())
    }

    fn get(&self, path: &str) -> Result<String> {
        let answer = RawClient::connect(self.address).and_then(|mut client| client.get(path));
        Ok(expect(200, answer.with_context(|| path.to_owned())?)?.body)
    }
}
