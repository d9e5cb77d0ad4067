//! What shippers ask of Elasticsearch, and what they send.

use sekali_harness::Answer;
use serde_json::{Value as Json, json};

use crate::testing::service::Service;

/// Sends lines of JSON to the bulk API.
async fn bulk(service: &Service, path: &str, lines: &[Json]) -> Answer {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let answer = service.send("POST", path, &[("content-type", "application/x-ndjson")], body).await;
    assert_eq!(answer.header("x-elastic-product"), Some("Elasticsearch"));
    answer
}

/// The status of each item, whatever its operation.
fn statuses(answer: &Answer) -> Vec<u64> {
    let items = answer.json()["items"].as_array().unwrap().clone();
    let of = |item: &Json| item.as_object().unwrap().values().next().unwrap()["status"].as_u64().unwrap();
    items.iter().map(of).collect()
}

#[tokio::test]
async fn a_document_with_an_id_is_created_once() {
    let service = Service::start();
    let create = [json!({"create": {"_index": "logs", "_id": "1"}}), json!({"message": "a", "n": 1})];
    let first = bulk(&service, "/elastic/_bulk", &create).await.json();
    let item = &first["items"][0]["create"];
    assert_eq!(
        (&first["errors"], &item["status"], &item["result"]),
        (&json!(false), &json!(201), &json!("created"))
    );
    assert_eq!((&item["_index"], &item["_id"], &item["_seq_no"]), (&json!("logs"), &json!("1"), &json!(1)));
    let again = bulk(&service, "/elastic/_bulk", &create).await.json();
    let item = &again["items"][0]["create"];
    assert_eq!((&again["errors"], &item["status"], &item["_id"]), (&json!(true), &json!(409), &json!("1")));
    assert_eq!(item["error"]["type"], "version_conflict_engine_exception");
    let event = service.get("/events/logs/1").await.json();
    assert_eq!((&event["payload"], &event["deliveries"]), (&json!({"message": "a", "n": 1}), &json!(2)));
}

#[tokio::test]
async fn to_index_what_is_there_has_come_true_unless_it_is_another_document() {
    let service = Service::start();
    let index = |n: u32| [json!({"index": {"_id": "1"}}), json!({"n": n})];
    for (n, expected) in [(1, 201), (1, 200), (2, 409), (1, 200)] {
        assert_eq!(statuses(&bulk(&service, "/elastic/logs/_bulk", &index(n)).await), [expected], "{n}");
    }
    assert_eq!(service.get("/events/logs/1").await.json()["payload"]["n"], 1);
}

#[tokio::test]
async fn without_an_id_the_content_is_the_id() {
    let service = Service::start();
    let lines = |operation: &str| -> Vec<Json> {
        let documents = ["a", "b", "a"].map(|text| [json!({operation: {}}), json!({"message": text})]);
        documents.into_iter().flatten().collect()
    };
    assert_eq!(statuses(&bulk(&service, "/elastic/logs/_bulk", &lines("index")).await), [201, 201, 201]);
    let again = bulk(&service, "/elastic/logs/_bulk", &lines("create")).await;
    assert_eq!(
        statuses(&again),
        [200, 200, 200],
        "no client expects a conflict of an id that it did not give"
    );
    let id = again.json()["items"][2]["create"]["_id"].as_str().unwrap().to_owned();
    assert!(id.ends_with("#2"), "{id}");
    let elsewhere = bulk(&service, "/elastic/other/_bulk", &lines("create")).await;
    assert_eq!(statuses(&elsewhere), [201, 201, 201]);
}

