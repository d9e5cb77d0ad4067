//! A system that stores events once, as the measurement sees it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::system;
use anyhow::Result;
use sekali_harness::process::Process;

/// A system that stores events once.
pub trait Peer: Sync {
    /// Its name and version.
    fn name(&self) -> String;

    /// What was set so that it syncs before it answers and drops duplicates by id; the rest is at its defaults.
    fn configuration(&self) -> &'static str;

    /// How long it remembers an id.
    fn memory_of_ids(&self) -> &'static str;

    /// Starts it with its state in a directory, where an earlier run may have left some.
    ///
    /// # Errors
    /// When it does not serve.
    fn start(&self, state: &Path) -> Result<Running>;

    /// Publishes from so many clients for a time.
    ///
    /// # Errors
    /// When a request fails.
    fn publish(&self, running: &Running, load: Load) -> Result<Rates>;

    /// The number of stored events.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn stored(&self, running: &Running) -> Result<u64>;

    /// Publishes single events of this producer, one after another, until the server goes away. Returns the ids that
    /// were acknowledged.
    ///
    /// # Errors
    /// When it goes away before it acknowledged anything.
    fn publish_until_crash(&self, running: &Running, producer: &str) -> Result<Vec<String>>;

    /// Publishes these ids once more, and returns how many it knew.
    ///
    /// # Errors
    /// When a request fails.
    fn resend(&self, running: &Running, ids: &[String]) -> Result<u64>;

    /// Bytes that its stored events occupy, when what it has in passing (such as a write-ahead log) is put away.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn bytes(&self, running: &Running) -> Result<u64>;

    /// True if a request may have many events.
    fn has_batches(&self) -> bool {
        true
    }

    /// True if it stores nothing, and only shows what the host can do.
    fn is_echo(&self) -> bool {
        false
    }
}

/// A load on a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load {
    pub clients: usize,
    /// Events in a request.
    pub batch: usize,
    /// UUIDv4 instead of ids in order.
    pub random: bool,
    pub duration: Duration,
}

/// Events a second, and latencies of requests in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    pub events: f64,
    pub p50: f64,
    pub p99: f64,
}

/// A peer that runs.
pub struct Running {
    /// Its main process. The others are its children.
    pub process: Process,
    pub address: SocketAddr,
    pub state: PathBuf,
    /// A process that it needs and that is not part of it.
    pub _helper: Option<Process>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = system::kill(self.process.id()); // its children may have left the group
    }
}
