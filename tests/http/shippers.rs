//! Shippers of logs: OpenTelemetry's protocol and Elasticsearch's bulk API, as their clients speak them.

use std::io::Write;
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use sekali_harness::{Answer, Server};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// A request with the texts of records.
fn request(texts: impl IntoIterator<Item = String>) -> String {
    let record = |text: String| json!({"timeUnixNano": "1795222800000000000", "body": {"stringValue": text}});
    let records: Vec<_> = texts.into_iter().map(record).collect();
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]});
    json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]}).to_string()
}

fn export(server: &Server, body: &str) -> Answer {
    server.send("POST", "/v1/logs", &[JSON], body.as_bytes())
}

/// A bulk request that creates documents with these ids.
fn bulk(ids: impl IntoIterator<Item = u32>) -> String {
    let lines = |id: u32| format!("{}\n{}\n", json!({"create": {"_id": id.to_string()}}), json!({"n": id}));
    ids.into_iter().map(lines).collect()
}

/// The number of items with each status.
fn count(answer: &Answer, status: u64) -> usize {
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.iter().filter(|item| item["create"]["status"] == status).count()
}

#[test]
fn logs_are_stored_once_whole_and_in_either_encoding() {
    let server = Server::start();
    // More than a batch, and more than one statement of the store takes.
    let body = request((0..10_500).map(|n| n.to_string()));
    let answer = export(&server, &body);
    assert_eq!((answer.status, answer.text.as_str()), (200, "{}"));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(body.as_bytes()).unwrap();
    let headers = [JSON, ("content-encoding", "gzip")];
    assert_eq!(server.send("POST", "/v1/logs", &headers, &gzip.finish().unwrap()).status, 200);
    // The record "0" of the same service, in protobuf.
    let any = |text: &[u8]| [&[0x0a, text.len() as u8], text].concat();
    let nested = |tag: u8, inner: &[u8]| [&[tag, inner.len() as u8], inner].concat();
    let service = [nested(0x0a, b"service.name"), nested(0x12, &any(b"shop"))].concat();
    let time = 1_795_222_800_000_000_000_u64.to_le_bytes();
    let record = [&[0x09], &time[..], &nested(0x2a, &any(b"0"))].concat();
    let logs = [nested(0x0a, &nested(0x0a, &service)), nested(0x12, &nested(0x12, &record))].concat();
    let headers = [("content-type", "application/x-protobuf")];
    let answer = server.send("POST", "/v1/logs", &headers, &nested(0x0a, &logs));
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
    let stats = server.stats();
    assert_eq!((&stats["unique_processed"], &stats["duplicate_dropped"]), (&json!(10_500), &json!(10_501)));
    assert_eq!((&stats["topics"], &stats["conflicts"]), (&json!(["shop"]), &json!(0)));
    let event = &server.get("/events?limit=1").json()[0];
    assert_eq!(event["timestamp"], "2026-11-21T01:00:00Z");
    assert_eq!(event["payload"]["resource"]["attributes"][0]["value"]["stringValue"], "shop");
    server.assert_books_balance();
}

#[test]
fn documents_are_created_once_and_the_second_time_are_conflicts() {
    let server = Server::start();
    let send = |body: &str| server.send("POST", "/elastic/logs/_bulk", &[NDJSON], body.as_bytes());
    let first = send(&bulk(0..10_500));
    assert_eq!((first.status, count(&first, 201)), (200, 10_500), "{:.300}", first.text);
    assert_eq!(first.header("x-elastic-product"), Some("Elasticsearch"));
    let again = send(&bulk(10_000..11_000));
    assert_eq!((count(&again, 201), count(&again, 409)), (500, 500));
    assert_eq!(server.get("/events/logs/10999").json()["payload"], json!({"n": 10_999}));
    let info = server.get("/elastic/").json();
    assert_eq!(info["tagline"], "You Know, for Search");
    assert_eq!(server.send("HEAD", "/elastic", &[], b"").status, 200);
    server.assert_books_balance();
}

#[test]
fn a_token_is_a_bearer_token_a_password_or_an_api_key() {
    let tokens = json!({"shop": {"token": "s", "publish": ["shop"]}}).to_string();
    let server = Server::with_variables(&[("publish_token", "p"), ("tokens", &tokens)]);
    let logs = request(["a".to_owned()]);
    let lines = bulk([1]);
    let status = |authorization: &str, path: &str, body: &str| {
        server.send("POST", path, &[JSON, ("authorization", authorization)], body.as_bytes()).status
    };
    // Basic and ApiKey: base64 of elastic:p and elastic:s.
    for (authorization, to_shop, elsewhere) in [
        ("Bearer p", 200, 200),
        ("Basic ZWxhc3RpYzpw", 200, 200),
        ("ApiKey ZWxhc3RpYzpw", 200, 200),
        ("ApiKey s", 200, 403),
        ("Basic ZWxhc3RpYzpz", 200, 403),
        ("Basic ZWxhc3RpYzp4", 401, 401),
        ("", 401, 401),
    ] {
        assert_eq!(status(authorization, "/v1/logs", &logs), to_shop, "{authorization}");
        assert_eq!(status(authorization, "/elastic/shop/_bulk", &lines), to_shop, "{authorization}");
        assert_eq!(status(authorization, "/elastic/other/_bulk", &lines), elsewhere, "{authorization}");
    }
    assert_eq!(status("Basic ZWxhc3RpYzpw", "/publish", "[]"), 401, "of a shipper alone");
}

#[test]
fn a_body_of_many_megabytes_is_taken_within_the_memory_of_an_instance() {
    let server = Server::start();
    let text = "x".repeat(20_000);
    let body = request((0..2_000).map(|n| format!("{n} {text}")));
    assert!(body.len() > 40_000_000);
    let answer = export(&server, &body);
    assert_eq!((answer.status, answer.text.as_str()), (200, "{}"));
    assert_eq!(server.stats()["unique_processed"], 2_000);
    let head = "POST /v1/logs HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 67108865\r\n\r\n";
    let refused = server.send_raw(head.as_bytes());
    assert!(
        refused.starts_with("HTTP/1.1 413 ") && refused.contains("max_otlp_bytes of 67108864"),
        "{refused}"
    );
    assert!(server.peak_memory() < 700 << 20, "{} bytes", server.peak_memory());
}

#[test]
fn what_was_sent_while_the_server_was_killed_is_there_once_when_it_is_sent_again() {
    let mut server = Server::start();
    let bodies: Vec<_> = (0..40).map(|batch| request((0..200).map(|n| format!("{batch}-{n}")))).collect();
    let url = server.url("/v1/logs");
    for round in 0..3 {
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                for body in &bodies {
                    // Answered or not: it is sent again below.
                    let _ = ureq::post(&url).header("content-type", "application/json").send(body);
                }
            });
            thread::sleep(std::time::Duration::from_millis(30 * (round + 1)));
            server.crash_and_restart();
            sender.join().unwrap();
        });
    }
    let body: Value = server.stats();
    assert!(body["received"].as_u64().unwrap() > 0, "{body}");
    for body in &bodies {
        assert_eq!(export(&server, body).status, 200);
    }
    assert_eq!(server.stats()["unique_processed"], 8_000);
    assert_eq!(server.stats()["conflicts"], 0);
    server.assert_books_balance();
}
