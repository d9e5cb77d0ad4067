//! Sekali on a host, and an echo on the same host.

use std::path::Path;

use anyhow::{Context, Result};
use sekali_harness::deployment::{Setup, database_in, repository};
use sekali_harness::host::Host;
use serde_json::Value;

use super::peer::{Load, Peer, Rates, Running};
use super::protocol::{self, Client, Protocol, publish};
use crate::{http, workload};

/// A component on a host.
pub struct Sekali {
    setup: Setup,
    name: String,
    is_echo: bool,
}

/// What stands in the environment of Spin, as by `scripts/up --spin`.
const SPIN_ENVIRONMENT: [(&str, &str); 1] = [("SPIN_WASMTIME_LINEAR_MEMORY_KEEP_RESIDENT", "0")];

impl Sekali {
    /// The service on a host.
    pub fn on(host: Host) -> Result<Self> {
        let name = if host.is_spin() { on_spin(&host.version()?) } else { "Sekali".into() };
        let mut setup = Setup::on(host);
        if setup.host.is_spin() {
            setup.environment = SPIN_ENVIRONMENT.map(|(name, value)| (name.into(), value.into())).into();
        }
        Ok(Self { setup, name, is_echo: false })
    }

    /// A component that answers each request with its body.
    pub fn echo(host: Host) -> Self {
        let setup = Setup { manifest: crate::ECHO.into(), ..Setup::on(host) };
        Self { setup, name: "an echo on Sekali's host".into(), is_echo: true }
    }
}

/// The name beside a version as Spin says it: `spin 4.1.0 (a revision and a date)`.
fn on_spin(version: &str) -> String {
    format!("Sekali on Spin {}", version.split_whitespace().nth(1).unwrap_or_default())
}

impl Peer for Sekali {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn configuration(&self) -> &'static str {
        "defaults: SQLite in WAL mode, synchronous=FULL; on Spin with the options of scripts/up --spin"
    }

    fn memory_of_ids(&self) -> &'static str {
        "for ever, on disk"
    }

    fn start(&self, state: &Path) -> Result<Running> {
        let (process, address) = self.setup.serve_at(state)?;
        Ok(Running { process, address, state: state.to_owned(), _helper: None })
    }

    fn publish(&self, running: &Running, load: Load) -> Result<Rates> {
        publish(running.address, || Http, load)
    }

    fn stored(&self, running: &Running) -> Result<u64> {
        let stats: Value =
            ureq::get(format!("http://{}/stats", running.address)).call()?.body_mut().read_json()?;
        stats["unique_processed"].as_u64().context("/stats has no number")
    }

    fn publish_until_crash(&self, running: &Running, producer: &str) -> Result<Vec<String>> {
        Client::new(Http, protocol::ids(producer, false), 1).publish_until_crash(running.address)
    }

    fn resend(&self, running: &Running, ids: &[String]) -> Result<u64> {
        Client::new(Http, protocol::ids("", false), 100).resend(running.address, ids)
    }

    fn bytes(&self, running: &Running) -> Result<u64> {
        let file = database_in(&running.state);
        let database = rusqlite::Connection::open(&file)?;
        database.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(()))?;
        Ok(std::fs::metadata(file)?.len())
    }

    fn is_echo(&self) -> bool {
        self.is_echo
    }
}

struct Http;

impl Protocol for Http {
    fn write(&self, ids: &[String], request: &mut Vec<u8>) {
        let mut body = Vec::new();
        workload::write_events(ids.iter(), &mut body);
        http::write(request, "POST", "/publish", "", &body);
    }

    fn answer(&self, _: usize, buffer: &[u8]) -> Result<Option<usize>> {
        http::answer(buffer)
    }

    fn duplicates(&self, answer: &[u8]) -> Result<u64> {
        let receipt: Value = serde_json::from_slice(http::body(answer)?)?;
        receipt["duplicates"].as_u64().context("the receipt has no number of duplicates")
    }
}

/// The bytes of the component.
pub fn component_bytes() -> Result<u64> {
    let file = repository().join("target/wasm32-wasip2/component/sekali.wasm");
    Ok(std::fs::metadata(&file).with_context(|| format!("{}", file.display()))?.len())
}
