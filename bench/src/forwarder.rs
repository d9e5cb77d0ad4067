//! The forwarder: deliveries a second to an endpoint that takes ten milliseconds, and its memory while the endpoint is away.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sekali_harness::artifacts::repository;
use sekali_harness::deployment::Setup;
use sekali_harness::process::Process;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::load::{self, Until, Workload};
use crate::report::Report;
use crate::system;
use crate::workload::PAYLOAD;

/// Topics, and deliveries at a time.
const TOPICS: u64 = 16;
/// Events that are delivered.
const DELIVERED: u64 = 10_000;
/// Events that wait for an endpoint that is away.
const WAITING: u64 = 1_000_000;
/// Events of a request that publishes them.
const BATCH: u64 = 1000;
/// The time of the endpoint.
const ENDPOINT: Duration = Duration::from_millis(10);
/// The time for which the endpoint is away. Two probes fall into it, and the memory is as large as it becomes.
const AWAY: Duration = Duration::from_secs(10);

/// Measures both, each on a fresh store.
///
/// # Errors
/// When something does not serve, or not all events arrive.
pub fn run(setup: &Setup, report: &mut Report) -> Result<()> {
    let server = setup.clone().start()?;
    publish(server.address(), DELIVERED)?;
    let rate = deliver(server.address())?;
    report.row("forwarder: 16 topics to an endpoint of 10 ms", "events/s", rate);

    let server = setup.clone().start()?;
    publish(server.address(), WAITING)?;
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let forwarder = start(server.address(), nobody)?;
    std::thread::sleep(AWAY);
    let memory = system::memory(forwarder.id())?;
    report.row("forwarder: memory while a million events wait", "MB", memory as f64 / 1e6);
    Ok(())
}

fn publish(address: SocketAddr, events: u64) -> Result<()> {
    load::run(address, vec![Topics::default()], Until::Requests(events / BATCH)).map(drop)
}

/// Publishes to all topics, by turns.
#[derive(Default)]
struct Topics {
    next: u64,
}

impl Workload for Topics {
    fn next_body(&mut self, body: &mut Vec<u8>) {
        let event =
            |id| format!(r#"{{"topic":"bench.{}","event_id":"{id}","payload":{PAYLOAD}}}"#, id % TOPICS);
        let events: Vec<_> = (self.next..self.next + BATCH).map(event).collect();
        self.next += BATCH;
        body.extend_from_slice(format!("[{}]", events.join(",")).as_bytes());
    }
}

fn start(service: SocketAddr, endpoint: SocketAddr) -> Result<Process> {
    let mut forwarder = Command::new(repository().join("target/release/forwarder"));
    forwarder.args(["bench", "--parallel", &TOPICS.to_string(), "--json"]);
    forwarder.args(["--url", &format!("http://{service}"), "--to", &format!("http://{endpoint}/")]);
    Process::start(forwarder).context("scripts/forwarder --help builds it")
}

/// Deliveries a second, from the first request to the answer of the last.
fn deliver(service: SocketAddr) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let delivered = Rc::new(Cell::new(0));
        let counted = Rc::clone(&delivered);
        let address = listener.local_addr()?;
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(answer(stream, Rc::clone(&counted)));
            }
        });
        let _forwarder = start(service, address)?;
        let began = Instant::now();
        let mut first = None;
        while delivered.get() < DELIVERED {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if delivered.get() > 0 {
                first.get_or_insert_with(Instant::now);
            }
            ensure!(began.elapsed() < Duration::from_secs(120), "{} events arrived", delivered.get());
        }
        let elapsed = first.context("nothing arrived")?.elapsed();
        Ok(DELIVERED as f64 / elapsed.as_secs_f64())
    })
}

/// Answers each request of a connection after a while.
async fn answer(mut stream: TcpStream, delivered: Rc<Cell<u64>>) -> Result<()> {
    let mut buffer = Vec::new();
    loop {
        while let Some(length) = request(&buffer)? {
            buffer.drain(..length);
            tokio::time::sleep(ENDPOINT).await;
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
            delivered.set(delivered.get() + 1);
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// The length of the request at the start of a buffer, or `None` while a part of it is missing.
fn request(buffer: &[u8]) -> Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(buffer)? else { return Ok(None) };
    let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(Ok(0), |header| {
        std::str::from_utf8(header.value)?.parse::<usize>().map_err(anyhow::Error::from)
    })?;
    Ok((buffer.len() >= head + length).then_some(head + length))
}
