//! The SQLite that the host bundles, as a database of native tests.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rusqlite::types::{Value as SqlValue, ValueRef};
use tempfile::TempDir;

use super::TokioClock;
use crate::store::StoreError;
use crate::store::database::{Connection, Database, Row, Value};
use crate::store::sqlite::SqliteStore;

/// A database file, opened as Spin would.
pub struct Native {
    /// The file.
    pub path: PathBuf,
    /// The statements that still work. At zero, the server is gone.
    pub statements_left: Rc<Cell<u32>>,
}

/// A connection to it.
pub struct NativeConnection {
    connection: rusqlite::Connection,
    statements_left: Rc<Cell<u32>>,
}

impl Database for Native {
    type Connection = NativeConnection;

    async fn open(&self) -> Result<NativeConnection, StoreError> {
        let connection = rusqlite::Connection::open(&self.path).map_err(store_error)?;
        Ok(NativeConnection { connection, statements_left: Rc::clone(&self.statements_left) })
    }
}

impl Connection for NativeConnection {
    async fn execute(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let left = self.statements_left.get();
        self.statements_left.set(left.saturating_sub(1));
        if left == 0 {
            return Err(StoreError::Failed("the server is gone".into()));
        }
        let parameters = parameters.into_iter().map(|value| match value {
            Value::Null => SqlValue::Null,
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
    match error.to_string() {
        message if message.contains("is locked") => StoreError::Busy,
        message => StoreError::Failed(message),
    }
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

/// Opens the store in a directory, with the number of its statements that still work.
pub fn open(directory: &Path, seed: u64) -> (NativeStore, Rc<Cell<u32>>) {
    let statements_left = Rc::new(Cell::new(u32::MAX));
    let database = Native { path: directory.join("events.db"), statements_left: Rc::clone(&statements_left) };
    (SqliteStore::new(database, TokioClock::start(), seed), statements_left)
}

/// A store in a directory of its own.
pub fn fresh() -> (NativeStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (open(directory.path(), 1).0, directory)
}
