//! A step of a consumer: one statement, or a transaction where failures change with it.

use serde::Serialize;

use super::append::{Appender, MAX_ROWS};
use crate::event::NewEvent;
use crate::store::consume::Change;
use crate::store::database::Connection;
use crate::store::{Span, StoreError, rows};

/// See [`ConsumeStore::change_consumer`](crate::store::consume::ConsumeStore::change_consumer).
///
/// # Errors
/// When nothing was changed, or it is not known.
pub async fn change(
    connection: &impl Connection,
    name: &str,
    change: &Change,
    appender: &Appender,
) -> Result<Option<Span>, StoreError> {
    if change.is_of_state_alone() {
        return change_state(connection, name, change).await;
    }
    connection.execute("begin immediate", vec![]).await?;
    let changed = change_inside(connection, name, change, appender).await;
    if !matches!(changed, Ok(Some(_))) {
        let _ = connection.execute("rollback", vec![]).await;
    }
    changed.map_err(StoreError::before_commit)
}

async fn change_inside(
    connection: &impl Connection,
    name: &str,
    change: &Change,
    appender: &Appender,
) -> Result<Option<Span>, StoreError> {
    let Some(readable) = change_state(connection, name, change).await? else { return Ok(None) };
    if change.clears || !change.removed.is_empty() {
        let removed = (!change.clears).then(|| json(&change.removed)).transpose()?;
        let statement = include_str!("sql/remove_failures.sql");
        connection.execute(statement, vec![name.into(), removed.into()]).await?;
    }
    if !change.kept.is_empty() {
        let statement = include_str!("sql/keep_failures.sql");
        connection.execute(statement, vec![name.into(), json(&change.kept)?.into()]).await?;
    }
    for events in change.dead.chunks(MAX_ROWS) {
        appender.write(connection, &events.iter().collect::<Vec<&NewEvent>>(), false).await?;
    }
    connection.execute("commit", vec![]).await?;
    Ok(Some(readable))
}

async fn change_state(
    connection: &impl Connection,
    name: &str,
    change: &Change,
) -> Result<Option<Span>, StoreError> {
    let text = include_str!("sql/change_consumer.sql");
    let parameters =
        vec![name.into(), change.version.into(), change.state.as_str().into(), change.new_version.into()];
    connection.execute(text, parameters).await?.first().map(rows::span).transpose()
}

fn json(list: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(list).map_err(|error| StoreError::Failed(error.to_string()))
}
