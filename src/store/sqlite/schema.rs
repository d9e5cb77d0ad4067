//! The schema, and the way to it from that of 0.2: run once, by the first connection to a database.

use sekali_common::schema::{SQLITE, SchemaState};

use super::log::checkpoint;
use crate::event::Timestamp;
use crate::store::StoreError;
use crate::store::database::{Connection, Value};

/// The statements that make the schema, with a blank line between two.
pub const SCHEMA: &str = include_str!("schema.sql");

/// The statements that change the schema of 0.2 into it.
const UPGRADE: &str = include_str!("upgrade.sql");

/// The version of the schema that this program knows.
pub fn version_known() -> Value {
    Value::Integer(SQLITE.version)
}

/// Brings the schema up to date. The write lock makes other instances wait, and then find nothing to do.
///
/// # Errors
/// [`StoreError::Failed`] when a program of another version has made the schema, and it is not that of 0.2.
pub async fn migrate(connection: &impl Connection) -> Result<(), StoreError> {
    if state(connection).await? == SchemaState::Current {
        return Ok(());
    }
    connection.execute("begin immediate", vec![]).await?;
    let result = bring_up_to_date(connection).await;
    if result.is_err() {
        let _ = connection.execute("rollback", vec![]).await;
    }
    result
}

async fn bring_up_to_date(connection: &impl Connection) -> Result<(), StoreError> {
    let before = state(connection).await?;
    if before == SchemaState::Current {
        return connection.execute("commit", vec![]).await.map(drop); // another instance was faster
    }
    let is_upgrade = before == SchemaState::Old;
    if is_upgrade {
        let wait = "requests wait meanwhile, about a second for a million events";
        sekali_common::log::info(
            "upgrade",
            format_args!("bringing the database of version 0.2 up to date: {wait}"),
        );
    }
    let statements = if is_upgrade { UPGRADE } else { SCHEMA };
    for statement in statements.split("\n\n") {
        connection.execute(statement, vec![]).await?;
    }
    let insert = "insert into schema_migrations (version, applied_at) values (?1, ?2)";
    let applied_at = Timestamp::now().to_string();
    connection.execute(insert, vec![version_known(), applied_at.as_str().into()]).await?;
    connection.execute("commit", vec![]).await?;
    if is_upgrade {
        // A new index is as large as the log has ever been. It matters to nobody if a reader keeps it for now.
        let _ = checkpoint(connection, "truncate").await;
        sekali_common::log::info("upgraded", "the database is up to date");
    }
    Ok(())
}

async fn state(connection: &impl Connection) -> Result<SchemaState, StoreError> {
    let exists = "select count(*) from sqlite_schema where name = 'schema_migrations'";
    let version = match connection.query_row(exists, vec![]).await?.integer(0)? {
        0 => 0,
        _ => {
            let newest = "select coalesce(max(version), 0) from schema_migrations";
            connection.query_row(newest, vec![]).await?.integer(0)?
        }
    };
    SQLITE.state(version).map_err(StoreError::Failed)
}
