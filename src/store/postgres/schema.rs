//! The schema, and the way to it from that of 0.2: run once, by the first instance to come to a database.

use sekali_common::schema::{POSTGRES, SchemaState};

use crate::store::StoreError;
use crate::store::database::{Connection, Value};

/// The statements that make the schema.
const SCHEMA: [&str; 7] = [
    include_str!("schema/tables.sql"),
    include_str!("schema/place.sql"),
    include_str!("schema/partitions.sql"),
    include_str!("schema/append.sql"),
    include_str!("schema/remove.sql"),
    include_str!("schema/consume.sql"),
    include_str!("schema/moment.sql"),
];

/// The statements that fill it from that of 0.2, which is in the schema `sekali_0_2` then.
const UPGRADE: [&str; 1] = [include_str!("upgrade.sql")];

/// Brings the schema up to date, unless another host is at it.
///
/// # Errors
/// [`StoreError::Busy`] while another host is at it, or somebody holds a lock, and [`StoreError::Failed`] when a program
/// of another version has made the schema, and it is not that of 0.2.
pub async fn migrate(connection: &impl Connection) -> Result<(), StoreError> {
    match POSTGRES.state(version(connection).await?).map_err(StoreError::Failed)? {
        SchemaState::Current => return Ok(()),
        SchemaState::Missing => {}
        SchemaState::Old => {
            sekali_common::log::info(
                "upgrade",
                "bringing the database of version 0.2 up to date: requests wait meanwhile, about half a minute for a \
                million events",
            );
        }
    }
    connection.execute(&script(), vec![]).await.map(drop)
}

/// All of it as one statement, and so as one transaction that no client can leave open.
fn script() -> String {
    let execute = |statements: &[&str]| -> String {
        statements.iter().map(|statements| format!("execute $migration${statements}$migration$;\n")).collect()
    };
    include_str!("sql/migrate.sql")
        .replace("/* make */", &execute(&SCHEMA))
        .replace("/* upgrade */", &execute(&UPGRADE))
        .replace("/* version */", &POSTGRES.version.to_string())
        .replace("/* of 0.2 */", &POSTGRES.of_0_2.to_string())
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
