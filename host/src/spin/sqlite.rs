//! `spin:sqlite@3.1.0`.

use std::sync::Arc;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use wasmtime::component::{Accessor, FutureReader, HasSelf, Resource, StreamReader};

use super::bindings::spin::sqlite::sqlite::{
    Error, Host, HostConnection, HostConnectionWithStore, QueryResult, RowResult, Value,
};
use super::guest::{Guest, Services};
use crate::stores::sqlite::{GivenUp, Rows};
use crate::stores::{SqliteConnection as Connection, SqliteStore, sqlite};

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Blob(value) => ValueRef::Blob(value),
        }))
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Integer(value),
            ValueRef::Real(value) => Self::Real(value),
            ValueRef::Text(bytes) => Self::Text(String::from_utf8_lossy(bytes).into_owned()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_owned()),
        }
    }
}

#[cfg(feature = "libsql")]
impl From<libsql::Value> for Value {
    fn from(value: libsql::Value) -> Self {
        match value {
            libsql::Value::Null => Self::Null,
            libsql::Value::Integer(value) => Self::Integer(value),
            libsql::Value::Real(value) => Self::Real(value),
            libsql::Value::Text(text) => Self::Text(text),
            libsql::Value::Blob(bytes) => Self::Blob(bytes),
        }
    }
}

#[cfg(feature = "libsql")]
impl From<Value> for libsql::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(value) => Self::Integer(value),
            Value::Real(value) => Self::Real(value),
            Value::Text(text) => Self::Text(text),
            Value::Blob(bytes) => Self::Blob(bytes),
        }
    }
}

impl From<Rows<Value>> for QueryResult {
    fn from(Rows { columns, rows }: Rows<Value>) -> Self {
        Self { columns, rows: rows.into_iter().map(|values| RowResult { values }).collect() }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Io(error.to_string())
    }
}

#[cfg(feature = "libsql")]
impl From<libsql::Error> for Error {
    fn from(error: libsql::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// Opens a connection to the database of this label. It blocks.
fn connect(services: &Services, label: &str) -> Result<Connection, Error> {
    Ok(match services.stores.sqlite.get(label).ok_or(Error::NoSuchDatabase)? {
        SqliteStore::Local(database) => Connection::Local(database.connect()?),
        SqliteStore::Remote(server) => Connection::Remote(server.connect()?),
    })
}

/// Runs a statement to its end. It blocks.
fn execute(
    connection: &sqlite::Connection,
    statement: &str,
    parameters: &[Value],
    given_up: &GivenUp,
) -> Result<QueryResult, Error> {
    Ok(connection.execute(statement, parameters, given_up)?.into())
}

/// The most parameters, and bytes of texts in them, of a statement that is small.
const SMALL: (usize, usize) = (512, 64 << 10);

fn is_small(parameters: &[Value]) -> bool {
    let bytes = |parameter: &Value| match parameter {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        _ => 0,
    };
    parameters.len() <= SMALL.0 && parameters.iter().map(bytes).sum::<usize>() <= SMALL.1
}

/// Runs a statement to its end, on another thread unless that costs more than the statement.
async fn execute_elsewhere(
    connection: sqlite::Connection,
    statement: String,
    parameters: Vec<Value>,
) -> Result<QueryResult, Error> {
    // This future is dropped when the component gives the call up, for example because its client went away.
    let interest = connection.interest();
    let given_up = interest.given_up();
    let is_brief = is_small(&parameters) && connection.is_brief();
    let run = move || execute(&connection, &statement, &parameters, &given_up);
    if is_brief { run() } else { blocking(run).await }
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Io(error.to_string()))?
}

impl Guest {
    fn add(&mut self, connection: Connection) -> Result<Resource<Connection>, Error> {
        self.table.push(connection).map_err(|error| Error::Io(error.to_string()))
    }

    fn connection(&mut self, connection: &Resource<Connection>) -> Result<Connection, Error> {
        self.table.get(connection).cloned().map_err(|_| Error::InvalidConnection)
    }
}

impl Host for Guest {}

/// The synchronous functions block the instance that calls them. The SDK of Spin 4 does not call them.
impl HostConnection for Guest {
    fn open(&mut self, database: String) -> Result<Resource<Connection>, Error> {
        let connection = connect(&self.services, &database)?;
        self.add(connection)
    }

    fn execute(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> Result<QueryResult, Error> {
        match self.connection(&connection)? {
            Connection::Local(connection) => {
                execute(&connection, &statement, &parameters, &GivenUp::default())
            }
            Connection::Remote(_) => {
                Err(Error::Io("a libSQL server is reached by execute-async only".into()))
            }
        }
    }

    fn last_insert_rowid(&mut self, connection: Resource<Connection>) -> i64 {
        self.connection(&connection).map_or(0, |connection| connection.last_insert_rowid())
    }

    fn changes(&mut self, connection: Resource<Connection>) -> u64 {
        self.connection(&connection).map_or(0, |connection| connection.changes())
    }

    fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

type StreamedRows = (Vec<String>, StreamReader<RowResult>, FutureReader<Result<(), Error>>);

impl HostConnectionWithStore<Guest> for HasSelf<Guest> {
    async fn open_async(
        accessor: &Accessor<Guest, Self>,
        database: String,
    ) -> Result<Resource<Connection>, Error> {
        let services = accessor.with(|mut access| Arc::clone(&access.get().services));
        let connection = blocking(move || connect(&services, &database)).await?;
        accessor.with(|mut access| access.get().add(connection))
    }

    async fn execute_async(
        accessor: &Accessor<Guest, Self>,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> Result<StreamedRows, Error> {
        let connection = accessor.with(|mut access| access.get().connection(&connection))?;
        let QueryResult { columns, rows } = match connection {
            Connection::Local(connection) => execute_elsewhere(connection, statement, parameters).await?,
            Connection::Remote(connection) => connection.execute(&statement, parameters).await?.into(),
        };
        accessor
            .with(|mut access| {
                let rows = StreamReader::new(&mut access, rows)?;
                let end = FutureReader::new(&mut access, async { wasmtime::Result::<_>::Ok(Ok(())) })?;
                wasmtime::Result::Ok((columns, rows, end))
            })
            .map_err(|error: wasmtime::Error| Error::Io(error.to_string()))
    }

    async fn last_insert_rowid_async(
        accessor: &Accessor<Guest, Self>,
        connection: Resource<Connection>,
    ) -> i64 {
        accessor.with(|mut access| access.get().last_insert_rowid(connection))
    }

    async fn changes_async(accessor: &Accessor<Guest, Self>, connection: Resource<Connection>) -> u64 {
        accessor.with(|mut access| access.get().changes(connection))
    }
}
