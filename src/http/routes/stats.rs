//! `GET /stats`: the account of all deliveries.

use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::event::Timestamp;
use crate::http::app::{App, Platform};
use crate::http::negotiate::JSON;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::store::Seq;

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
    let ledger = app.reader.ledger().await?;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::service::Service;

    #[tokio::test]
    async fn every_delivery_is_accounted_for() {
        let service = Service::start();
        assert_eq!(service.get("/stats").await.json()["topics"], json!([]));
        let event = |topic: &str, payload: i64| json!({"topic": topic, "event_id": "1", "payload": payload});
        service.publish(&json!([event("b", 1), event("a", 1), event("b", 2), event("b", 1)])).await;
        let stats = service.get("/stats").await.json();
        let total = ["received", "unique_processed", "duplicate_dropped", "conflicts", "last_seq"];
        assert_eq!(total.map(|name| stats[name].as_i64().unwrap()), [4, 2, 2, 1, 2]);
        assert_eq!(stats["topics"], json!(["a", "b"]));
        assert_eq!(stats["by_topic"][1]["received"], 3);
        assert_eq!(stats["started_at"], "2026-11-21T01:00:00Z");
    }
}
