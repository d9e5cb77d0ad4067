//! `spin:sqlite@3.1.0` on bundled SQLite.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use wasmtime::component::{Accessor, FutureReader, HasSelf, Resource, StreamReader};

use crate::instance::Guest;
use crate::instance::spin::sqlite::sqlite::{
    Error, Host, HostConnection, HostConnectionWithStore, QueryResult, RowResult, Value,
};

/// Statements that a connection keeps prepared.
const CACHED_STATEMENTS: usize = 64;

/// What Spin waits for a lock, unless the component says otherwise.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A database that connections can be opened to.
pub struct Database {
    uri: String,
    turn: Turn,
    /// A database in memory lives as long as a connection to it.
    _keep: Option<Mutex<rusqlite::Connection>>,
}

impl Database {
    /// The database in a file, which is created at first use, or a new one in memory.
    pub fn new(label: &str, path: Option<PathBuf>) -> Result<Self> {
        let Some(path) = path else {
            let uri = format!("file:/{label}?vfs=memdb");
            let keep = rusqlite::Connection::open(&uri).context("cannot open a database in memory")?;
            return Ok(Self { uri, turn: Turn::default(), _keep: Some(Mutex::new(keep)) });
        };
        let uri = path.to_str().context("the path of a database must be UTF-8")?.to_owned();
        Ok(Self { uri, turn: Turn::default(), _keep: None })
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = rusqlite::Connection::open(&self.uri)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        // Spin denies this too: a component must not reach other files.
        connection.set_limit(rusqlite::limits::Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        Ok(Connection { connection: Arc::new(Mutex::new(connection)), turn: Arc::clone(&self.turn) })
    }
}

/// Whose turn it is to write. SQLite takes one writer at a time, and whoever finds one at work sleeps for a
/// millisecond or more: this wakes the next as soon as a statement has ended.
type Turn = Arc<Mutex<()>>;

/// A connection, shared with the statement that runs on it.
#[derive(Clone)]
pub struct Connection {
    connection: Arc<Mutex<rusqlite::Connection>>,
    turn: Turn,
}

impl Connection {
    fn lock(&self) -> MutexGuard<'_, rusqlite::Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a statement to its end. It blocks.
    fn execute(&self, statement: &str, parameters: &[Value]) -> rusqlite::Result<Rows> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(statement)?;
        if parameters.len() != statement.parameter_count() {
            let expected = statement.parameter_count();
            return Err(rusqlite::Error::InvalidParameterCount(parameters.len(), expected));
        }
        for (parameter, value) in (1..).zip(parameters) {
            statement.raw_bind_parameter(parameter, value)?;
        }
        // Within a transaction the lock is held already, or SQLite says who holds it.
        let writes = connection.is_autocommit() && !statement.readonly();
        let _turn = writes.then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        let columns: Vec<String> = statement.column_names().map(Into::into).collect();
        let mut query = statement.raw_query();
        let mut rows = Vec::new();
        while let Some(row) = query.next()? {
            let values = (0..columns.len()).map(|column| row.get_ref(column).map(value));
            rows.push(RowResult { values: values.collect::<Result<_, _>>()? });
        }
        Ok(Rows { columns, rows })
    }
}

/// What a statement returned.
struct Rows {
    columns: Vec<String>,
    rows: Vec<RowResult>,
}

/// Runs `work` where blocking is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Io(error.to_string()))
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_owned()),
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Null => ToSqlOutput::Owned(SqlValue::Null),
            Value::Integer(value) => ToSqlOutput::Owned(SqlValue::Integer(*value)),
            Value::Real(value) => ToSqlOutput::Owned(SqlValue::Real(*value)),
            Value::Text(value) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
            Value::Blob(value) => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
        })
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl Host for Guest {}

/// The synchronous functions block the instance that calls them; the SDK of Spin 4 no longer does.
impl HostConnection for Guest {
    fn open(&mut self, database: String) -> Result<Resource<Connection>, Error> {
        let database = self.services.stores.sqlite.get(&database).ok_or(Error::NoSuchDatabase)?;
        let connection = database.connect()?;
        self.add(connection)
    }

    fn execute(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> Result<QueryResult, Error> {
        let connection = self.connection(&connection)?;
        let Rows { columns, rows } = connection.execute(&statement, &parameters)?;
        Ok(QueryResult { columns, rows })
    }

    fn last_insert_rowid(&mut self, connection: Resource<Connection>) -> i64 {
        self.connection(&connection).map_or(0, |connection| connection.lock().last_insert_rowid())
    }

    fn changes(&mut self, connection: Resource<Connection>) -> u64 {
        self.connection(&connection).map_or(0, |connection| connection.lock().changes())
    }

    fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

type StreamedRows = (Vec<String>, StreamReader<RowResult>, FutureReader<Result<(), Error>>);

impl HostConnectionWithStore<Guest> for HasSelf<Guest> {
    async fn open_async(
        store: &Accessor<Guest, Self>,
        database: String,
    ) -> Result<Resource<Connection>, Error> {
        let services = store.with(|mut access| Arc::clone(&access.get().services));
        let connect = move || {
            services.stores.sqlite.get(&database).ok_or(Error::NoSuchDatabase)?.connect().map_err(Error::from)
        };
        let connection = blocking(connect).await??;
        store.with(|mut access| access.get().add(connection))
    }

    async fn execute_async(
        store: &Accessor<Guest, Self>,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> Result<StreamedRows, Error> {
        let connection = store.with(|mut access| access.get().connection(&connection))?;
        let Rows { columns, rows } = blocking(move || connection.execute(&statement, &parameters)).await??;
        store
            .with(|mut access| {
                let rows = StreamReader::new(&mut access, rows)?;
                let end = FutureReader::new(&mut access, async { wasmtime::Result::<_>::Ok(Ok(())) })?;
                wasmtime::Result::Ok((columns, rows, end))
            })
            .map_err(|error: wasmtime::Error| Error::Io(error.to_string()))
    }

    async fn last_insert_rowid_async(store: &Accessor<Guest, Self>, connection: Resource<Connection>) -> i64 {
        store.with(|mut access| HostConnection::last_insert_rowid(access.get(), connection))
    }

    async fn changes_async(store: &Accessor<Guest, Self>, connection: Resource<Connection>) -> u64 {
        store.with(|mut access| HostConnection::changes(access.get(), connection))
    }
}

impl Guest {
    fn add(&mut self, connection: Connection) -> Result<Resource<Connection>, Error> {
        self.table.push(connection).map_err(|error| Error::Io(error.to_string()))
    }

    fn connection(&mut self, connection: &Resource<Connection>) -> Result<Connection, Error> {
        self.table.get(connection).cloned().map_err(|_| Error::InvalidConnection)
    }
}
