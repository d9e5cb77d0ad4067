//! Restate: a handler that is called once for each idempotency key. A call is acknowledged when it is in the log.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use sekali_harness::host::free_port;
use sekali_harness::process::Process;
use serde_json::{Value, json};

use super::peer::{Load, Peer, Rates, Running};
use super::protocol::{self, Client, Protocol, publish};
use crate::{http, system, workload};

/// A service whose handler has nothing to do: the call itself is the event.
const HANDLER: &str = r#"import * as restate from "@restatedev/restate-sdk";
const inbox = restate.service({ name: "Inbox", handlers: { store: async () => {} } });
restate.serve({ services: [inbox], port: Number(process.argv[2]) });
"#;

/// Restate, as installed.
pub struct Restate {
    server: PathBuf,
    node: PathBuf,
    version: String,
}

impl Restate {
    /// The name of its package, which the operator is told where it is missing.
    pub const INSTALL: &str =
        "restate: npm install --prefix target/bench/peers @restatedev/restate-server @restatedev/restate-sdk";

    /// Restate and its SDK, if they and Node.js are installed.
    pub fn find() -> Option<Self> {
        let (server, node) = (system::program("restate-server")?, system::program("node")?);
        let modules = server.parent()?.parent()?;
        modules.join("@restatedev/restate-sdk").exists().then_some(())?;
        let output = Command::new(&server).arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&output.stdout).split_whitespace().nth(1)?.to_owned();
        Some(Self { server, node, version })
    }

    fn modules(&self) -> Option<&Path> {
        self.server.parent()?.parent()
    }
}

/// The ports of a state directory: of ingress, administration, node, and the handler. Restate remembers the last.
fn ports(state: &Path) -> Result<[u16; 4]> {
    let file = state.join("ports.json");
    if let Ok(text) = std::fs::read(&file) {
        return Ok(serde_json::from_slice(&text)?);
    }
    let mut ports = [0; 4];
    for port in &mut ports {
        *port = free_port()?.port();
    }
    std::fs::write(file, serde_json::to_vec(&ports)?)?;
    Ok(ports)
}

impl Peer for Restate {
    fn name(&self) -> String {
        format!("Restate {}", self.version)
    }

    fn configuration(&self) -> &'static str {
        "defaults (its log syncs: rocksdb-disable-wal-fsync = false), telemetry off; POST /Inbox/store/send with an idempotency-key; an empty handler on Node.js runs beside it"
    }

    fn memory_of_ids(&self) -> &'static str {
        "the retention of idempotency keys, 1 day by default"
    }

    fn start(&self, state: &Path) -> Result<Running> {
        let [ingress, admin, node, handler] = ports(state)?;
        let modules = state.join("node_modules");
        if !modules.exists() {
            std::os::unix::fs::symlink(self.modules().context("node_modules")?, &modules)?;
            std::fs::write(state.join("inbox.mjs"), HANDLER)?;
        }
        let mut command = Command::new(&self.node);
        command.arg("inbox.mjs").arg(handler.to_string()).current_dir(state);
        let helper = Process::start(command)?;
        let mut command = Command::new(&self.server);
        command.arg("--base-dir").arg(state.join("data")).args(["--node-name", "bench"]).current_dir(state);
        let bind = |port: u16| format!("127.0.0.1:{port}");
        command
            .env("RESTATE_INGRESS__BIND_ADDRESS", bind(ingress))
            .env("RESTATE_ADMIN__BIND_ADDRESS", bind(admin))
            .env("RESTATE_BIND_ADDRESS", bind(node))
            .env("RESTATE_DISABLE_TELEMETRY", "true");
        let mut process = Process::start(command)?;
        let address = ([127, 0, 0, 1], ingress).into();
        let deployment = json!({ "uri": format!("http://127.0.0.1:{handler}"), "force": true });
        process.wait_until(|_| call(admin, "/deployments", &deployment).ok())?;
        let event = vec!["warm-up".to_owned()];
        process
            .wait_until(|_| Client::new(Ingress, protocol::ids("", false), 1).resend(address, &event).ok())?;
        Ok(Running { process, address, state: state.to_owned(), _helper: Some(helper) })
    }

    fn publish(&self, running: &Running, load: Load) -> Result<Rates> {
        publish(running.address, || Ingress, load)
    }

    fn stored(&self, running: &Running) -> Result<u64> {
        let [_, admin, ..] = ports(&running.state)?;
        let query = json!({ "query": "select count(*) as events from sys_invocation" });
        let answer = call(admin, "/query", &query)?;
        answer["rows"][0]["events"].as_u64().context("Restate tells no number of invocations")
    }

    fn publish_until_crash(&self, running: &Running, producer: &str) -> Result<Vec<String>> {
        Client::new(Ingress, protocol::ids(producer, false), 1).publish_until_crash(running.address)
    }

    fn resend(&self, running: &Running, ids: &[String]) -> Result<u64> {
        Client::new(Ingress, protocol::ids("", false), 1).resend(running.address, ids)
    }

    fn has_batches(&self) -> bool {
        false
    }

    fn bytes(&self, running: &Running) -> Result<u64> {
        std::thread::sleep(Duration::from_secs(1));
        system::bytes_below(&running.state.join("data"))
    }
}

/// Restate's ingress over HTTP.
struct Ingress;

impl Protocol for Ingress {
    fn write(&self, ids: &[String], request: &mut Vec<u8>) {
        // It has no batches.
        for id in ids {
            let mut event = Vec::new();
            workload::write_event(id, &mut event);
            http::write(request, "POST", "/Inbox/store/send", &format!("idempotency-key: {id}\r\n"), &event);
        }
    }

    fn answer(&self, _: usize, buffer: &[u8]) -> Result<Option<usize>> {
        http::answer(buffer)
    }

    fn duplicates(&self, answer: &[u8]) -> Result<u64> {
        let answer: Value = serde_json::from_slice(http::body(answer)?)?;
        Ok(u64::from(answer["status"] == "PreviouslyAccepted"))
    }
}

/// Calls Restate's administration with a document.
fn call(port: u16, path: &str, document: &Value) -> Result<Value> {
    let request = ureq::post(format!("http://127.0.0.1:{port}{path}")).header("accept", "application/json");
    Ok(request.send_json(document)?.body_mut().read_json()?)
}
