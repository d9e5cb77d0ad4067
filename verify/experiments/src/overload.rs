//! `overload`: clients send twice as much as the service can carry. Its answers are right, no accepted request waits
//! without bound, a refusal is a 503 that says when to come back, and the load is forgotten soon after it has ended.
//!
//! The first clients measure what the service carries: each sends a request when it has the answer to the last one.
//! The second send by the clock. A client whose request is not answered in time leaves out those that were due
//! meanwhile, as it would have no connection for them.

use std::net::SocketAddr;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use sekali_harness::deployment::Setup;

use crate::attacks::account::{Account, Outcome};
use crate::attacks::raw_client::RawClient;
use crate::attacks::{self, batch};
use crate::{Effort, Tally};

/// Clients that measure: enough to keep the service busy.
const MEASURING: usize = 32;

/// Events of a request: enough that the service has more work with it than its client.
const EVENTS: usize = 50;

/// The longest wait of an accepted request. A busy database is given up after five seconds, and a loaded machine adds
/// some.
const LONGEST: Duration = Duration::from_secs(10);

/// No service carries so many requests a second.
const HIGHEST: f64 = 100_000.0;

/// The time after the load within which a lone client is served as quickly as before.
const RECOVERY: Duration = Duration::from_secs(5);

/// An answer that a lone client gets in less than this is as quick as before, on a loaded machine too.
const QUICK: Duration = Duration::from_millis(250);

/// The observations of a client.
#[derive(Default)]
struct Seen {
    account: Account,
    accepted: Vec<Duration>,
    refused: Vec<Duration>,
    /// Requests that were due while the client waited.
    unsent: u64,
    wrong: Vec<String>,
}

/// Measures, overloads, and looks at what is left of it.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    let deployment = Setup::from_environment()?.start()?;
    let address = deployment.address();
    let time = Duration::from_secs(effort.pick(1, 5));
    let measured = clients(MEASURING, &|n| client(address, &format!("{seed}-measured-{n}"), time, None))?;
    let mut rate = 2.0 * measured.accepted.len() as f64 / time.as_secs_f64();
    ensure!(rate > 0.0, "nothing was accepted: {:?}", measured.wrong.first());
    let mut account = measured.account;

    let count = effort.pick(250, 1_000);
    let time = Duration::from_secs(effort.pick(3, 10));
    // The measure may be too low if others use the machine, and then twice as much is no overload.
    let mut seen = loop {
        let interval = Duration::from_secs_f64(count as f64 / rate);
        let name = format!("{seed}-{rate:.0}");
        let seen = clients(count, &|n| client(address, &format!("{name}-{n}"), time, Some(interval)))?;
        if seen.refused.len() as u64 + seen.unsent > seen.accepted.len() as u64 / 4 || rate > HIGHEST {
            break seen;
        }
        account.add(seen.account);
        rate *= 2.0;
    };
    let mut tally = Tally::default();
    tally.violations.extend(recover(address, &mut seen)?);
    seen.account.add(account);
    tally.violations.extend(attacks::all_is_well(address, &mut seen.account, "after the load")?);
    tally.violations.extend(measured.wrong.into_iter().chain(seen.wrong).take(5));
    let [half, most, refusals] = [(&seen.accepted, 50), (&seen.accepted, 99), (&seen.refused, 99)]
        .map(|(times, at)| percentile(times, at));
    if most > LONGEST {
        tally.violated(format!("accepted requests waited for {most:?} (p99), and half of them for {half:?}"));
    }
    eprintln!(
        "torture: overload: of {rate:.0} requests/s, {:.0} accepted (p50 {half:?}, p99 {most:?}), \
        {:.0} refused (p99 {refusals:?}) and {:.0} left out",
        seen.accepted.len() as f64 / time.as_secs_f64(),
        seen.refused.len() as f64 / time.as_secs_f64(),
        seen.unsent as f64 / time.as_secs_f64(),
    );
    tally.trials = (seen.accepted.len() + seen.refused.len()) as u64;
    tally.acknowledged = seen.account.acknowledged();
    Ok(tally)
}

/// Runs so many clients at once.
fn clients(count: usize, client: &(dyn Fn(usize) -> Seen + Sync)) -> Result<Seen> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|n| scope.spawn(move || client(n))).collect();
        let mut all = Seen::default();
        for thread in threads {
            let seen = thread.join().map_err(|_| anyhow!("a client panicked"))?;
            all.account.add(seen.account);
            all.accepted.extend(seen.accepted);
            all.refused.extend(seen.refused);
            all.unsent += seen.unsent;
            all.wrong.extend(seen.wrong);
        }
        Ok(all)
    })
}

/// Sends requests for a time: one in each interval, or one after another.
fn client(address: SocketAddr, name: &str, time: Duration, interval: Option<Duration>) -> Seen {
    let mut seen = Seen::default();
    let mut client = None;
    let began = Instant::now();
    // The clients of an overload begin at different moments.
    let mut due = began + interval.map_or(Duration::ZERO, |interval| interval.mul_f64(fastrand::f64()));
    for n in 0.. {
        if let Some(interval) = interval {
            while due + interval < Instant::now() {
                due += interval;
                seen.unsent += 1;
            }
            sleep(due.saturating_duration_since(Instant::now()));
            due += interval;
        }
        if began.elapsed() > time {
            break;
        }
        let ids: Vec<_> = (0..EVENTS).map(|event| format!("{name}-{n}-{event}")).collect();
        if let Err(error) = request(&mut client, address, &ids, &mut seen) {
            seen.wrong.push(format!("{name}-{n}: {error}"));
            client = None;
        }
    }
    seen
}

fn request(
    client: &mut Option<RawClient>,
    address: SocketAddr,
    ids: &[String],
    seen: &mut Seen,
) -> std::io::Result<()> {
    let client = match client {
        Some(client) => client,
        None => client.insert(RawClient::connect(address)?),
    };
    let began = Instant::now();
    let answer = client.publish("", &batch(ids));
    seen.account.note(ids, Outcome::of(&answer));
    let answer = answer?;
    match answer.status {
        200 => seen.accepted.push(began.elapsed()),
        503 if answer.header("retry-after").is_some() => seen.refused.push(began.elapsed()),
        _ => seen.wrong.push(format!("{answer:?}")),
    }
    Ok(())
}

/// Waits until a lone client is served quickly again. Returns what is wrong.
fn recover(address: SocketAddr, seen: &mut Seen) -> Result<Option<String>> {
    let ended = Instant::now();
    let mut attempts = 0;
    loop {
        let ids = [format!("lone-{attempts}")];
        let began = Instant::now();
        let answer = attacks::publish(address, "", &ids, &mut seen.account)?;
        if answer.status == 200 && began.elapsed() < QUICK {
            return Ok(None);
        }
        if ended.elapsed() > RECOVERY {
            return Ok(Some(format!("{RECOVERY:?} after the load: {answer:?} takes {:?}", began.elapsed())));
        }
        attempts += 1;
    }
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}
