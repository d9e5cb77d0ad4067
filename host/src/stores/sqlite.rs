//! SQLite databases and connections to them, on bundled SQLite.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{InterruptHandle, ToSql, ffi};

use super::file::DatabaseFile;
use crate::metrics::METRICS;

/// Statements that a connection keeps prepared.
const CACHED_STATEMENTS: usize = 64;

/// Spin's default, which a component may change with a pragma.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait for the turn of another writer.
const LONGEST_TURN: Duration = Duration::from_millis(500);

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

/// The turn that the writers of a database take, for a statement or a transaction, in the order in which they come. SQLite
/// allows one writer at a time, and a connection that finds another writing sleeps for a millisecond or more. This wakes
/// the next writer as soon as the one before has ended.
#[derive(Default)]
struct Turn {
    writers: Mutex<Writers>,
    has_changed: Condvar,
}

#[derive(Default)]
struct Writers {
    is_taken: bool,
    /// The numbers of those that wait.
    waiting: VecDeque<u64>,
    last: u64,
}

/// The turn of a writer, until it is dropped.
struct Taken(Arc<Turn>);

impl Turn {
    /// Takes the turn; `None` if a transaction does not end. SQLite finds the database locked then, and says so.
    fn take(self: &Arc<Self>) -> Option<Taken> {
        let mut writers = self.lock();
        writers.last += 1;
        let number = writers.last;
        writers.waiting.push_back(number);
        let waits = |writers: &mut Writers| writers.is_taken || writers.waiting.front() != Some(&number);
        let (mut writers, waited) = self
            .has_changed
            .wait_timeout_while(writers, LONGEST_TURN, waits)
            .unwrap_or_else(PoisonError::into_inner);
        writers.waiting.retain(|waiting| *waiting != number);
        if waited.timed_out() {
            drop(writers);
            self.has_changed.notify_all(); // another may be the first now
            return None;
        }
        writers.is_taken = true;
        Some(Taken(Arc::clone(self)))
    }

