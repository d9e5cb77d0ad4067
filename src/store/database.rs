//! A database that executes statements, wherever it is: values, rows and connections.

use serde::de::DeserializeOwned;

use super::StoreError;

/// A value: those of SQLite (<https://sqlite.org/datatype3.html>), of which PostgreSQL returns some, and the arrays that
/// PostgreSQL alone is given.
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
    /// No value, of any type.
    Null,
    /// A `bigint[]`.
    Integers(Vec<Option<i64>>),
    /// A `text[]`.
    Texts(Vec<Option<String>>),
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

impl FromIterator<i64> for Value {
    fn from_iter<I: IntoIterator<Item = i64>>(values: I) -> Self {
        values.into_iter().map(Some).collect()
    }
}

impl FromIterator<Option<i64>> for Value {
    fn from_iter<I: IntoIterator<Item = Option<i64>>>(values: I) -> Self {
        Self::Integers(values.into_iter().collect())
    }
}

impl<'t> FromIterator<&'t str> for Value {
    fn from_iter<I: IntoIterator<Item = &'t str>>(values: I) -> Self {
        values.into_iter().map(Some).collect()
    }
}

impl<'t> FromIterator<Option<&'t str>> for Value {
    fn from_iter<I: IntoIterator<Item = Option<&'t str>>>(values: I) -> Self {
        Self::Texts(values.into_iter().map(|value| value.map(str::to_owned)).collect())
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

/// A source of connections.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait Database: 'static {
    /// The connections of this database.
    type Connection: Connection;

    /// Opens one more connection to the same database.
    async fn open(&self) -> Result<Self::Connection, StoreError>;
}

/// A connection. It runs one statement at a time.
#[allow(async_fn_in_trait)]
pub trait Connection: 'static {
    /// Runs one statement to its end and returns its rows.
    async fn execute(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, StoreError>;

    /// Runs a statement and returns its first row, which it must have.
    async fn query_row(&self, statement: &str, parameters: Vec<Value>) -> Result<Row, StoreError> {
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
