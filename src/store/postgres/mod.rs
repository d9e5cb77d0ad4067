//! PostgreSQL as the backend of a store: it writes by calling a function of the database, and reads by statements
//! that return one row.
//!
//! `schema` is the tables and functions, `append` a write, `select` the texts of reads, and `connections` what all of them
//! use. Any number of hosts may share one database.

mod append;
mod connections;
mod schema;
mod select;

use self::connections::Connections;
use self::select::POSTGRES;
use super::consume::Change;
use super::database::{Database, Row, Value, first};
use super::dialect::Dialect;
use super::query::{Purpose, Query};
use super::sql::Backend;
use super::{Kept, Keyed, Outcome, Seq, Span, Step, StoreError, rows};
use crate::clock::Clock;
use crate::event::{EventId, NewEvent, Topic};

/// The backend.
pub struct PostgresBackend<D, C> {
    connections: Connections<D, C>,
}

impl<D: Database, C: Clock> PostgresBackend<D, C> {
    /// A backend that opens `database` at first use.
    pub fn new(database: D, clock: C) -> Self {
        Self { connections: Connections::new(database, clock) }
    }

    async fn write_row(&self, text: &str, parameters: &[Value]) -> Result<Row, StoreError> {
        first(self.write(text, parameters).await?)
    }
}

impl<D: Database, C: Clock> Backend for PostgresBackend<D, C> {
    fn dialect(&self) -> &'static Dialect {
        &POSTGRES
    }

    async fn query(&self, query: Query<'_>) -> Result<Vec<Row>, StoreError> {
        self.connections.query(query).await
    }

    async fn write(&self, text: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        let write = async || self.connections.write(text, parameters.to_vec()).await;
        self.connections.retry_while_busy(write).await
    }

    async fn remove(&self, text: &str, parameters: &[Value], _most: u32) -> Result<i64, StoreError> {
        self.write_row(text, parameters).await?.integer(0)
    }

    async fn current(&self, text: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.write(text, parameters).await
    }

    async fn change_consumer(&self, name: &str, change: &Change) -> Result<Option<Span>, StoreError> {
        let kept =
            serde_json::to_string(&change.kept).map_err(|error| StoreError::Failed(error.to_string()))?;
        let dead = &change.dead;
        let parameters = [
            name.into(),
            change.version.into(),
            change.new_version.into(),
            change.state.as_str().into(),
            i64::from(change.is_claim).into(),
            i64::from(change.clears).into(),
            change.removed.iter().copied().collect(),
            kept.into(),
            dead.iter().map(|event| event.topic.as_str()).collect(),
            dead.iter().map(|event| event.event_id.as_str()).collect(),
            dead.iter().map(|event| event.payload.as_json()).collect(),
            dead.iter().map(|event| event.payload.digest()).collect(),
        ];
        let changed = self.write_row(include_str!("sql/change_consumer.sql"), &parameters).await?;
        if changed.integer(2)? == 1 { rows::span(&changed).map(Some) } else { Ok(None) }
    }

    async fn append(&self, events: &[&NewEvent], keys: &[Keyed<'_>]) -> Result<Vec<Outcome>, StoreError> {
        let parameters = append::parameters(events, keys);
        let rows = self.connections.write(include_str!("sql/append.sql"), parameters).await?;
        append::outcomes(&first(rows)?, events.len())
    }

    async fn newest(&self) -> Result<Seq, StoreError> {
        self.write_row("select sekali.newest()", &[]).await?.integer(0)
    }

    async fn is_writable(&self) -> Result<bool, StoreError> {
        let query = Query::new(Purpose::Probe, include_str!("sql/is_writable.sql"), &[]);
        Ok(first(self.connections.query(query).await?)?.integer(0)? == 1)
    }

    async fn erase_event(&self, topic: &Topic, event_id: &EventId) -> Result<bool, StoreError> {
        let identity = [topic.as_str(), event_id.as_str()].map(Value::from);
        Ok(self.write_row(include_str!("sql/erase_event.sql"), &identity).await?.integer(0)? == 1)
    }

    /// Does nothing: the bytes of a row that was deleted are PostgreSQL's until a vacuum and the writes after it reuse
    /// their place, and its log's until that is recycled. docs/OPERATIONS.md says how to have them gone at once.
    async fn scrub(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn expire(&self, kept: Kept, most: u32) -> Result<Step, StoreError> {
        let parameters = [kept.events, kept.days, most].map(|number| i64::from(number).into());
        let row = self.write_row(include_str!("sql/expire.sql"), &parameters).await?;
        if row.integer(2)? == 1 {
            // If their readers do not let them go now, the next step tries again.
            self.write(include_str!("sql/drop_expired.sql"), &[]).await?;
        }
        step(&row)
    }

    async fn sweep(&self, most: u32) -> Result<Step, StoreError> {
        step(&self.write_row(include_str!("sql/sweep.sql"), &[i64::from(most).into()]).await?)
    }
}

/// A step from a row of its events, and whether there are more.
fn step(row: &Row) -> Result<Step, StoreError> {
    let events = u32::try_from(row.integer(0)?).unwrap_or(u32::MAX);
    Ok(Step { events, has_more: row.integer(1)? == 1 })
}

#[cfg(test)]
mod tests;
