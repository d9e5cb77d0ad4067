//! The service beside others that store events once: the same events, by the same clients, on the same machine.
//!
//! - [`run`](run::run) measures them in turns, [`crash`] kills each and looks for what it had acknowledged;
//! - [`sekali`], [`postgres`], [`redis`], [`nats`] and [`restate`] know one each;
//! - [`table`] is the report, [`chart`] the picture of it; [`system`] asks Linux.

mod chart;
mod crash;
mod nats;
mod postgres;
mod redis;
mod restate;
mod run;
mod sekali;
mod system;
mod table;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use sekali_harness::process::Process;

pub use self::postgres::inserts_per_second;
pub use self::run::{Plan, run};

use crate::load::{self, Requests, Until};
use crate::workload::Ids;

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

/// A protocol in which a client publishes.
pub trait Wire: 'static {
    /// See [`Requests::greeting`].
    fn greeting(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Writes a request with an event for each id.
    fn write(&self, ids: &[String], request: &mut Vec<u8>);

    /// The length of the answer to a request of so many events, or `None` while a part of it is missing. For a
    /// greeting, the number is 0.
    ///
    /// # Errors
    /// An answer that is a refusal.
    fn answer(&self, events: usize, buffer: &[u8]) -> Result<Option<usize>>;

    /// The duplicates among the events of a request, by its whole answer.
    ///
    /// # Errors
    /// An answer that does not tell.
    fn duplicates(&self, answer: &[u8]) -> Result<u64>;
}

/// A client that publishes batches over a wire.
struct Client<W> {
    wire: W,
    ids: Ids,
    batch: usize,
    /// Events in the request whose answer is awaited.
    sent: Vec<String>,
}

impl<W: Wire> Requests for Client<W> {
    fn greeting(&self) -> Vec<u8> {
        self.wire.greeting()
    }

    fn next(&mut self, request: &mut Vec<u8>) {
        self.sent.clear();
        self.sent.extend((0..self.batch).map(|_| self.ids.next()));
        self.wire.write(&self.sent, request);
    }

    fn answer(&mut self, buffer: &[u8]) -> Result<Option<usize>> {
        self.wire.answer(self.sent.len(), buffer)
    }
}

impl<W: Wire> Client<W> {
    fn new(wire: W, ids: Ids, batch: usize) -> Self {
        Self { wire, ids, batch, sent: Vec::new() }
    }

    /// Sends the ids, a hundred at a time, and counts those that were known.
    fn resend(mut self, address: SocketAddr, ids: &[String]) -> Result<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut connection = load::Connection::open(address, &mut self).await?;
            let (mut known, mut request) = (0, Vec::new());
            for ids in ids.chunks(self.batch) {
                request.clear();
                self.wire.write(ids, &mut request);
                let answer =
                    connection.exchange(&request, |buffer| self.wire.answer(ids.len(), buffer)).await?;
                known += self.wire.duplicates(answer)?;
            }
            Ok(known)
        })
    }

    /// Sends single events until the connection breaks.
    fn publish_until_crash(mut self, address: SocketAddr) -> Result<Vec<String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut connection = load::Connection::open(address, &mut self).await?;
            let (mut acknowledged, mut request) = (Vec::new(), Vec::new());
            loop {
                request.clear();
                self.next(&mut request);
                match connection.exchange(&request, |buffer| self.answer(buffer)).await {
                    Ok(_) => acknowledged.append(&mut self.sent),
                    Err(_) if !acknowledged.is_empty() => return Ok(acknowledged),
                    Err(error) => return Err(error),
                }
            }
        })
    }
}

/// The ids of a producer.
fn ids(producer: &str, random: bool) -> Ids {
    if random {
        return Ids::Random(fastrand::Rng::with_seed(
            producer
                .bytes()
                .fold(7, |seed, byte| u64::from(byte).wrapping_add(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        ));
    }
    Ids::ordered(producer)
}

/// Publishes over a wire, from clients of their own names for each run.
fn publish<W: Wire>(address: SocketAddr, wire: impl Fn() -> W, load: Load) -> Result<Rates> {
    let run = fastrand::u32(..);
    let client = |n| Client::new(wire(), ids(&format!("r{run:08x}-{n}"), load.random), load.batch);
    let clients = (0..load.clients).map(client).collect();
    let measured = load::run(address, clients, Until::Elapsed(load.duration))?;
    Ok(Rates {
        events: measured.rate() * load.batch as f64,
        p50: measured.millis(50.0),
        p99: measured.millis(99.0),
    })
}
