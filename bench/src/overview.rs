//! The overview: the component beside an echo, SQLite alone and PostgreSQL.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use sekali_harness::deployment::{Deployment, Setup, repository};

use crate::load::{self, Get, Measured, Until, drain};
use crate::report::{Report, median};
use crate::workload::{Ids, producers};
use crate::{ECHO, native, peers};

/// Measures the component on the host of `setup`: single events, and with `many` also batches, many instances, start times
/// and a store of so many events.
///
/// # Errors
/// When something does not serve.
pub fn run(setup: &Setup, seconds: Duration, many: Option<u64>, report: &mut Report) -> Result<()> {
    Overview { setup, seconds, report }.run(many)
}

struct Overview<'o> {
    /// Sekali with its default settings.
    setup: &'o Setup,
    seconds: Duration,
    report: &'o mut Report,
}

impl Overview<'_> {
    fn run(&mut self, many: Option<u64>) -> Result<()> {
        let native_commits = native::rows_per_second(1, 0.0, self.seconds / 2)?;
        let native_rows = native::rows_per_second(1000, 0.0, self.seconds)?;
        let native_mixed = native::rows_per_second(1000, 0.3, self.seconds)?;
        self.report.row("native SQLite, 1 event a commit", "commits/s", native_commits);
        self.report.row("native SQLite, 1,000 events a commit", "events/s", native_rows);
        self.report.row("native SQLite, 1,000 events a commit, 30 % duplicates", "events/s", native_mixed);
        self.report.ratio("native SQLite: 30 % duplicates / none", native_mixed / native_rows);
        self.singles()?;
        if let Some(many) = many {
            self.contention()?;
            let batches = self.batches(native_rows)?;
            self.at_size(many, batches)?;
            self.files_and_starts()?;
        }
        self.postgres()
    }

    /// Single events at several numbers of clients, each next to an echo of the same body.
    fn singles(&mut self) -> Result<()> {
        for clients in [1, 16, 64, 256] {
            let echo = {
                let server = Setup { manifest: ECHO.into(), ..self.setup.clone() }.start()?;
                self.publish(&server, clients, Ids::ordered)?
            };
            let server = self.setup.clone().start()?;
            let measured = self.publish(&server, clients, Ids::ordered)?;
            let commits = commits(&server.database())?;
            self.report.requests(&format!("echo, {clients} clients"), &echo);
            let name = format!("single events, {clients} clients");
            self.report.requests(&name, &measured);
            self.report.row(&name, "events a commit", stored(&server.database())? as f64 / commits as f64);
            self.report.ratio(&format!("{name} / echo"), measured.rate() / echo.rate());
            if clients == 64 {
                self.report
                    .ratio(&format!("{name}: p99 / echo p99"), measured.millis(99.0) / echo.millis(99.0));
                self.random_ids(&measured)?;
            }
        }
        Ok(())
    }

    fn random_ids(&mut self, ordered: &Measured) -> Result<()> {
        let server = self.setup.clone().start()?;
        let random = self.publish(&server, 64, Ids::random)?;
        self.report.requests("single events with UUIDv4 ids, 64 clients", &random);
        self.report.ratio("UUIDv4 / ordered ids", random.rate() / ordered.rate());
        Ok(())
    }

    /// Many instances on one database, as Spin runs them under load.
    fn contention(&mut self) -> Result<()> {
        if self.setup.host.is_spin() {
            return Ok(());
        }
        for clients in [64, 256] {
            let measure = |arguments: &[&str]| {
                let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
                let server = Setup { arguments, ..self.setup.clone() }.start()?;
                self.publish(&server, clients, Ids::ordered)
            };
            let (few, many) = (measure(&[])?, measure(&["--instances", "64"])?);
            let name = format!("single events, {clients} clients, 64 instances");
            self.report.requests(&name, &many);
            self.report.ratio(&format!("{name} / default instances"), many.rate() / few.rate());
            self.report.ratio(&format!("{name}: p99 / default's p99"), many.millis(99.0) / few.millis(99.0));
        }
        Ok(())
    }

    /// Batches with and without duplicates. Returns the events a second of batches of 1,000.
    fn batches(&mut self, native_rows: f64) -> Result<f64> {
        let measure = |batch: usize, duplicates: f64| -> Result<f64> {
            let server = self.setup.clone().start()?;
            let measured = load::run(
                server.address(),
                producers(8, batch, duplicates, Ids::ordered),
                Until::Elapsed(self.seconds),
            )?;
            Ok(measured.rate() * batch as f64)
        };
        let (hundred, thousand, mixed) = (measure(100, 0.0)?, measure(1000, 0.0)?, measure(1000, 0.3)?);
        self.report.row("batches of 100", "events/s", hundred);
        self.report.row("batches of 1,000", "events/s", thousand);
        self.report.row("batches of 1,000, 30 % duplicates", "events/s", mixed);
        self.report.ratio("batches of 1,000 / native SQLite", thousand / native_rows);
        self.report.ratio("30 % duplicates / none", mixed / thousand);
        Ok(thousand)
    }

    /// Reads and stats with few events and with many, and the memory in use.
    fn at_size(&mut self, many: u64, batches: f64) -> Result<()> {
        let few = 10_000.min(many);
        let small = self.setup.clone().start()?;
        fill(&small, few)?;
        let server = self.setup.clone().start()?;
        fill(&server, many)?;
        let after_filling = server.memory()?.resident;
        let page = "/events?topic=bench&after=0&limit=100";
        let (few_page, many_page) = side_by_side(&small, &server, page)?;
        let (few_stats, many_stats) = side_by_side(&small, &server, "/stats")?;

        let start = Instant::now();
        let read = drain(server.address(), "/events")?;
        let rate = read as f64 / start.elapsed().as_secs_f64();
        ensure!(read == many, "{read} of {many} events were read back");
        let peak = server.memory()?.peak;

        let size = |events: u64| format!("at {events} events");
        for (what, few_measured, many_measured, short) in
            [("a page of 100", few_page, many_page, "page"), ("/stats", few_stats, many_stats, "/stats")]
        {
            self.report.row(&format!("{what} {}", size(few)), "p50 ms", few_measured);
            self.report.row(&format!("{what} {}", size(many)), "p50 ms", many_measured);
            self.report.ratio(&format!("{short} p50 at many / at few events"), many_measured / few_measured);
        }
        self.report.row("reading everything back", "events/s", rate);
        self.report.ratio("reading back / batch publish", rate / batches);
        self.report.row(&format!("resident memory after {many} events"), "MB", after_filling as f64 / 1e6);
        self.report.row("peak memory, a full read included", "MB", peak as f64 / 1e6);
        Ok(())
    }

    fn files_and_starts(&mut self) -> Result<()> {
        let component =
            std::fs::metadata(repository().join("target/wasm32-wasip2/component/sekali.wasm"))?.len();
        self.report.row("component", "KB", component as f64 / 1e3);
        let cache = tempfile::tempdir()?;
        for name in ["start, nothing cached", "start, compiled before"] {
            let cache = Some(cache.path().to_owned());
            let server = Setup { cache, ..self.setup.clone() }.start()?;
            self.report.row(name, "ms", server.startup().as_secs_f64() * 1e3);
        }
        Ok(())
    }

    fn postgres(&mut self) -> Result<()> {
        let Some(rate) = peers::inserts_per_second(64, self.seconds)? else { return Ok(()) };
        self.report.row("PostgreSQL, pgbench, 64 clients", "inserts/s", rate);
        Ok(())
    }

    fn publish(&self, server: &Deployment, clients: usize, ids: impl Fn(String) -> Ids) -> Result<Measured> {
        // The warm-up does the work that is done only once.
        load::run(
            server.address(),
            producers(1, 1, 0.0, |_| Ids::ordered("warm-up".into())),
            Until::Requests(100),
        )?;
        load::run(server.address(), producers(clients, 1, 0.0, ids), Until::Elapsed(self.seconds))
    }
}

