//! A page of the database is overwritten, as by a disk that fails or a program that mistakes the file.
//!
//! SQLite notices a page that has lost its structure. It does not notice a byte that changed within a payload.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use sekali_model::ReadBack;

use super::Trial;
use crate::attacks::events;
use crate::attacks::raw_client::RawClient;

const PAGE: usize = 4096;

/// The requests of each kind that are sent to the damaged database.
const TRIES: usize = 12;

/// The service starts on a damaged database.
pub fn while_stopped(trial: &mut Trial) -> Result<()> {
    let mut deployment = trial.start()?;
    let database = deployment.database();
    let random = &mut trial.random;
    let damage = deployment.crash_while(|_| Damage::make(&database, random))??;
    damaged(trial, deployment.address())?;
    deployment.crash_while(|_| damage.mend(&database))??;
    trial.must_be_well(deployment.address(), "mended and started again")
}

/// The database is damaged under the service, and mended under it.
pub fn while_running(trial: &mut Trial) -> Result<()> {
    let deployment = trial.start()?;
    let database = deployment.database();
    let damage = Damage::make(&database, &mut trial.random)?;
    damaged(trial, deployment.address())?;
    damage.mend(&database)?;
    trial.must_be_well(deployment.address(), "mended")
}

/// Each answer of a damaged database is an error, breaks off, or is right.
fn damaged(trial: &mut Trial, address: std::net::SocketAddr) -> Result<()> {
    for _ in 0..TRIES {
        let answer = trial.publish(address);
        let last = trial.named - 1;
        if answer.is_ok_and(|answer| answer.status == 200) {
            let read = RawClient::connect(address)?.get(&format!("/events/siege/e-{last}"))?;
            if read.status != 200 && read.status < 500 {
                trial.tally.violated(format!("e-{last} was acknowledged, and reading it gives {read:?}"));
            }
        }
        // An answer that has begun can only break off.
        if let Ok(answer) = RawClient::connect(address)?.get("/events")
            && answer.status == 200
        {
            let mut read = ReadBack::new(1, 0);
            events::take(&mut read, &answer.body).context("/events")?;
            let broken = events::compare(&trial.ledger, &read).into_iter();
            let broken = broken.map(|broken| format!("a whole answer of a damaged database: {broken}"));
            trial.tally.violations.extend(broken);
        }
        let n = trial.random.usize(..300);
        let known = RawClient::connect(address)?.get(&format!("/events/siege/e-{n}"))?;
        let is_right = || {
            let event: serde_json::Value = serde_json::from_str(&known.body).unwrap_or_default();
            event["payload"] == events::event(&format!("e-{n}"))["payload"]
        };
        if known.status < 500 && !(known.status == 200 && is_right()) {
            trial.tally.violated(format!(
                "a damaged database: e-{n} was acknowledged, and reading it gives {known:?}"
            ));
        }
    }
    Ok(())
}

/// A page that was overwritten.
struct Damage {
    at: u64,
    was: [u8; PAGE],
}

impl Damage {
    /// Overwrites a page at random.
    fn make(database: &Path, random: &mut fastrand::Rng) -> Result<Self> {
        // The log has newer pages than the file, so all of it goes into the file first.
        let connection = Connection::open(database)?;
        let is_busy: i64 = connection.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get(0))?;
        ensure!(is_busy == 0, "the log cannot be emptied");
        drop(connection);
        let file = File::options().read(true).write(true).open(database)?;
        let pages = file.metadata()?.len() / PAGE as u64;
        let at = random.u64(..pages) * PAGE as u64;
        let mut was = [0; PAGE];
        file.read_exact_at(&mut was, at)?;
        let garbage: Vec<u8> = std::iter::repeat_with(|| random.u8(0x20..0x7f)).take(PAGE).collect();
        file.write_all_at(&garbage, at)?;
        Ok(Self { at, was })
    }

    /// Puts the page back.
    fn mend(&self, database: &Path) -> io::Result<()> {
        File::options().write(true).open(database)?.write_all_at(&self.was, self.at)
    }
}