#[tokio::test]
async fn a_document_without_an_id_is_known_again_though_its_members_come_in_another_order() {
    let service = Service::start();
    for (document, expected) in [
        (r#"{"message":"a","log":{"offset":1,"file":{"path":"/b"}}}"#, 201),
        (r#"{"log":{"file":{"path":"/b"},"offset":1},"message":"a"}"#, 200),
        (r#"{"log":{"file":{"path":"/b"},"offset":2},"message":"a"}"#, 201),
    ] {
        let body = format!("{{\"create\":{{}}}}\n{document}\n");
        let answer = service.send("POST", "/elastic/logs/_bulk", &[], body).await;
        assert_eq!(statuses(&answer), [expected], "{document}");
    }
}

#[tokio::test]
async fn a_bad_item_fails_alone_and_says_why() {
    let service = Service::start();
    let lines = [
        json!({"create": {"_id": "1"}}),
        json!({}),
        json!({"delete": {"_index": "logs", "_id": "1"}}),
        json!({"update": {"_index": "logs", "_id": "1"}}),
        json!({"doc": {}}),
        json!({"create": {"_index": "logs", "_id": "x".repeat(256)}}),
        json!({}),
        json!({"create": {"_index": "logs", "_id": "2"}}),
        json!([1]),
        json!({"create": {"_index": "logs", "_id": 3, "pipeline": "p"}}),
        json!({"@timestamp": "2026-11-21T01:00:00.5Z"}),
        json!({"index": {"_index": "logs", "_id": "4"}}),
        json!({"@timestamp": 1_764_417_600_500_i64}),
    ];
    let answer = bulk(&service, "/elastic/_bulk", &lines).await;
    assert_eq!(statuses(&answer), [400, 400, 400, 400, 400, 201, 201]);
    let items = answer.json()["items"].clone();
    assert_eq!(items[0]["create"]["error"]["reason"], "_index is required");
    assert_eq!(items[1]["delete"]["_id"], "1");
    assert!(items[2]["update"]["error"]["reason"].as_str().unwrap().starts_with("update is not supported"));
    assert_eq!(items[4]["create"]["error"]["reason"], "a document must be a JSON object");
    assert_eq!(service.get("/events/logs/3").await.json()["timestamp"], "2026-11-21T01:00:00.5Z");
    assert_eq!(service.get("/events/logs/4").await.json()["timestamp"], "2025-11-29T12:00:00.5Z");
    assert_eq!(service.get("/stats").await.json()["received"], 2);
    let malformed = "{\"create\":{\"_index\":\"logs\"}}\n{\"n\":\n";
    let answer = service.send("PUT", "/elastic/_bulk", &[], malformed).await;
    assert_eq!(statuses(&answer), [400]);
    let many = vec![json!({"delete": {}}); 150];
    assert_eq!(statuses(&bulk(&service, "/elastic/_bulk", &many).await), [400; 150]);
}

#[tokio::test]
async fn a_body_of_no_actions_is_an_error_as_elasticsearch_tells_it() {
    let service = Service::with_variables(&[("publish_token", "p")]);
    let token = ("authorization", "Basic ZWxhc3RpYzpw"); // elastic:p
    for (body, expected) in [
        ("{\"create\":{}}", "line 1: the document of this action is missing"),
        ("{\"put\":{}}\n{}\n", "not put"),
        ("{}\n", "must be an action"),
        ("\n{\"create\":{}}\n{}\n[]\n", "line 4: must be an action"),
        ("{\"create\":{},\"index\":{}}\n{}\n", "must be an action"),
    ] {
        let answer = service.send("POST", "/elastic/_bulk", &[token], body).await;
        let reason = answer.json()["error"]["reason"].to_string();
        assert!(answer.status == 400 && reason.contains(expected), "{reason}");
        assert_eq!(answer.header("x-elastic-product"), Some("Elasticsearch"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json()["status"], 400);
    }
    let refused = service.send("POST", "/elastic/_bulk", &[], "").await;
    assert_eq!((refused.status, refused.json()["error"]["type"].as_str()), (401, Some("unauthorized")));
    assert_eq!(service.send("POST", "/elastic/_search", &[token], "").await.json()["status"], 404);
    service.faults.statements_left.set(0);
    let lines = "{\"create\":{\"_index\":\"logs\"}}\n{}\n";
    let failed = service.send("POST", "/elastic/_bulk", &[token], lines).await;
    assert_eq!((failed.status, failed.header("retry-after")), (503, Some("1")));
}

#[tokio::test]
async fn a_client_finds_what_it_asks_for_before_it_sends() {
    let service = Service::start();
    for (method, path, member) in [
        ("GET", "/elastic", "tagline"),
        ("GET", "/elastic/", "version"),
        ("HEAD", "/elastic/", "version"),
        ("GET", "/elastic/_license", "license"),
        ("GET", "/elastic/_cluster/health", "status"),
        ("GET", "/elastic/_cat/health", "status"),
        ("PUT", "/elastic/_index_template/filebeat-8.19.0", "acknowledged"),
        ("PUT", "/elastic/_ilm/policy/logs", "acknowledged"),
        ("PUT", "/elastic/_ingest/pipeline/p", "acknowledged"),
        ("PUT", "/elastic/logs", "acknowledged"),
    ] {
        let answer = service.send(method, path, &[], "").await;
        assert!(answer.status == 200 && !answer.json()[member].is_null(), "{path}: {}", answer.text);
        assert_eq!(answer.header("x-elastic-product"), Some("Elasticsearch"), "{path}");
    }
    for path in ["/elastic/_template/logstash", "/elastic/_data_stream/logs", "/elastic/logs"] {
        assert_eq!(service.send("HEAD", path, &[], "").await.status, 200, "{path}");
    }
    for (method, path, status) in [
        ("GET", "/elastic/_nodes/http", 404),
        ("GET", "/elastic/logs/_doc/1", 404),
        ("GET", "/elastic/_bulk", 405),
        ("DELETE", "/elastic/logs", 405),
        ("GET", "/elasticsearch", 404),
    ] {
        assert_eq!(service.send(method, path, &[], "").await.status, status, "{path}");
    }
}
