//! Receivers as a client sees them.

use sekali_harness::Answer;
use serde_json::{Value, json};

use crate::receivers::mac::{Hash, hmac};
use crate::testing::service::Service;

const SECRET: &str = "It's a Secret to Everybody";

fn service(hooks: &Value, variables: &[(&str, &str)]) -> Service {
    let hooks = hooks.to_string();
    Service::with_variables(&[&[("hooks", hooks.as_str())], variables].concat())
}

fn github() -> Service {
    service(
        &json!({"code": {"kind": "github", "secrets": ["old", SECRET]}}),
        &[("publish_token", "p"), ("read_token", "r")],
    )
}

fn signature(body: &[u8]) -> String {
    let digest = hmac(Hash::Sha256, SECRET.as_bytes(), body);
    format!("sha256={}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

async fn deliver(service: &Service, id: &str, body: &[u8], signature: &str) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("x-github-delivery", id),
        ("x-github-event", "push"),
        ("x-hub-signature-256", signature),
        ("origin", "https://foreign.example"),
    ];
    service.send("POST", "/hooks/code", &headers, body).await
}

async fn received(service: &Service) -> Value {
    let stats = service.send("GET", "/stats", &[("authorization", "Bearer r")], "").await.json();
    json!([stats["received"], stats["unique_processed"], stats["duplicate_dropped"], stats["conflicts"]])
}

