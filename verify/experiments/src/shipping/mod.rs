//! `shipping`: writers append to their logs in a tree of directories, whose files are rotated, compressed, renamed,
//! truncated and deleted, or come late. A publisher that follows the tree is killed every second, and the service now and
//! then. Afterwards the service has to store every line exactly once, and the publisher must not have said that lines are
//! lost.
//!
//! The variable `SEKALI_SHIPPING_WITHOUT` leaves out what its list names (`rotation`, `compression`, `moves`, `late`,
//! `headers`, `kills`), to learn what a defect needs.
//!
//! - `line`: the lines, each of which can be recognised
//! - `writer`: a thread that appends to its log and rotates it, in one of the ways of the field
//! - `late`: a thread whose files come from outside of the tree
//! - `log`: the files of either, what happened to them, and which lines they hold
//! - `compress`: what gzip and zstd do to a file
//! - `publisher`: the publisher, which is killed
//! - `store`: what the service stores, read as it grows
//! - `check`: the comparison

mod check;
mod compress;
mod late;
mod line;
mod log;
mod publisher;
mod store;
mod writer;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use fastrand::Rng;
use sekali_harness::deployment::{Deployment, Setup};

use self::check::Evidence;
use self::log::Account;
use self::publisher::Publisher;
use self::store::Store;
use crate::relay::service;
use crate::{Effort, Tally};

/// The topic of all lines.
const TOPIC: &str = "shipping";

/// The directory that is followed, within that of the experiment.
const TREE: &str = "logs";

/// One in so many threads brings late files, and the others write logs.
const LATE: usize = 12;

/// The time without a new event after which no more is expected.
const SILENCE: Duration = Duration::from_secs(20);

/// The time for which a publisher is watched that has nothing to send any more.
const REST: Duration = Duration::from_secs(4);

/// The pause between two looks at something.
const LOOK: Duration = Duration::from_millis(50);

/// The longest time for which the service is away.
const AWAY: Duration = Duration::from_millis(800);

/// What all threads share.
struct Stage {
    /// The directory of the experiment.
    root: PathBuf,
    began: Instant,
    /// When the last line is written, and the publisher is killed for the last time.
    until: Instant,
    /// The longest pause of a writer between two writes, and between two rotations.
    pause: Duration,
    between_rotations: Duration,
    /// The average life of the service.
    life_of_service: Duration,
    store: Store,
    without: Without,
}

/// What is left out.
#[derive(Default)]
struct Without(BTreeSet<String>);

impl Without {
    const KINDS: [&str; 6] = ["rotation", "compression", "moves", "late", "headers", "kills"];

    fn from_environment() -> Result<Self> {
        let list = std::env::var("SEKALI_SHIPPING_WITHOUT").unwrap_or_default();
        let kinds: BTreeSet<_> = list.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect();
        for kind in &kinds {
            let known = Self::KINDS.join(", ");
            ensure!(known.split(", ").any(|known| known == kind), "SEKALI_SHIPPING_WITHOUT knows {known}");
        }
        Ok(Self(kinds))
    }

    /// True if it happens.
    fn has(&self, kind: &str) -> bool {
        !self.0.contains(kind)
    }
}

/// Writes, kills, and compares.
///
/// # Errors
/// When the service or the publisher cannot be started, a log cannot be written, or the service cannot be read.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    let mut rng = Rng::with_seed(seed);
    let mut deployment = Setup::from_environment()?.start()?;
    let directory = tempfile::tempdir()?;
    let root = directory.path().canonicalize()?;
    std::fs::create_dir(root.join(TREE))?;
    let began = Instant::now();
    let stage = Stage {
        began,
        until: began + Duration::from_secs(effort.pick(10, 300)),
        pause: Duration::from_millis(effort.pick(500, 1_200)),
        between_rotations: Duration::from_secs(effort.pick(5, 20)),
        life_of_service: Duration::from_secs(effort.pick(4, 15)),
        store: Store::at(deployment.address()),
        without: Without::from_environment()?,
        root,
    };
    let mut publisher = Publisher::start(&stage, deployment.address())?;
    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        // However this ends, the reader must not be waited for for ever.
        let _ends = Ending(is_over);
        scope.spawn(|| stage.store.read_on(is_over));
        let writers = effort.pick(40, 300);
        let (accounts, restarts) = play(&mut rng, writers, &mut deployment, &stage, &mut publisher)?;
        let settled = settle(&stage, &accounts, &mut publisher)?;
        report(&stage, accounts, (restarts, settled), publisher)
    })
}

