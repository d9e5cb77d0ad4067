//! A client that publishes in a protocol: under load, until a crash, and once more.

use std::net::SocketAddr;

use anyhow::Result;

use super::peer::{Load, Rates};
use crate::load::{self, Requests, Until};
use crate::workload::Ids;

/// A protocol in which a client publishes.
pub trait Protocol: 'static {
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
pub struct Client<W> {
    pub wire: W,
    ids: Ids,
    batch: usize,
    /// Events in the request whose answer is awaited.
    sent: Vec<String>,
}

impl<W: Protocol> Requests for Client<W> {
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

impl<W: Protocol> Client<W> {
    /// A client.
    pub fn new(wire: W, ids: Ids, batch: usize) -> Self {
        Self { wire, ids, batch, sent: Vec::new() }
    }

    /// Sends the ids, a hundred at a time, and counts those that were known.
    pub fn resend(mut self, address: SocketAddr, ids: &[String]) -> Result<u64> {
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
    pub fn publish_until_crash(mut self, address: SocketAddr) -> Result<Vec<String>> {
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
pub fn ids(producer: &str, random: bool) -> Ids {
    if random {
        return Ids::Random(fastrand::Rng::with_seed(
            producer
                .bytes()
                .fold(7, |seed, byte| u64::from(byte).wrapping_add(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        ));
    }
    Ids::ordered(producer.into())
}

/// Publishes over a wire, from clients of their own names for each run.
pub fn publish<W: Protocol>(address: SocketAddr, wire: impl Fn() -> W, load: Load) -> Result<Rates> {
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
