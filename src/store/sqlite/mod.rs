//! SQLite or libSQL as the backend of a store, over whatever database executes its statements.
//!
//! `schema` is the tables, `append` a write, `consume` a step of a consumer, `expire` a step of retention, `select` the texts of reads, and `pool` the
//! connections that all of them use.

mod append;
mod consume;
mod expire;
mod log;
mod pool;
mod schema;
mod select;

pub use self::schema::SCHEMA;

use self::append::{Appender, MAX_ROWS};
use self::log::checkpoint;
use self::pool::{Durability, Pool};
use self::select::SQLITE;
use super::consume::Change;
use super::database::{Connection, Database, Row, Value, first};
use super::dialect::Dialect;
use super::query::{Purpose, Query};
use super::sql::{Backend, SqlStore};
use super::{Kept, Keyed, LogState, Outcome, Seq, Span, Step, StoreError};
use crate::clock::Clock;
use crate::event::{EventId, NewEvent, Topic};

/// The store on SQLite.
pub type SqliteStore<D, C> = SqlStore<SqliteBackend<D, C>>;

/// The backend.
pub struct SqliteBackend<D: Database, C> {
    pool: Pool<D, C>,
    appender: Appender,
}

impl<D: Database, C: Clock> SqliteBackend<D, C> {
    /// A backend that opens `database` at first use. `seed` must differ from instance to instance.
    pub fn new(database: D, clock: C, seed: u64) -> Self {
        Self { pool: Pool::new(database, clock), appender: Appender::new(seed) }
    }

    /// Appends up to [`MAX_ROWS`] events by one statement.
    async fn append_statement(
        &self,
        connection: &D::Connection,
        events: &[&NewEvent],
    ) -> Result<Vec<Outcome>, StoreError> {
        if events.is_empty() {
            return Ok(vec![]);
        }
        let written = self.appender.write(connection, events, !self.pool.is_remote()).await?;
        let outcomes = self.pool.retry_while_busy(async || written.outcomes(connection, events).await).await;
        outcomes.map_err(StoreError::after_write)
    }

    /// Appends more events than one statement carries, or with answers beside them, in a transaction.
    async fn append_transaction(
        &self,
        connection: &D::Connection,
        events: &[&NewEvent],
        keys: &[Keyed<'_>],
    ) -> Result<Vec<Outcome>, StoreError> {
        connection.execute("begin immediate", vec![]).await?;
        let outcomes = match self.append_inside(connection, events, keys).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                connection.execute("rollback", vec![]).await.map_err(StoreError::after_write)?;
                return Err(error.before_commit());
            }
        };
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

    async fn append_inside(
        &self,
        connection: &D::Connection,
        events: &[&NewEvent],
        keys: &[Keyed<'_>],
    ) -> Result<Vec<Outcome>, StoreError> {
        if !keys.is_empty() {
            append::refuse_repeated(connection, keys).await?;
        }
        let mut outcomes = Vec::with_capacity(events.len());
        for chunk in events.chunks(MAX_ROWS) {
            outcomes.extend(self.append_statement(connection, chunk).await?);
        }
        if !keys.is_empty() {
            append::keep_answers(connection, keys, &outcomes).await?;
        }
        Ok(outcomes)
    }
}

impl<D: Database, C: Clock> Backend for SqliteBackend<D, C> {
    fn dialect(&self) -> &'static Dialect {
        &SQLITE
    }

    async fn query(&self, query: Query<'_>) -> Result<Vec<Row>, StoreError> {
        self.pool.query(query).await
    }

    async fn write(&self, text: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        let write = async || {
            self.pool.write(1, async |connection| connection.execute(text, parameters.to_vec()).await).await
        };
        self.pool.retry_while_busy(write).await
    }

    async fn remove(&self, text: &str, parameters: &[Value], most: u32) -> Result<i64, StoreError> {
        let remove = async |connection: &D::Connection| {
            connection.execute(text, parameters.to_vec()).await?;
            connection.query_row("select changes()", vec![]).await?.integer(0)
        };
        self.pool.retry_while_busy(async || self.pool.write(most as usize, remove).await).await
    }

