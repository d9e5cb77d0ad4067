//! `GET /stats`.

use std::thread;
use std::time::Duration;

use sekali_harness::{Server, eventually};
use serde_json::{Value, json};

#[test]
fn every_delivery_is_accounted_for_in_total_and_by_topic() {
    let server = Server::start();
    server.publish(&json!([{"topic": "payments", "event_id": "1"}, {"topic": "orders", "event_id": "1"},
        {"topic": "orders", "event_id": "1"}]));
    server.publish(&json!({"topic": "orders", "event_id": "1", "payload": "other"}));
    let mut stats = server.stats();
    let last_received_at = stats["by_topic"][0]["last_received_at"].take();
    // Without the Z, the order of texts is the order of time.
    let moment = |value: &serde_json::Value| value.as_str().unwrap().trim_end_matches('Z').to_owned();
    assert!(moment(&last_received_at) >= moment(&server.events()[1]["received_at"]));
    assert!(stats["by_topic"][1]["last_received_at"].take().is_string());
    assert_eq!(
        stats["by_topic"],
        json!([
            {"topic": "orders", "received": 3, "unique_processed": 1, "duplicate_dropped": 2, "conflicts": 1, "expired": 0, "erased": 0, "forgotten": 0, "last_seq": 2, "last_received_at": null},
            {"topic": "payments", "received": 1, "unique_processed": 1, "duplicate_dropped": 0, "conflicts": 0, "expired": 0, "erased": 0, "forgotten": 0, "last_seq": 1, "last_received_at": null},
        ])
    );
    assert_eq!(stats["topics"], json!(["orders", "payments"]));
    let total = ["received", "unique_processed", "duplicate_dropped", "conflicts", "last_seq"]
        .map(|field| &stats[field]);
    assert_eq!(total, [4, 2, 2, 1, 2].map(Value::from).each_ref());
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    server.assert_books_balance();
}

#[test]
fn an_empty_store_has_an_account_of_zeros() {
    let stats = Server::start().stats();
    assert_eq!(stats["received"], 0);
    assert_eq!(stats["last_seq"], 0);
    assert_eq!((&stats["topics"], &stats["by_topic"]), (&json!([]), &json!([])));
}

#[test]
fn uptime_grows() {
    let server = Server::start();
    let before = server.stats();
    thread::sleep(Duration::from_millis(2100));
    let after = server.stats();
    assert_eq!(before["started_at"], after["started_at"]);
    assert!(after["uptime"].as_u64().unwrap() >= before["uptime"].as_u64().unwrap() + 2, "{before} {after}");
}

#[test]
fn the_variable_started_at_sets_the_start() {
    let server = Server::with_variables(&[("started_at", "2020-01-01T00:00:00+01:00")]);
    let stats = server.stats();
    assert_eq!(stats["started_at"], "2019-12-31T23:00:00Z");
    assert!(stats["uptime"].as_u64().unwrap() > 5 * 365 * 24 * 3600);
}

#[test]
fn without_started_at_the_first_request_ever_is_the_start_also_after_a_restart() {
    let mut server = Server::with_variables(&[("started_at", "")]);
    let first = server.stats()["started_at"].clone();
    server.crash_and_restart();
    assert_eq!(server.stats()["started_at"], first);
}

#[test]
fn an_event_of_one_topic_too_many_is_refused_and_changes_nothing() {
    let server = Server::with_variables(&[("max_topics", "1")]);
    assert_eq!(server.publish(&json!({"topic": "a", "event_id": "1"})).status, 200);
    let problem = server.publish(&json!({"topic": "b", "event_id": "1"})).problem(422, "invalid-event");
    assert_eq!((&problem["errors"][0]["field"], &problem["error_count"]), (&json!("topic"), &json!(1)));
    assert_eq!(server.publish(&json!({"topic": "a", "event_id": "2"})).json()["stored"], 1);
    assert_eq!(server.stats()["topics"], json!(["a"]));
    server.assert_books_balance();
}

#[test]
fn the_totals_of_the_last_day_are_kept_once_a_minute() {
    let server = Server::start();
    server.publish(&json!([{"topic": "t", "event_id": "1"}, {"topic": "t", "event_id": "1"}]));
    let history = eventually("the first totals are kept", || {
        let history = server.get("/stats?history=24h").json()["history"].clone();
        (history.as_array().unwrap().len() == 1).then_some(history)
    });
    let kept =
        ["received", "unique_processed", "duplicate_dropped", "conflicts"].map(|name| &history[0][name]);
    assert_eq!(kept.map(|count| count.as_i64().unwrap()), [2, 1, 1, 0]);
    assert!(history[0]["at"].as_str().unwrap().ends_with(":00Z"), "{history}");
}
