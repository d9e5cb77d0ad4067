//! `POST /publish` in each of its formats, with `Prefer`, and with `partial`.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use sekali_harness::Server;
use serde_json::{Value, json};

const NDJSON: &str = "application/x-ndjson";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn ndjson_is_one_event_a_line_and_blank_lines_are_skipped() {
    let server = Server::start();
    for content_type in [NDJSON, "application/jsonl; charset=utf-8"] {
        let body = "{\"topic\":\"t\",\"event_id\":\"1\"}\n\n  \r\n{\"topic\":\"t\",\"event_id\":\"2\"}";
        assert_eq!(server.publish_as(content_type, body).json()["total_received"], 2);
    }
    let problem =
        server.publish_as(NDJSON, "{\"topic\":\"t\",\"event_id\":\"3\"}\n{").problem(400, "malformed-body");
    assert!(problem["detail"].as_str().unwrap().contains("line 2"), "{problem}");
    assert_eq!(server.events().len(), 2);
    assert_eq!(server.publish_as(NDJSON, "").json()["total_received"], 0);
    server.assert_books_balance();
}

#[test]
fn gzip_is_the_only_compression_that_is_accepted() {
    let server = Server::start();
    let lines: String = (0..1000).map(|n| format!("{{\"topic\":\"t\",\"event_id\":\"{n}\"}}\n")).collect();
    let send = |encoding: &str, body: &[u8]| {
        server.send("POST", "/publish", &[("content-type", NDJSON), ("content-encoding", encoding)], body)
    };
    assert_eq!(send("gzip", &gzip(lines.as_bytes())).json()["stored"], 1000);
    assert_eq!(send("identity", lines.as_bytes()).json()["duplicates"], 1000);
    send("gzip, gzip", &gzip(lines.as_bytes())).problem(415, "unsupported-media-type");
    send("br", lines.as_bytes()).problem(415, "unsupported-media-type");
    send("gzip", lines.as_bytes()).problem(400, "malformed-body");
    send("gzip", &gzip(lines.as_bytes())[..500]).problem(400, "malformed-body");
    server.assert_books_balance();
}

#[test]
fn a_zip_bomb_costs_neither_memory_nor_time() {
    let server = Server::start();
    server.publish(&json!([]));
    let bomb = gzip(&vec![b' '; 500 << 20]);
    let start = std::time::Instant::now();
    for _ in 0..3 {
        let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
        let problem = server.send("POST", "/publish", &headers, &bomb).problem(413, "too-large");
        assert!(problem["detail"].as_str().unwrap().contains("max_body_bytes"));
    }
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    assert!(
        std::env::var_os("SPIN").is_some() || server.peak_memory() < 200 << 20,
        "{}",
        server.peak_memory()
    );
}

#[test]
fn a_cloudevent_in_structured_mode_becomes_an_event_that_keeps_its_attributes() {
    let server = Server::start();
    let event = json!({"specversion": "1.0", "type": "com.shop.order", "source": "/shop", "id": "A-1",
        "time": "2026-11-21T08:00:00+07:00", "subject": "o1", "datacontenttype": "application/json", "data": {"n": 1}});
    let answer = server.publish_as("application/cloudevents+json", event.to_string()).json();
    assert_eq!(answer["processed"], json!(["/shop#A-1"]));
    let stored = &server.events()[0];
    assert_eq!(stored["topic"], "com.shop.order");
    assert_eq!(stored["timestamp"], "2026-11-21T01:00:00Z");
    assert_eq!((&stored["source"], &stored["payload"]), (&json!("/shop"), &json!({"n": 1})));
    assert_eq!(
        stored["attributes"],
        json!({"specversion": "1.0", "subject": "o1", "datacontenttype": "application/json"})
    );
}

#[test]
fn cloudevents_come_in_batches_and_an_invalid_one_is_named() {
    let server = Server::start();
    let event = |id: &str| json!({"specversion": "1.0", "type": "t", "source": "s", "id": id});
    let publish = |body: Value| server.publish_as("application/cloudevents-batch+json", body.to_string());
    assert_eq!(publish(json!([event("1"), event("2"), event("1")])).json()["duplicates"], 1);
    let problem = publish(json!([event("3"), {"specversion": "0.3"}])).problem(422, "invalid-event");
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["specversion", "type", "source", "id"]);
    assert_eq!(server.events().len(), 2);
}

#[test]
fn a_cloudevent_in_binary_mode_has_its_attributes_in_headers_and_any_body() {
    let server = Server::start();
    for (id, content_type, body, payload) in [
        ("1", "application/json", &b"{\"n\":1}"[..], json!({"n": 1})),
        ("2", "text/plain", b"hello", json!("hello")),
        ("3", "image/png", &[0, 1, 2], json!("AAEC")),
        ("4", "application/json", b"", json!({})),
    ] {
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-type", "t"),
            ("ce-source", "/s"),
            ("ce-id", id),
            ("ce-subject", "a%20b"),
            ("content-type", content_type),
        ];
        let answer = server.send("POST", "/publish", &headers, body);
        assert_eq!(answer.json()["stored"], 1, "{}", answer.text);
        let stored = server.get(&format!("/events/t/%2Fs%23{id}")).json();
        assert_eq!(stored["payload"], payload);
        assert_eq!(stored["attributes"]["datacontenttype"], content_type);
        assert_eq!(stored["attributes"]["subject"], "a b");
    }
    server.send("POST", "/publish", &[("ce-specversion", "1.0")], b"").problem(422, "invalid-event");
    let data = [("ce-specversion", "1.0"), ("ce-data", "x")];
    server.send("POST", "/publish", &data, b"").problem(400, "malformed-body");
}

