//! `hostile-clients`: clients that are slow, many, greedy or malicious, while control clients use the service as it is meant.
//! The control clients are served, nothing but 503 is ever refused with a 5xx, memory stays bounded, a request that hides
//! within another is never carried out, and afterwards all is as before.

mod crowds;
mod readers;
mod receivers;
mod shapes;
mod smuggling;

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use fastrand::Rng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sekali_harness::deployment::{Deployment, Setup};

use crate::attacks::events::{Fate, LARGE, Ledger};
use crate::attacks::raw_client::RawClient;
use crate::attacks::{self, batch, expect};
use crate::history::{self, Cast, History, PAUSE, Served, Span, Stage, System, percentile};
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
    ("deliveries that nobody signed", receivers::forge),
    ("large signatures and bodies of receivers", receivers::weigh_down),
    ("doors beside the signature", receivers::go_around),
];

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
    ledger: Ledger,
}

/// Makes each abuse once, one after another.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    allow_many_connections()?;
    let mut setup = Setup::from_environment()?;
    setup.variables.push(("hooks".into(), receivers::hooks().to_string()));
    let deployment = setup.start()?;
    let mut attack = Attack { address: deployment.address(), effort, ledger: Ledger::default() };
    for chunk in 0..LARGE_EVENTS / 100 {
        let ids: Vec<_> = (0..100).map(|n| format!("{LARGE}{chunk}-{n}")).collect();
        expect(200, attacks::publish(attack.address, "", &ids, &mut attack.ledger)?)?;
    }
    let mut tally = Tally::default();
    let mut attacked = Attacked { deployment, attack, made: Vec::new() };
    history::play_and_check(seed, None, &mut attacked, &mut tally)?;
    tally.trials = ABUSES.len() as u64;
    tally.acknowledged += attacked.attack.ledger.acknowledged();
    Ok(tally)
}

/// A service that is attacked while control clients use it as it is meant: those of a history.
struct Attacked {
    deployment: Deployment,
    attack: Attack,
    /// The abuses that were made, each with its time.
    made: Vec<(&'static str, Span)>,
}

impl System for Attacked {
    fn hosts(&mut self) -> Vec<&mut Deployment> {
        vec![&mut self.deployment]
    }

    fn cast(&self) -> Cast {
        // They read what is their own: the large events are for the attackers.
        Cast { publishers: 2, rest: PAUSE, read_pages: false, followers: 2, ..Cast::default() }
    }

    fn torment(&mut self, rng: &mut Rng, stage: &Stage, _: &mut History, tally: &mut Tally) -> Result<()> {
        for (name, abuse) in ABUSES {
            let began = stage.clock.tick();
            let found = abuse(&mut self.attack, rng);
            let mut broken = found.unwrap_or_else(|error| vec![format!("{error:#}")]);
            let peak = self.deployment.memory()?.peak;
            if peak > MEMORY {
                broken.push(format!("the host held {} MiB, and may hold {}", peak >> 20, MEMORY >> 20));
            }
            eprintln!("torture: hostile-clients: {name}: the host held up to {} MiB", peak >> 20);
            let Attack { address, ledger, .. } = &mut self.attack;
            match attacks::all_is_well(*address, ledger, &format!("{name}, over")) {
                Ok(more) => broken.extend(more),
                Err(error) => broken.push(format!("{error:#}")),
            }
            self.made.push((name, Span { began, ended: stage.clock.tick() }));
            tally.violations.extend(broken.into_iter().map(|broken| format!("{name}: {broken}")));
        }
        Ok(())
    }

    /// Control clients are served in time, and each of their requests is answered.
    fn judge(&self, history: &History, tally: &mut Tally) {
        for (name, span) in &self.made {
            let served = Served::of(history, *span);
            let mut broken: Vec<_> =
                served.failed.iter().take(5).map(|lost| format!("meanwhile: {lost}")).collect();
            let [half, all] = [50, 100].map(|at| percentile(served.times.clone(), at));
            if half > USUAL || all > LONGEST {
                broken
                    .push(format!("a control client waited for {all:?}, and half of the time for {half:?}"));
            }
            if served.acknowledged == 0 {
                broken.push(format!("no control client was served: {} were refused", served.refused));
            }
            eprintln!(
                "torture: hostile-clients: {name}: control clients were served {} times within {all:?} (p50 {half:?}), \
                and refused {} times",
                served.times.len(),
                served.refused,
            );
            tally.violations.extend(broken.into_iter().map(|broken| format!("{name}: {broken}")));
        }
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
fn outcome(statuses: &[u16]) -> Fate {
    match statuses {
        [200, ..] => Fate::Acknowledged,
        [400..=499 | 503, ..] => Fate::Refused,
        _ => Fate::Unknown,
    }
}

/// The bytes of a request that publishes.
fn publish(headers: &str, ids: &[String]) -> Vec<u8> {
    let body = batch(ids);
    format!("POST /publish HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}
