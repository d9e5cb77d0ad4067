//! A step of retention: the oldest events that are not to be kept are deleted, in one transaction with the look at what is
//! to be kept, so that no event goes twice whoever believes to be at work.

use crate::store::database::Connection;
use crate::store::{Kept, Step, StoreError};

/// The statements that remove the events up to a seq.
const STATEMENTS: [&str; 4] = [
    include_str!("sql/expire.sql"),
    include_str!("sql/drop_blocks.sql"),
    include_str!("sql/drop_sections.sql"),
    include_str!("sql/expired_through.sql"),
];

/// Takes away the oldest events that are not to be kept, and goes through `most` rows.
///
/// # Errors
/// When nothing was taken away.
pub async fn step(connection: &impl Connection, kept: Kept, most: u32) -> Result<Step, StoreError> {
    connection.execute("begin immediate", vec![]).await?;
    let step = expire(connection, kept, most).await;
    if step.is_err() {
        let _ = connection.execute("rollback", vec![]).await;
    }
    step
}

async fn expire(connection: &impl Connection, kept: Kept, most: u32) -> Result<Step, StoreError> {
    let parameters = [kept.events, kept.days, most].map(|number| i64::from(number).into());
    let due = connection.query_row(include_str!("sql/due.sql"), parameters.to_vec()).await?;
    if let Ok(last) = due.integer(0) {
        for statement in STATEMENTS {
            connection.execute(statement, vec![last.into()]).await?;
        }
    }
    connection.execute("commit", vec![]).await?;
    let events = u32::try_from(due.integer(1)?).unwrap_or(u32::MAX);
    Ok(Step { events, has_more: due.integer(2)? == i64::from(most) })
}