    async fn current(&self, text: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        match self.pool.is_remote() {
            true => self.write(text, parameters).await,
            false => self.pool.query(Query::new(Purpose::Probe, text, parameters)).await,
        }
    }

    async fn change_consumer(&self, name: &str, change: &Change) -> Result<Option<Span>, StoreError> {
        let pages = 1 + change.kept.len() + change.removed.len();
        let durability = if change.is_claim { Durability::Unsynced } else { Durability::Synced };
        let write = async |connection: &D::Connection| {
            consume::change(connection, name, change, &self.appender).await
        };
        self.pool.retry_while_busy(async || self.pool.write_as(durability, pages, write).await).await
    }

    async fn append(&self, events: &[&NewEvent], keys: &[Keyed<'_>]) -> Result<Vec<Outcome>, StoreError> {
        // Each write changes the end of the table and of four indexes; each event and each key, one in random order, or
        // its own pages.
        let pages =
            5 + keys.len() + events.iter().map(|event| 1 + event.stored_bytes() / 4096).sum::<usize>();
        self.pool
            .write(pages, async |connection| {
                if events.len() <= MAX_ROWS && keys.is_empty() {
                    self.append_statement(connection, events).await
                } else {
                    self.append_transaction(connection, events, keys).await
                }
            })
            .await
    }

    async fn newest(&self) -> Result<Seq, StoreError> {
        let rows = self.pool.query(Query::new(Purpose::Probe, &SQLITE.readable(), &[])).await?;
        first(rows)?.integer(1)
    }

    /// A write that changes no row tells. It finds the database busy while another program writes, and then nothing is
    /// wrong.
    async fn is_writable(&self) -> Result<bool, StoreError> {
        if self.pool.is_remote() {
            return Ok(true);
        }
        let probe = async |connection: &D::Connection| {
            connection.execute(include_str!("sql/probe.sql"), vec![]).await
        };
        match self.pool.write(0, probe).await {
            Ok(_) | Err(StoreError::Busy) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn log(&self) -> Result<Option<LogState>, StoreError> {
        match self.pool.query(Query::new(Purpose::Probe, log::STATE, &[])).await {
            Ok(rows) => Ok(rows.first().and_then(log::state)),
            Err(error) if error.is_passing() => Err(error),
            Err(_) => Ok(None), // a server across a network has its own
        }
    }

    async fn erase_event(&self, topic: &Topic, event_id: &EventId) -> Result<bool, StoreError> {
        let identity = [topic.as_str(), event_id.as_str()].map(Value::from);
        let known = Query::new(Purpose::Answer, SQLITE.texts.identity, &identity);
        if self.pool.query(known).await?.is_empty() {
            return Ok(false);
        }
        let seqs = "select seq from events where topic = ?1 and event_id = ?2";
        self.write(&SQLITE.texts.erase.replace("/* seqs */", seqs), &identity).await?;
        Ok(true)
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        let truncate = async |connection: &D::Connection| match checkpoint(connection, "truncate").await? {
            Some((true, _)) => Err(StoreError::Busy),
            // SQLite does not sync the end that the log got. A power cut could bring back what was behind it.
            Some((false, _)) => connection.execute(include_str!("sql/commit.sql"), vec![]).await.map(drop),
            None => Ok(()),
        };
        self.pool.retry_while_busy(async || self.pool.write(0, truncate).await).await
    }

    async fn expire(&self, kept: Kept, most: u32) -> Result<Step, StoreError> {
        let expire = async |connection: &D::Connection| expire::step(connection, kept, most).await;
        self.pool.retry_while_busy(async || self.pool.write(most as usize, expire).await).await
    }

    /// Nothing is left to remove: what expires is deleted.
    async fn sweep(&self, _most: u32) -> Result<Step, StoreError> {
        Ok(Step { events: 0, has_more: false })
    }
}

#[cfg(test)]
mod tests;
