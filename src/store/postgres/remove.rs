//! Taking events away: erasure on demand, and the steps of retention.

use super::PostgresStore;
use super::connections::Connections;
use super::parameter::Parameter;
use super::select::POSTGRES;
use crate::clock::Clock;
use crate::event::{EventId, Timestamp, Topic};
use crate::store::database::{Database, Row, first};
use crate::store::lanes::Purpose;
use crate::store::{Expired, Filter, Matches, Order, ReadStore, RemoveStore, StoreError, Window};

impl<D: Database<Parameter>, C: Clock> RemoveStore for PostgresStore<D, C> {
    async fn erase_event(&self, topic: &Topic, event_id: &EventId) -> Result<bool, StoreError> {
        let identity = [topic.as_str(), event_id.as_str()].map(Parameter::from);
        write(&self.connections, include_str!("sql/erase_event.sql"), &identity).await?;
        let is_known = include_str!("sql/is_known.sql");
        Ok(self.connections.query_row(Purpose::Answer, is_known, &identity).await?.integer(0)? > 0)
    }

    async fn erase(&self, filter: &Filter, window: Window, limit: u32) -> Result<Matches, StoreError> {
        let matches = self.matches(filter, window, Order::Ascending, limit).await?;
        if let Some(last) = matches.last {
            let own = [window.span.after, last, limit.into()];
            let (text, parameters) = POSTGRES.erase(filter, window.index).with(&own);
            write(&self.connections, &text, &parameters).await?;
        }
        Ok(matches)
    }

    /// Does nothing: the bytes of a row that was deleted are PostgreSQL's until a vacuum and the writes after it reuse
    /// their place, and its log's until that is recycled. docs/OPERATIONS.md says how to have them gone at once.
    async fn scrub(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn claim(&self, now: &Timestamp, until: &Timestamp) -> Result<bool, StoreError> {
        let parameters = [now.as_stored(), until.as_stored()].map(Parameter::from);
        Ok(!write(&self.connections, include_str!("sql/claim.sql"), &parameters).await?.is_empty())
    }

    async fn release(&self, due_at: &Timestamp) -> Result<(), StoreError> {
        write(&self.connections, include_str!("sql/release.sql"), &[due_at.as_stored().into()])
            .await
            .map(drop)
    }

    async fn readable_events(&self) -> Result<i64, StoreError> {
        let readable = include_str!("sql/readable_events.sql");
        self.connections.query_row(Purpose::Answer, readable, &[]).await?.integer(0)
    }

    async fn expire(&self, received_before: Option<&Timestamp>, rows: u32) -> Result<Expired, StoreError> {
        // Every time begins with a digit, so all of them are before this.
        let before = received_before.map_or(":", Timestamp::as_stored);
        let parameters = [before.into(), i64::from(rows).into()];
        let due = self.connections.query_row(Purpose::Look, include_str!("sql/due.sql"), &parameters).await?;
        let Ok(last) = due.integer(0) else { return Ok(Expired { rows: 0, events: 0 }) };
        let leaves_partitions =
            write_row(&self.connections, include_str!("sql/expire.sql"), &[last.into()]).await?;
        if leaves_partitions.integer(0)? == 1 {
            // If their readers do not let them go now, the next step tries again.
            write(&self.connections, include_str!("sql/drop_expired.sql"), &[]).await?;
        }
        let events = u32::try_from(due.integer(1)?).unwrap_or(u32::MAX);
        Ok(Expired { rows: events, events })
    }

    async fn forget(&self, received_before: &Timestamp, rows: u32) -> Result<u32, StoreError> {
        let parameters = [received_before.as_stored().into(), i64::from(rows).into()];
        let forgotten = write_row(&self.connections, include_str!("sql/forget.sql"), &parameters).await?;
        Ok(u32::try_from(forgotten.integer(0)?).unwrap_or(u32::MAX))
    }
}

async fn write<D: Database<Parameter>, C: Clock>(
    connections: &Connections<D, C>,
    statement: &str,
    parameters: &[Parameter],
) -> Result<Vec<Row>, StoreError> {
    connections.retry_while_busy(async || connections.write(statement, parameters.to_vec()).await).await
}

async fn write_row<D: Database<Parameter>, C: Clock>(
    connections: &Connections<D, C>,
    statement: &str,
    parameters: &[Parameter],
) -> Result<Row, StoreError> {
    first(write(connections, statement, parameters).await?)
}
