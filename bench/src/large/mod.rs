//! A store of many events beside a small one: writing, every filter, full reads beside writers, and retention.

mod filters;
mod store;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sekali_harness::deployment::{Setup, database_in};

use self::store::Store;
pub use self::store::{moment, start};
use crate::followers;
use crate::load::{self, Measured, Until};
use crate::report::{Report, median};
use crate::system::processor_seconds;
use crate::workload::{Ids, producers};

/// Events of the small store.
const FEW: u64 = 10_000;

/// Full reads beside the writers.
const READERS: usize = 4;

/// Rounds in which both stores are written to.
const ROUNDS: usize = 3;

/// Fills the stores, and measures what depends on their size: `filters`, `readers`, `followers`, `writes` and `retention`, or those
/// of them that are named.
pub fn run(setup: &Setup, rows: u64, seconds: Duration, parts: &[String], report: &mut Report) -> Result<()> {
    ensure!(rows.is_multiple_of(FEW) && rows > FEW, "--rows must be a multiple of {FEW}, and more than that");
    report.setting("events in the large store", &rows.to_string());
    let large = Large { setup, rows, seconds };
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| part.contains(wanted));
    let few = Store::fill(setup, FEW, Ids::ordered("fill".into()))?;
    let many = large.fill("ordered", Ids::ordered("fill".into()), report)?;
    if is_wanted("filters") {
        filters::measure(&few, &many, report)?;
    }
    if is_wanted("readers") {
        large.readers_beside_writers(&many, report)?;
    }
    if is_wanted("followers") {
        large.followers(&many, report)?;
    }
    let ordered = match is_wanted("writes") {
        true => Some(large.writes(&few, &many, report)?),
        false => None,
    };
    if is_wanted("retention") {
        large.retention(many, report)?;
    }
    if let Some(ordered) = ordered {
        let random = large.fill("random", Ids::random(String::new()), report)?;
        large.random_writes(&random, ordered, report)?;
    }
    Ok(())
}

struct Large<'s> {
    setup: &'s Setup,
    rows: u64,
    seconds: Duration,
}