    fn is_free(&self) -> bool {
        self.writers.try_lock().is_ok_and(|writers| !writers.is_taken && writers.waiting.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, Writers> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.lock().is_taken = false;
        self.0.has_changed.notify_all();
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
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Integer(i64);

    impl From<ValueRef<'_>> for Integer {
        fn from(value: ValueRef<'_>) -> Self {
            Self(value.as_i64().unwrap())
        }
    }

    #[test]
    fn a_statement_is_brief_unless_the_last_one_was_not_or_another_writes() {
        let database = Database::new("brief", None).unwrap();
        let (writer, reader) = (database.connect().unwrap(), database.connect().unwrap());
        let run = |statement: &str| {
            writer.execute::<i64, Integer>(statement, &[], &GivenUp::default()).unwrap();
            writer.is_brief()
        };
        // Also a short one takes long when the machine is busy.
        let runs_briefly = |statement: &str| (0..100).any(|_| run(statement));
        assert!(!writer.is_brief(), "nothing is known of it");
        run("create table t(x)");
        assert!(runs_briefly("insert into t values (1)"));
        assert!(!reader.is_brief(), "it only reads, and that may be long");
        let many =
            "with recursive c(x) as (select 1 union all select x + 1 from c limit 100000) select x from c";
        assert!(!run(&format!("insert into t {many}")));
        assert!(runs_briefly("insert into t values (1)"));
        assert!(!run(many));
        assert!(runs_briefly("select 1"));
        let _turn = database.turn.take().unwrap();
        assert!(!writer.is_brief(), "it would wait for its turn");
    }

    #[test]
    fn a_transaction_keeps_its_turn_to_its_end_and_gives_it_on_when_its_connection_goes() {
        let database = Database::new("turns", None).unwrap();
        let run = |connection: &Connection, statement: &str| {
            connection.execute::<i64, Integer>(statement, &[], &GivenUp::default()).map(drop)
        };
        let (one, other) = (database.connect().unwrap(), database.connect().unwrap());
        run(&one, "create table t(x)").unwrap();
        for end in ["commit", "rollback"] {
            run(&one, "begin immediate").unwrap();
            run(&one, "insert into t values (1)").unwrap();
            assert!(!database.turn.is_free());
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| run(&other, "insert into t values (2)"));
                std::thread::sleep(Duration::from_millis(50));
                assert!(!waiting.is_finished(), "it waits for its turn");
                run(&one, end).unwrap();
                waiting.join().unwrap().unwrap();
            });
            assert!(database.turn.is_free());
        }
        run(&one, "begin").unwrap();
        assert!(database.turn.is_free(), "it has written nothing");
        run(&one, "commit").unwrap();
        run(&one, "begin immediate").unwrap();
        run(&other, "pragma busy_timeout = 1").unwrap();
        assert!(run(&other, "insert into t values (3)").is_err(), "it waits no longer than that");
        drop(one);
        run(&other, "insert into t values (3)").unwrap();
    }

    #[test]
    fn a_read_that_nobody_waits_for_is_stopped_and_a_write_is_not() {
        let connection = Database::new("test", None).unwrap().connect().unwrap();
        let run = |statement: String| {
            let (of_thread, (ended, end)) = (connection.clone(), mpsc::channel());
            std::thread::spawn(move || {
                ended.send(
                    of_thread
                        .execute::<i64, Integer>(&statement, &[], &GivenUp::default())
                        .map(|rows| rows.rows),
                )
            });
            end
        };
        let count =
            |to: i64| format!("with recursive c(x) as (select 1 union all select x + 1 from c limit {to})");
        let end = run(format!("{} select count(*) from c", count(i64::MAX)));
        // SQLite forgets an interrupt that comes before the first step of a statement.
        let result = loop {
            drop(connection.interest());
            if let Ok(result) = end.recv_timeout(Duration::from_millis(10)) {
                break result;
            }
        };
        assert!(result.is_err());

        run("create table t(x)".into()).recv().unwrap().unwrap();
        let end = run(format!("insert into t {} select x from c", count(1_000_000)));
        let result = loop {
            drop(connection.interest());
            if let Ok(result) = end.recv_timeout(Duration::from_millis(10)) {
                break result;
            }
        };
        assert!(result.is_ok());
        let counted =
            connection.execute::<i64, Integer>("select count(*) from t", &[], &GivenUp::default()).unwrap();
        assert_eq!(counted.rows[0][0].0, 1_000_000);
        let given_up = connection.interest().given_up();
        assert!(connection.execute::<i64, Integer>("select 1", &[], &given_up).is_err(), "it did not begin");
        let write = ["begin immediate", "insert into t values (0)", "commit"];
        for statement in write {
            // Nobody waits for the commit any more.
            let given_up = GivenUp::new((statement == "commit").into());
            connection.execute::<i64, Integer>(statement, &[], &given_up).unwrap();
        }
    }

    #[test]
    fn nothing_is_written_while_the_file_is_not_in_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let [path, elsewhere] = ["events.db", "elsewhere.db"].map(|name| directory.path().join(name));
        let database = Database::new("test", Some(path.clone())).unwrap();
        let connection = database.connect().unwrap();
        let run =
            |statement| connection.execute::<i64, Integer>(statement, &[], &GivenUp::default()).map(drop);
        run("create table t(x)").unwrap();
        std::fs::rename(&path, &elsewhere).unwrap();
        let error = run("insert into t values (1)").unwrap_err().to_string();
        assert!(error.contains("events.db was moved, deleted or replaced"), "{error}");
        assert!(database.connect().is_err());
        assert!(!path.exists(), "a new file would be another database");
        std::fs::write(&path, "").unwrap();
        assert!(run("insert into t values (2)").is_err() && database.connect().is_err(), "replaced");
        std::fs::rename(&elsewhere, &path).unwrap();
        run("insert into t values (3)").unwrap();
        assert!(database.connect().is_ok());
    }
}
