//! The SQLite that the host bundles, as a database of native tests.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rusqlite::types::{Value as SqlValue, ValueRef};
use tempfile::TempDir;

use super::TokioClock;
use crate::store::StoreError;
use crate::store::database::{Connection, Database, Row, Value};
use crate::store::sql::SqlStore;
use crate::store::sqlite::{SqliteBackend, SqliteStore};

/// A database file, opened as Spin would.
pub struct Native {
    /// The file, or a URI of SQLite, which may name a file system of SQLite's (VFS).
    pub path: PathBuf,
    /// Its faults.
    pub faults: Rc<Faults>,
}

impl Native {
    /// A database without faults.
    pub fn at(path: PathBuf) -> Self {
        Self { path, faults: Rc::default() }
    }
}

/// The faults of a database.
pub struct Faults {
    /// The statements that still work. At zero, the server is gone.
    pub statements_left: Cell<u32>,
    /// A statement that is not executed, and its error.
    pub refused: RefCell<Option<(&'static str, StoreError)>>,
    /// A part of those statements that take long, and the time that they take.
    pub slow: Cell<Option<(&'static str, Duration)>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { statements_left: Cell::new(u32::MAX), refused: RefCell::default(), slow: Cell::default() }
    }
}

/// A connection to it.
pub struct NativeConnection {
    connection: rusqlite::Connection,
    faults: Rc<Faults>,
}

impl Database for Native {
    type Connection = NativeConnection;

    async fn open(&self) -> Result<NativeConnection, StoreError> {
        let connection = rusqlite::Connection::open(&self.path).map_err(store_error)?;
        Ok(NativeConnection { connection, faults: Rc::clone(&self.faults) })
    }
}

impl Connection for NativeConnection {
    async fn execute(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let left = self.faults.statements_left.get();
        self.faults.statements_left.set(left.saturating_sub(1));
        if let Some((refused, error)) = &*self.faults.refused.borrow()
            && *refused == statement
        {
            return Err(error.clone());
        }
        if left == 0 {
            return Err(StoreError::Failed("the server is gone".into()));
        }
        if let Some((_, duration)) = self.faults.slow.get().filter(|(part, _)| statement.contains(part)) {
            tokio::time::sleep(duration).await;
        }
        let parameters = parameters.into_iter().map(|value| match value {
            Value::Null | Value::Integers(_) | Value::Texts(_) => SqlValue::Null,
            Value::Integer(value) => SqlValue::Integer(value),
            Value::Real(value) => SqlValue::Real(value),
            Value::Text(value) => SqlValue::Text(value),
            Value::Blob(value) => SqlValue::Blob(value),
        });
        let mut statement = self.connection.prepare(statement).map_err(store_error)?;
        let columns = statement.column_count();
        let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| {
            let values = (0..columns).map(|column| row.get_ref(column).map(value));
            values.collect::<Result<_, _>>().map(Row)
        });
        rows.and_then(Iterator::collect).map_err(store_error)
    }
}

fn store_error(error: rusqlite::Error) -> StoreError {
    StoreError::of_sqlite(error.to_string())
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(value) => Value::Text(String::from_utf8_lossy(value).into_owned()),
        ValueRef::Blob(value) => Value::Blob(value.to_owned()),
    }
}

/// The store on a native database.
pub type NativeStore = SqliteStore<Native, TokioClock>;

/// Opens the store in a directory, with its faults.
pub fn open(directory: &Path, seed: u64) -> (NativeStore, Rc<Faults>) {
    let database = Native::at(directory.join("events.db"));
    let faults = Rc::clone(&database.faults);
    (SqlStore::on(SqliteBackend::new(database, TokioClock::start(), seed)), faults)
}

/// A store in a directory of its own.
pub fn fresh() -> (NativeStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (open(directory.path(), 1).0, directory)
}