impl Large<'_> {
    fn fill(&self, kind: &str, ids: Ids, report: &mut Report) -> Result<Store> {
        let began = Instant::now();
        let store = Store::fill(self.setup, self.rows, ids)?;
        let rate = self.rows as f64 / began.elapsed().as_secs_f64();
        report.row(&format!("filling with {kind} ids"), "events/s", rate);
        let bytes = store.bytes() as f64 / self.rows as f64;
        report.row(&format!("the database with {kind} ids"), "bytes an event", bytes);
        Ok(store)
    }

    fn readers_beside_writers(&self, many: &Store, report: &mut Report) -> Result<()> {
        let alone = self.singles(many, "alone")?;
        let read_alone = self.beside_readers(many, || {
            std::thread::sleep(self.seconds);
            Ok(())
        })?;
        let read = self.beside_readers(many, || self.singles(many, "beside"))?;
        let beside = &read.meanwhile;
        report.requests("single events, 64 clients, many stored", &alone);
        report.requests(&format!("the same beside {READERS} full reads"), beside);
        report.row(&format!("{READERS} full reads alone"), "bytes/s", read_alone.rate);
        report.row(&format!("{READERS} full reads beside the writers"), "bytes/s", read.rate);
        report.row("largest write-ahead log", "MiB", read.largest_log as f64 / (1 << 20) as f64);
        report.ratio("publishing beside full reads / alone", beside.rate() / alone.rate());
        report.ratio("p99 beside full reads / alone", beside.millis(99.0) / alone.millis(99.0));
        report.ratio("full reads beside writers / alone", read.rate / read_alone.rate);
        Ok(())
    }

    /// Runs `work` while clients read everything, again and again.
    fn beside_readers<T>(&self, store: &Store, work: impl FnOnce() -> Result<T>) -> Result<BesideReaders<T>> {
        let (is_over, read) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| read_until(store.address, &is_over, &read));
            }
            let largest_log = scope.spawn(|| largest_log(store.state.path(), &is_over));
            let (began, before) = (Instant::now(), read.load(Ordering::Relaxed));
            let meanwhile = work();
            let bytes = read.load(Ordering::Relaxed) - before;
            let rate = bytes as f64 / began.elapsed().as_secs_f64();
            is_over.store(true, Ordering::Relaxed);
            let largest_log = largest_log.join().unwrap_or_default();
            Ok(BesideReaders { meanwhile: meanwhile?, rate, largest_log })
        })
    }

    /// Live streams at a steady rate: one, two hundred, and the same while twenty more are far behind.
    fn followers(&self, many: &Store, report: &mut Report) -> Result<()> {
        for (now, behind) in [(1, 0), (200, 0), (200, 20)] {
            let before = processor_seconds(many.process.id());
            let seen = followers::run(many.address, now, behind, self.seconds)?;
            let used = (processor_seconds(many.process.id()) - before) / self.seconds.as_secs_f64();
            let name = format!("{now} followers, {behind} behind, {} events/s", followers::RATE);
            let expected = self.seconds.as_secs() * followers::RATE * now as u64;
            let millis = |percentile| seen.lag.value_at_percentile(percentile) as f64 / 1000.0;
            report.row(&name, "p50 ms", millis(50.0));
            report.row(&name, "p99 ms", millis(99.0));
            report.row(&name, "max ms", millis(100.0));
            report.row(&name, "cores", used);
            report.ratio(&format!("{name}: received / published"), seen.received as f64 / expected as f64);
            if behind > 0 {
                report.row(&name, "events caught up", seen.caught_up as f64);
            }
        }
        Ok(())
    }

    /// Single events and batches, in both stores by turns, because the speed of a machine changes. Returns the rate of
    /// batches in the large one.
    fn writes(&self, few: &Store, many: &Store, report: &mut Report) -> Result<f64> {
        let (mut singles, mut batches) = (<[Vec<f64>; 2]>::default(), <[Vec<f64>; 2]>::default());
        for round in 0..ROUNDS {
            for (place, store) in [few, many].into_iter().enumerate() {
                singles[place].push(self.singles(store, &format!("singles-{round}"))?.rate());
                let ids = |client| Ids::ordered(format!("batches-{round}-{client}"));
                batches[place].push(self.batches(store, ids)?);
            }
        }
        let [few_singles, many_singles] = singles.map(median);
        let [few_batches, many_batches] = batches.map(median);
        report.row("single events, 64 clients, few stored", "events/s", few_singles);
        report.row("single events, 64 clients, many stored", "events/s", many_singles);
        report.row("batches of 1,000, few stored", "events/s", few_batches);
        report.row("batches of 1,000, many stored", "events/s", many_batches);
        report.ratio("single events: many / few stored", many_singles / few_singles);
        report.ratio("batches of 1,000: many / few stored", many_batches / few_batches);
        Ok(many_batches)
    }

    fn random_writes(&self, many: &Store, ordered: f64, report: &mut Report) -> Result<()> {
        let rate = self.batches(many, Ids::random)?;
        report.row("batches of 1,000, random ids, many stored", "events/s", rate);
        report.ratio("batches of 1,000 at many: random / ordered ids", rate / ordered);
        Ok(())
    }

    /// Publishing while retention takes away more than half of the store.
    fn retention(&self, many: Store, report: &mut Report) -> Result<()> {
        let without = self.singles(&many, "without-retention")?;
        let kept = ("retention_events".to_owned(), (self.rows / 2).to_string());
        let many = many.restart(&Setup { variables: vec![kept], ..self.setup.clone() })?;
        let began = Instant::now();
        let with = self.singles(&many, "with-retention")?;
        let expired = expired(many.state.path())? as f64 / began.elapsed().as_secs_f64();
        report.requests("single events, 64 clients, retention at work", &with);
        report.row("retention beside them", "events/s", expired);
        report.ratio("publishing with retention at work / without", with.rate() / without.rate());
        report.ratio("p99 with retention at work / without", with.millis(99.0) / without.millis(99.0));
        Ok(())
    }

    fn singles(&self, store: &Store, name: &str) -> Result<Measured> {
        let producers = producers(64, 1, 0.0, |client| Ids::ordered(format!("{name}-{client}")));
        load::run(store.address, producers, Until::Elapsed(self.seconds))
    }

    fn batches(&self, store: &Store, ids: impl Fn(String) -> Ids) -> Result<f64> {
        let producers = producers(8, 1000, 0.0, ids);
        Ok(load::run(store.address, producers, Until::Elapsed(self.seconds))?.rate() * 1000.0)
    }
}

struct BesideReaders<T> {
    meanwhile: T,
    /// Bytes that all readers read in a second.
    rate: f64,
    /// Bytes of the write-ahead log at its largest.
    largest_log: u64,
}

/// Reads everything, again and again, and counts the bytes.
pub fn read_until(address: SocketAddr, is_over: &AtomicBool, read: &AtomicU64) -> Result<()> {
    use std::io::{Read, Write};
    let mut buffer = vec![0; 256 * 1024];
    while !is_over.load(Ordering::Relaxed) {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.write_all(b"GET /events HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        while !is_over.load(Ordering::Relaxed) {
            match stream.read(&mut buffer)? {
                0 => break,
                bytes => _ = read.fetch_add(bytes as u64, Ordering::Relaxed),
            }
        }
    }
    Ok(())
}

fn largest_log(state: &Path, is_over: &AtomicBool) -> u64 {
    let log = database_in(state).with_extension("db-wal");
    let mut largest = 0;
    while !is_over.load(Ordering::Relaxed) {
        largest = largest.max(std::fs::metadata(&log).map_or(0, |file| file.len()));
        std::thread::sleep(Duration::from_millis(20));
    }
    largest
}

fn expired(state: &Path) -> Result<i64> {
    let database = rusqlite::Connection::open(database_in(state))?;
    Ok(database.query_row("select sum(expired) from topics", [], |row| row.get(0))?)
}
