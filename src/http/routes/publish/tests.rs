//! `POST /publish`, as a client sees it.

use sekali_harness::Answer;
use serde_json::json;

use crate::testing::service::Service;

async fn send(service: &Service, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    service.send("POST", target, headers, body).await
}

#[tokio::test]
async fn the_receipt_tells_the_outcome_of_each_event_in_the_detail_that_is_preferred() {
    let service = Service::start();
    let event = |id: &str, payload: i64| json!({"topic": "t", "event_id": id, "payload": payload});
    let body = json!([event("a", 1), event("b", 1), event("a", 2), event("b", 1)]).to_string();
    let ids = send(&service, "/publish", &[], &body).await;
    assert_eq!(
        ids.text,
        r#"{"status":"ok","total_received":4,"stored":2,"duplicates":2,"conflicts":1,"processed":["a","b"],"duplicate_ids":["a","b"],"conflict_ids":["a"]}"#
    );
    let minimal = send(&service, "/publish", &[("prefer", "return=minimal")], &body).await;
    assert_eq!(minimal.text, r#"{"status":"ok","total_received":4,"stored":0,"duplicates":4,"conflicts":1}"#);
    assert_eq!(minimal.header("preference-applied"), Some("return=minimal"));
    let full = send(&service, "/publish", &[("prefer", "return=representation")], &body).await.json();
    assert_eq!(
        full["results"][2],
        json!({"index": 2, "topic": "t", "event_id": "a", "status": "conflict", "seq": 1})
    );
}

#[tokio::test]
async fn fields_that_are_ignored_are_told_by_a_header_or_in_the_receipt_and_may_be_refused() {
    let service = Service::start();
    let body = r#"{"topic":"t","event_id":"1","payloads":1,"Ev\u00e9nt, 2":3}"#;
    let told = send(&service, "/publish", &[("idempotency-key", "k")], body).await;
    assert_eq!((told.status, told.header("sekali-ignored")), (200, Some("payloads, Ev%C3%A9nt%2C%202")));
    let again = send(&service, "/publish", &[("idempotency-key", "k")], body).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("sekali-ignored"), told.header("sekali-ignored"));
    let full = send(&service, "/publish", &[("prefer", "return=representation")], body).await;
    assert_eq!(full.json()["ignored"], json!(["payloads", "Ev\u{e9}nt, 2"]));
    assert_eq!(full.header("sekali-ignored"), None);
    let exact = send(&service, "/publish", &[], r#"{"topic":"t","event_id":"2"}"#).await;
    assert_eq!(exact.header("sekali-ignored"), None);
    let strict = Service::with_variables(&[("unknown_fields", "refuse")]);
    let problem = send(&strict, "/publish", &[], body).await.problem(422, "invalid-event");
    assert_eq!(problem["errors"][0]["field"], "payloads");
    assert_eq!(strict.get("/stats").await.json()["received"], 0);
}

#[tokio::test]
async fn a_key_is_for_what_the_body_inflates_to() {
    let service = Service::start();
    let event = r#"{"topic":"t","event_id":"1"}"#;
    let headers = [("idempotency-key", "k"), ("content-encoding", "x-gzip")];
    let mut answers = Vec::new();
    for level in [0, 9] {
        let mut gzip =
            flate2::GzBuilder::new().mtime(level).write(Vec::new(), flate2::Compression::new(level));
        std::io::Write::write_all(&mut gzip, event.as_bytes()).unwrap();
        answers.push(service.send("POST", "/publish", &headers, gzip.finish().unwrap()).await);
    }
    assert_eq!(answers[1].header("idempotent-replayed"), Some("true"), "{}", answers[1].text);
    let unknown = send(&service, "/publish", &[("content-encoding", "br")], event).await;
    unknown.problem(415, "unsupported-media-type");
    assert_eq!(unknown.header("accept-encoding"), Some("gzip"));
}

#[tokio::test]
async fn a_failed_request_leaves_its_key_free() {
    let service = Service::start();
    let (key, one) = ([("idempotency-key", "k")], r#"{"topic":"t","event_id":"1"}"#);
    send(&service, "/publish", &key, "{").await.problem(400, "malformed-body");
    send(&service, "/publish", &key, r#"{"topic":"t"}"#).await.problem(422, "invalid-event");
    service.faults.statements_left.set(0);
    send(&service, "/publish", &key, one).await.problem(500, "internal");
    service.faults.statements_left.set(u32::MAX);
    assert_eq!(send(&service, "/publish", &key, one).await.json()["stored"], 1);
}

#[tokio::test]
async fn limits_are_named() {
    let limits = [("max_body_bytes", "100"), ("max_batch_events", "1"), ("max_event_bytes", "10")];
    let service = Service::with_variables(&limits);
    for (body, limit) in [
        (" ".repeat(101), "max_body_bytes"),
        ("[{},{}]".into(), "max_batch_events"),
        (r#"{"topic":"t","event_id":"0123456789"}"#.into(), "max_event_bytes"),
    ] {
        let problem = send(&service, "/publish", &[], &body).await.problem(413, "too-large");
        assert!(problem["detail"].as_str().unwrap().contains(limit), "{problem}");
    }
}
