//! Spin's PostgreSQL interface.

use spin_sdk::pg::wit::postgres::Connection as SpinConnection;
use spin_sdk::pg::{DbError, DbValue, ParameterValue, PgError, QueryError};

use crate::store::StoreError;
use crate::store::database::{Connection, Database, Row, Value};

/// The database at an address, which the manifest must allow. The host pools its connections.
pub struct RemoteDatabase {
    address: String,
}

impl RemoteDatabase {
    /// The database at an address: a URL, or a string of `key=value`.
    pub fn new(address: String) -> Self {
        Self { address }
    }
}

impl Database for RemoteDatabase {
    type Connection = SpinConnection;

    async fn open(&self) -> Result<SpinConnection, StoreError> {
        SpinConnection::open_async(self.address.clone()).await.map_err(store_error)
    }
}

impl Connection for SpinConnection {
    async fn execute(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let parameters = parameters.into_iter().map(into_spin).collect();
        let (_, rows, result) =
            self.query_async(statement.to_owned(), parameters).await.map_err(store_error)?;
        let rows = rows.collect().await;
        result.await.map_err(store_error)?;
        Ok(rows.into_iter().map(|row| Row(row.into_iter().map(from_spin).collect())).collect())
    }
}

fn into_spin(parameter: Value) -> ParameterValue {
    match parameter {
        Value::Integer(value) => ParameterValue::Int64(value),
        Value::Real(value) => ParameterValue::Floating64(value),
        Value::Text(value) => ParameterValue::Str(value),
        Value::Blob(value) => ParameterValue::Binary(value),
        Value::Integers(values) => ParameterValue::ArrayInt64(values),
        Value::Texts(values) => ParameterValue::ArrayStr(values),
        Value::Null => ParameterValue::DbNull,
    }
}

/// A value of the types that the store's statements return.
fn from_spin(value: DbValue) -> Value {
    match value {
        DbValue::Int64(value) => Value::Integer(value),
        DbValue::Str(value) => Value::Text(value),
        _ => Value::Null,
    }
}

fn store_error(error: PgError) -> StoreError {
    match error {
        PgError::QueryFailed(QueryError::DbError(DbError { severity, code, message, .. })) => {
            StoreError::of_sqlstate(&severity, &code, &message)
        }
        // The host has no code for it: the server is gone, or the connection to it.
        PgError::QueryFailed(QueryError::Text(cause)) => StoreError::of_lost_connection(cause),
        PgError::ConnectionFailed(cause) => StoreError::of_opening(cause),
        other => StoreError::Failed(other.to_string()),
    }
}
