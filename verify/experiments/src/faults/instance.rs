//! An instance of the component ends, with the requests in it: by a trap, because it has no memory left, or because the
//! host has a fault of its own. It is replaced; the requests in it get 500, and no others.

use std::sync::atomic::AtomicBool;
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result};
use sekali_harness::deployment::{Deployment, Setup};
use sekali_harness::host::Host;

use super::Trial;
use crate::attacks::account::{Account, Outcome};
use crate::attacks::batch;
use crate::attacks::control_client::ControlClients;
use crate::attacks::raw_client::RawClient;

/// Requests with a fault at once: with fewer, one of the instances may not get any.
const AT_ONCE: usize = 4;

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

fn end_instances(trial: &mut Trial, fault: &str) -> Result<()> {
    let Some(deployment) = faulty()? else { return Ok(()) };
    let address = deployment.address();
    let stop = AtomicBool::new(false);
    let mut ended = 0;
    let seen = thread::scope(|scope| {
        let control_clients = ControlClients::start(scope, &stop, address, "meanwhile", 6);
        for round in 0..trial.effort.pick(3, 30) {
            let requests: Vec<_> = (0..AT_ONCE)
                .map(|n| scope.spawn(move || request(address, fault, &format!("faulty-{round}-{n}"))))
                .collect();
            for request in requests {
                let (account, is_served) = request.join().unwrap_or_default();
                trial.account.add(account);
                ended += usize::from(!is_served);
            }
            sleep(Duration::from_millis(trial.random.u64(..200)));
        }
        control_clients.stop()
    });
    if ended == 0 {
        trial.tally.violated("no request with the fault failed: it was not made");
    }
    let served = seen.account.acknowledged();
    trial.account.add(seen.account);
    trial.tally.violations.extend(seen.wrong);
    // Each fault ends each instance once, and with it no more than what every witness had under way.
    let most = 6 * ended;
    if seen.failed.len() > most || served == 0 {
        trial.tally.violated(format!(
            "{ended} faults failed {} of {} requests of others: {:?}",
            seen.failed.len(),
            seen.latencies.len(),
            &seen.failed[..seen.failed.len().min(3)]
        ));
    }
    let log = deployment.log();
    let is_told = if fault == "panic" { "panicked and is replaced" } else { "ended and is replaced" };
    if !log.contains(is_told) {
        trial.tally.violated(format!("the log does not say {is_told:?}: {log}"));
    }
    trial.must_be_well(address, "with new instances")
}

/// Sends a request that makes a fault. Its body is large enough to need memory. Returns true if it was served.
fn request(address: std::net::SocketAddr, fault: &str, name: &str) -> (Account, bool) {
    let mut account = Account::default();
    let ids: Vec<_> = (0..2_000).map(|n| format!("{name}-{n}")).collect();
    let answer = RawClient::connect(address)
        .and_then(|mut client| client.publish(&format!("x-fault: {fault}\r\n"), &batch(&ids)));
    account.note(&ids, Outcome::of(&answer));
    (account, answer.is_ok_and(|answer| answer.status == 200))
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
