//! The clock of the machine goes back. A test must not set the clock of the machine that it runs on, so all that was
//! written down before is moved into the future instead: times of receipt, saved answers, and the start.

use std::path::Path;

use anyhow::Result;
use rusqlite::Connection;
use sekali_harness::deployment::Setup;
use serde_json::Value;

use super::Trial;
use crate::attacks::events::{Fate, note};
use crate::attacks::raw_client::RawClient;
use crate::attacks::{self, expect};

/// A moment that no test will live to see.
const FUTURE: &str = "2999-01-01T00:00:00";

/// Milliseconds by which saved answers are moved: ten days.
const LATER: i64 = 10 * 24 * 60 * 60 * 1000;

/// Order and counts do not come from the clock, and an uptime does not go below zero.
pub fn back(trial: &mut Trial) -> Result<()> {
    let mut setup = Setup::from_environment()?;
    setup.variables = vec![("started_at".into(), format!("{FUTURE}Z"))];
    let mut deployment = setup.start()?;
    let key = "idempotency-key: before\r\n";
    let saved = trial.names(3);
    expect(200, attacks::publish(deployment.address(), key, &saved, &mut trial.ledger)?)?;
    let more = trial.names(50);
    expect(200, attacks::publish(deployment.address(), "", &more, &mut trial.ledger)?)?;
    let (database, key_value) = (deployment.database(), deployment.key_value());
    deployment.crash_while(|_| into_the_future(&database, &key_value))??;

    let address = deployment.address();
    let mut client = RawClient::connect(address)?;
    // Either the saved answer or that of three duplicates is right; both are 200 and name three events.
    let again = expect(200, client.publish(key, &attacks::batch(&saved))?)?;
    let receipt: Value = serde_json::from_str(&again.body)?;
    let is_replayed = again.header("idempotent-replayed").is_some();
    if !is_replayed {
        note(&mut trial.ledger, &saved, Fate::Acknowledged);
    }
    if receipt["total_received"] != 3 || (!is_replayed && receipt["duplicates"] != 3) {
        trial.tally.violated(format!("a request of before the clock went back, again: {again:?}"));
    }
    let stats: Value = serde_json::from_str(&expect(200, client.get("/stats")?)?.body)?;
    if stats["uptime"] != 0 {
        trial.tally.violated(format!("a start in the future: {stats}"));
    }
    trial.must_be_well(address, "after the clock went back")
}

/// Moves all times in the stores into the future.
fn into_the_future(database: &Path, key_value: &Path) -> rusqlite::Result<()> {
    let database = Connection::open(database)?;
    database.execute("update events set received_at = ?1", [FUTURE])?;
    database.execute("update topics set last_received_at = ?1", [FUTURE])?;
    if key_value.exists() {
        Connection::open(key_value)?.execute(
            "update spin_key_value set value =
                cast(json_set(cast(value as text), '$.at', cast(value as text) ->> '$.at' + ?1) as blob)
            where json_type(cast(value as text), '$.at') = 'integer'",
            [LATER],
        )?;
    }
    Ok(())
}
