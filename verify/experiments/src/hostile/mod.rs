//! `hostile-clients`: clients that are slow, many, greedy or malicious, while control clients use the service as it is meant.
//! The control clients are served, nothing but 503 is ever refused with a 5xx, memory stays bounded, a request that hides
//! within another is never carried out, and afterwards all is as before.

mod crowds;
mod readers;
mod shapes;
mod smuggling;

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use fastrand::Rng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sekali_harness::deployment::Setup;

use crate::attacks::account::{Account, LARGE, Outcome};
use crate::attacks::control_client::{ControlClients, Report};
use crate::attacks::raw_client::RawClient;
use crate::attacks::{self, batch, expect};
use crate::{Effort, Tally};

/// An abuse, by name. It returns what a client must not see.
type Abuse = (&'static str, fn(&mut Attack, &mut Rng) -> Result<Vec<String>>);

const ABUSES: &[Abuse] = &[
    ("requests within requests", smuggling::hide),
    ("heads and bodies that nobody means", shapes::send),
    ("pipelined requests", shapes::pipeline),
    ("half-closed connections", shapes::close_half),
    ("idle connections", crowds::idle),
    ("slow heads", crowds::drip_heads),
    ("slow bodies", crowds::drip_bodies),
    ("slow readers", readers::read_slowly),
];

/// Clients that use the service as it is meant.
const WITNESSES: usize = 4;

/// The longest that a control client may wait for an answer, and the longest for half of them. A loaded machine adds nearly
/// all of it.
const LONGEST: Duration = Duration::from_secs(10);
const USUAL: Duration = Duration::from_secs(1);

/// The most memory that the host may hold. Each of two instances may hold 64 MiB of bodies and as much of the events made
/// from them, 64 MiB of whole answers and 64 MiB of streamed ones; 1,500 connections have buffers of 128 KiB; and the
/// host itself takes about 100 MiB. What is copied between host and guest comes on top, and an instance never gives memory
/// back, so the gaps in it count, too: up to 873 MiB were seen.
const MEMORY: u64 = 1 << 30;

/// Large events that are stored before: five megabytes, which are more than sockets hold.
const LARGE_EVENTS: usize = 1_000;

/// A service under attack.
struct Attack {
    address: SocketAddr,
    effort: Effort,
    account: Account,
}

/// Makes each abuse once, one after another.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    allow_many_connections()?;
    let mut tally = Tally::default();
    let mut random = Rng::with_seed(seed);
    let deployment = Setup::from_environment()?.start()?;
    let mut attack = Attack { address: deployment.address(), effort, account: Account::default() };
    for chunk in 0..LARGE_EVENTS / 100 {
        let ids: Vec<_> = (0..100).map(|n| format!("{LARGE}{chunk}-{n}")).collect();
        expect(200, attacks::publish(attack.address, "", &ids, &mut attack.account)?)?;
    }
    for (name, abuse) in ABUSES {
        tally.trials += 1;
        let stop = AtomicBool::new(false);
        let (found, seen) = thread::scope(|scope| {
            let control_clients = ControlClients::start(scope, &stop, deployment.address(), name, WITNESSES);
            let found = abuse(&mut attack, &mut random);
            (found, control_clients.stop())
        });
        let mut broken = found.unwrap_or_else(|error| vec![format!("{error:#}")]);
        judge(&seen, &mut broken);
        let peak = deployment.memory()?.peak;
        if peak > MEMORY {
            broken.push(format!("the host held {} MiB, and may hold {}", peak >> 20, MEMORY >> 20));
        }
        eprintln!(
            "torture: hostile-clients: {name}: control_clients were served {} times within {:?} (p50 {:?}), and refused {} \
            times; the host held up to {} MiB",
            seen.latencies.len(),
            seen.latency(100),
            seen.latency(50),
            seen.refused,
            peak >> 20,
        );
        attack.account.add(seen.account);
        match attacks::all_is_well(attack.address, &mut attack.account, &format!("{name}, over")) {
            Ok(more) => broken.extend(more),
            Err(error) => broken.push(format!("{error:#}")),
        }
        tally.violations.extend(broken.into_iter().map(|broken| format!("{name}: {broken}")));
    }
    tally.acknowledged = attack.account.acknowledged();
    Ok(tally)
}

/// Notes what the control clients must not have seen.
fn judge(seen: &Report, broken: &mut Vec<String>) {
    broken.extend(seen.wrong.iter().chain(&seen.failed).take(5).map(|seen| format!("meanwhile: {seen}")));
    let (half, all) = (seen.latency(50), seen.latency(100));
    if half > USUAL || all > LONGEST {
        broken.push(format!("a control client waited for {all:?}, and half of the time for {half:?}"));
    }
    if seen.account.acknowledged() == 0 {
        broken.push(format!("no control client was served: {} were refused", seen.refused));
    }
}

/// Raises the number of connections that this process, and the host that it starts, may have.
fn allow_many_connections() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).context("raising RLIMIT_NOFILE")
}

/// True for an answer that even an attacker may get.
fn is_allowed(status: u16) -> bool {
    status < 500 || [501, 503, 505].contains(&status)
}

/// The exchanges that run at once.
const EXCHANGES: usize = 16;

/// Sends each of these on a connection of its own, and returns the statuses of all answers to each.
fn exchange(attack: &Attack, requests: &[Vec<u8>]) -> Result<Vec<Vec<u16>>> {
    let share = requests.len().div_ceil(EXCHANGES).max(1);
    let (address, silence) = (attack.address, Duration::from_millis(attack.effort.pick(500, 2_000)));
    thread::scope(|scope| {
        let exchange = |share: &[Vec<u8>]| -> Result<Vec<_>> {
            share.iter().map(|bytes| exchange_one(address, silence, bytes)).collect()
        };
        let threads: Vec<_> =
            requests.chunks(share).map(|share| scope.spawn(move || exchange(share))).collect();
        let mut statuses = Vec::new();
        for thread in threads {
            statuses.extend(thread.join().map_err(|_| anyhow!("an exchange panicked"))??);
        }
        Ok(statuses)
    })
}

/// Reads all answers until the server closes, or is silent for a while.
fn exchange_one(address: SocketAddr, silence: Duration, bytes: &[u8]) -> Result<Vec<u16>> {
    let mut client = RawClient::connect(address)?;
    let _ = client.send(bytes); // the server may have closed before the end
    let mut statuses = Vec::new();
    while let Ok(answer) = client.answer() {
        statuses.push(answer.status);
        client.stream().set_read_timeout(Some(silence))?;
    }
    Ok(statuses)
}

/// The outcome of a publish whose connection was abused: what was not acknowledged may have been stored or not.
fn outcome(statuses: &[u16]) -> Outcome {
    match statuses {
        [200, ..] => Outcome::Acknowledged,
        [400..=499 | 503, ..] => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}

/// The bytes of a request that publishes.
fn publish(headers: &str, ids: &[String]) -> Vec<u8> {
    let body = batch(ids);
    format!("POST /publish HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}
