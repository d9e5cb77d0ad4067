//! The load generator: closed-loop clients on keep-alive connections, all on one thread. For each request, a client
//! only writes prepared bytes and finds the end of the answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// The requests of a client.
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

/// The result of a measurement.
pub struct Measured {
    /// Requests that were answered with 200.
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

/// Runs one client for each workload, all at the same time.
pub fn run<W: Workload>(address: SocketAddr, clients: Vec<W>, until: Until) -> Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let start = Instant::now();
        let tasks: Vec<_> = clients
            .into_iter()
            .map(|workload| tokio::task::spawn_local(client(address, workload, start, until)))
            .collect();
        let mut latencies = Histogram::new(3)?;
        for task in tasks {
            latencies.add(task.await??)?;
        }
        Ok(Measured { requests: latencies.len(), elapsed: start.elapsed(), latencies })
    })
}

async fn client<W: Workload>(
    address: SocketAddr,
    mut workload: W,
    start: Instant,
    until: Until,
) -> Result<Histogram<u64>> {
    let mut connection = Connection::open(address).await?;
    let mut latencies = Histogram::new(3)?;
    let (mut request, mut body) = (Vec::new(), Vec::new());
    loop {
        let is_over = match until {
            Until::Elapsed(duration) => start.elapsed() >= duration,
            Until::Requests(count) => latencies.len() >= count,
        };
        if is_over {
            return Ok(latencies);
        }
        body.clear();
        workload.next_body(&mut body);
        request.clear();
        request.extend_from_slice(W::METHOD.as_bytes());
        request.push(b' ');
        request.extend_from_slice(workload.path().as_bytes());
        request.extend_from_slice(
            b" HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ",
        );
        request.extend_from_slice(body.len().to_string().as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        request.extend_from_slice(&body);
        let sent = Instant::now();
        connection.exchange(&request).await?;
        latencies.record(sent.elapsed().as_micros() as u64)?;
    }
}

/// A keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens a connection.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a request and reads its answer, which must be a 200 with a length.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the server closed the connection");
            if let Some(head) = parse_head(&self.buffer)? {
                let length = head.content_length.context("the answer has no length")?;
                let missing = (head.bytes + length).saturating_sub(self.buffer.len());
                let start = self.buffer.len();
                self.buffer.resize(start + missing, 0);
                self.stream.read_exact(&mut self.buffer[start..]).await?;
                return Ok(());
            }
        }
    }

    /// Reads the whole answer to GET `path` without keeping it, and counts the occurrences of `needle` in it. No
    /// further request can follow on this connection.
    pub async fn drain(&mut self, path: &str, needle: &[u8]) -> Result<u64> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        let mut found = 0;
        let mut carried = 0;
        self.buffer.resize(256 * 1024, 0);
        loop {
            let read = self.stream.read(&mut self.buffer[carried..]).await?;
            if read == 0 {
                return Ok(found);
            }
            let filled = carried + read;
            found += count(&self.buffer[..filled], needle);
            // An occurrence may span two reads.
            carried = (needle.len() - 1).min(filled);
            self.buffer.copy_within(filled - carried..filled, 0);
        }
    }
}

fn count(haystack: &[u8], needle: &[u8]) -> u64 {
    let mut found = 0;
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|&byte| byte == needle[0]) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            found += 1;
        }
        rest = &rest[1..];
    }
    found
}

struct Head {
    bytes: usize,
    content_length: Option<usize>,
}

fn parse_head(buffer: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(bytes) = response.parse(buffer)? else { return Ok(None) };
    if response.code != Some(200) {
        bail!("the server answered {:?}: {}", response.code, String::from_utf8_lossy(buffer));
    }
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let content_length = length
        .map(|header| std::str::from_utf8(header.value)?.parse().context("content-length"))
        .transpose()?;
    Ok(Some(Head { bytes, content_length }))
}
