//! SQLite alone, with the same schema and durability, but without HTTP and without a component.

use std::time::{Duration, Instant};

use anyhow::Result;
use rusqlite::{Connection, params_from_iter, types::Value};
use sekali::store::sqlite::SCHEMA;

use crate::workload::{Ids, Repeating};

/// Measures rows a second, with `rows` in each commit, by one prepared statement. `duplicates` is the share of rows
/// that were sent before, from 0 to 1.
pub fn rows_per_second(rows: usize, duplicates: f64, duration: Duration) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let db = Connection::open(directory.path().join("events.db"))?;
    db.execute_batch(
        "pragma journal_mode = wal; pragma synchronous = full; pragma wal_autocheckpoint = 4000",
    )?;
    db.execute_batch(SCHEMA)?;
    let values = vec!["(?,?,?,?,?,?,?,?)"; rows].join(",");
    let mut insert = db.prepare(&format!(
        "insert into events (commit_id, topic, event_id, timestamp, source, payload, digest, received_at)
         values {values}
         on conflict (topic, event_id) do update set deliveries = deliveries + 1,
         conflicts = conflicts + (digest <> excluded.digest), redelivered_at = excluded.received_at"
    ))?;
    let text = |text: &str| Value::Text(text.to_owned());
    let mut ids = Repeating::new(Ids::ordered("native".into()), duplicates);
    let mut stored = 0;
    let mut busy = Duration::ZERO;
    while busy < duration {
        let parameters: Vec<_> = (0..rows as i64)
            .flat_map(|row| {
                let at = "2026-11-21T01:00:00.123";
                [Value::Integer(row), text("bench"), Value::Text(ids.next()), text(at), text("bench")]
                    .into_iter()
                    .chain([text(crate::workload::PAYLOAD), Value::Integer(row * 7919), text(at)])
            })
            .collect();
        let start = Instant::now();
        insert.execute(params_from_iter(&parameters))?;
        busy += start.elapsed();
        stored += rows;
    }
    Ok(stored as f64 / busy.as_secs_f64())
}
