//! The schema and its migrations: forward only, run once, by the first connection to a database.

use super::log::checkpoint;
use crate::event::Timestamp;
use crate::store::StoreError;
use crate::store::database::{Connection, Value};

/// The migrations, one statement each. The version of a schema is the number of migrations it has seen.
pub const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_events.sql"),
    include_str!("migrations/0002_events_by_topic.sql"),
    include_str!("migrations/0003_topics.sql"),
    include_str!("migrations/0004_count_stored.sql"),
    include_str!("migrations/0005_count_dropped.sql"),
    include_str!("migrations/0006_attributes.sql"),
    include_str!("migrations/0007_events_by_source.sql"),
    include_str!("migrations/0008_events_by_timestamp.sql"),
    include_str!("migrations/0009_gone.sql"),
    include_str!("migrations/0010_drop_events_by_topic.sql"),
    include_str!("migrations/0011_events_by_topic_readable.sql"),
    include_str!("migrations/0012_drop_events_by_timestamp.sql"),
    include_str!("migrations/0013_events_by_timestamp_readable.sql"),
    include_str!("migrations/0014_events_gone.sql"),
    include_str!("migrations/0015_topics_expired.sql"),
    include_str!("migrations/0016_topics_erased.sql"),
    include_str!("migrations/0017_topics_forgotten.sql"),
    include_str!("migrations/0018_drop_count_stored.sql"),
    include_str!("migrations/0019_count_stored_readable.sql"),
    include_str!("migrations/0020_keep_identity.sql"),
    include_str!("migrations/0021_count_forgotten.sql"),
    include_str!("migrations/0022_blocks.sql"),
    include_str!("migrations/0023_fill_blocks.sql"),
    include_str!("migrations/0024_close_block.sql"),
    include_str!("migrations/0025_count_erased.sql"),
    include_str!("migrations/0026_upkeep.sql"),
    include_str!("migrations/0027_upkeep_row.sql"),
    include_str!("migrations/0028_sections.sql"),
    include_str!("migrations/0029_fill_sections.sql"),
    include_str!("migrations/0030_close_section.sql"),
    include_str!("migrations/0031_narrow_section.sql"),
    include_str!("migrations/0032_answers.sql"),
    include_str!("migrations/0033_upkeep_topics.sql"),
    include_str!("migrations/0034_fill_upkeep_topics.sql"),
    include_str!("migrations/0035_count_topic.sql"),
    include_str!("migrations/0036_store_id.sql"),
    include_str!("migrations/0037_fill_store_id.sql"),
    include_str!("migrations/0038_rival.sql"),
    include_str!("migrations/0039_events_by_conflict.sql"),
    include_str!("migrations/0040_history.sql"),
];

/// The version of the schema that this program knows.
pub fn version_known() -> Value {
    Value::Integer(MIGRATIONS.len() as i64)
}

/// Brings the schema up to date. The write lock makes other instances wait, and then find nothing to do.
///
/// # Errors
/// [`StoreError::Failed`] when a newer program has migrated the database.
pub async fn migrate(connection: &impl Connection) -> Result<(), StoreError> {
    if is_current(version(connection).await?)? {
        return Ok(());
    }
    connection.execute("begin immediate", vec![]).await?;
    let result = run_missing_migrations(connection).await;
    if result.is_err() {
        let _ = connection.execute("rollback", vec![]).await;
    }
    result
}

async fn run_missing_migrations(connection: &impl Connection) -> Result<(), StoreError> {
    let create = "create table if not exists schema_migrations (version integer primary key, applied_at text not null)";
    connection.execute(create, vec![]).await?;
    let seen = version(connection).await?;
    is_current(seen)?;
    let known = MIGRATIONS.len();
    let is_upgrade = (1..known).contains(&seen); // another instance may have been faster
    if is_upgrade {
        let wait = "requests wait meanwhile, about two seconds for a million events";
        sekali_common::log::info(
            "upgrade",
            format_args!("bringing the database from schema {seen} to {known}: {wait}"),
        );
    }
    for (version, migration) in (1i64..).zip(MIGRATIONS.iter().copied()).skip(seen) {
        connection.execute(migration, vec![]).await?;
        let insert = "insert into schema_migrations (version, applied_at) values (?1, ?2)";
        let applied_at = Timestamp::now().to_string();
        connection.execute(insert, vec![version.into(), applied_at.as_str().into()]).await?;
    }
    connection.execute("commit", vec![]).await?;
    if is_upgrade {
        // New indexes are as large as the log has ever been. It matters to nobody if a reader keeps it for now.
        let _ = checkpoint(connection, "truncate").await;
        sekali_common::log::info("upgraded", format_args!("the database has schema {known} now"));
    }
    Ok(())
}

/// True if no migration is missing.
fn is_current(version: usize) -> Result<bool, StoreError> {
    let known = MIGRATIONS.len();
    if version > known {
        return Err(StoreError::Failed(format!(
            "the database has schema version {version}, and this program knows versions up to {known}: use a newer program"
        )));
    }
    Ok(version == known)
}

async fn version(connection: &impl Connection) -> Result<usize, StoreError> {
    let exists = "select count(*) from sqlite_schema where name = 'schema_migrations'";
    if connection.query_row(exists, vec![]).await?.integer(0)? == 0 {
        return Ok(0);
    }
    let newest = "select coalesce(max(version), 0) from schema_migrations";
    let version = connection.query_row(newest, vec![]).await?.integer(0)?;
    Ok(usize::try_from(version).unwrap_or_default())
}
