//! `outside-faults`: the ground of a running service fails: its files, its locks, its instances, its descriptors, the
//! clock. Each acknowledged event stays, or clients and the operator are told; others are served; and all is as before
//! once the fault has ended.
//!
//! All of this works as root, too, to whom permissions mean nothing: so no fault is made by them.

mod clock;
mod descriptors;
mod files;
mod instance;
mod lock;
mod page;

use std::io;
use std::net::SocketAddr;
use std::thread;

use anyhow::{Result, anyhow};
use fastrand::Rng;
use sekali_harness::deployment::{Deployment, Setup};

use crate::attacks;
use crate::attacks::events::Ledger;
use crate::attacks::raw_client::RawAnswer;
use crate::{Effort, Tally};

/// A fault, by name.
type Fault = (&'static str, fn(&mut Trial) -> Result<()>);

const FAULTS: &[Fault] = &[
    ("a lock held for a second", lock::briefly),
    ("a lock held for longer than a request waits", lock::for_long),
    ("a directory where nobody may write", files::unwritable),
    ("a directory in place of the database", files::directory_in_place),
    ("the database deleted while it runs", files::deleted),
    ("the database replaced while it runs", files::replaced),
    ("the database moved away and back while it runs", files::moved),
    ("a page overwritten while it is stopped", page::while_stopped),
    ("a page overwritten while it runs", page::while_running),
    ("a trap in an instance", instance::trap),
    ("no memory left in an instance", instance::memory),
    ("a panic of the host in an instance", instance::panic),
    ("no file descriptors left", descriptors::exhausted),
    ("the clock going back", clock::back),
];

/// Makes each fault once, all at the same time, each to a service of its own.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    let mut total = Tally::default();
    thread::scope(|scope| {
        let attempt = |fault: &Fault, seed| {
            let mut trial = Trial::new(seed, effort);
            if let Err(error) = fault.1(&mut trial) {
                trial.tally.violated(format!("{error:#}"));
            }
            trial.tally.trials = 1;
            trial.tally.acknowledged += trial.ledger.acknowledged();
            trial.tally
        };
        let trials = FAULTS.iter().zip(seed..).map(|(fault, seed)| scope.spawn(move || attempt(fault, seed)));
        let trials: Vec<_> = trials.collect();
        for ((name, _), trial) in FAULTS.iter().zip(trials) {
            let mut tally = trial.join().map_err(|_| anyhow!("the trial of {name} panicked"))?;
            tally.violations.iter_mut().for_each(|violation| *violation = format!("{name}: {violation}"));
            total.add(tally);
        }
        Ok(total)
    })
}

/// A fault, and the service that it is made to.
struct Trial {
    effort: Effort,
    random: Rng,
    ledger: Ledger,
    tally: Tally,
    /// Events that were named.
    named: usize,
}

impl Trial {
    fn new(seed: u64, effort: Effort) -> Self {
        let random = Rng::with_seed(seed);
        Self { effort, random, ledger: Ledger::default(), tally: Tally::default(), named: 0 }
    }

    /// A service that has stored some events.
    fn start(&mut self) -> Result<Deployment> {
        let deployment = Setup::from_environment()?.start()?;
        let ids = self.names(300);
        attacks::expect(200, attacks::publish(deployment.address(), "", &ids, &mut self.ledger)?)?;
        Ok(deployment)
    }

    /// Names of new events.
    fn names(&mut self, count: usize) -> Vec<String> {
        let first = self.named;
        self.named += count;
        (first..self.named).map(|n| format!("e-{n}")).collect()
    }

    /// Publishes an event on a connection of its own.
    fn publish(&mut self, address: SocketAddr) -> io::Result<RawAnswer> {
        let ids = self.names(1);
        attacks::publish(address, "", &ids, &mut self.ledger)
    }

    /// Notes what is not as before the fault.
    fn must_be_well(&mut self, address: SocketAddr, when: &str) -> Result<()> {
        let broken = attacks::all_is_well(address, &mut self.ledger, when)?;
        self.tally.violations.extend(broken.into_iter().map(|broken| format!("{when}: {broken}")));
        Ok(())
    }
}
