//! The files of the database go away, are exchanged, or cannot be made.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use rusqlite::Connection;
use sekali_harness::deployment::{Deployment, Setup};
use sekali_harness::is_skipped_on_spin;

use super::Trial;
use crate::attacks::events::Ledger;
use crate::attacks::raw_client::RawClient;

/// Requests to a database that is not there. Each is on a connection of its own, so that each instance gets some.
const TRIES: usize = 12;

/// A directory in which not even root can make a file: that of the processes.
const UNWRITABLE: &str = "/proc";

/// The reason for which Spin cannot keep these promises.
const DOES_NOT_LOOK: &str = "it goes on writing to a file that went away";

/// A host that cannot make its files says so, and does not start.
pub fn unwritable(_: &mut Trial) -> Result<()> {
    let mut setup = Setup::from_environment()?;
    if setup.host.is_spin() {
        return Ok(());
    }
    setup.arguments = vec!["--state-dir".into(), UNWRITABLE.into()];
    match setup.start() {
        Ok(_) => anyhow::bail!("the host starts without a place for its files"),
        Err(error) => {
            let error = format!("{error:#}");
            ensure!(
                error.contains("cannot open /proc/"),
                "it does not name the file that it cannot open: {error}"
            );
        }
    }
    Ok(())
}

/// Nothing is acknowledged, the probe tells, and all is well once the directory has gone.
pub fn directory_in_place(trial: &mut Trial) -> Result<()> {
    let mut deployment = trial.start()?;
    let database = deployment.database();
    deployment.crash_while(|_| -> std::io::Result<()> {
        for file in files_of(&database) {
            fs::remove_file(file)?;
        }
        fs::create_dir(&database)
    })??;
    trial.ledger = Ledger::default();
    refuses(trial, &deployment, "a directory in its place")?;
    fs::remove_dir(&database)?;
    trial.must_be_well(deployment.address(), "the directory has gone")
}

/// A deleted file can still be written to until the last process closes it, and then all of that is lost.
pub fn deleted(trial: &mut Trial) -> Result<()> {
    if is_skipped_on_spin(DOES_NOT_LOOK) {
        return Ok(());
    }
    let mut deployment = trial.start()?;
    let database = deployment.database();
    if trial.random.bool() {
        for file in files_of(&database) {
            fs::remove_file(file)?;
        }
    } else {
        fs::remove_file(&database)?; // its log stays
    }
    refuses(trial, &deployment, "deleted")?;
    deployment.crash_while(|_| files_of(&database).iter().try_for_each(fs::remove_file))??;
    trial.ledger = Ledger::default();
    trial.must_be_well(deployment.address(), "started again without a database")
}

/// A backup in its place is another file, and the open one is lost.
pub fn replaced(trial: &mut Trial) -> Result<()> {
    if is_skipped_on_spin(DOES_NOT_LOOK) {
        return Ok(());
    }
    let mut deployment = trial.start()?;
    let database = deployment.database();
    let backup = database.with_extension("backup");
    Connection::open(&database)?.execute("vacuum into ?1", [backup.to_string_lossy()])?;
    let saved = trial.ledger.clone();
    trial.publish(deployment.address())?;
    fs::rename(&backup, &database)?;
    refuses(trial, &deployment, "replaced")?;
    // The log belongs to the other file. SQLite would apply it to this one.
    deployment.crash_while(|_| {
        let logs = files_of(&database).into_iter().filter(|file| *file != database);
        logs.collect::<Vec<_>>().iter().try_for_each(fs::remove_file)
    })??;
    trial.ledger = saved;
    trial.must_be_well(deployment.address(), "started again on the backup")
}

/// A database that was moved away and comes back has lost nothing.
pub fn moved(trial: &mut Trial) -> Result<()> {
    if is_skipped_on_spin(DOES_NOT_LOOK) {
        return Ok(());
    }
    let deployment = trial.start()?;
    let database = deployment.database();
    let elsewhere = database.with_extension("elsewhere");
    fs::rename(&database, &elsewhere)?;
    refuses(trial, &deployment, "moved away")?;
    fs::rename(&elsewhere, &database)?;
    trial.must_be_well(deployment.address(), "moved back")
}

/// Notes it if an event is acknowledged, or if the probe does not tell that something is wrong.
fn refuses(trial: &mut Trial, deployment: &Deployment, state: &str) -> Result<()> {
    let (mut acknowledged, mut wrong) = (Vec::new(), Vec::new());
    for _ in 0..TRIES {
        // A connection that breaks acknowledges nothing either.
        acknowledged.extend(trial.publish(deployment.address()).ok().filter(|answer| answer.status < 500));
        let mut client = RawClient::connect(deployment.address())?;
        for (path, expected) in [("/healthz", 200), ("/readyz", 503)] {
            let answer = client.get(path)?;
            wrong.extend(Some((path, answer)).filter(|(_, answer)| answer.status != expected));
        }
    }
    if let Some(first) = acknowledged.first() {
        let count = acknowledged.len();
        trial
            .tally
            .violated(format!("{state}: {count} of {TRIES} events are acknowledged into nowhere: {first:?}"));
    }
    if let Some(first) = wrong.first() {
        trial.tally.violated(format!("{state}: {} probes are wrong, such as {first:?}", wrong.len()));
    }
    Ok(())
}

/// Those files of the database that exist.
pub fn files_of(database: &Path) -> Vec<PathBuf> {
    let names = ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", database.display())));
    names.into_iter().filter(|file| file.exists()).collect()
}
