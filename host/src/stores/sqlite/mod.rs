//! SQLite databases and connections to them, on bundled SQLite.

mod turn;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{InterruptHandle, ToSql, ffi};

use self::turn::{Taken, Turn};
use super::file::DatabaseFile;
use crate::metrics::METRICS;

/// Statements that a connection keeps prepared.
const CACHED_STATEMENTS: usize = 64;

/// Spin's default, which a component may change with a pragma.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A statement that takes longer is not brief.
const BRIEF: Duration = Duration::from_millis(2);

/// A database in a file or in memory.
pub struct Database {
    uri: String,
    /// None in memory.
    file: Option<Arc<DatabaseFile>>,
    turn: Arc<Turn>,
    /// True if the last statement of any connection that writes was brief.
    was_brief: Arc<AtomicBool>,
    /// A database in memory lives as long as a connection to it.
    _keep: Option<Mutex<rusqlite::Connection>>,
}

impl Database {
    /// The database in a file, which is created at first use, or a new one in memory.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub fn new(label: &str, path: Option<PathBuf>) -> Result<Self> {
        let Some(path) = path else {
            let uri = format!("file:/{label}?vfs=memdb");
            let keep = rusqlite::Connection::open(&uri).context("cannot open a database in memory")?;
            let (file, turn, was_brief) = Default::default();
            return Ok(Self { uri, file, turn, was_brief, _keep: Some(Mutex::new(keep)) });
        };
        let uri = path
            .to_str()
            .with_context(|| format!("the path of a database must be UTF-8: {} is not", path.display()))?;
        let uri = uri.to_owned();
        let file = Some(Arc::new(DatabaseFile::new(path)));
        Ok(Self { uri, file, turn: Arc::default(), was_brief: Arc::default(), _keep: None })
    }

    /// Its file, unless it is in memory.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|_| Path::new(&self.uri))
    }

    /// Opens a connection. It blocks.
    pub fn connect(&self) -> rusqlite::Result<Connection> {
        // Opening would make a new file in place of one that went away.
        self.file.as_ref().map_or(Ok(()), |file| file.check())?;
        let connection = rusqlite::Connection::open(&self.uri)?;
        self.file.as_ref().map_or(Ok(()), |file| file.opened())?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        // Spin denies this too: a component must not reach other files.
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        Ok(Connection {
            interrupt: Arc::new(connection.get_interrupt_handle()),
            is_reading: Arc::default(),
            file: self.file.clone(),
            connection: Arc::new(Mutex::new(connection)),
            turn: Arc::clone(&self.turn),
            of_transaction: Arc::default(),
            has_written: Arc::default(),
            was_brief: Arc::clone(&self.was_brief),
        })
    }
}

/// A connection, shared with the statement that runs on it.
#[derive(Clone)]
pub struct Connection {
    connection: Arc<Mutex<rusqlite::Connection>>,
    interrupt: Arc<InterruptHandle>,
    /// True while a statement runs that only reads, outside of a transaction.
    is_reading: Arc<AtomicBool>,
    file: Option<Arc<DatabaseFile>>,
    turn: Arc<Turn>,
    /// The turn that it has while a transaction of it is open.
    of_transaction: Arc<Mutex<Option<Taken>>>,
    has_written: Arc<AtomicBool>,
    was_brief: Arc<AtomicBool>,
}

/// The interest of a caller in a statement. One that only reads does not begin once this is dropped, and is stopped if
/// it runs; a write goes on, because its client may still want it done.
pub struct Interest {
    connection: Connection,
    given_up: GivenUp,
}

/// True when the caller of a statement has given it up.
pub type GivenUp = Arc<AtomicBool>;

impl Interest {
    /// The flag that tells the statement to stop, because its caller is gone.
    pub fn given_up(&self) -> GivenUp {
        Arc::clone(&self.given_up)
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::SeqCst);
        if self.connection.is_reading.load(Ordering::SeqCst) {
            self.connection.interrupt.interrupt();
        }
    }
}

/// The result of a statement: one value a column in each row.
pub struct Rows<V> {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, in SQLite's order.
    pub rows: Vec<Vec<V>>,
}

