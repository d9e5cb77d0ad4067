//! One host and three on one PostgreSQL, beside what the database does by itself. Hosts, database and clients share the
//! machine.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sekali_harness::deployment::{Deployment, Setup};
use sekali_harness::postgres::Postgres;

use crate::load::{self, Measured, Until, drain};
use crate::pgbench::Insert;
use crate::report::Report;
use crate::workload::{Ids, producers};

/// Events that are read.
const READ: u64 = 300_000;

/// Rows of the statements of psql, and how many there are of them.
const ROWS: usize = 1000;
const STATEMENTS: usize = 200;

/// Readers that read everything at the same time.
const READERS: usize = 6;

/// Measures all of it.
pub fn run(seconds: Duration, report: &mut Report) -> Result<()> {
    let server = Postgres::with(&["max_connections=500", "max_wal_size=4GB"])?;
    let version = server.query("postgres", "show server_version")?;
    report.setting("PostgreSQL", &format!("{version}, max_wal_size 4 GB, otherwise its defaults"));
    let bench = Scaling { server, seconds };

    let pgbench = bench.pgbench(64)?;
    let one = bench.hosts(1)?;
    let singles = bench.publish(&one, 64, 1)?;
    let (crowd, busy) = with_busy_cores(|| bench.publish(&one, 256, 1))?;
    drop(one);
    let three = bench.hosts(3)?;
    let spread = bench.publish(&three, 64, 1)?;
    let (spread_crowd, busy_by_three) = with_busy_cores(|| bench.publish(&three, 256, 1))?;
    drop(three);
    report.row("pgbench, the row of an event, 64 clients", "inserts/s", pgbench);
    report.requests("one host, single events, 64 clients", &singles);
    report.requests("one host, single events, 256 clients", &crowd);
    report.requests("three hosts, single events, 64 clients", &spread);
    report.requests("three hosts, single events, 256 clients", &spread_crowd);
    report.row("one host, 256 clients", "cores at work", busy);
    report.row("three hosts, 256 clients", "cores at work", busy_by_three);
    report.ratio("one host, 64 clients / pgbench", singles.rate() / pgbench);
    report.ratio("three hosts / one, 256 clients", spread_crowd.rate() / crowd.rate());

    let psql = bench.psql()?;
    let one = bench.hosts(1)?;
    let batches = bench.publish(&one, 8, ROWS)?.rate() * ROWS as f64;
    drop(one);
    report.row("psql, inserts of 1,000 rows", "rows/s", psql);
    report.row("one host, batches of 1,000", "events/s", batches);
    report.ratio("batches of 1,000 / psql", batches / psql);
    bench.reads(report)
}

struct Scaling {
    server: Postgres,
    seconds: Duration,
}

impl Scaling {
    /// So many hosts on a database of their own. One alone has its two instances, as many as there are cores; of several,
    /// which share these cores, each has one.
    fn hosts(&self, count: usize) -> Result<Vec<Deployment>> {
        let database = self.server.create_database()?;
        let url = self.server.url(&database);
        let host = |_| {
            let mut setup = Setup::on_database(&url, self.server.address())?;
            if count > 1 {
                setup.arguments = vec!["--instances".into(), "1".into()];
            }
            setup.start()
        };
        (0..count).map(host).collect()
    }

    fn publish(&self, hosts: &[Deployment], clients: usize, batch: usize) -> Result<Measured> {
        let addresses = addresses(hosts);
        let warm_up = producers(2 * hosts.len(), 1, 0.0, |client| Ids::ordered(format!("warm-up-{client}")));
        load::run_on(&addresses, warm_up, Until::Requests(100))?;
        let run = format!("{clients}-{batch}");
        let clients = producers(clients, batch, 0.0, |client| Ids::ordered(format!("{run}-{client}")));
        load::run_on(&addresses, clients, Until::Elapsed(self.seconds))
    }

