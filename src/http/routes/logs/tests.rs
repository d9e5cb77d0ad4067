//! Logs through the router. `ingest/otlp/tests.rs` has the encodings.

use serde_json::{Value as Json, json};

use crate::http::reply::{Reply, ReplyBody};
use crate::testing::service::Service;

/// A request with the texts of records.
fn request(service: &str, texts: &[&str]) -> String {
    let records: Vec<_> = texts.iter().map(|text| json!({"body": {"stringValue": text}})).collect();
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": service}}]});
    json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]}).to_string()
}

async fn post(service: &Service, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Reply {
    let headers = [&[("content-type", "application/json")], headers].concat();
    service.reply("POST", "/v1/logs", &headers, body).await
}

fn json_of(reply: &Reply) -> Json {
    let ReplyBody::Full(bytes) = &reply.body else { panic!("the body has a length") };
    assert_eq!(reply.headers["content-type"], "application/json");
    serde_json::from_slice(bytes).unwrap()
}

#[tokio::test]
async fn a_request_is_stored_once_and_a_repetition_counts_as_duplicates() {
    let service = Service::start();
    for _ in 0..2 {
        let reply = post(&service, &[], request("shop", &["a", "b", "a"])).await;
        assert_eq!((reply.status.as_u16(), json_of(&reply)), (200, json!({})));
    }
    let stats = service.get("/stats").await.json();
    assert_eq!((&stats["unique_processed"], &stats["duplicate_dropped"]), (&json!(3), &json!(3)));
    assert_eq!(stats["conflicts"], 0);
    let events = service.get("/events?topic=shop").await.json();
    assert_eq!(events[1]["payload"]["body"]["stringValue"], "b");
    assert_eq!(events[2]["event_id"], format!("{}#2", events[0]["event_id"].as_str().unwrap()));
}

#[tokio::test]
async fn a_bad_record_is_told_by_its_place_and_the_others_are_stored() {
    let service = Service::with_variables(&[("max_topics", "1")]);
    let records = json!([{"traceId": "x"}, {"eventName": "e"}, {"spanId": 1}]);
    let body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string();
    let partial = json_of(&post(&service, &[], body).await)["partialSuccess"].clone();
    let why = "log record 0: traceId is not what OTLP says; and 1 more";
    assert_eq!(partial, json!({"rejectedLogRecords": "2", "errorMessage": why}));
    let partial = json_of(&post(&service, &[], request("another", &["a"])).await)["partialSuccess"].clone();
    assert_eq!(partial["rejectedLogRecords"], "1");
    assert!(partial["errorMessage"].as_str().unwrap().contains("max_topics"), "{partial}");
    assert_eq!(service.get("/stats").await.json()["received"], 1);
}

#[tokio::test]
async fn more_records_than_a_batch_may_have_are_one_commit() {
    let service = Service::with_variables(&[("max_batch_events", "10")]);
    let texts: Vec<_> = (0..10_001).map(|n| n.to_string()).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    assert_eq!(post(&service, &[], request("shop", &texts)).await.status, 200);
    assert_eq!(service.get("/stats").await.json()["unique_processed"], 10_001);
}

#[tokio::test]
async fn what_a_client_shall_repeat_is_503_and_never_500() {
    let service = Service::start();
    service.faults.statements_left.set(0);
    let reply = post(&service, &[], request("shop", &["a"])).await;
    assert_eq!((reply.status.as_u16(), reply.headers["retry-after"].to_str().unwrap()), (503, "1"));
    assert_eq!(json_of(&reply)["code"], 14, "UNAVAILABLE");
}

#[tokio::test]
async fn an_error_is_a_status_in_the_encoding_of_the_request() {
    let service = Service::with_variables(&[("publish_token", "p"), ("max_otlp_bytes", "100")]);
    let token = ("authorization", "Bearer p");
    let long = request("shop", &["a"]);
    for (headers, body, status, code) in [
        (&[][..], "{}", 401, 16),
        (&[token, ("content-encoding", "br")], "{}", 415, 3),
        (&[token], "{", 400, 3),
        (&[token], &long, 413, 3),
    ] {
        let reply = post(&service, headers, body).await;
        let told = json_of(&reply);
        assert_eq!((reply.status.as_u16(), &told["code"]), (status, &json!(code)), "{told}");
        assert!(!told["message"].as_str().unwrap().is_empty());
    }
    let told = json_of(&post(&service, &[token], long.as_str()).await);
    assert_eq!(told["message"], "the body exceeds the limit max_otlp_bytes of 100");
    let protobuf = [("content-type", "application/x-protobuf"), token];
    let reply = service.reply("POST", "/v1/logs", &protobuf, "\u{1}").await;
    let ReplyBody::Full(bytes) = reply.body else { panic!() };
    assert_eq!((reply.status.as_u16(), &bytes[..2]), (400, &[8, 3][..]));
    assert_eq!(reply.headers["content-type"], "application/x-protobuf");
    assert!(String::from_utf8(bytes[4..].to_vec()).unwrap().contains("resourceLogs"));
    let other = service.send("POST", "/v1/logs", &[("content-type", "text/plain"), token], "").await;
    assert!(other.status == 415 && other.json()["message"].as_str().unwrap().contains("x-protobuf"));
    assert_eq!(service.send("GET", "/v1/logs", &[], "").await.status, 405);
}
