//! The store on SQLite or libSQL: every statement of the service, over whatever database executes them.
//!
//! `schema` is the tables, `append` a write, `remove` erasure and retention, `select` the
//! texts of reads, and `pool` the connections that all of them use.

mod append;
mod log;
mod pool;
mod remove;
mod schema;
mod select;

use std::collections::HashSet;

pub use self::schema::MIGRATIONS;

use self::append::{Appender, MAX_ROWS};
use self::pool::Pool;
use self::select::SQLITE;
use super::database::{Connection, Database, Row, Value};
use super::lanes::Purpose;
use super::queries::{self, Queries};
use super::rows;
use super::statements::Dialect;
use super::window;
use super::{
    Filter, Found, Keyed, LISTED_TOPICS, Layout, Ledger, Matches, Order, Outcome, Page, PageSize, ReadStore,
    Span, StoreError, Window, WriteStore,
};
use crate::clock::Clock;
use crate::event::{EventId, NewEvent, Topic};

/// The store.
pub struct SqliteStore<D: Database, C> {
    pool: Pool<D, C>,
    appender: Appender,
}

impl<D: Database, C: Clock> SqliteStore<D, C> {
    /// A store that opens `database` at first use. `seed` must differ from instance to instance.
    pub fn new(database: D, clock: C, seed: u64) -> Self {
        Self { pool: Pool::new(database, clock), appender: Appender::new(seed) }
    }

    /// Appends up to [`MAX_ROWS`] events by one statement.
    async fn append_statement(
        &self,
        connection: &D::Connection,
        events: &[&NewEvent],
    ) -> Result<Vec<Outcome>, StoreError> {
        let written = self.appender.write(connection, events, !self.pool.is_remote()).await?;
        let outcomes = self.pool.retry_while_busy(async || written.outcomes(connection, events).await).await;
        outcomes.map_err(StoreError::after_write)
    }

    /// Appends more events than one statement carries, in a transaction.
    async fn append_transaction(
        &self,
        connection: &D::Connection,
        events: &[&NewEvent],
    ) -> Result<Vec<Outcome>, StoreError> {
        connection.execute("begin immediate", vec![]).await?;
        let mut outcomes = Vec::with_capacity(events.len());
        for chunk in events.chunks(MAX_ROWS) {
            match self.append_statement(connection, chunk).await {
                Ok(more) => outcomes.extend(more),
                Err(error) => {
                    connection.execute("rollback", vec![]).await.map_err(StoreError::after_write)?;
                    return Err(error.before_commit());
                }
            }
        }
        match connection.execute("commit", vec![]).await {
            Ok(_) => Ok(outcomes),
            // The disk is full only now, when the pages of the transaction are written: SQLite has committed nothing.
            Err(error @ (StoreError::Full(_) | StoreError::Busy)) => {
                // It may have rolled back by itself, and then there is nothing to roll back.
                let _ = connection.execute("rollback", vec![]).await;
                Err(error)
            }
            Err(error) => Err(error.after_write()),
        }
    }
}

impl<D: Database, C: Clock> WriteStore for SqliteStore<D, C> {
    async fn append(&self, events: &[&NewEvent], _: &[Keyed<'_>]) -> Result<Vec<Outcome>, StoreError> {
        if events.is_empty() {
            return Ok(vec![]);
        }
        // Each write changes the end of the table and of four indexes; each event, one in random order or its own pages.
        let pages = 5 + events.iter().map(|event| 1 + event.stored_bytes() / 4096).sum::<usize>();
        self.pool
            .write(pages, async |connection| {
                if events.len() <= MAX_ROWS {
                    self.append_statement(connection, events).await
                } else {
                    self.append_transaction(connection, events).await
                }
            })
            .await
    }
}

impl<D: Database, C: Clock> ReadStore for SqliteStore<D, C> {
    async fn readable(&self) -> Result<Span, StoreError> {
        let row = self.pool.query_row(Purpose::Look, include_str!("sql/readable.sql"), &[]).await?;
        Ok(Span { after: row.integer(0)?, through: row.integer(1)? })
    }

    async fn risks(&self) -> Result<Vec<String>, StoreError> {
        // Only a server of libSQL has another value: its default is to sync at checkpoints.
        let row = self.pool.query_row(Purpose::Look, include_str!("sql/synchronous.sql"), &[]).await?;
        Ok(if row.integer(0)? < 2 { vec!["synchronous is not full".into()] } else { vec![] })
    }

    async fn window(&self, filter: &Filter, span: Span, order: Order) -> Result<Window, StoreError> {
        window::next(&self.pool, filter, span, order).await
    }

    async fn matches(
        &self,
        filter: &Filter,
        window: Window,
        order: Order,
        limit: u32,
    ) -> Result<Matches, StoreError> {
        queries::matches(&self.pool, filter, window, order, limit).await
    }

    async fn page(
        &self,
        filter: &Filter,
        window: Window,
        order: Order,
        layout: Layout,
        size: PageSize,
    ) -> Result<Option<Page>, StoreError> {
        queries::page(&self.pool, filter, window, order, layout, size).await
    }

    async fn event(&self, topic: &Topic, event_id: &EventId) -> Result<Option<Found>, StoreError> {
        let parameters = [topic.as_str(), event_id.as_str()].map(Value::from);
        let mut rows = self.pool.query(Purpose::Answer, &select::event_by_id(), &parameters).await?;
        Ok(rows.pop().map(|mut row| match row.0.pop() {
            Some(Value::Text(event)) => Found::Event(event),
            _ => Found::Gone,
        }))
    }

    async fn ledger(&self, topics: &[Topic]) -> Result<Ledger, StoreError> {
        let named = if topics.is_empty() { Value::Null } else { names(topics)? };
        let parameters = [named, i64::from(LISTED_TOPICS).into()];
        let row = self.pool.query_row(Purpose::Answer, include_str!("sql/ledger.sql"), &parameters).await?;
        Ledger::of(&row)
    }

    async fn find_topics(&self, topics: &[&Topic]) -> Result<(HashSet<Topic>, usize), StoreError> {
        let parameters = vec![names(topics.iter().copied())?];
        let find = async |connection: &D::Connection| {
            connection.query_row(include_str!("sql/find_topics.sql"), parameters.clone()).await
        };
        // As a write, which waits for no reader: a producer asks.
        let row = self.pool.retry_while_busy(async || self.pool.write(0, find).await).await?;
        rows::found_topics(&row)
    }
}

impl<D: Database, C: Clock> Queries for Pool<D, C> {
    type Parameter = Value;

    const DIALECT: &'static Dialect = &SQLITE;

    async fn query_row(
        &self,
        purpose: Purpose,
        statement: &str,
        parameters: &[Value],
    ) -> Result<Row, StoreError> {
        self.query_row(purpose, statement, parameters).await
    }
}

/// A JSON array of the names of topics.
fn names<'t>(topics: impl IntoIterator<Item = &'t Topic>) -> Result<Value, StoreError> {
    let names: Vec<_> = topics.into_iter().map(Topic::as_str).collect();
    serde_json::to_string(&names).map(Value::Text).map_err(|error| StoreError::Failed(error.to_string()))
}

#[cfg(test)]
mod tests;
