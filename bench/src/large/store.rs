//! A store that was filled with events of many topics and sources.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use sekali::event::Timestamp;
use sekali_harness::deployment::{Setup, database_in};
use sekali_harness::process::Process;
use tempfile::TempDir;

use crate::load::{self, Until, Workload};
use crate::workload::{Ids, PAYLOAD};

/// Matches of the rare topic and of the rare source, however many events there are.
const RARE: u64 = 100;

/// Events of a request that fills a store.
const BATCH: u64 = 5000;

/// A running service, and the place of its state.
pub struct Store {
    /// Its address.
    pub address: SocketAddr,
    /// The events that it was filled with.
    pub events: u64,
    /// The host.
    pub process: Process,
    /// The directory of its state.
    pub state: TempDir,
}

impl Store {
    /// Starts a service and fills its store.
    ///
    /// # Errors
    /// When it does not serve, here and below.
    pub fn fill(setup: &Setup, events: u64, ids: Ids) -> Result<Self> {
        let state = tempfile::tempdir()?;
        let (process, address) = setup.serve_at(state.path())?;
        let filler = Filler { ids, n: 0, step: events / RARE, start: start() };
        load::run(address, vec![filler], Until::Requests(events / BATCH))?;
        Ok(Self { address, events, process, state })
    }

    /// The same store, served with other variables.
    pub fn restart(mut self, setup: &Setup) -> Result<Self> {
        self.process.kill();
        let (process, address) = setup.serve_at(self.state.path())?;
        Ok(Self { address, process, ..self })
    }

    /// The size of its database.
    pub fn bytes(&self) -> u64 {
        std::fs::metadata(database_in(self.state.path())).map_or(0, |file| file.len())
    }
}

/// Publishes events of many topics and sources, a millisecond after each other.
#[derive(Clone)]
struct Filler {
    ids: Ids,
    n: u64,
    /// The distance of rare events.
    step: u64,
    start: Timestamp,
}

/// The timestamp of the event `n`.
pub fn moment(start: &Timestamp, n: u64) -> String {
    start.after(Duration::from_millis(n)).to_string()
}

/// The timestamp of the first event.
pub fn start() -> Timestamp {
    Timestamp::parse("2026-01-01T00:00:00Z").unwrap_or_else(|_| Timestamp::now())
}

impl Workload for Filler {
    fn next_body(&mut self, body: &mut Vec<u8>) {
        for _ in 0..BATCH {
            let n = self.n;
            self.n += 1;
            let mixed = n * 7 + n / 97;
            let topic = match n {
                n if n % self.step == 1 => "rare".into(),
                n if n % self.step == 3 => format!("rare.{}", n % 2),
                n if n % 10 == 4 => format!("many.{}", n / 10 % 1000),
                n if n % 100 == 5 => format!("some.{}", n / 100 % 10),
                _ => format!("topic-{}", mixed % 4),
            };
            let source = if n % self.step == 2 { "rare".into() } else { format!("source-{}", mixed / 4 % 5) };
            let (id, moment) = (self.ids.next(), moment(&self.start, n));
            body.push(if body.is_empty() { b'[' } else { b',' });
            body.extend_from_slice(
                format!(
                    r#"{{"topic":"{topic}","event_id":"{id}","timestamp":"{moment}","source":"{source}","payload":{PAYLOAD}}}"#
                )
                .as_bytes(),
            );
        }
        body.push(b']');
    }
}
