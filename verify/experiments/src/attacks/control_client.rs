//! Clients that use the service as it is meant, while others attack it or its surroundings fail.

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle, sleep};
use std::time::{Duration, Instant};

use super::account::{Account, Outcome};
use super::raw_client::{Answer, RawClient};
use super::{batch, slug};

/// The pause between two events.
const PAUSE: Duration = Duration::from_millis(5);

/// The observations of control clients.
#[derive(Debug, Default)]
pub struct Report {
    /// Their events, and the outcome of each.
    pub account: Account,
    /// The time that each answer took.
    pub latencies: Vec<Duration>,
    /// The number of 503s.
    pub refused: usize,
    /// All that a client must not see in any case, and the 5xx and broken connections that may be forbidden.
    pub wrong: Vec<String>,
    /// 5xx other than 503, and connections that broke.
    pub failed: Vec<String>,
}

impl Report {
    /// Adds what another control client has seen.
    pub fn add(&mut self, other: Self) {
        self.account.add(other.account);
        self.latencies.extend(other.latencies);
        self.refused += other.refused;
        self.wrong.extend(other.wrong);
        self.failed.extend(other.failed);
    }

    fn refused(&mut self, answer: &Answer) {
        self.refused += 1;
        if answer.header("retry-after").is_none() {
            self.wrong.push(format!("a 503 without Retry-After: {answer:?}"));
        }
    }

    /// A percentile of the latencies.
    pub fn latency(&self, percent: usize) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted
            .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }
}

/// ControlClients at work.
pub struct ControlClients<'scope> {
    stop: &'scope AtomicBool,
    threads: Vec<ScopedJoinHandle<'scope, Report>>,
}

impl<'scope> ControlClients<'scope> {
    /// Starts some, which stop when they are told to through `stop`. Their events are named after `name`.
    pub fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        stop: &'scope AtomicBool,
        address: SocketAddr,
        name: &str,
        count: usize,
    ) -> Self {
        let names = (0..count).map(|n| format!("{}-{n}", slug(name)));
        Self { stop, threads: names.map(|name| scope.spawn(move || work(address, &name, stop))).collect() }
    }

    /// Stops them, and returns what they have seen.
    pub fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let mut report = Report::default();
        for thread in self.threads {
            match thread.join() {
                Ok(seen) => report.add(seen),
                Err(panic) => resume_unwind(panic),
            }
        }
        report
    }
}

/// Publishes an event, reads it back, and so on.
fn work(address: SocketAddr, name: &str, stop: &AtomicBool) -> Report {
    let mut report = Report::default();
    let mut client = None;
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if let Err(error) = step(&mut client, address, format!("{name}-{n}"), &mut report) {
            report.failed.push(format!("{name}-{n}: {error}"));
            client = None;
        }
        sleep(PAUSE);
    }
    report
}

fn step(
    client: &mut Option<RawClient>,
    address: SocketAddr,
    id: String,
    report: &mut Report,
) -> std::io::Result<()> {
    let began = Instant::now();
    let client = match client {
        Some(client) => client,
        None => client.insert(RawClient::connect(address)?),
    };
    let ids = [id];
    let answer = client.publish("", &batch(&ids));
    report.account.note(&ids, Outcome::of(&answer));
    let answer = answer?;
    report.latencies.push(began.elapsed());
    match answer.status {
        200 => {}
        503 => {
            report.refused(&answer);
            return Ok(());
        }
        500..600 => report.failed.push(format!("publishing {}: {answer:?}", ids[0])),
        _ => report.wrong.push(format!("publishing {}: {answer:?}", ids[0])),
    }
    let began = Instant::now();
    let read = client.get(&format!("/events/siege/{}", ids[0]))?;
    report.latencies.push(began.elapsed());
    match read.status {
        200 => {}
        503 => report.refused(&read),
        404 if answer.status != 200 => {}
        500..600 => report.failed.push(format!("reading {}: {read:?}", ids[0])),
        _ => report.wrong.push(format!("reading {}, after {answer:?}: {read:?}", ids[0])),
    }
    Ok(())
}
