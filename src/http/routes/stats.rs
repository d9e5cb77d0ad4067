//! `GET /stats`: the account of all deliveries.

use http::{StatusCode, Uri};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::event::{Timestamp, TopicPattern};
use crate::http::access::Grant;
use crate::http::app::{App, Platform};
use crate::http::negotiate::JSON;
use crate::http::problem::Problem;
use crate::http::query::{Known, parameters};
use crate::http::reply::Reply;
use crate::store::Seq;

#[derive(Serialize)]
struct Stats {
    received: i64,
    unique_processed: i64,
    duplicate_dropped: i64,
    conflicts: i64,
    expired: i64,
    erased: i64,
    forgotten: i64,
    topics: Box<RawValue>,
    topics_total: i64,
    uptime: u64,
    started_at: String,
    version: &'static str,
    store_id: String,
    first_seq: Seq,
    last_seq: Seq,
    by_topic: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Box<RawValue>>,
}

/// The parameters of a query.
const PARAMETERS: [Known; 2] = [Known { name: "topic", most: 100 }, Known { name: "history", most: 1 }];

/// Minutes of the longest history.
const LONGEST_HISTORY: u32 = 24 * 60;

/// One consistent snapshot of the counters. The accounts are those of the topics that the query names, or of the
/// latest active ones; the totals are of all topics.
///
/// # Errors
/// When a parameter is invalid, a topic is not granted, or the store cannot be read.
pub async fn get<P: Platform>(app: &App<P>, grant: Grant<'_>, uri: &Uri) -> Result<Reply, Problem> {
    let (mut topics, mut minutes) = (Vec::new(), None);
    for (name, value) in parameters(uri.query().unwrap_or_default(), &PARAMETERS)? {
        let invalid = |message| Problem::InvalidParameter { name: name.to_string(), message };
        match name.as_ref() {
            "history" => minutes = Some(history(&value).ok_or_else(|| invalid(HISTORY_RULE.into()))?),
            _ => topics.push(TopicPattern::parse(value).map_err(|error| invalid(error.to_string()))?),
        }
    }
    grant.check_patterns(&topics)?;
    let history = match minutes {
        Some(minutes) => Some(app.reader.history(minutes).await?),
        None => None,
    };
    let ledger = app.reader.ledger(&topics).await?;
    let raw =
        |json: String| RawValue::from_string(json).map_err(|error| Problem::Internal(error.to_string()));
    let stats = Stats {
        received: ledger.unique_processed + ledger.duplicate_dropped,
        unique_processed: ledger.unique_processed,
        duplicate_dropped: ledger.duplicate_dropped,
        conflicts: ledger.conflicts,
        expired: ledger.expired,
        erased: ledger.erased,
        forgotten: ledger.forgotten,
        topics: raw(ledger.topics)?,
        topics_total: ledger.topics_total,
        uptime: app.started_at.whole_seconds_until(&Timestamp::now()),
        started_at: app.started_at.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        store_id: ledger.store_id,
        first_seq: ledger.first_seq,
        last_seq: ledger.last_seq,
        by_topic: raw(ledger.by_topic)?,
        history: history.map(raw).transpose()?,
    };
    let body = serde_json::to_vec(&stats).map_err(|error| Problem::Internal(error.to_string()))?;
    Ok(Reply::new(StatusCode::OK, JSON, body))
}

const HISTORY_RULE: &str = "must be a time of up to a day, such as 24h or 90m";

/// The minutes of a time such as `24h` or `90m`.
fn history(text: &str) -> Option<u32> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let of_unit = match unit {
        "m" => 1,
        "h" => 60,
        _ => return None,
    };
    let minutes = number.parse::<u32>().ok()?.checked_mul(of_unit)?;
    (1..=LONGEST_HISTORY).contains(&minutes).then_some(minutes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::service::Service;

    #[tokio::test]
    async fn beyond_a_thousand_topics_the_latest_active_are_listed_and_any_can_be_asked_for() {
        let service = Service::start();
        let events: Vec<_> =
            (0..1500).map(|n| json!({"topic": format!("t{n:04}"), "event_id": "1"})).collect();
        service.publish(&json!(events[..1200])).await;
        let age = "update topics set last_received_at = '2020-01-01T00:00:00.' || substr(name, 2)";
        service.database().execute(age, []).unwrap();
        service.publish(&json!(events[1200..])).await;
        service.publish(&json!([events[7]])).await;

        let stats = service.get("/stats").await.json();
        let totals = ["received", "unique_processed", "duplicate_dropped", "topics_total", "last_seq"];
        assert_eq!(totals.map(|name| stats[name].as_i64().unwrap()), [1501, 1500, 1, 1500, 1500]);
        let mut expected: Vec<_> = (501..1500).map(|n| format!("t{n:04}")).collect();
        expected.insert(0, "t0007".into());
        assert_eq!(stats["topics"], json!(expected));
        assert_eq!(stats["by_topic"].as_array().unwrap().len(), 1000);
        let metrics = service.get("/metrics").await.text;
        assert!(metrics.contains("sekali_topics 1500\n") && metrics.contains("{topic=\"t0501\"} 1\n"));
        assert!(!metrics.contains("t0500"));

        let asked = service.get("/stats?topic=t0500&topic=t0003&topic=none").await.json();
        assert_eq!(asked["topics"], json!(["t0003", "t0500"]));
        assert_eq!(asked["received"], 1501);
        for query in ["topic=", "topics=t"] {
            service.get(&format!("/stats?{query}")).await.problem(400, "invalid-parameter");
        }
    }

    #[tokio::test]
    async fn topics_are_bounded() {
        let service = Service::with_variables(&[("max_topics", "2")]);
        let event = |topic: &str, id: &str| json!({"topic": topic, "event_id": id});
        service.publish(&event("a", "1")).await;
        let batch =
            json!([event("b", "1"), event("c", "1"), event("a", "2"), event("d", "1"), event("c", "2")]);
        let problem = service.publish(&batch).await.problem(422, "invalid-event");
        let at_fault: Vec<_> =
            problem["errors"].as_array().unwrap().iter().map(|e| e["index"].clone()).collect();
        assert_eq!(at_fault, [1, 3, 4], "there is room for one more topic: {problem}");
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains("max_topics"));
        assert_eq!(service.get("/stats").await.json()["unique_processed"], 1, "nothing of it is stored");

        let partly = service.send("POST", "/publish?partial=true", &[], batch.to_string()).await;
        assert_eq!((partly.status, partly.json()["stored"].as_i64()), (207, Some(2)));
        assert_eq!(partly.json()["rejected"], 3);
        assert_eq!(service.publish(&json!([event("a", "3"), event("b", "2")])).await.status, 200);
        service.publish(&event("c", "1")).await.problem(422, "invalid-event");
    }
}