/// Sets a flag when it is dropped.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Writes and kills for a while. Returns what was written, and how often the service was killed.
fn play(
    rng: &mut Rng,
    writers: usize,
    deployment: &mut Deployment,
    stage: &Stage,
    publisher: &mut Publisher,
) -> Result<(Vec<Account>, usize)> {
    let mut of_publisher = rng.fork();
    let mut of_service = rng.fork();
    let rngs: Vec<_> = (0..writers).map(|_| rng.fork()).collect();
    thread::scope(|scope| {
        let writers: Vec<_> = rngs
            .into_iter()
            .enumerate()
            .map(|(number, rng)| match number % LATE == LATE - 1 && stage.without.has("late") {
                true => scope.spawn(move || late::bring(stage, number, rng)),
                false => scope.spawn(move || writer::write(stage, number, rng)),
            })
            .collect();
        let torment = scope.spawn(|| publisher.torment(stage, &mut of_publisher));
        let restarts = match stage.without.has("kills") {
            true => service::torment(deployment, &mut of_service, stage.until, (stage.life_of_service, AWAY)),
            false => Ok(0),
        };
        let accounts: Result<Vec<_>> = writers.into_iter().map(|writer| joined(writer)?).collect();
        joined(torment)??;
        Ok((accounts?, restarts?))
    })
}

/// Leaves the publisher alone until everything is stored, or nothing came for long. Then it is killed once more, and has
/// nothing more to send. Returns the time until the last line came.
fn settle(stage: &Stage, accounts: &[Account], publisher: &mut Publisher) -> Result<Duration> {
    let (began, lines) = (Instant::now(), accounts.iter().map(Account::total).sum());
    let is_done = || stage.store.total() >= lines && check::is_whole(accounts, &stage.store.stored());
    while !is_done() && stage.store.silence().min(began.elapsed()) < SILENCE {
        sleep(LOOK);
    }
    let settled = began.elapsed().saturating_sub(stage.store.silence());
    publisher.restart(stage)?;
    sleep(REST);
    publisher.end(stage);
    stage.store.catch_up()?;
    Ok(settled)
}

fn report(
    stage: &Stage,
    accounts: Vec<Account>,
    (restarts, settled): (usize, Duration),
    publisher: Publisher,
) -> Result<Tally> {
    let acknowledged = stage.store.deliveries()?;
    let stored = stage.store.stored();
    let kills = publisher.kills();
    let Publisher { said, broken, .. } = publisher;
    let evidence = Evidence { accounts, stored: &stored, said, kills };
    let checked = check::check(&evidence);
    let Evidence { accounts, kills, .. } = &evidence;
    let sum = |count: fn(&Account) -> u64| accounts.iter().map(count).sum::<u64>();
    eprintln!(
        "torture: shipping: {} logs got {} lines, {} of them repeated, in {} files; {} times a log was rotated, {} times \
         a file compressed, {} times moved, {} times deleted; killed: the publisher {} times, the service {restarts} \
         times; {} lines were lost, {} doubled, {} foreign; {} warnings are of truncations and deletions, as they have to be; all came \
         {:.1} s after the last kill",
        accounts.len(),
        sum(Account::total),
        sum(Account::repeated),
        sum(|account| account.files),
        sum(|account| account.rotations),
        sum(|account| account.compressions),
        sum(|account| account.moves),
        sum(|account| account.deletions),
        kills.len(),
        checked.lost,
        checked.doubled,
        checked.foreign,
        checked.warnings,
        settled.as_secs_f64(),
    );
    let mut violations = broken;
    violations.extend(checked.violations);
    Ok(Tally { trials: sum(Account::total), acknowledged, violations })
}

/// A path as the publisher and the history name it.
fn relative<'a>(root: &Path, path: &'a Path) -> &'a str {
    path.strip_prefix(root).unwrap_or(path).to_str().unwrap_or_default()
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a part of it panicked"))
}
