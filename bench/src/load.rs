//! The load generator: closed-loop clients on connections that stay, all on one thread, whatever the protocol. For each
//! request, a client only writes bytes and finds the end of the answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::http;

/// The requests of a client in the words of a protocol, and the ends of their answers.
pub trait Requests: 'static {
    /// What a client says first. Its answer is read before the first request; empty if the protocol has no greeting.
    fn greeting(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Writes the next request.
    fn next(&mut self, request: &mut Vec<u8>);

    /// The length of the answer at the start of the buffer, or `None` while a part of it is missing.
    ///
    /// # Errors
    /// An answer that is a refusal, or that does not belong to the protocol.
    fn answer(&mut self, buffer: &[u8]) -> Result<Option<usize>>;

    /// The longest time that an answer may take.
    fn patience(&self) -> Duration {
        Duration::MAX
    }

    /// A request has no answer. True to go on with another connection; else all clients end.
    fn goes_on_after(&mut self, _: &anyhow::Error) -> bool {
        false
    }
}

/// The HTTP requests of a client: a path, and bodies.
pub trait Workload: 'static {
    /// The method of every request.
    const METHOD: &'static str = "POST";

    /// The path of every request.
    fn path(&self) -> &str {
        "/publish"
    }

    /// Makes the next body of this client.
    fn next_body(&mut self, body: &mut Vec<u8>);
}

impl<W: Workload> Requests for W {
    fn next(&mut self, request: &mut Vec<u8>) {
        let mut body = Vec::new();
        self.next_body(&mut body);
        http::write(request, W::METHOD, self.path(), "", &body);
    }

    fn answer(&mut self, buffer: &[u8]) -> Result<Option<usize>> {
        http::answer(buffer)
    }
}

/// The result of a measurement.
pub struct Measured {
    /// Requests that were answered with success.
    pub requests: u64,
    /// The time from the first request to the last answer.
    pub elapsed: Duration,
    /// The latency of each request, in microseconds.
    pub latencies: Histogram<u64>,
}

impl Measured {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// A percentile of the latencies, in milliseconds.
    pub fn millis(&self, percentile: f64) -> f64 {
        self.latencies.value_at_percentile(percentile) as f64 / 1000.0
    }
}

/// The end of a measurement.
#[derive(Clone, Copy)]
pub enum Until {
    /// After this time.
    Elapsed(Duration),
    /// After this number of requests by each client.
    Requests(u64),
}

/// Runs these clients, all at the same time.
pub fn run<R: Requests>(address: SocketAddr, clients: Vec<R>, until: Until) -> Result<Measured> {
    run_on(&[address], clients, until)
}

/// Runs these clients, dealt out to several addresses.
pub fn run_on<R: Requests>(addresses: &[SocketAddr], clients: Vec<R>, until: Until) -> Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let start = Instant::now();
        let tasks: Vec<_> = clients
            .into_iter()
            .zip(addresses.iter().copied().cycle())
            .map(|(requests, address)| tokio::task::spawn_local(client(address, requests, start, until)))
            .collect();
        let mut latencies = Histogram::new(3)?;
        for task in tasks {
            latencies.add(task.await??)?;
        }
        Ok(Measured { requests: latencies.len(), elapsed: start.elapsed(), latencies })
    })
}

async fn client<R: Requests>(
    address: SocketAddr,
    mut requests: R,
    start: Instant,
    until: Until,
) -> Result<Histogram<u64>> {
    let mut connection = Connection::open(address, &mut requests).await?;
    let mut latencies = Histogram::new(3)?;
    let mut request = Vec::new();
    loop {
        let is_over = match until {
            Until::Elapsed(duration) => start.elapsed() >= duration,
            Until::Requests(count) => latencies.len() >= count,
        };
        if is_over {
            return Ok(latencies);
        }
        request.clear();
        requests.next(&mut request);
        let sent = Instant::now();
        let patience = requests.patience();
        let exchange = connection.exchange(&request, |answer| requests.answer(answer));
        let answer = timeout(patience, exchange).await.context("no answer in time");
        if let Err(error) = answer.and_then(|answer| answer.map(drop)) {
            if !requests.goes_on_after(&error) {
                return Err(error);
            }
            connection = Connection::open(address, &mut requests).await?;
        }
        latencies.record(sent.elapsed().as_micros() as u64)?;
    }
}

/// A connection of a client.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens a connection and exchanges greetings.
    pub async fn open(address: SocketAddr, requests: &mut impl Requests) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, buffer: Vec::with_capacity(16 * 1024) };
        let greeting = requests.greeting();
        if !greeting.is_empty() {
            connection.exchange(&greeting, |answer| requests.answer(answer)).await?;
        }
        Ok(connection)
    }

    /// Sends a request and returns its answer, whose length `end` tells.
    pub async fn exchange(
        &mut self,
        request: &[u8],
        mut end: impl FnMut(&[u8]) -> Result<Option<usize>>,
    ) -> Result<&[u8]> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the server closed the connection");
            if let Some(length) = end(&self.buffer)? {
                return Ok(&self.buffer[..length]);
            }
        }
    }
}

/// Reads one path repeatedly.
#[derive(Clone)]
pub struct Get(pub String);

impl Workload for Get {
    const METHOD: &'static str = "GET";

    fn path(&self) -> &str {
        &self.0
    }

    fn next_body(&mut self, _: &mut Vec<u8>) {}
}

/// The number of events in the whole answer to GET `path`.
pub fn drain(address: SocketAddr, path: &str) -> Result<u64> {
    use std::io::Read;
    const NEEDLE: &[u8] = b"\"deliveries\":";
    let mut answer = ureq::get(format!("http://{address}{path}")).call()?;
    let mut body = answer.body_mut().as_reader();
    let (mut buffer, mut carried, mut found) = (vec![0; 256 << 10], 0, 0);
    loop {
        let read = body.read(&mut buffer[carried..])?;
        if read == 0 {
            return Ok(found);
        }
        let filled = carried + read;
        found += memchr::memmem::find_iter(&buffer[..filled], NEEDLE).count() as u64;
        // An occurrence may span two reads.
        carried = (NEEDLE.len() - 1).min(filled);
        buffer.copy_within(filled - carried..filled, 0);
    }
}
