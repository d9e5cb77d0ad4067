//! `GET /stats`: every delivery accounted for.

use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use super::JSON;
use crate::app::{App, Platform};
use crate::event::Timestamp;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::store::{Seq, Store};

#[derive(Serialize)]
struct Stats {
    received: i64,
    unique_processed: i64,
    duplicate_dropped: i64,
    conflicts: i64,
    topics: Box<RawValue>,
    uptime: u64,
    started_at: String,
    version: &'static str,
    last_seq: Seq,
    by_topic: Box<RawValue>,
}

/// One consistent snapshot of the counters.
///
/// # Errors
/// When the store cannot be read.
pub async fn get<P: Platform>(app: &App<P>) -> Result<Reply, Problem> {
    let ledger = app.store.ledger().await?;
    let raw =
        |json: String| RawValue::from_string(json).map_err(|error| Problem::Internal(error.to_string()));
    let stats = Stats {
        received: ledger.unique_processed + ledger.duplicate_dropped,
        unique_processed: ledger.unique_processed,
        duplicate_dropped: ledger.duplicate_dropped,
        conflicts: ledger.conflicts,
        topics: raw(ledger.topics)?,
        uptime: app.started_at.whole_seconds_until(&Timestamp::now()),
        started_at: app.started_at.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        last_seq: ledger.last_seq,
        by_topic: raw(ledger.by_topic)?,
    };
    let body = serde_json::to_vec(&stats).map_err(|error| Problem::Internal(error.to_string()))?;
    Ok(Reply::new(StatusCode::OK, JSON, body))
}
