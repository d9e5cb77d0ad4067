//! Copies of the events in SQLite: `sekali-host backup` and `sekali-host restore`.

pub mod backup;
pub mod restore;

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Error, Result, bail, ensure};
use clap::Args;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use sekali_common::schema::SQLITE;
use tokio::signal::unix::{SignalKind, signal};

use crate::runtime_config::{KeyValueConfig, RuntimeConfig, SqliteConfig};
use crate::state;

/// The place of the stores, as the service is told it.
#[derive(Args)]
pub struct Place {
    /// Directory of the stores [default: .sekali].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// File that configures the path of each store, if the service has one.
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
}

/// The files of the stores with the label `default`.
struct Files {
    database: PathBuf,
    /// `None` in memory.
    answers: Option<PathBuf>,
}

impl Place {
    fn files(&self) -> Result<Files> {
        let state_dir = state::directory(self.state_dir.clone())?;
        let config = self.runtime_config_file.as_deref().map(RuntimeConfig::load).transpose()?;
        let config = config.unwrap_or_default();
        let database = match config.sqlite_databases.get("default") {
            None => state::file(&state_dir, state::DATABASE)?,
            Some(SqliteConfig::Spin { path: Some(path) }) => path.clone(),
            Some(SqliteConfig::Spin { path: None }) => {
                bail!("the events are in memory, and cannot be copied")
            }
            Some(SqliteConfig::Libsql { .. }) => {
                bail!("the events are on a libSQL server: back up and restore them with its own tools")
            }
        };
        state::check(&database)?;
        let answers = match config.key_value_stores.get("default") {
            None => Some(state::file(&state_dir, state::KEY_VALUE)?),
            Some(KeyValueConfig::Spin { path }) => path.clone(),
        };
        Ok(Files { database, answers })
    }
}

/// The content of a copy.
struct Books {
    /// Events that can be read.
    events: i64,
    last_seq: i64,
}

/// Checks that a database is whole, of a schema that this program knows, and that its events are as many as were counted.
fn verify(copy: &Path) -> Result<Books> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let copy = Connection::open_with_flags(copy, flags).context("the copy cannot be opened")?;
    let found = found_in(&copy).map_err(unreadable)?;
    ensure!(found == "ok", "the copy is damaged, so the database may be: {found}");
    books_of(&copy)
}

/// The result of SQLite's check of a database: `ok`, or the first faults.
fn found_in(copy: &Connection) -> rusqlite::Result<String> {
    let mut check = copy.prepare("pragma integrity_check(3)")?;
    let found = check.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    Ok(found.join("; "))
}

fn books_of(copy: &Connection) -> Result<Books> {
    const FOREIGN: &str = "it is no database of Sekali's: name another";
    let number = |statement: &str| copy.query_row(statement, [], |row| row.get::<_, i64>(0)).context(FOREIGN);
    SQLITE.state(number("select max(version) from schema_migrations")?).map_err(Error::msg)?;
    let events = number("select count(*) from events where gone is null")?;
    let counted = number("select coalesce(sum(unique_processed - expired - erased), 0) from topics")?;
    ensure!(events == counted, "the copy holds {events} events, and {counted} were counted: it is not kept");
    Ok(Books { events, last_seq: number("select coalesce(max(seq), 0) from events")? })
}

/// The error for a file that SQLite cannot read.
fn unreadable(error: rusqlite::Error) -> anyhow::Error {
    let is_foreign = error.sqlite_error_code() == Some(ErrorCode::NotADatabase);
    Error::from(error).context(match is_foreign {
        true => "it is no database of Sekali's: name another",
        false => "the copy cannot be read, so it is damaged",
    })
}

/// The file that is being made, which goes with the program if it is interrupted.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

fn unfinished() -> MutexGuard<'static, Option<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is not complete. It is removed when this is dropped before it has got its place.
struct Unfinished(PathBuf);

impl Unfinished {
    /// An empty file for its owner alone, in place of what an earlier attempt has left.
    fn create(path: PathBuf) -> Result<Self> {
        discard(&path);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        *unfinished() = Some(path.clone());
        Ok(Self(path))
    }

    /// Gives it its place, which no signal interrupts.
    fn place(self, place: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let mut unfinished = unfinished();
        place(&self.0)?;
        *unfinished = None;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        discard(&self.0);
    }
}

/// Removes a database that nobody uses.
fn discard(path: &Path) {
    for file in with_sidecars(path) {
        let _ = fs::remove_file(file); // it may not be there
    }
}

/// A database, and the files that SQLite keeps beside it.
fn with_sidecars(path: &Path) -> impl Iterator<Item = PathBuf> {
    ["", "-wal", "-shm", "-journal"].into_iter().map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

/// Runs a command that blocks. A signal ends the program, and takes away what is not finished.
///
/// # Errors
/// The errors of the command.
pub async fn run(command: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
    let number = tokio::select! {
        done = tokio::task::spawn_blocking(command) => return done?,
        _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
        _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
    };
    if let Some(path) = unfinished().take() {
        discard(&path);
    }
    std::process::exit(128 + number)
}

/// Says what is done, or was. Standard output is left to what a program would read.
fn say(message: std::fmt::Arguments<'_>) {
    use io::Write;
    let _ = writeln!(io::stderr(), "sekali: {message}"); // a copy matters more than who hears of it
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_gets_no_place_goes_with_what_sqlite_put_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("copy.db.partial");
        fs::write(&path, "of an earlier attempt").unwrap();
        let unfinished = Unfinished::create(path.clone()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        fs::write(directory.path().join("copy.db.partial-wal"), "").unwrap();
        drop(unfinished);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
