//! A database on a server of PostgreSQL that the tests of a process share.

use sekali_harness::postgres::Postgres;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};

use super::TokioClock;
use crate::store::StoreError;
use crate::store::database::{Connection, Database, Row, Value};
use crate::store::postgres::PostgresBackend;
use crate::store::sql::SqlStore;

/// A database at an address.
pub struct Remote {
    /// Its URL.
    pub url: String,
}

impl Database for Remote {
    type Connection = Client;

    async fn open(&self) -> Result<Client, StoreError> {
        let (client, connection) =
            tokio_postgres::connect(&self.url, NoTls).await.map_err(|error| store_error(&error))?;
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Connection for Client {
    async fn execute(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(to_sql).collect();
        let rows = self.query(statement, &parameters).await.map_err(|error| store_error(&error))?;
        Ok(rows.iter().map(|row| Row((0..row.len()).map(|index| value(row, index)).collect())).collect())
    }
}

fn to_sql(parameter: &Value) -> &(dyn ToSql + Sync) {
    match parameter {
        Value::Integer(value) => value,
        Value::Real(value) => value,
        Value::Text(value) => value,
        Value::Blob(value) => value,
        Value::Integers(values) => values,
        Value::Texts(values) => values,
        Value::Null => &None::<Vec<String>>,
    }
}

fn value(row: &tokio_postgres::Row, index: usize) -> Value {
    match *row.columns()[index].type_() {
        Type::INT8 => row.get::<_, Option<i64>>(index).map_or(Value::Null, Value::Integer),
        Type::TEXT => row.get::<_, Option<String>>(index).map_or(Value::Null, Value::Text),
        _ => Value::Null,
    }
}

fn store_error(error: &tokio_postgres::Error) -> StoreError {
    match error.as_db_error() {
        Some(cause) => StoreError::of_sqlstate(cause.severity(), cause.code().code(), cause.message()),
        None => StoreError::of_lost_connection(error.to_string()),
    }
}

/// The store on it.
pub type RemoteStore = SqlStore<PostgresBackend<Remote, TokioClock>>;

/// A database that is empty: its server, its name, and a store on it.
pub fn fresh() -> (&'static Postgres, String, RemoteStore) {
    let server = Postgres::shared().unwrap();
    let database = server.create_database().unwrap();
    let store = open(&server.url(&database));
    (server, database, store)
}

/// Another store on a database.
pub fn open(url: &str) -> RemoteStore {
    SqlStore::on(PostgresBackend::new(Remote { url: url.to_owned() }, TokioClock::start()))
}
