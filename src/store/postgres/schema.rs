//! The schema, and the way to it from that of version 0.2: run once, by the first instance to come to a database.

use crate::store::StoreError;
use crate::store::database::{Connection, Value};

/// The version of the schema that this program knows.
pub const VERSION: i64 = 26;

/// The version of 0.2, the only earlier one from which there is a way.
const OF_0_2: i64 = 25;

/// The statements that make the schema.
const SCHEMA: &[&str] = &[
    include_str!("schema/01_identities.sql"),
    include_str!("schema/02_identities_erased.sql"),
    include_str!("schema/03_events.sql"),
    include_str!("schema/04_events_by_topic.sql"),
    include_str!("schema/05_events_by_source.sql"),
    include_str!("schema/06_events_by_timestamp.sql"),
    include_str!("schema/07_partitions.sql"),
    include_str!("schema/08_partition_size.sql"),
    include_str!("schema/09_topics.sql"),
    include_str!("schema/10_blocks.sql"),
    include_str!("schema/11_sections.sql"),
    include_str!("schema/12_upkeep.sql"),
    include_str!("schema/13_upkeep_row.sql"),
    include_str!("schema/14_place.sql"),
    include_str!("schema/15_place_here.sql"),
    include_str!("schema/16_has_moved.sql"),
    include_str!("schema/17_take_turn.sql"),
    include_str!("schema/18_reserve.sql"),
    include_str!("schema/19_newest.sql"),
    include_str!("schema/20_make_partitions.sql"),
    include_str!("schema/21_make_room.sql"),
    include_str!("schema/22_close_blocks.sql"),
    include_str!("schema/23_answers.sql"),
    include_str!("schema/24_answers_by_age.sql"),
    include_str!("schema/25_keep_answers.sql"),
    include_str!("schema/26_append.sql"),
    include_str!("schema/27_erase.sql"),
    include_str!("schema/28_erase_event.sql"),
    include_str!("schema/29_expire.sql"),
    include_str!("schema/30_drop_expired.sql"),
    include_str!("schema/31_sweep.sql"),
    include_str!("schema/32_forget.sql"),
    include_str!("schema/33_rare_moment.sql"),
    include_str!("schema/34_moment.sql"),
    include_str!("schema/35_place_row.sql"),
    include_str!("schema/36_rivals.sql"),
    include_str!("schema/37_identities_by_conflict.sql"),
    include_str!("schema/38_history.sql"),
];

/// The statements that fill it from that of 0.2, which is in the schema `sekali_0_2` then.
const UPGRADE: &[&str] = &[
    include_str!("upgrade/1_micros.sql"),
    include_str!("upgrade/2_identities.sql"),
    include_str!("upgrade/3_partitions.sql"),
    include_str!("upgrade/4_events.sql"),
    include_str!("upgrade/5_topics.sql"),
    include_str!("upgrade/6_blocks.sql"),
    include_str!("upgrade/7_sections.sql"),
    include_str!("upgrade/8_upkeep.sql"),
    include_str!("upgrade/9_answers.sql"),
];

/// Brings the schema up to date, unless another host is at it.
///
/// # Errors
/// [`StoreError::Busy`] while another host is at it, or somebody holds a lock, and [`StoreError::Failed`] when a newer
/// program has made the schema, or one that is too old.
pub async fn migrate(connection: &impl Connection) -> Result<(), StoreError> {
    match version(connection).await? {
        VERSION => return Ok(()),
        0 => {}
        OF_0_2 => {
            sekali_common::log::info(
                "upgrade",
                "bringing the database up to date: requests wait meanwhile, about half a minute for a million events",
            );
        }
        newer if newer > VERSION => {
            return Err(StoreError::Failed(format!(
                "the database has schema version {newer}, and this program knows versions up to {VERSION}: use a newer \
                program"
            )));
        }
        older => {
            return Err(StoreError::Failed(format!(
                "the database has schema version {older}, of a program before 0.2: run version 0.2 on it first"
            )));
        }
    }
    connection.execute(&script(), vec![]).await.map(drop)
}

/// All of it as one statement, and so as one transaction that no client can leave open.
fn script() -> String {
    let execute = |statements: &[&str]| -> String {
        statements.iter().map(|statement| format!("execute $migration${statement}$migration$;\n")).collect()
    };
    include_str!("sql/migrate.sql")
        .replace("/* make */", &execute(SCHEMA))
        .replace("/* upgrade */", &execute(UPGRADE))
        .replace("/* version */", &VERSION.to_string())
}

async fn version(connection: &impl Connection) -> Result<i64, StoreError> {
    let has_schema =
        "select case when to_regclass('sekali.schema_migrations') is null then 0::bigint else 1 end";
    if connection.query_row(has_schema, vec![]).await?.integer(0)? == 0 {
        return Ok(0);
    }
    let version = "select coalesce(max(version), 0)::bigint from sekali.schema_migrations";
    connection.query_row(version, Vec::<Value>::new()).await?.integer(0)
}
