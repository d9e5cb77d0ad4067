//! The process has no file descriptors left: connections wait to be accepted, and the database cannot be opened again.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use sekali_harness::deployment::Deployment;

use super::Trial;
use crate::attacks::events::{Fate, note};
use crate::attacks::raw_client::RawClient;
use crate::attacks::{batch, expect};

/// The descriptors that are left for connections.
const LEFT: u64 = 10;

/// The connections that are opened. The kernel takes those that the process cannot.
const CONNECTIONS: usize = 60;

/// Clients that are connected are served; those that wait are served once the others have gone.
pub fn exhausted(trial: &mut Trial) -> Result<()> {
    let deployment = trial.start()?;
    if deployment.descriptors().is_none() {
        return Ok(()); // only Linux shows them
    }
    let address = deployment.address();
    let mut connected = RawClient::connect(address)?;
    expect(200, connected.get("/readyz")?)?;
    limit(&deployment, LEFT)?;
    let mut waiting = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = RawClient::connect(address)?;
        client.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")?;
        waiting.push(client);
    }
    for _ in 0..20 {
        let ids = trial.names(1);
        let answer = connected.publish("", &batch(&ids));
        note(&mut trial.ledger, &ids, Fate::of(&answer));
        let answer = answer.context("the connection that was there before")?;
        if answer.status != 200 && answer.status < 500 {
            trial.tally.violated(format!("without descriptors: {answer:?}"));
        }
        sleep(Duration::from_millis(20));
    }
    // Each that is answered makes room for the next.
    for (n, mut client) in waiting.into_iter().enumerate() {
        let answer =
            client.answer().with_context(|| format!("connection {n} of {CONNECTIONS}, which had to wait"))?;
        expect(200, answer)?;
    }
    limit(&deployment, 10 * LEFT)?;
    if !deployment.log().contains("cannot accept a connection") {
        trial.tally.violated("the log does not say that no connection can be accepted");
    }
    trial.must_be_well(address, "with descriptors again")
}

/// Limits the descriptors of a running process to those that it has and some more.
fn limit(deployment: &Deployment, more: u64) -> Result<()> {
    let used = deployment.descriptors().context("its descriptors cannot be counted")? as u64;
    let process = i32::try_from(deployment.process_id()).ok().and_then(Pid::from_raw);
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    prlimit(process, Resource::Nofile, Rlimit { current: Some(used + more), maximum })?;
    Ok(())
}
