//! Another process holds the write lock of the database.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::Result;
use rusqlite::Connection;

use super::Trial;
use crate::attacks::batch;
use crate::attacks::events::{Fate, Ledger, note};
use crate::attacks::raw_client::{RawAnswer, RawClient};

/// Clients that publish meanwhile.
const WRITERS: usize = 8;

/// The times between which a request is told that the database is busy: five seconds, and what a loaded machine adds.
const TOLD_AFTER: Duration = Duration::from_millis(4_500);
const TOLD_BEFORE: Duration = Duration::from_secs(9);

/// The longest that a read may take, which never waits for a writer. A loaded machine adds nearly all of it.
const READ_BEFORE: Duration = Duration::from_secs(3);

/// An answer, and the time that it took.
type Timed = (std::io::Result<RawAnswer>, Duration);

/// Every request is patient enough.
pub fn briefly(trial: &mut Trial) -> Result<()> {
    let deployment = trial.start()?;
    let answers = hold(trial, deployment.address(), &deployment.database(), Duration::from_secs(1), write)?;
    for (answer, time) in answers {
        if !answer.as_ref().is_ok_and(|answer| answer.status == 200) {
            trial.tally.violated(format!("a publish during a second's lock gets {answer:?} after {time:?}"));
        }
    }
    trial.must_be_well(deployment.address(), "after the lock")
}

/// Requests are told that the database is busy, in time, and reads and probes go on.
pub fn for_long(trial: &mut Trial) -> Result<()> {
    let deployment = trial.start()?;
    let time = Duration::from_secs(trial.effort.pick(8, 30));
    let address = deployment.address();
    let is_held = AtomicBool::new(true);
    let (answers, reads) = thread::scope(|scope| {
        let reads = scope.spawn(|| read(address, &is_held));
        let answers = hold(trial, address, &deployment.database(), time, write_while_busy);
        is_held.store(false, Ordering::Relaxed);
        (answers, reads.join())
    });
    let mut told = 0;
    for (answer, time) in answers? {
        match &answer {
            Ok(answer) if answer.status == 200 => {} // the lock ended in time
            Ok(answer)
                if answer.status == 503
                    && answer.problem().as_deref() == Some("busy")
                    && answer.header("retry-after").is_some()
                    && (TOLD_AFTER..TOLD_BEFORE).contains(&time) =>
            {
                told += 1;
            }
            _ => trial.tally.violated(format!("a publish during a long lock gets {answer:?} after {time:?}")),
        }
    }
    if told < WRITERS {
        trial.tally.violated(format!("only {told} of {WRITERS} clients were told that the database is busy"));
    }
    let reads = reads.map_err(|_| anyhow::anyhow!("a reader panicked"))?;
    for (answer, time) in &reads {
        if !answer.as_ref().is_ok_and(|answer| answer.status == 200) || *time > READ_BEFORE {
            trial.tally.violated(format!("a read during a lock gets {answer:?} after {time:?}"));
        }
    }
    if reads.len() < 10 {
        trial.tally.violated(format!("only {} reads were answered during a lock", reads.len()));
    }
    trial.must_be_well(address, "after the lock")
}

/// Holds the lock while some clients publish.
fn hold(
    trial: &mut Trial,
    address: SocketAddr,
    database: &std::path::Path,
    time: Duration,
    write: fn(SocketAddr, &str) -> (Ledger, Vec<Timed>),
) -> Result<Vec<Timed>> {
    let other = Connection::open(database)?;
    other.execute_batch("begin immediate")?;
    let began = Instant::now();
    let mut answers = Vec::new();
    thread::scope(|scope| {
        let writers: Vec<_> =
            (0..WRITERS).map(|n| scope.spawn(move || write(address, &format!("during-{n}")))).collect();
        sleep(time.saturating_sub(began.elapsed()));
        other.execute_batch("rollback")?;
        for writer in writers {
            let (ledger, timed) = writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))?;
            trial.ledger.add(ledger);
            answers.extend(timed);
        }
        Ok(answers)
    })
}

/// Publishes once.
fn write(address: SocketAddr, name: &str) -> (Ledger, Vec<Timed>) {
    let (mut ledger, began) = (Ledger::default(), Instant::now());
    let ids = [name.to_owned()];
    let answer = RawClient::connect(address).and_then(|mut client| client.publish("", &batch(&ids)));
    note(&mut ledger, &ids, Fate::of(&answer));
    (ledger, vec![(answer, began.elapsed())])
}

/// Publishes one event after another until one is stored.
fn write_while_busy(address: SocketAddr, name: &str) -> (Ledger, Vec<Timed>) {
    let (mut ledger, mut answers) = (Ledger::default(), Vec::new());
    for n in 0.. {
        let (noted, timed) = write(address, &format!("{name}-{n}"));
        ledger.add(noted);
        answers.extend(timed);
        if !answers.last().is_some_and(|(answer, _)| answer.as_ref().is_ok_and(|answer| answer.status == 503))
        {
            break;
        }
    }
    (ledger, answers)
}

/// Reads and probes for as long as the lock is held.
fn read(address: SocketAddr, is_held: &AtomicBool) -> Vec<Timed> {
    let mut answers = Vec::new();
    while is_held.load(Ordering::Relaxed) {
        for path in ["/events?limit=5", "/readyz", "/stats", "/events/siege/e-0"] {
            let began = Instant::now();
            let answer = RawClient::connect(address).and_then(|mut client| client.get(path));
            answers.push((answer, began.elapsed()));
        }
        sleep(Duration::from_millis(50));
    }
    answers
}
