//! `sekali-host backup`: a consistent, verified copy of the events, also while the service runs at full load.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Place, Unfinished, say, verify};
use crate::state;

/// The longest wait for a moment in which the log is recovered after a crash.
const LONGEST_RECOVERY: Duration = Duration::from_secs(10);

/// The source and the place of a backup.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    place: Place,

    /// File of the copy. It must not exist yet, and appears when the copy is complete, verified and on disk.
    file: PathBuf,
}

/// Copies the events.
///
/// # Errors
/// When the copy cannot be made or is not whole; then there is none, and the database is as it was.
pub fn run(options: &Options) -> Result<()> {
    let database = options.place.files()?.database;
    let copy = &options.file;
    if !database.is_file() {
        let directory = state::directory_of(&database);
        ensure!(!has_postgres(directory), of_postgres(directory));
        anyhow::bail!("there is no {}: name the directory of the stores by --state-dir", database.display());
    }
    ensure!(!copy.exists(), "{} exists: a backup replaces nothing, so name another file", copy.display());
    let directory = state::directory_of(copy);
    ensure!(directory.is_dir(), "there is no directory {}: make it first", directory.display());

    let began = Instant::now();
    let mut partial = copy.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Unfinished::create(partial.into())?;
    say(format_args!("copying {} (about three seconds for 500 MB)", database.display()));
    copy_pages(&database, &partial.0)
        .with_context(|| format!("the copy failed, and {} is as it was", database.display()))?;
    say(format_args!("verifying the copy (about ten seconds for 500 MB)"));
    let books = verify(&partial.0)?;
    state::sync(&partial.0)?;
    let bytes = fs::metadata(&partial.0)?.len();
    partial.place(|partial| {
        rename_to_new(partial, copy).with_context(|| {
            format!("{} has appeared meanwhile: a backup replaces nothing", copy.display())
        })?;
        Ok(state::sync(directory)?)
    })?;
    say(format_args!(
        "{} has {} events up to seq {}, {:.1} MB, in {} s",
        copy.display(),
        books.events,
        books.last_seq,
        bytes as f64 / 1e6,
        began.elapsed().as_secs()
    ));
    Ok(())
}

/// Copies pages inside one read transaction: writers go on, and what they commit meanwhile is not part of the copy.
/// Without the transaction, each commit would make the copy begin again.
fn copy_pages(database: &Path, partial: &Path) -> Result<()> {
    // Read-only, so that a database that is moved away meanwhile is not made anew.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(database, flags)?;
    source.busy_timeout(LONGEST_RECOVERY)?;
    source.execute_batch("begin; select 'a row' from sqlite_schema limit 1")?;
    let mut copy = Connection::open(partial)?;
    // The file is synced once, when it is complete, and removed if it is not.
    copy.execute_batch("pragma synchronous = off; pragma journal_mode = off")?;
    Backup::new(&source, &mut copy)?.run_to_completion(10_000, Duration::ZERO, None)?;
    copy.execute_batch("pragma journal_mode = delete")?; // the pages say that there is a log, as the service has one
    copy.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// Renames a file, and never replaces another.
fn rename_to_new(from: &Path, to: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that does not know it. Another program would have to make the file within this moment.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !to.exists() => fs::rename(from, to),
        renamed => Ok(renamed?),
    }
}

fn has_postgres(directory: &Path) -> bool {
    directory.join("postgres/data/PG_VERSION").exists()
}

/// The command that copies the PostgreSQL of `scripts/up --store postgres`.
fn of_postgres(directory: &Path) -> String {
    let directory = directory.join("postgres");
    // The fourth line is the port of a server that runs.
    let state = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap_or_default();
    let port = state.lines().nth(3).unwrap_or("54320");
    format!(
        "the events are in a PostgreSQL, which its own programs copy: while it runs, pg_dump --format=custom --file=FILE \
        --dbname=postgres://sekali@127.0.0.1:{port}/postgres, with PGPASSWORD=$(cat {}/password)",
        directory.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_replaces_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        assert!(rename_to_new(&from, &to).is_err());
        assert_eq!(fs::read(&to).unwrap(), b"old");
        fs::remove_file(&to).unwrap();
        rename_to_new(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
    }
}