#[test]
fn attributes_count_towards_the_size_of_a_page() {
    let server = Server::start();
    let region = "y".repeat(250_000);
    for batch in 0..10 {
        let event = |n: i32| json!({"specversion": "1.0", "type": "t", "source": "s", "id": format!("{batch}-{n}"), "region": region});
        let events: Vec<_> = (0..30).map(event).collect();
        assert_eq!(
            server.publish_as("application/cloudevents-batch+json", json!(events).to_string()).json()["stored"],
            30
        );
    }
    let lengths: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| server.get("/events?topic=t").text.len())).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert!(lengths.iter().all(|length| *length > 300 * 250_000), "{lengths:?}");
    // The peak is about 230 MiB, most of it for request bodies. Pages of all 300 events would make it over 1,200 MiB.
    assert!(
        std::env::var_os("SPIN").is_some() || server.peak_memory() < 500 << 20,
        "{}",
        server.peak_memory()
    );
}

#[test]
fn prefer_sets_the_amount_of_detail_in_the_answer() {
    let server = Server::start();
    let publish = |prefer: &str| {
        let body =
            json!([{"topic": "t", "event_id": "1"}, {"topic": "t", "event_id": "2", "payload": prefer}]);
        let headers = [("content-type", "application/json"), ("prefer", prefer)];
        server.send("POST", "/publish", &headers, body.to_string().as_bytes())
    };
    let full = publish("respond-async, return=representation");
    assert_eq!(full.header("preference-applied"), Some("return=representation"));
    assert_eq!(
        full.json()["results"],
        json!([{"index": 0, "topic": "t", "event_id": "1", "status": "stored", "seq": 1},
               {"index": 1, "topic": "t", "event_id": "2", "status": "stored", "seq": 2}])
    );
    let minimal = publish("return=minimal");
    assert_eq!(minimal.header("preference-applied"), Some("return=minimal"));
    assert_eq!(
        minimal.json(),
        json!({"status": "ok", "total_received": 2, "stored": 0, "duplicates": 2, "conflicts": 1})
    );
    let again = publish("return=representation").json();
    assert_eq!(
        (&again["results"][0]["status"], &again["results"][0]["seq"]),
        (&json!("duplicate"), &json!(1))
    );
    assert_eq!(
        (&again["results"][1]["status"], &again["results"][1]["seq"]),
        (&json!("conflict"), &json!(2))
    );
    let unknown = publish("return=nothing");
    assert_eq!((unknown.header("preference-applied"), unknown.status), (None, 200));
    assert!(unknown.json().get("results").is_none() && unknown.json()["processed"].is_array());
}

#[test]
fn with_partial_the_valid_events_are_stored_and_the_others_named() {
    let server = Server::start();
    let publish = |path: &str, body: &Value| {
        server.send("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    };
    let body = json!([{"topic": "t", "event_id": "1"}, {"topic": "t"}, 5, {"topic": "t", "event_id": "2"}]);
    publish("/publish?partial=false", &body).problem(422, "invalid-event");
    assert_eq!(server.events().len(), 0);
    let some = publish("/publish?partial=true", &body);
    assert_eq!(some.status, 207);
    let answer = some.json();
    assert_eq!(
        (&answer["total_received"], &answer["stored"], &answer["rejected"]),
        (&json!(4), &json!(2), &json!(2))
    );
    let indexes: Vec<_> = answer["errors"].as_array().unwrap().iter().map(|e| e["index"].clone()).collect();
    assert_eq!(indexes, [1, 2]);
    assert_eq!(answer["errors"][0]["field"], "event_id");
    let all = publish("/publish?partial=true", &json!([{"topic": "t", "event_id": "1"}]));
    assert_eq!((all.status, all.json().get("rejected")), (200, None));
    for path in ["/publish?partial=yes", "/publish?whole=true", "/publish?partial=true&partial=true"] {
        publish(path, &body).problem(400, "invalid-parameter");
    }
    server.assert_books_balance();
}

#[test]
fn with_partial_lines_that_are_malformed_or_too_large_are_named_too() {
    let server = Server::with_variables(&[("max_event_bytes", "50")]);
    let large = format!("{{\"topic\":\"t\",\"event_id\":\"2\",\"payload\":\"{}\"}}", "x".repeat(50));
    let body = format!("{{\"topic\":\"t\",\"event_id\":\"1\"}}\nnonsense\n{large}\n");
    let answer = server.send("POST", "/publish?partial=true", &[("content-type", NDJSON)], body.as_bytes());
    assert_eq!((answer.status, &answer.json()["stored"]), (207, &json!(1)));
    assert_eq!(answer.json()["error_count"], 2);
    server.publish_as(NDJSON, &large).problem(413, "too-large");
}