impl Connection {
    /// Runs a statement to its end. It blocks.
    ///
    /// # Errors
    /// The errors of SQLite, and one when the file of the database is not in its place before or after the statement. In
    /// the second case the statement's writes may be lost.
    pub fn execute<P, V>(
        &self,
        statement: &str,
        parameters: &[P],
        given_up: &GivenUp,
    ) -> rusqlite::Result<Rows<V>>
    where
        P: ToSql,
        V: for<'a> From<ValueRef<'a>>,
    {
        self.check_file()?;
        let connection = self.lock();
        let mut statement = connection.prepare_cached(statement)?;
        if parameters.len() != statement.parameter_count() {
            let expected = statement.parameter_count();
            return Err(rusqlite::Error::InvalidParameterCount(parameters.len(), expected));
        }
        for (index, parameter) in (1..).zip(parameters) {
            statement.raw_bind_parameter(index, parameter)?;
        }
        // A transaction that writes keeps its turn to its end.
        let takes_turn = connection.is_autocommit() && !statement.readonly();
        let turn = if takes_turn { self.turn.take() } else { None };
        // SQLite counts a commit among those that only read.
        let only_reads = statement.readonly() && connection.is_autocommit();
        self.is_reading.store(only_reads, Ordering::SeqCst);
        if only_reads && given_up.load(Ordering::SeqCst) {
            self.is_reading.store(false, Ordering::SeqCst);
            return Err(interrupted());
        }
        let columns: Vec<String> = statement.column_names().map(Into::into).collect();
        let began = Instant::now();
        let before = connection.total_changes();
        let rows = rows(statement.raw_query(), columns.len());
        self.keep_turn(turn, connection.is_autocommit());
        self.is_reading.store(false, Ordering::SeqCst);
        self.has_written.fetch_or(takes_turn, Ordering::Relaxed);
        if self.has_written.load(Ordering::Relaxed) {
            self.was_brief.store(began.elapsed() < BRIEF, Ordering::Relaxed);
        }
        match &rows {
            // Of a statement that changed nothing, `changes` would tell those of the one before.
            Ok(_) if connection.total_changes() != before => METRICS.wrote(connection.changes()),
            Ok(_) => {}
            Err(error) => METRICS.failed(error),
        }
        let rows = rows?;
        self.check_file()?;
        Ok(Rows { columns, rows })
    }

    /// True if a small statement is expected to be done within a moment: then it costs less than the way to another
    /// thread and back. Those of a connection that writes are, unless the last one was not or another writes now.
    pub fn is_brief(&self) -> bool {
        self.has_written.load(Ordering::Relaxed)
            && self.was_brief.load(Ordering::Relaxed)
            && (self.turn.is_free() || self.has_turn())
    }

    /// Keeps the turn that was taken for a statement if it has begun a transaction, and gives it on if none is open.
    fn keep_turn(&self, turn: Option<Taken>, is_autocommit: bool) {
        let mut of_transaction = self.of_transaction.lock().unwrap_or_else(PoisonError::into_inner);
        if is_autocommit {
            *of_transaction = None;
        } else if turn.is_some() {
            *of_transaction = turn;
        }
    }

    fn has_turn(&self) -> bool {
        self.of_transaction.try_lock().is_ok_and(|turn| turn.is_some())
    }

    /// The interest in a statement, to be kept until its end.
    pub fn interest(&self) -> Interest {
        Interest { connection: self.clone(), given_up: GivenUp::default() }
    }

    /// The rowid of the last row that the connection inserted, or 0.
    pub fn last_insert_rowid(&self) -> i64 {
        self.lock().last_insert_rowid()
    }

    /// Rows that the last insert, update or delete changed.
    pub fn changes(&self) -> u64 {
        self.lock().changes()
    }

    fn check_file(&self) -> rusqlite::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.check())
    }

    fn lock(&self) -> MutexGuard<'_, rusqlite::Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn interrupted() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERRUPT), Some("its caller is gone".into()))
}

fn rows<V: for<'a> From<ValueRef<'a>>>(
    mut query: rusqlite::Rows<'_>,
    columns: usize,
) -> rusqlite::Result<Vec<Vec<V>>> {
    let mut rows = Vec::new();
    while let Some(row) = query.next()? {
        rows.push((0..columns).map(|column| row.get_ref(column).map(V::from)).collect::<Result<_, _>>()?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
