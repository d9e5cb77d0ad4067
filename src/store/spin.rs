//! Spin's SQLite interface: the only file that calls it.

use spin_sdk::sqlite::{Connection as SpinConnection, Error};

use super::StoreError;
use super::sqlite::{Connection, Database, Row, Value};

/// The database that the manifest calls `default`.
pub struct DefaultDatabase;

impl Database for DefaultDatabase {
    type Connection = SpinConnection;

    async fn open(&self) -> Result<SpinConnection, StoreError> {
        SpinConnection::open_default().await.map_err(store_error)
    }
}

impl Connection for SpinConnection {
    async fn execute(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let result = SpinConnection::execute(self, statement, parameters).await.map_err(store_error)?;
        // A statement that fails may be reported only here, behind its rows.
        let rows = result.collect().await.map_err(store_error)?;
        Ok(rows.into_iter().map(|row| row.values).collect())
    }
}

/// The interface has no error codes, but the texts are SQLite's own.
fn store_error(error: Error) -> StoreError {
    match error {
        Error::DatabaseFull => StoreError::Full("the database is at its capacity".into()),
        Error::Io(message) if message.contains("is locked") => StoreError::Busy,
        Error::Io(message) if message.contains("is full") => StoreError::Full(message),
        Error::Io(message) => StoreError::Failed(message),
        other => StoreError::Failed(other.to_string()),
    }
}