    /// Inserts a second of pgbench, a row each.
    fn pgbench(&self, clients: usize) -> Result<f64> {
        let database = self.server.create_database()?;
        self.server.query(&database, crate::pgbench::TABLE)?;
        let directory = tempfile::tempdir()?;
        let script = directory.path().join("insert.sql");
        std::fs::write(&script, Insert { rows: 1, random: false }.script())?;
        let mut pgbench = Command::new("pgbench");
        let port = self.server.address().port().to_string();
        pgbench.args(["-h", "127.0.0.1", "-p", &port, "-U", "sekali", "-n", "-M", "prepared", "-j", "2"]);
        pgbench.args(["-D", "base=1", "-D", "n=0", "-c", &clients.to_string()]);
        pgbench.args(["-T", &self.seconds.as_secs().to_string(), "-f"]).arg(&script).arg(&database);
        let output = pgbench.output().context("pgbench")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.with_context(|| format!("pgbench printed no rate: {text}"))
    }

    /// Rows a second of psql, a thousand each statement.
    fn psql(&self) -> Result<f64> {
        let database = self.server.create_database()?;
        self.server.query(&database, crate::pgbench::TABLE)?;
        let mut ids = Ids::ordered("psql".into());
        let mut script = String::new();
        for _ in 0..STATEMENTS {
            let rows: Vec<_> = (0..ROWS).map(|_| ids.next()).collect();
            writeln!(script, "{}", crate::pgbench::insert(&rows))?;
        }
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), script)?;
        let began = Instant::now();
        let status = self.server.psql(&database)?.arg("--file").arg(file.path()).status()?;
        ensure!(status.success(), "psql ended with {status}");
        Ok((ROWS * STATEMENTS) as f64 / began.elapsed().as_secs_f64())
    }

    /// Full reads by one host and by three.
    fn reads(&self, report: &mut Report) -> Result<()> {
        let hosts = self.hosts(3)?;
        let address = hosts[0].address();
        let fill = producers(1, ROWS, 0.0, |_| Ids::ordered("fill".into()));
        load::run(address, fill, Until::Requests(READ / ROWS as u64))?;
        let read = |addresses: &[SocketAddr]| -> Result<f64> {
            let began = Instant::now();
            let readers: Vec<_> = (0..READERS)
                .map(|reader| {
                    let address = addresses[reader % addresses.len()];
                    std::thread::spawn(move || drain(address, "/events"))
                })
                .collect();
            for reader in readers {
                let events = reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
                ensure!(events == READ, "{events} of {READ} events were read");
            }
            Ok((READ * READERS as u64) as f64 / began.elapsed().as_secs_f64())
        };
        let (one, busy_by_one) = with_busy_cores(|| read(&[address]))?;
        let (three, busy_by_three) = with_busy_cores(|| read(&addresses(&hosts)))?;
        report.row("one host, six full reads", "cores at work", busy_by_one);
        report.row("three hosts, six full reads", "cores at work", busy_by_three);
        report.row("one host, six full reads", "events/s", one);
        report.row("three hosts, six full reads", "events/s", three);
        report.ratio("three hosts / one, full reads", three / one);
        Ok(())
    }
}

/// The result of some work, and the average number of cores that were busy with anything.
fn with_busy_cores<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    // The first line of /proc/stat: user, nice, system, idle and waiting, then interrupts (proc(5)).
    let ticks = || -> Result<(f64, f64)> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let first = stat.lines().next().unwrap_or_default();
        let ticks: Vec<f64> = first.split_whitespace().skip(1).filter_map(|tick| tick.parse().ok()).collect();
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        Ok((ticks.iter().sum(), idle))
    };
    let cores = std::thread::available_parallelism()?.get() as f64;
    let (all_before, idle_before) = ticks()?;
    let done = work()?;
    let (all, idle) = ticks()?;
    Ok((done, cores * (1.0 - (idle - idle_before) / (all - all_before))))
}

fn addresses(hosts: &[Deployment]) -> Vec<SocketAddr> {
    hosts.iter().map(Deployment::address).collect()
}
