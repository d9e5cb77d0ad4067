//! What PostgreSQL is given, and the errors that it returns.

use crate::store::StoreError;

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameter {
    /// A `bigint`.
    Integer(i64),
    /// A `text`.
    Text(String),
    /// A `bigint[]`.
    Integers(Vec<i64>),
    /// A `text[]`.
    Texts(Vec<Option<String>>),
    /// No value, of any type.
    Null,
}

impl From<i64> for Parameter {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<String> for Parameter {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Parameter {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl FromIterator<i64> for Parameter {
    fn from_iter<I: IntoIterator<Item = i64>>(values: I) -> Self {
        Self::Integers(values.into_iter().collect())
    }
}

impl<'t> FromIterator<&'t str> for Parameter {
    fn from_iter<I: IntoIterator<Item = &'t str>>(values: I) -> Self {
        values.into_iter().map(Some).collect()
    }
}

impl<'t> FromIterator<Option<&'t str>> for Parameter {
    fn from_iter<I: IntoIterator<Item = Option<&'t str>>>(values: I) -> Self {
        Self::Texts(values.into_iter().map(|value| value.map(str::to_owned)).collect())
    }
}

impl StoreError {
    /// The error that a SQLSTATE means (PostgreSQL's documentation, appendix A).
    pub fn of_sqlstate(code: &str, message: &str) -> Self {
        let told = || format!("{code}: {message}");
        match code {
            // Deadlocks and serialization failures, locks that others hold for too long, a server that is a replica or
            // begins its work, or has no more connections: the statement was not run, or rolled back.
            "40001" | "40P01" | "55P03" | "25006" | "55000" | "57P03" | "53300" => Self::Busy,
            "53100" => Self::Full(told()),
            // The server ends. It may have committed before.
            "57P01" | "57P02" => Self::Uncertain(told()),
            _ => Self::Failed(told()),
        }
    }

    /// The error of a connection that was lost with a statement under way.
    pub fn of_lost_connection(cause: String) -> Self {
        Self::Uncertain(cause)
    }
}
