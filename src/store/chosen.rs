//! The backend that an operator chose.

use super::consume::Change;
use super::database::{Database, Row, Value};
use super::dialect::Dialect;
use super::postgres::PostgresBackend;
use super::query::Query;
use super::sql::{Backend, SqlStore};
use super::sqlite::SqliteBackend;
use super::{Kept, Keyed, LogState, Outcome, Seq, Span, Step, StoreError};
use crate::clock::Clock;
use crate::event::{EventId, NewEvent, Topic};

/// The store that an operator chose.
pub type ChosenStore<S, P, C> = SqlStore<ChosenBackend<S, P, C>>;

/// One of the backends.
pub enum ChosenBackend<S: Database, P, C> {
    /// SQLite or libSQL.
    Sqlite(SqliteBackend<S, C>),
    /// PostgreSQL.
    Postgres(PostgresBackend<P, C>),
}

/// Calls a method of the backend.
macro_rules! of {
    ($chosen:expr, $backend:ident => $call:expr) => {
        match $chosen {
            ChosenBackend::Sqlite($backend) => $call,
            ChosenBackend::Postgres($backend) => $call,
        }
    };
}

impl<S: Database, P: Database, C: Clock> Backend for ChosenBackend<S, P, C> {
    fn dialect(&self) -> &'static Dialect {
        of!(self, backend => backend.dialect())
    }

    async fn query(&self, query: Query<'_>) -> Result<Vec<Row>, StoreError> {
        of!(self, backend => backend.query(query).await)
    }

    async fn write(&self, text: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        of!(self, backend => backend.write(text, parameters).await)
    }

    async fn remove(&self, text: &str, parameters: &[Value], most: u32) -> Result<i64, StoreError> {
        of!(self, backend => backend.remove(text, parameters, most).await)
    }

    async fn current(&self, text: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        of!(self, backend => backend.current(text, parameters).await)
    }

    async fn change_consumer(&self, name: &str, change: &Change) -> Result<Option<Span>, StoreError> {
        of!(self, backend => backend.change_consumer(name, change).await)
    }

    async fn append(&self, events: &[&NewEvent], keys: &[Keyed<'_>]) -> Result<Vec<Outcome>, StoreError> {
        of!(self, backend => backend.append(events, keys).await)
    }

    async fn newest(&self) -> Result<Seq, StoreError> {
        of!(self, backend => backend.newest().await)
    }

    async fn is_writable(&self) -> Result<bool, StoreError> {
        of!(self, backend => backend.is_writable().await)
    }

    async fn log(&self) -> Result<Option<LogState>, StoreError> {
        of!(self, backend => backend.log().await)
    }

    async fn erase_event(&self, topic: &Topic, event_id: &EventId) -> Result<bool, StoreError> {
        of!(self, backend => backend.erase_event(topic, event_id).await)
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        of!(self, backend => backend.scrub().await)
    }

    async fn expire(&self, kept: Kept, most: u32) -> Result<Step, StoreError> {
        of!(self, backend => backend.expire(kept, most).await)
    }

    async fn sweep(&self, most: u32) -> Result<Step, StoreError> {
        of!(self, backend => backend.sweep(most).await)
    }
}
