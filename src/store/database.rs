//! A database that executes statements, wherever it is: values, rows and connections.

use serde::de::DeserializeOwned;

use super::StoreError;

/// A value: those of SQLite (<https://sqlite.org/datatype3.html>), of which PostgreSQL returns some.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
    /// No value.
    Null,
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of a result: its values, in the order of the columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// The integer in a column.
    ///
    /// # Errors
    /// When another type stands there: a fault of the statement.
    pub fn integer(&self, column: usize) -> Result<i64, StoreError> {
        match self.0.get(column) {
            Some(Value::Integer(value)) => Ok(*value),
            _ => Err(StoreError::Failed(format!("column {column} holds no integer"))),
        }
    }

    /// The text in a column.
    ///
    /// # Errors
    /// When another type stands there: a fault of the statement.
    pub fn text(&self, column: usize) -> Result<&str, StoreError> {
        match self.0.get(column) {
            Some(Value::Text(value)) => Ok(value),
            _ => Err(StoreError::Failed(format!("column {column} holds no text"))),
        }
    }

    /// The JSON text in a column, parsed.
    ///
    /// # Errors
    /// When something else stands there: a fault of the statement.
    pub fn json<T: DeserializeOwned>(&self, column: usize) -> Result<T, StoreError> {
        serde_json::from_str(self.text(column)?)
            .map_err(|error| StoreError::Failed(format!("column {column}: {error}")))
    }
}

impl StoreError {
    /// The error that a text of SQLite's means: the interfaces of hosts carry no codes.
    pub fn of_sqlite(message: String) -> Self {
        match message {
            // libSQL's server interrupts a statement also for another that was given up on the same connection. SQLite
            // rolls back what it interrupts.
            message if message.contains("is locked") || message.contains("interrupted") => Self::Busy,
            // It ends connections that were idle for ten seconds, and knows none of those from before its start.
            message if message.contains("STREAM_EXPIRED") || message.contains("baton") => {
                Self::Ended(message)
            }
            message if message.contains("is full") => Self::Full(message),
            message => Self::Failed(message),
        }
    }

    /// True for an error that says nothing about the statement: the same one may succeed another time.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Failed(cause) => {
                ["disk I/O error", "unable to open", "was moved"].iter().any(|text| cause.contains(text))
            }
            _ => true,
        }
    }
}

/// A source of connections whose statements take parameters of a type.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait Database<P = Value>: 'static {
    /// The connections of this database.
    type Connection: Connection<P>;

    /// Opens one more connection to the same database.
    async fn open(&self) -> Result<Self::Connection, StoreError>;
}

/// A connection. It runs one statement at a time.
#[allow(async_fn_in_trait)]
pub trait Connection<P = Value>: 'static {
    /// Runs one statement to its end and returns its rows.
    async fn execute(&self, statement: &str, parameters: Vec<P>) -> Result<Vec<Row>, StoreError>;

    /// Runs a statement and returns its first row, which it must have.
    async fn query_row(&self, statement: &str, parameters: Vec<P>) -> Result<Row, StoreError> {
        first(self.execute(statement, parameters).await?)
    }
}

/// The first of the rows of a query, which must have one.
///
/// # Errors
/// When there is none: a fault of the statement.
pub fn first(rows: Vec<Row>) -> Result<Row, StoreError> {
    rows.into_iter().next().ok_or_else(|| StoreError::Failed("a query returned no row".into()))
}
