//! PostgreSQL: a unique constraint, and inserts that do nothing when it is there. pgbench is the client.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::peer::{Load, Peer, Rates, Running};
use crate::pgbench::{Cluster, Insert, Installed};

/// PostgreSQL, as installed.
pub struct Postgres(Installed);

impl Postgres {
    /// The name of its package, which the operator is told where it is missing.
    pub const INSTALL: &str = "postgresql: apt-get install postgresql";

    /// PostgreSQL, if its server and pgbench are installed.
    pub fn find() -> Option<Self> {
        Installed::find().map(Self)
    }

    fn cluster(&self, running: &Running) -> Cluster<'_> {
        Cluster::at(&self.0, running.state.clone())
    }
}

impl Peer for Postgres {
    fn name(&self) -> String {
        format!("PostgreSQL {}", self.0.version())
    }

    fn configuration(&self) -> &'static str {
        "defaults (fsync and synchronous_commit on), max_connections 300; unique (topic, event_id), on conflict do nothing; pgbench -M prepared over a socket, no HTTP; batches are rows that one statement makes"
    }

    fn memory_of_ids(&self) -> &'static str {
        "for ever, on disk"
    }

    fn start(&self, state: &Path) -> Result<Running> {
        let cluster = Cluster::at(&self.0, state.to_owned());
        let process = cluster.serve()?;
        // Its clients find it by the socket in its directory.
        let address = ([127, 0, 0, 1], 0).into();
        Ok(Running { process, address, state: state.to_owned(), _helper: None })
    }

    fn publish(&self, running: &Running, load: Load) -> Result<Rates> {
        let insert = Insert { rows: load.batch, random: load.random };
        let measured = self.cluster(running).pgbench(insert, load.clients, load.duration)?;
        let latencies = &measured.latencies;
        ensure!(!latencies.is_empty(), "pgbench has finished no transaction");
        let millis = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize] as f64 / 1e3;
        Ok(Rates {
            events: measured.transactions_per_second * load.batch as f64,
            p50: millis(0.5),
            p99: millis(0.99),
        })
    }

    fn stored(&self, running: &Running) -> Result<u64> {
        let count = self.cluster(running).query("select count(*) from events")?;
        count.trim().parse().context("a number of rows")
    }

    fn publish_until_crash(&self, running: &Running, producer: &str) -> Result<Vec<String>> {
        let ids = (0..8_000).map(|n| format!("{producer}-{n:012}"));
        let script: String = ids.map(|id| crate::pgbench::insert_returning(&[id])).collect();
        let acknowledged = self.cluster(running).script_until_error(producer, &script)?;
        ensure!(!acknowledged.is_empty(), "PostgreSQL acknowledged nothing");
        Ok(acknowledged)
    }

    fn resend(&self, running: &Running, ids: &[String]) -> Result<u64> {
        let script: String = ids.chunks(100).map(crate::pgbench::insert_returning).collect();
        let stored = self.cluster(running).script_until_error("resend", &script)?;
        Ok((ids.len() - stored.len()) as u64)
    }

    fn bytes(&self, running: &Running) -> Result<u64> {
        let cluster = self.cluster(running);
        cluster.query("checkpoint")?;
        cluster.query("select pg_total_relation_size('events')")?.trim().parse().context("a size")
    }
}

/// Inserts a second of the first benchmark's row.
pub fn inserts_per_second(clients: usize, duration: Duration) -> Result<Option<f64>> {
    let Some(postgres) = Postgres::find() else { return Ok(None) };
    let state = tempfile::tempdir()?;
    let running = postgres.start(state.path())?;
    let rates = postgres.publish(&running, Load { clients, batch: 1, random: true, duration });
    Ok(Some(rates?.events))
}
