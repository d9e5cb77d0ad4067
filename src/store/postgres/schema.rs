//! The schema and its migrations: forward only, run once, by the first instance to come to a database.

use super::parameter::Parameter;
use crate::store::StoreError;
use crate::store::database::Connection;

/// The migrations, one statement each. The version of a schema is the number of migrations it has seen.
pub const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_identities.sql"),
    include_str!("migrations/0002_identities_erased.sql"),
    include_str!("migrations/0003_events.sql"),
    include_str!("migrations/0004_events_by_topic.sql"),
    include_str!("migrations/0005_events_by_source.sql"),
    include_str!("migrations/0006_events_by_timestamp.sql"),
    include_str!("migrations/0007_partitions.sql"),
    include_str!("migrations/0008_make_partitions.sql"),
    include_str!("migrations/0009_topics.sql"),
    include_str!("migrations/0010_blocks.sql"),
    include_str!("migrations/0011_sections.sql"),
    include_str!("migrations/0012_close_blocks.sql"),
    include_str!("migrations/0013_upkeep.sql"),
    include_str!("migrations/0014_cluster.sql"),
    include_str!("migrations/0015_timeline.sql"),
    include_str!("migrations/0016_upkeep_row.sql"),
    include_str!("migrations/0017_reserve.sql"),
    include_str!("migrations/0018_answers.sql"),
    include_str!("migrations/0019_answers_by_age.sql"),
    include_str!("migrations/0020_keep_answers.sql"),
    include_str!("migrations/0021_append.sql"),
    include_str!("migrations/0022_erase.sql"),
    include_str!("migrations/0023_expire.sql"),
    include_str!("migrations/0024_drop_expired.sql"),
    include_str!("migrations/0025_forget.sql"),
];

/// Brings the schema up to date.
///
/// # Errors
/// [`StoreError::Failed`] when a newer program has migrated the database.
pub async fn migrate(connection: &impl Connection<Parameter>) -> Result<(), StoreError> {
    let seen = version(connection).await?;
    let known = MIGRATIONS.len();
    if seen > known {
        return Err(StoreError::Failed(format!(
            "the database has schema version {seen}, and this program knows versions up to {known}: use a newer program"
        )));
    }
    if seen < known {
        if seen > 0 {
            sekali_log::info(
                "upgrade",
                format_args!("bringing the database from schema {seen} to {known}: requests wait meanwhile"),
            );
        }
        connection.execute(&script(), vec![]).await?;
    }
    Ok(())
}

/// All migrations as one statement, and so as one transaction that no client can leave open. Of many hosts that come at
/// the same time, one runs them, and the lock makes the others wait and then find nothing to do. It is that of writers.
fn script() -> String {
    let mut script = String::from(include_str!("sql/migrate_head.sql"));
    for (version, migration) in (1..).zip(MIGRATIONS) {
        let step = include_str!("sql/migrate_step.sql");
        script += &step.replace("/* version */", &format!("{version}")).replace("/* migration */", migration);
    }
    script + include_str!("sql/migrate_tail.sql")
}

async fn version(connection: &impl Connection<Parameter>) -> Result<usize, StoreError> {
    if connection.query_row(include_str!("sql/has_schema.sql"), vec![]).await?.integer(0)? == 0 {
        return Ok(0);
    }
    let version = connection.query_row(include_str!("sql/version.sql"), vec![]).await?.integer(0)?;
    Ok(usize::try_from(version).unwrap_or_default())
}
