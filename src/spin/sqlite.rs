//! Spin's SQLite interface.

use spin_sdk::sqlite::{Connection as SpinConnection, Error, Value as SpinValue};

use crate::store::StoreError;
use crate::store::database::{Connection, Database, Row, Value};

/// The database with the label `default`.
pub struct DefaultDatabase;

impl Database for DefaultDatabase {
    type Connection = SpinConnection;

    async fn open(&self) -> Result<SpinConnection, StoreError> {
        SpinConnection::open_default().await.map_err(store_error)
    }
}

impl Connection for SpinConnection {
    async fn execute(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let parameters: Vec<_> = parameters.into_iter().map(into_spin).collect();
        let result = SpinConnection::execute(self, statement, parameters).await.map_err(store_error)?;
        // The error of a failing statement may come only here, behind its rows.
        let rows = result.collect().await.map_err(store_error)?;
        Ok(rows.into_iter().map(|row| Row(row.values.into_iter().map(from_spin).collect())).collect())
    }
}

fn into_spin(value: Value) -> SpinValue {
    match value {
        Value::Integer(value) => SpinValue::Integer(value),
        Value::Real(value) => SpinValue::Real(value),
        Value::Text(value) => SpinValue::Text(value),
        Value::Blob(value) => SpinValue::Blob(value),
        // SQLite has no arrays: its statements take them as JSON.
        Value::Null | Value::Integers(_) | Value::Texts(_) => SpinValue::Null,
    }
}

fn from_spin(value: SpinValue) -> Value {
    match value {
        SpinValue::Integer(value) => Value::Integer(value),
        SpinValue::Real(value) => Value::Real(value),
        SpinValue::Text(value) => Value::Text(value),
        SpinValue::Blob(value) => Value::Blob(value),
        SpinValue::Null => Value::Null,
    }
}

fn store_error(error: Error) -> StoreError {
    match error {
        Error::DatabaseFull => StoreError::Full("the database is at its capacity".into()),
        Error::Io(message) => StoreError::of_sqlite(message),
        other => StoreError::Failed(other.to_string()),
    }
}
