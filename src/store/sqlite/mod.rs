//! The store on SQLite or libSQL: every statement of the service, over whatever database executes them.
//!
//! `schema` is the tables, `append` a write, `select` the texts of reads, and `pool` the connections that all of them
//! use.

mod append;
mod pool;
mod schema;
mod select;

pub use self::schema::MIGRATIONS;

use self::append::{Appender, MAX_ROWS};
use self::pool::{Pool, Purpose};
use self::select::Statement;
use super::database::{Connection, Database, Value};
use super::{
    Extent, Filter, Layout, Ledger, Order, Outcome, Page, PageSize, ReadStore, Seq, Span, StoreError,
    WriteStore,
};
use crate::clock::Clock;
use crate::event::{EventId, NewEvent, Timestamp, Topic};

/// Events of a span of time that are looked at to find its run of seq. If there are more, reading in the order of seq
/// comes upon them soon.
const NARROW_EVENTS: i64 = 100_000;

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
        let written = self.appender.write(connection, events).await?;
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

    /// The part of a span that can have events of a filter by time alone, where the index of timestamps tells it
    /// cheaply.
    async fn narrow(&self, filter: &Filter, span: Span) -> Result<Span, StoreError> {
        let is_by_time = filter.since.is_some() || filter.until.is_some();
        if !is_by_time || !filter.topics.is_empty() || !filter.sources.is_empty() {
            return Ok(span);
        }
        let bound = |moment: &Option<Timestamp>, otherwise: &'static str| {
            Value::from(moment.as_ref().map_or(otherwise, Timestamp::as_stored))
        };
        // Every timestamp lies between these two, because it begins with a digit.
        let parameters = [bound(&filter.since, ""), bound(&filter.until, ":"), NARROW_EVENTS.into()];
        let row = self.pool.query_row(Purpose::Look, include_str!("sql/span.sql"), &parameters).await?;
        Ok(match (row.integer(0), row.integer(1), row.integer(2)?) {
            (.., NARROW_EVENTS) => span,
            (Ok(first), Ok(last), _) => {
                Span { after: span.after.max(first - 1), through: span.through.min(last) }
            }
            _ => Span { through: span.after, ..span },
        })
    }

    /// The part of a span up to the last of the first `limit` events.
    async fn limited(
        &self,
        filter: &Filter,
        span: Span,
        order: Order,
        limit: u32,
    ) -> Result<Extent, StoreError> {
        let Statement { text, parameters } = select::boundary(filter, order);
        let own = [span.after, span.through, i64::from(limit) + 1].map(Value::Integer);
        let row = self.pool.query_row(Purpose::Answer, &text, &[&own[..], &parameters].concat()).await?;
        let has_more = row.integer(1)? > limit.into();
        let span = match row.integer(0) {
            Ok(last) => span.up_to(last, order),
            Err(_) => Span { through: span.after, ..span },
        };
        Ok(Extent { span, has_more })
    }
}

impl<D: Database, C: Clock> WriteStore for SqliteStore<D, C> {
    async fn append(&self, events: &[&NewEvent]) -> Result<Vec<Outcome>, StoreError> {
        if events.is_empty() {
            return Ok(vec![]);
        }
        self.pool
            .write(async |connection| {
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
    async fn last_seq(&self) -> Result<Seq, StoreError> {
        self.pool.query_row(Purpose::Look, include_str!("sql/last_seq.sql"), &[]).await?.integer(0)
    }

    async fn extent(
        &self,
        filter: &Filter,
        span: Span,
        order: Order,
        limit: Option<u32>,
    ) -> Result<Extent, StoreError> {
        let span = self.narrow(filter, span).await?;
        match limit {
            Some(limit) => self.limited(filter, span, order, limit).await,
            None => Ok(Extent { span, has_more: false }),
        }
    }

    async fn page(
        &self,
        filter: &Filter,
        span: Span,
        order: Order,
        layout: Layout,
        size: PageSize,
    ) -> Result<Option<Page>, StoreError> {
        let Statement { text, parameters } = select::page(filter, order, layout);
        let own = [span.after, span.through, size.events.into(), size.bytes.into()].map(Value::Integer);
        let purpose = if size == PageSize::SMALL { Purpose::Follow } else { Purpose::Answer };
        let mut row = self.pool.query_row(purpose, &text, &[&own[..], &parameters].concat()).await?;
        let (last, events) = (row.integer(1), row.integer(2)?);
        match row.0.swap_remove(0) {
            Value::Text(text) => {
                let is_full = events == i64::from(size.events) || text.len() >= size.bytes as usize;
                Ok(Some(Page { text, last: last?, is_last: !is_full }))
            }
            _ => Ok(None),
        }
    }

    async fn event(&self, topic: &Topic, event_id: &EventId) -> Result<Option<String>, StoreError> {
        let parameters = [topic.as_str(), event_id.as_str()].map(Value::from);
        let rows = self.pool.query(Purpose::Answer, &select::event_by_id(), &parameters).await?;
        rows.first().map(|row| row.text(0).map(ToOwned::to_owned)).transpose()
    }

    async fn ledger(&self) -> Result<Ledger, StoreError> {
        let row = self.pool.query_row(Purpose::Answer, include_str!("sql/ledger.sql"), &[]).await?;
        Ok(Ledger {
            unique_processed: row.integer(0)?,
            duplicate_dropped: row.integer(1)?,
            conflicts: row.integer(2)?,
            last_seq: row.integer(3)?,
            topics: row.text(4)?.to_owned(),
            by_topic: row.text(5)?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
