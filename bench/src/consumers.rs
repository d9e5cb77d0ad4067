//! Consumers beside `/publish` and `/events`: what a claim and a commit cost, and how soon a waiting claim is answered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use memchr::memmem;
use sekali_harness::deployment::Setup;
use tokio::task::LocalSet;

use crate::http;
use crate::load::{self, Connection, Get, Requests, Until};
use crate::report::{Report, median};
use crate::workload::{Ids, producers};

/// Events in the store, in requests of a thousand.
const EVENTS: u64 = 100_000;
const BATCH: usize = 1000;

/// Workers of a consumer without an order.
const WORKERS: usize = 16;

/// Events that are published one by one to a claim that waits.
const WAITS: usize = 200;

/// Measures each, in turns, on fresh stores.
///
/// # Errors
/// When something does not serve, or an answer is another than it should be.
pub fn run(setup: &Setup, seconds: Duration, rounds: usize, report: &mut Report) -> Result<()> {
    let mut rates = [(); 6].map(|()| Vec::new());
    let mut waits = Histogram::new(3)?;
    for _ in 0..rounds {
        let server = setup.clone().start()?;
        let address = server.address();
        load::run(address, producers(1, BATCH, 0.0, Ids::ordered), Until::Requests(EVENTS / BATCH as u64))?;
        for (name, specification) in
            [("all", "{}"), ("one", "{}"), ("alone", r#"{"order":"none","workers":16}"#)].into_iter().chain([
                ("shared", r#"{"order":"none","workers":16}"#),
                ("waiting", r#"{"topics":["waited.for"]}"#),
            ])
        {
            ureq::put(format!("http://{address}/consumers/{name}")).send(specification)?;
        }
        let until = Until::Requests(EVENTS / BATCH as u64);
        let paged = load::run(address, vec![Pages::default()], until)?;
        let claimed =
            load::run(address, Holder::all("all", 1, BATCH), Until::Requests(2 * EVENTS / BATCH as u64))?;
        let single = load::run(address, producers(1, 1, 0.0, Ids::random), Until::Elapsed(seconds))?;
        let one = load::run(address, Holder::all("one", 1, 1), Until::Elapsed(seconds))?;
        let alone = load::run(address, Holder::all("alone", 1, 10), Until::Elapsed(seconds))?;
        let shared = load::run(address, Holder::all("shared", WORKERS, 10), Until::Elapsed(seconds))?;
        let now = [
            ("pages of 1,000 events, read by one client", paged.rate()),
            ("claims of 1,000 events, with their commits", claimed.rate() / 2.0),
            ("single publishes by one client", single.rate()),
            ("claims of one event, with their commits", one.rate() / 2.0),
            ("claims of ten events by one worker, with their commits", alone.rate() / 2.0),
            ("claims of ten events by sixteen workers, with their commits", shared.rate() / 2.0),
        ];
        for ((name, rate), rates) in now.into_iter().zip(&mut rates) {
            report.row(name, "a second", rate);
            rates.push(rate);
        }
        waits.add(wait(address)?)?;
    }
    let [paged, claimed, single, one, alone, shared] = rates.map(median);
    report.ratio("claims of 1,000, commit each / pages", claimed / paged);
    report.ratio("claims of 1, commit each / single publishes by one client", one / single);
    report.ratio("sixteen workers without an order / one worker", shared / alone);
    for (unit, percentile) in [("p50 ms", 50.0), ("p99 ms", 99.0)] {
        let millis = waits.value_at_percentile(percentile) as f64 / 1000.0;
        report.row("from the answer of a publish to that of a claim that waits", unit, millis);
    }
    Ok(())
}

/// Reads all events, page by page.
#[derive(Default)]
struct Pages {
    after: u64,
}

impl Requests for Pages {
    fn next(&mut self, request: &mut Vec<u8>) {
        let path = format!("/events?after={}&limit={BATCH}", self.after);
        http::write(request, "GET", &path, "", b"");
        self.after += BATCH as u64;
    }

    fn answer(&mut self, buffer: &[u8]) -> Result<Option<usize>> {
        let answer = http::any_answer(buffer)?;
        ensure!(answer.is_none_or(|(status, _)| status == 200), "the server answered {answer:?}");
        Ok(answer.map(|(_, bytes)| bytes))
    }
}

/// Claims and commits, by turns.
struct Holder {
    consumer: &'static str,
    holder: usize,
    limit: usize,
    /// The token and the end of the claim that is to be committed.
    claim: Option<(String, u64)>,
    is_claiming: bool,
}

impl Holder {
    fn all(consumer: &'static str, workers: usize, limit: usize) -> Vec<Self> {
        let holder = |holder| Self { consumer, holder, limit, claim: None, is_claiming: false };
        (0..workers).map(holder).collect()
    }
}

impl Requests for Holder {
    fn next(&mut self, request: &mut Vec<u8>) {
        let (step, body) = match self.claim.take() {
            Some((token, to)) => ("commit", format!(r#"{{"claim":"{token}","upto":{to}}}"#)),
            None => ("claim", format!(r#"{{"holder":"w{}","limit":{}}}"#, self.holder, self.limit)),
        };
        self.is_claiming = step == "claim";
        http::write(request, "POST", &format!("/consumers/{}/{step}", self.consumer), "", body.as_bytes());
    }

    fn answer(&mut self, buffer: &[u8]) -> Result<Option<usize>> {
        let Some((status, bytes)) = http::any_answer(buffer)? else { return Ok(None) };
        let told = || String::from_utf8_lossy(&buffer[..buffer.len().min(1000)]).into_owned();
        ensure!(status == 200, "the server answered {status}: {}", told());
        if self.is_claiming {
            self.claim = Some(claim(buffer).with_context(told)?);
        }
        Ok(Some(bytes))
    }
}

/// The token of a claim, and its last seq. They stand before the events.
fn claim(answer: &[u8]) -> Option<(String, u64)> {
    let behind = |key: &str| memmem::find(answer, key.as_bytes()).map(|at| &answer[at + key.len()..]);
    let token = behind(r#""claim":""#)?.split(|byte| *byte == b'"').next()?;
    let to = behind(r#""to":"#)?.split(|byte| !byte.is_ascii_digit()).next()?;
    Some((String::from_utf8(token.to_vec()).ok()?, std::str::from_utf8(to).ok()?.parse().ok()?))
}

/// The time from the answer of a publish to that of a claim that waits for its event.
fn wait(address: SocketAddr) -> Result<Histogram<u64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut latencies = Histogram::new(3)?;
        let mut claims = Connection::open(address, &mut Get(String::new())).await?;
        let mut publishes = Connection::open(address, &mut Get(String::new())).await?;
        for event in 0..WAITS {
            let (mut claim_request, mut publish_request, mut commit_request) = Default::default();
            let wanted = br#"{"holder":"w","limit":1,"wait":20}"#;
            http::write(&mut claim_request, "POST", "/consumers/waiting/claim", "", wanted);
            let body = format!(r#"{{"topic":"waited.for","event_id":"{event}"}}"#);
            http::write(&mut publish_request, "POST", "/publish", "", body.as_bytes());
            let published = async {
                // At any moment between two looks of the service.
                tokio::time::sleep(Duration::from_millis(20 + fastrand::u64(..150))).await;
                publishes.exchange(&publish_request, http::answer).await?;
                Ok::<_, anyhow::Error>(Instant::now())
            };
            let claimed = async {
                let answer = claims.exchange(&claim_request, http::answer).await?;
                Ok::<_, anyhow::Error>((claim(answer).context("no claim")?, Instant::now()))
            };
            let (published, claimed) = tokio::join!(published, claimed);
            let ((token, to), claimed) = claimed?;
            latencies.record(claimed.saturating_duration_since(published?).as_micros() as u64)?;
            let body = format!(r#"{{"claim":"{token}","upto":{to}}}"#);
            http::write(&mut commit_request, "POST", "/consumers/waiting/commit", "", body.as_bytes());
            claims.exchange(&commit_request, http::answer).await?;
        }
        Ok(latencies)
    })
}
