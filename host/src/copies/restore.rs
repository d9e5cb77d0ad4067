//! `sekali-host restore`: puts a copy in the place of the events of a service that does not run.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rusqlite::Connection;

use super::{Files, Place, Unfinished, say, unreadable, verify, with_sidecars};
use crate::state;

/// Leaves out 2^32 seqs, so that no cursor of the lost time hides a new event, and lets retention look at once.
const RESERVE: &str = "
    insert into events (seq, topic, event_id, timestamp, payload, digest, received_at, commit_id, gone)
    select last, '', last, '', '', 0, strftime('%Y-%m-%dT%H:%M:%S', 'now'), -1, 'reserved'
    from (select coalesce(max(seq), 0) + (1 << 32) as last from events);
    update upkeep set due_at = ''";

/// The source and the place of a restore.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    place: Place,

    /// Copy that `backup` has made.
    file: PathBuf,
}

/// Restores the events. What is in their place is moved to a directory beside them, and so are saved answers, which may
/// tell producers of events that the copy lacks.
///
/// # Errors
/// When the service runs, or the copy is not whole; then nothing has changed.
pub fn run(options: &Options) -> Result<()> {
    let Files { database, answers } = options.place.files()?;
    let (copy, directory) = (&options.file, state::directory_of(&database));
    ensure!(copy.is_file(), "there is no {}", copy.display());
    ensure!(
        directory.is_dir(),
        "there is no directory {}: make it first, or name another by --state-dir",
        directory.display()
    );
    let log = with_sidecars(copy).find(|file| file != copy && file.exists());
    if let Some(log) = log {
        bail!(
            "{} is beside the copy, so a program uses it: restore a file that backup has made",
            log.display()
        );
    }
    const STOP: &str = "stop the service first";
    let _in_use = state::claim(directory, STOP)?;
    check_closed(&database)?;

    let began = Instant::now();
    let partial = Unfinished::create(state::restoring(&database))?;
    say(format_args!("copying and verifying {} (about ten seconds for 500 MB)", copy.display()));
    io::copy(&mut File::open(copy)?, &mut OpenOptions::new().write(true).open(&partial.0)?)
        .with_context(|| format!("{} cannot be copied", copy.display()))?;
    verify(&partial.0)?;
    reserve_seqs(&partial.0)?;
    let books = verify(&partial.0)?;
    give_to_owner(&partial.0, directory, &database)?;
    state::sync(&partial.0)?;
    check_closed(&database)?;

    let mut aside = BTreeSet::new();
    partial.place(|partial| {
        aside = set_aside([Some(&database), answers.as_ref()].into_iter().flatten())?;
        fs::rename(partial, &database)?;
        Ok(state::sync(directory)?)
    })?;
    for directory in aside {
        say(format_args!(
            "what was there is in {} now: remove it when you no longer need it",
            directory.display()
        ));
    }
    say(format_args!(
        "{} has {} events, and its next seq is {}, in {} s",
        database.display(),
        books.events,
        books.last_seq + 1,
        began.elapsed().as_secs()
    ));
    Ok(())
}

/// Refuses a database that a program has open: Spin, which does not claim its directory, or a shell.
fn check_closed(database: &Path) -> Result<()> {
    match state::users(database) {
        Some(user) => bail!("{user} has {} open: stop the service first", database.display()),
        None => Ok(()),
    }
}

/// Leaves out seqs in a copy. One of 0.2 gets its new schema from the service.
fn reserve_seqs(copy: &Path) -> Result<()> {
    let copy = Connection::open(copy)?;
    copy.execute_batch("pragma journal_mode = delete").map_err(unreadable)?;
    copy.execute_batch(&format!("begin; {RESERVE}; commit")).context("the seqs cannot be reserved")
}

/// Gives a file the owner of the directory, as whom the service runs, also where root restores it; and the permissions of
/// the database whose place it takes, but none for everybody.
fn give_to_owner(file: &Path, directory: &Path, database: &Path) -> Result<()> {
    let before = fs::metadata(database).map_or(0, |before| before.permissions().mode());
    fs::set_permissions(file, Permissions::from_mode(before & 0o660 | 0o600))?;
    own_as(file, directory)
}

/// Gives a file or directory the owner and group of another directory.
fn own_as(path: &Path, directory: &Path) -> Result<()> {
    let owner = |path: &Path| fs::metadata(path).map(|metadata| (metadata.uid(), metadata.gid()));
    let (uid, gid) = owner(directory)?;
    if owner(path)? == (uid, gid) {
        return Ok(());
    }
    chown(path, Some(uid), Some(gid)).with_context(|| {
        format!(
            "cannot give a file to the owner of {}: restore as that user, or as root",
            directory.display()
        )
    })
}

/// Moves databases, with all that SQLite keeps beside them, to a new directory beside each. Nothing of an old one may
/// stay: SQLite would apply its log to the new one. Returns the directories that have got something.
fn set_aside<'p>(databases: impl Iterator<Item = &'p PathBuf>) -> Result<BTreeSet<PathBuf>> {
    let name = format!("replaced-{}", chrono::Utc::now().format("%Y-%m-%dT%H%M%SZ"));
    let mut made = BTreeSet::new();
    for file in databases.flat_map(|database| with_sidecars(database)).filter(|file| file.exists()) {
        let directory = state::directory_of(&file);
        let aside = directory.join(&name);
        if !made.contains(&aside) {
            DirBuilder::new()
                .mode(0o700)
                .create(&aside)
                .with_context(|| format!("cannot make the directory {}", aside.display()))?;
            own_as(&aside, directory)?;
            made.insert(aside.clone());
        }
        fs::rename(&file, aside.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(made)
}