/// The median time of a request to each server, in milliseconds. The servers take turns, because the speed of a machine
/// changes from one measurement to the next.
fn side_by_side(few: &Deployment, many: &Deployment, path: &str) -> Result<(f64, f64)> {
    let mut medians = [Vec::new(), Vec::new()];
    for _ in 0..9 {
        for (server, medians) in [few, many].into_iter().zip(&mut medians) {
            let measured = load::run(server.address(), vec![Get(path.to_owned())], Until::Requests(100))?;
            medians.push(measured.millis(50.0));
        }
    }
    let [few, many] = medians.map(median);
    Ok((few, many))
}

/// Publishes this number of events in batches of 1,000.
fn fill(server: &Deployment, events: u64) -> Result<()> {
    let run = server.address().port() as u64 * 1_000_000_000 + stored(&server.database()).unwrap_or(0);
    let producers = producers(1, 1000, 0.0, |client| Ids::ordered(format!("fill-{run}-{client}")));
    ensure!(events.is_multiple_of(1000), "the number of events must be a multiple of 1,000, and is {events}");
    load::run(server.address(), producers, Until::Requests(events / 1000))?;
    Ok(())
}

fn stored(database: &Path) -> Result<u64> {
    let db = Connection::open(database)?;
    Ok(db.query_row("select count(*) from events", [], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

/// The number of writes that stored events. Within a write, each commit id is one more than that of the row before.
fn commits(database: &Path) -> Result<u64> {
    let db = Connection::open(database)?;
    let count = "select count(*) from (select commit_id - lag(commit_id, 1, 0) over (order by seq) as step from events) where step <> 1";
    let commits: i64 = db.query_row(count, [], |row| row.get(0)).context("counting commits")?;
    Ok(commits.unsigned_abs())
}
