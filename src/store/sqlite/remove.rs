//! Taking events away: erasure on demand, and the steps of retention.

use super::SqliteStore;
use super::log::checkpoint;
use super::pool::Pool;
use super::select::SQLITE;
use crate::clock::Clock;
use crate::event::{EventId, Timestamp, Topic};
use crate::store::database::{Connection, Database, Row, Value};
use crate::store::lanes::Purpose;
use crate::store::{Expired, Filter, Matches, Order, ReadStore, RemoveStore, StoreError, Window};

impl<D: Database, C: Clock> RemoveStore for SqliteStore<D, C> {
    async fn erase_event(&self, topic: &Topic, event_id: &EventId) -> Result<bool, StoreError> {
        let identity = [topic.as_str(), event_id.as_str()].map(Value::from);
        write(&self.pool, include_str!("sql/erase_event.sql"), &identity).await?;
        let row = self.pool.query_row(Purpose::Answer, include_str!("sql/is_known.sql"), &identity).await?;
        Ok(row.integer(0)? > 0)
    }

    async fn erase(&self, filter: &Filter, window: Window, limit: u32) -> Result<Matches, StoreError> {
        let matches = self.matches(filter, window, Order::Ascending, limit).await?;
        if let Some(last) = matches.last {
            let own = [window.span.after, last, limit.into()];
            let (text, parameters) = SQLITE.erase(filter, window.index).with(&own);
            write(&self.pool, &text, &parameters).await?;
        }
        Ok(matches)
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        let truncate = async |connection: &D::Connection| match checkpoint(connection, "truncate").await? {
            Some((true, _)) => Err(StoreError::Busy),
            _ => Ok(()),
        };
        self.pool.retry_while_busy(async || self.pool.write(0, truncate).await).await
    }

    async fn claim(&self, now: &Timestamp, until: &Timestamp) -> Result<bool, StoreError> {
        let parameters = [now.as_stored(), until.as_stored()].map(Value::from);
        Ok(!write(&self.pool, include_str!("sql/claim.sql"), &parameters).await?.is_empty())
    }

    async fn release(&self, due_at: &Timestamp) -> Result<(), StoreError> {
        write(&self.pool, include_str!("sql/release.sql"), &[due_at.as_stored().into()]).await.map(drop)
    }

    async fn readable_events(&self) -> Result<i64, StoreError> {
        let row = self.pool.query_row(Purpose::Answer, include_str!("sql/readable_events.sql"), &[]).await?;
        row.integer(0)
    }

    async fn expire(&self, received_before: Option<&Timestamp>, rows: u32) -> Result<Expired, StoreError> {
        // Every time begins with a digit, so all of them are before this.
        let before = received_before.map_or(":", Timestamp::as_stored);
        let due = self
            .pool
            .query_row(Purpose::Look, include_str!("sql/due.sql"), &[before.into(), i64::from(rows).into()])
            .await?;
        let Ok(last) = due.integer(0) else { return Ok(Expired { rows: 0, events: 0 }) };
        self.pool.write(rows as usize, async |connection| expire_through(connection, last).await).await?;
        let count = |column| due.integer(column).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        Ok(Expired { rows: count(1)?, events: count(2)? })
    }

    async fn forget(&self, received_before: &Timestamp, rows: u32) -> Result<u32, StoreError> {
        let parameters = vec![received_before.as_stored().into(), i64::from(rows).into()];
        self.pool
            .write(rows as usize, async |connection| {
                connection.execute(include_str!("sql/forget.sql"), parameters).await?;
                let forgotten = connection.query_row("select changes()", vec![]).await?.integer(0)?;
                Ok(u32::try_from(forgotten).unwrap_or(u32::MAX))
            })
            .await
    }
}

async fn write<D: Database, C: Clock>(
    pool: &Pool<D, C>,
    statement: &str,
    parameters: &[Value],
) -> Result<Vec<Row>, StoreError> {
    let write = async || {
        pool.write(1, async |connection| connection.execute(statement, parameters.to_vec()).await).await
    };
    pool.retry_while_busy(write).await
}

/// Takes away the events up to `last` in one transaction.
async fn expire_through(connection: &impl Connection, last: i64) -> Result<(), StoreError> {
    connection.execute("begin immediate", vec![]).await?;
    let steps = [
        include_str!("sql/expire.sql"),
        include_str!("sql/drop_blocks.sql"),
        include_str!("sql/drop_sections.sql"),
        include_str!("sql/expired_through.sql"),
    ];
    let result = async {
        for step in steps {
            connection.execute(step, vec![last.into()]).await?;
        }
        connection.execute("commit", vec![]).await
    };
    let result = result.await;
    if result.is_err() {
        let _ = connection.execute("rollback", vec![]).await;
    }
    result.map(drop)
}