#[tokio::test]
async fn a_delivery_is_stored_once_and_a_redelivery_is_a_duplicate() {
    let service = github();
    let body = br#"{"ref":"refs/heads/main","repository":{"full_name":"o/r"}}"#;
    for stored in [1, 0] {
        let answer = deliver(&service, "72d3162e", body, &signature(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let expected = json!({
            "status": "ok", "total_received": 1, "stored": stored, "duplicates": 1 - stored, "conflicts": 0,
        });
        assert_eq!(answer.json(), expected);
    }
    assert_eq!(received(&service).await, json!([2, 1, 1, 0]));
    let events = service.send("GET", "/events", &[("authorization", "Bearer r")], "").await.json();
    assert_eq!(
        (&events[0]["topic"], &events[0]["event_id"], &events[0]["source"]),
        (&json!("code.push"), &json!("72d3162e"), &json!("o/r"))
    );
}

#[tokio::test]
async fn a_delivery_that_is_not_the_providers_is_401_and_changes_nothing() {
    let service = github();
    let body = b"{}";
    for (signature, reason) in [
        ("", "no-signature"),
        ("sha1=00", "no-signature"),
        ("sha256=00", "no-match"),
        (signature(b"{} ").as_str(), "no-match"),
    ] {
        let answer = deliver(&service, "1", body, signature).await;
        answer.problem(401, "invalid-signature");
        assert_eq!(answer.header("sekali-refused"), Some(reason), "{signature}");
        assert!(answer.header("www-authenticate").is_some());
    }
    assert_eq!(received(&service).await, json!([0, 0, 0, 0]));
}

#[tokio::test]
async fn an_id_that_is_not_where_it_should_be_is_422_that_says_where() {
    let service = github();
    let (body, headers) = (b"{}", [("x-hub-signature-256", &*signature(b"{}"))]);
    let problem =
        service.send("POST", "/hooks/code", &headers, &body[..]).await.problem(422, "invalid-event");
    assert_eq!(problem["errors"][0]["field"], "event_id");
    let message = problem["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("{header:x-github-delivery|json:/guid}"), "{message}");
}

#[tokio::test]
async fn an_unknown_receiver_is_404_and_another_method_405() {
    let service = github();
    service.send("POST", "/hooks/other", &[], "").await.problem(404, "unknown-hook");
    service.send("POST", "/hooks/code/other", &[], "").await.problem(404, "not-found");
    let get = service.get("/hooks/code").await;
    get.problem(405, "method-not-allowed");
    assert_eq!(get.header("allow"), Some("POST, OPTIONS"));
    service.send("DELETE", "/hooks/code", &[], "").await.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn what_is_signed_are_the_bytes_on_the_wire_also_compressed_ones() {
    let service = github();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, br#"{"n":1}"#).unwrap();
    let body = gzip.finish().unwrap();
    let signature = signature(&body);
    let headers = [
        ("content-encoding", "gzip"),
        ("x-github-delivery", "z"),
        ("x-hub-signature-256", signature.as_str()),
    ];
    let answer = service.send("POST", "/hooks/code", &headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let event = service.send("GET", "/events/code/z", &[("authorization", "Bearer r")], "").await.json();
    assert_eq!(event["payload"], json!({"n": 1}));
}

#[tokio::test]
async fn an_open_receiver_asks_for_the_token_to_publish() {
    let hooks = json!({"any": {"kind": "open"}});
    let service = service(&hooks, &[("publish_token", "p")]);
    service.send("POST", "/hooks/any", &[], "{}").await.problem(401, "unauthorized");
    let answer = service.send("POST", "/hooks/any", &[("authorization", "Bearer p")], r#"{"id":7}"#).await;
    assert_eq!(answer.json()["stored"], 1);
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_cannot_deliver_what_nobody_signed() {
    let service = service(&json!({"any": {"kind": "open"}}), &[]);
    let foreign = [("origin", "https://evil.example")];
    service.send("POST", "/hooks/any", &foreign, r#"{"id":7}"#).await.problem(403, "foreign-origin");
    let rebound = [("host", "evil.example"), ("sec-fetch-site", "same-origin")];
    let target = "http://evil.example/hooks/any";
    service.send("POST", target, &rebound, r#"{"id":7}"#).await.problem(421, "unknown-host");
    assert_eq!(service.send("POST", "/hooks/any", &[], r#"{"id":7}"#).await.json()["stored"], 1);
}

#[tokio::test]
async fn what_a_provider_cannot_read_is_not_answered() {
    let service = service(&json!({"any": {"kind": "open", "answer": "empty"}}), &[]);
    for _ in 0..2 {
        let answer = service.send("POST", "/hooks/any", &[], r#"{"id":7}"#).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    }
    let stats = service.get("/stats").await.json();
    assert_eq!((&stats["received"], &stats["unique_processed"]), (&json!(2), &json!(1)));
    // Whoever tries the receiver can ask what became of it.
    let preferred = service.send("POST", "/hooks/any", &[("prefer", "return=minimal")], r#"{"id":7}"#).await;
    assert_eq!((preferred.status, &preferred.json()["duplicates"]), (200, &json!(1)));
}

#[tokio::test]
async fn a_handshake_is_answered_and_not_stored() {
    let hooks = json!({"meta": {"kind": "meta", "secrets": ["s"], "verify_token": "v"}});
    let service = service(&hooks, &[]);
    let answer = service.get("/hooks/meta?hub.mode=subscribe&hub.verify_token=v&hub.challenge=42").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "42"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let refused = service.get("/hooks/meta?hub.mode=subscribe&hub.verify_token=w&hub.challenge=42").await;
    refused.problem(401, "invalid-signature");
    assert_eq!(service.get("/stats").await.json()["received"], 0);
}

#[tokio::test]
async fn a_backfill_stores_exactly_what_the_deliveries_had_missed() {
    let service = github();
    let push = br#"{"ref":"main"}"#;
    for id in ["g1", "g3"] {
        assert_eq!(deliver(&service, id, push, &signature(push)).await.json()["stored"], 1);
    }
    let item = |guid: &str| json!({"guid": guid, "event": "push", "request": {"payload": {"ref": "main"}}});
    let list = json!([item("g1"), item("g2"), item("g3")]).to_string();
    let target = "/hooks/code/backfill?each=&payload=/request/payload";
    service.send("POST", target, &[], list.clone()).await.problem(401, "unauthorized");
    let publish = [("authorization", "Bearer p")];
    let answer = service.send("POST", target, &publish, list.clone()).await.json();
    let expected = json!({"status": "ok", "total_received": 3, "stored": 1, "duplicates": 2, "conflicts": 0});
    assert_eq!(answer, expected);
    let again =
        service.send("POST", target, &[publish[0], ("prefer", "return=representation")], list).await.json();
    assert_eq!((&again["stored"], &again["results"][1]["topic"]), (&json!(0), &json!("code.push")));
    service
        .send("POST", "/hooks/code/backfill?each=x", &publish, "[]")
        .await
        .problem(400, "invalid-parameter");
    service.send("POST", "/hooks/other/backfill", &publish, "[]").await.problem(404, "unknown-hook");
}

#[tokio::test]
async fn the_headers_of_a_backfill_are_not_the_providers() {
    let hooks = json!({"any": {"kind": "open", "headers": ["*"]}});
    let service = service(&hooks, &[]);
    // What curl sends by itself, and an id that would be that of every event.
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("idempotency-key", "k")];
    let list = r#"{"data":[{"id":"1"},{"id":"2"}]}"#;
    let answer = service.send("POST", "/hooks/any/backfill?each=/data", &headers, list).await;
    assert_eq!((answer.status, &answer.json()["stored"]), (200, &json!(2)), "{}", answer.text);
    let event = service.get("/events/any/2").await.json();
    assert_eq!((&event["payload"], &event["attributes"]), (&json!({"id": "2"}), &Value::Null));
}

#[tokio::test]
async fn receivers_are_listed_without_their_secrets() {
    let service = github();
    service.get("/hooks").await.problem(401, "unauthorized");
    let answer = service.send("GET", "/hooks", &[("authorization", "Bearer r")], "").await;
    let listed = answer.json();
    assert_eq!(
        (&listed[0]["name"], &listed[0]["path"], &listed[0]["kind"], &listed[0]["topic"]),
        (&json!("code"), &json!("/hooks/code"), &json!("github"), &json!("{hook}.{type}"))
    );
    assert!(!answer.text.contains("Secret") && !answer.text.contains("old"), "{}", answer.text);
}

#[tokio::test]
async fn limits_are_those_of_publish() {
    let hooks = json!({"any": {"kind": "open", "each": ""}});
    let limits = [("max_body_bytes", "200"), ("max_batch_events", "2"), ("max_event_bytes", "40")];
    let service = service(&hooks, &limits);
    for (body, limit) in [
        (" ".repeat(201), "max_body_bytes"),
        (r#"[{"id":1},{"id":2},{"id":3}]"#.into(), "max_batch_events"),
        (format!(r#"[{{"id":1,"x":"{}"}}]"#, "x".repeat(40)), "max_event_bytes"),
    ] {
        let problem = service.send("POST", "/hooks/any", &[], body).await.problem(413, "too-large");
        assert!(problem["detail"].as_str().unwrap().contains(limit), "{problem}");
    }
    assert_eq!(service.send("POST", "/hooks/any", &[], r#"[{"id":1},{"id":2}]"#).await.json()["stored"], 2);
}

#[tokio::test]
async fn what_a_body_is_inflated_to_counts_in_the_budget() {
    let service = service(&json!({"any": {"kind": "open"}}), &[]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(
        &mut encoder,
        format!(r#"{{"id":1,"x":"{}"}}"#, "x".repeat(100_000)).as_bytes(),
    )
    .unwrap();
    let zipped = encoder.finish().unwrap();
    let gzip = [("content-encoding", "gzip")];
    let mut others = service.app.bodies.share();
    assert!(others.grow(crate::limits::BODIES_BYTES - 10_000));
    service.send("POST", "/hooks/any", &gzip, zipped.clone()).await.problem(503, "overloaded");
    others.clear();
    assert_eq!(service.send("POST", "/hooks/any", &gzip, zipped).await.json()["stored"], 1);
}
