//! The measurement: the peers take turns, several times, because a machine is slower for minutes at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sekali_harness::host::Host;

use super::crash::crash;
use super::nats::Nats;
use super::peer::{Load, Peer, Running};
use super::postgres::Postgres;
use super::redis::Redis;
use super::restate::Restate;
use super::results::{BATCH, BATCH_CLIENTS, CLIENTS, Plan, RANDOM_CLIENTS, Results};
use super::sekali::Sekali;
use super::table;
use crate::{native, system};

/// Measures every peer that is installed, and writes the report.
///
/// # Errors
/// When a peer fails.
pub fn run(plan: &Plan) -> Result<()> {
    let began = Instant::now();
    let peers = peers(plan)?;
    let mut results: Vec<_> = peers.iter().map(|peer| Results::of(&**peer)).collect();
    let mut native = Vec::new();
    for round in 1..=plan.rounds {
        native.push(native::rows_per_second(BATCH, 0.0, Duration::from_secs(plan.seconds))?);
        for (peer, results) in peers.iter().zip(&mut results) {
            println!("round {round} of {}: {}", plan.rounds, results.name);
            let context = || format!("while measuring {}", peer.name());
            measure(&**peer, results, plan).with_context(context)?;
        }
    }
    for (peer, results) in peers.iter().zip(&mut results).filter(|(peer, _)| !peer.is_echo()) {
        println!("kill -9: {}", results.name);
        results.aftermath = Some(crash(&**peer).with_context(|| format!("while killing {}", peer.name()))?);
    }
    table::write(plan, &results, &native, began.elapsed())
}

/// The peers that are installed and wanted.
fn peers(plan: &Plan) -> Result<Vec<Box<dyn Peer>>> {
    fn boxed<P: Peer + 'static>(peer: Option<P>, install: &str) -> Option<Box<dyn Peer>> {
        if peer.is_none() {
            println!("not found, left out: {install}");
        }
        peer.map(|peer| Box::new(peer) as Box<dyn Peer>)
    }
    let spin = Host::spin().map(Sekali::on).transpose()?;
    let own = Host::own()?;
    let found = [
        boxed(Some(Sekali::echo(own.clone())), ""),
        boxed(Some(Sekali::on(own)?), ""),
        boxed(spin, "Sekali on Spin: set SPIN=/path/to/spin"),
        boxed(Postgres::find(), Postgres::INSTALL),
        boxed(Redis::find(), Redis::INSTALL),
        boxed(Nats::find(), Nats::INSTALL),
        boxed(Restate::find(), Restate::INSTALL),
    ];
    let is_wanted = |name: String| {
        let name = name.to_lowercase();
        plan.only.is_empty() || plan.only.iter().any(|part| name.contains(&part.to_lowercase()))
    };
    Ok(found.into_iter().flatten().filter(|peer| is_wanted(peer.name())).collect())
}

fn measure(peer: &dyn Peer, results: &mut Results, plan: &Plan) -> Result<()> {
    let duration = Duration::from_secs(plan.seconds);
    let single = |clients, random| Load { clients, batch: 1, random, duration };
    {
        let state = tempfile::tempdir()?;
        let running = peer.start(state.path())?;
        let empty = bytes(peer, &running)?;
        // The work that is done only once.
        peer.publish(&running, Load { duration: duration.min(Duration::from_secs(1)), ..single(4, false) })?;
        for clients in CLIENTS {
            let used = own_seconds();
            let (rates, memory) = with_memory(&running, || peer.publish(&running, single(clients, false)))?;
            if clients == RANDOM_CLIENTS {
                results.client = (own_seconds() - used) / duration.as_secs_f64();
            }
            results.memory = results.memory.max(memory);
            results.rates.entry(single(clients, false)).or_default().push(rates);
        }
        if !peer.has_batches() {
            results.bytes[0] = per_event(peer, &running, empty)?;
        }
        let rates = peer.publish(&running, single(RANDOM_CLIENTS, true))?;
        results.rates.entry(single(RANDOM_CLIENTS, true)).or_default().push(rates);
    }
    if peer.is_echo() || !peer.has_batches() {
        return Ok(());
    }
    for random in [false, true] {
        let state = tempfile::tempdir()?;
        let running = peer.start(state.path())?;
        let empty = bytes(peer, &running)?;
        let load = Load { clients: BATCH_CLIENTS, batch: BATCH, random, duration };
        let rates = peer.publish(&running, load)?;
        results.rates.entry(load).or_default().push(rates);
        results.bytes[usize::from(random)] = per_event(peer, &running, empty)?;
    }
    Ok(())
}

fn bytes(peer: &dyn Peer, running: &Running) -> Result<u64> {
    if peer.is_echo() { Ok(0) } else { peer.bytes(running) }
}

/// Bytes on disk for each stored event, beside those of an empty store.
fn per_event(peer: &dyn Peer, running: &Running, empty: u64) -> Result<Option<f64>> {
    // One that makes its files before it needs them does not grow.
    let grown = peer.bytes(running)?.checked_sub(empty).filter(|grown| *grown > 0);
    let stored = peer.stored(running)?.max(1);
    Ok(grown.map(|grown| grown as f64 / stored as f64))
}

/// Does some work, and looks at the memory of a peer meanwhile.
fn with_memory<T>(running: &Running, work: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
    let is_done = AtomicBool::new(false);
    let process = running.process.id();
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut most = 0;
            while !is_done.load(Ordering::Relaxed) {
                most = most.max(system::memory(process).unwrap_or(0));
                thread::sleep(Duration::from_millis(500));
            }
            most
        });
        let done = work();
        is_done.store(true, Ordering::Relaxed);
        Ok((done?, looking.join().unwrap_or(0)))
    })
}

fn own_seconds() -> f64 {
    system::processor_seconds(std::process::id())
}
