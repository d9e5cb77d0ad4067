//! An instance of the component ends, with the requests in it: by a trap, because it has no memory left, or because the
//! host has a fault of its own. It is replaced; the requests in it get 500, and no others.

use std::net::SocketAddr;
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use sekali_harness::deployment::{Deployment, Setup};
use sekali_harness::host::Host;

use super::Trial;
use crate::Tally;
use crate::attacks::batch;
use crate::attacks::events::{Fate, Ledger, note};
use crate::attacks::raw_client::RawClient;
use crate::history::{Cast, History, Losses, PAUSE, Served, Span, Stage, System, play_and_check};

/// Requests with a fault at once: with fewer, one of the instances may not get any.
const AT_ONCE: usize = 4;

/// Requests that the clients of the history have under way: two publishers, each of which sends two at once now and then,
/// and two readers.
const UNDER_WAY: usize = 6;

/// An instance traps, like one with a fault in its code.
pub fn trap(trial: &mut Trial) -> Result<()> {
    end_instances(trial, "trap")
}

/// The next memory that an instance asks for is refused, and so it aborts.
pub fn memory(trial: &mut Trial) -> Result<()> {
    end_instances(trial, "memory")
}

/// The host's task that runs an instance panics.
pub fn panic(trial: &mut Trial) -> Result<()> {
    end_instances(trial, "panic")
}

fn end_instances(trial: &mut Trial, fault: &'static str) -> Result<()> {
    let Some(deployment) = faulty()? else { return Ok(()) };
    let (seed, mut tally) = (trial.random.u64(..1 << 32), Tally::default());
    let mut system = Faulty { deployment, trial, fault, failed: 0 };
    play_and_check(seed, None, &mut system, &mut tally)?;
    trial.tally.add(tally);
    Ok(())
}

/// A service whose instances end, while clients use it as it is meant: those of a history.
struct Faulty<'t> {
    deployment: Deployment,
    trial: &'t mut Trial,
    fault: &'static str,
    /// Requests with the fault that were not served.
    failed: usize,
}

impl System for Faulty<'_> {
    fn hosts(&mut self) -> Vec<&mut Deployment> {
        vec![&mut self.deployment]
    }

    fn cast(&self) -> Cast {
        Cast { publishers: 2, rest: PAUSE, read_pages: false, followers: 0, ..Cast::default() }
    }

    fn losses(&self) -> Losses {
        Losses { instances: true, ..Losses::default() }
    }

    fn torment(&mut self, _: &mut Rng, _: &Stage, _: &mut History, _: &mut Tally) -> Result<()> {
        let (address, fault, trial) = (self.deployment.address(), self.fault, &mut *self.trial);
        for round in 0..trial.effort.pick(3, 30) {
            let ended = thread::scope(|scope| {
                let requests: Vec<_> = (0..AT_ONCE)
                    .map(|n| scope.spawn(move || request(address, fault, &format!("faulty-{round}-{n}"))))
                    .collect();
                requests.into_iter().map(|request| request.join().unwrap_or_default()).collect::<Vec<_>>()
            });
            for (ledger, is_served) in ended {
                trial.ledger.add(ledger);
                self.failed += usize::from(!is_served);
            }
            sleep(Duration::from_millis(trial.random.u64(..200)));
        }
        if self.failed == 0 {
            trial.tally.violated("no request with the fault failed: it was not made");
        }
        let log = self.deployment.log();
        let is_told = if fault == "panic" { "panicked and is replaced" } else { "ended and is replaced" };
        if !log.contains(is_told) {
            trial.tally.violated(format!("the log does not say {is_told:?}: {log}"));
        }
        trial.must_be_well(address, "with new instances")
    }

    /// Each fault ends each instance once, and with it no more than what every client had under way.
    fn judge(&self, history: &History, tally: &mut Tally) {
        let served = Served::of(history, Span::ALWAYS);
        if served.failed.len() > UNDER_WAY * self.failed || served.acknowledged == 0 {
            tally.violated(format!(
                "{} faults failed {} of {} requests of others: {:?}",
                self.failed,
                served.failed.len(),
                served.times.len(),
                &served.failed[..served.failed.len().min(3)]
            ));
        }
    }
}

/// Sends a request that makes a fault. Its body is large enough to need memory. Returns true if it was served.
fn request(address: SocketAddr, fault: &str, name: &str) -> (Ledger, bool) {
    let mut ledger = Ledger::default();
    let ids: Vec<_> = (0..2_000).map(|n| format!("{name}-{n}")).collect();
    let answer = RawClient::connect(address)
        .and_then(|mut client| client.publish(&format!("x-fault: {fault}\r\n"), &batch(&ids)));
    note(&mut ledger, &ids, Fate::of(&answer));
    (ledger, answer.is_ok_and(|answer| answer.status == 200))
}

/// A service on the host that makes faults; none on Spin, which cannot.
fn faulty() -> Result<Option<Deployment>> {
    let mut setup = Setup::from_environment()?;
    if setup.host.is_spin() {
        return Ok(None);
    }
    setup.host = Host::faulty();
    setup.start().context("the host with faults").map(Some)
}
