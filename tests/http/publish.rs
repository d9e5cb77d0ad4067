//! `POST /publish`.

use std::collections::BTreeSet;
use std::thread;

use sekali_harness::Server;
use serde_json::{Value, json};

use crate::database::{Writer, query};

#[test]
fn the_same_event_twice_is_stored_once() {
    let server = Server::start();
    let event = json!({"topic": "orders", "event_id": "a-1", "payload": {"n": 1}});
    let first = server.publish(&event);
    assert_eq!(first.status, 200);
    assert_eq!(
        first.text,
        r#"{"status":"ok","total_received":1,"stored":1,"duplicates":0,"conflicts":0,"processed":["a-1"],"duplicate_ids":[],"conflict_ids":[]}"#
    );
    let second = server.publish(&event).json();
    assert_eq!(
        (&second["stored"], &second["duplicates"], &second["conflicts"]),
        (&json!(0), &json!(1), &json!(0))
    );
    assert_eq!(second["duplicate_ids"], json!(["a-1"]));
    let events = server.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["deliveries"], 2);
    server.assert_books_balance();
}

#[test]
fn five_simultaneous_deliveries_are_stored_once() {
    let server = Server::start();
    let event = json!({"topic": "orders", "event_id": "a-1"});
    let stored: i64 = thread::scope(|scope| {
        let publishers: Vec<_> = (0..5).map(|_| scope.spawn(|| server.publish(&event).json())).collect();
        publishers.into_iter().map(|publisher| publisher.join().unwrap()["stored"].as_i64().unwrap()).sum()
    });
    assert_eq!(stored, 1);
    assert_eq!(server.events().len(), 1);
    assert_eq!(server.stats()["received"], 5);
    server.assert_books_balance();
}

#[test]
fn many_producers_that_all_send_everything_store_it_once() {
    let server = Server::start();
    let batches: Vec<Value> = (0..20)
        .map(|batch| {
            (0..25)
                .map(|n| json!({"topic": format!("t{}", n % 3), "event_id": format!("{batch}-{n}")}))
                .collect()
        })
        .collect();
    thread::scope(|scope| {
        for producer in 0..8 {
            let (server, batches) = (&server, &batches);
            scope.spawn(move || {
                for turn in 0..batches.len() {
                    let batch = &batches[(turn + producer * 5) % batches.len()];
                    assert_eq!(server.publish(batch).json()["total_received"], 25);
                }
            });
        }
    });
    let stats = server.stats();
    assert_eq!((&stats["received"], &stats["unique_processed"]), (&json!(4000), &json!(500)));
    let seqs: Vec<_> = server.events().iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=500).collect::<Vec<_>>());
    server.assert_books_balance();
}

#[test]
fn the_same_id_in_two_topics_is_two_events() {
    let server = Server::start();
    let answer =
        server.publish(&json!([{"topic": "a", "event_id": "1"}, {"topic": "b", "event_id": "1"}])).json();
    assert_eq!(answer["processed"], json!(["1", "1"]));
    assert_eq!(server.stats()["topics"], json!(["a", "b"]));
}

#[test]
fn a_repeat_within_a_request_is_a_duplicate() {
    let server = Server::start();
    let event = |id: &str, n: i64| json!({"topic": "t", "event_id": id, "payload": n});
    server.publish(&event("old", 1));
    let answer = server
        .publish(&json!([
            event("new", 1),
            event("old", 1),
            event("new", 1),
            event("new", 2),
            event("other", 1)
        ]))
        .json();
    assert_eq!(
        answer,
        json!({"status": "ok", "total_received": 5, "stored": 2, "duplicates": 3, "conflicts": 1,
            "processed": ["new", "other"], "duplicate_ids": ["old", "new", "new"], "conflict_ids": ["new"]})
    );
    server.assert_books_balance();
}

#[test]
fn a_duplicate_with_another_payload_is_dropped_and_reported_as_a_conflict() {
    let server = Server::start();
    let event = |payload: &str| format!(r#"{{"topic":"t","event_id":"e","payload":{payload}}}"#);
    let publish = |payload: &str| server.publish_as("application/json", event(payload)).json();
    assert_eq!(publish(r#"{"a":1,"b":[1.0]}"#)["stored"], 1);
    assert_eq!(publish(r#"{ "b": [1], "\u0061": 1e0 }"#)["conflicts"], 0, "the same JSON value");
    let conflict = publish(r#"{"a":2,"b":[1.0]}"#);
    assert_eq!((&conflict["conflicts"], &conflict["conflict_ids"]), (&json!(1), &json!(["e"])));
    let stored = &server.events()[0];
    assert_eq!(stored["payload"], json!({"a": 1, "b": [1.0]}));
    assert_eq!((&stored["deliveries"], &stored["conflicts"]), (&json!(3), &json!(1)));
    server.assert_books_balance();
}

#[test]
fn a_batch_with_invalid_events_stores_nothing_and_names_them() {
    let server = Server::start();
    let answer = server.publish(&json!([
        {"topic": "t", "event_id": "good"},
        {"topic": "t", "payload": 1},
        {"topic": "t", "event_id": "good too", "timestamp": "invalid-date", "source": 7},
    ]));
    let problem = answer.problem(422, "invalid-event");
    let places: BTreeSet<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            assert!(error["message"].is_string());
            (error["index"].as_i64().unwrap(), error["field"].as_str().unwrap().to_owned())
        })
        .collect();
    let expected = [(1, "event_id"), (2, "timestamp"), (2, "source")];
    assert_eq!(places, expected.map(|(index, field)| (index, field.to_owned())).into());
    assert_eq!(server.stats()["received"], 0);
}

#[test]
fn an_invalid_event_is_422_and_changes_nothing() {
    let server = Server::start();
    let long = "x".repeat(256);
    for (event, field) in [
        (json!({"topic": "t"}), "event_id"),
        (json!({"event_id": "e"}), "topic"),
        (json!({"topic": "t", "event_id": "e", "timestamp": "invalid-date"}), "timestamp"),
        (json!({"topic": "t", "event_id": "e", "timestamp": 1763686800}), "timestamp"),
        (json!({"topic": "", "event_id": "e"}), "topic"),
        (json!({"topic": " ", "event_id": "e"}), "topic"),
        (json!({"topic": "t", "event_id": "a\u{0}b"}), "event_id"),
        (json!({"topic": "t", "event_id": long}), "event_id"),
        (json!({"topic": long, "event_id": "e"}), "topic"),
        (json!({"topic": "t", "event_id": "e", "source": long}), "source"),
        (json!({"topic": ["t"], "event_id": "e"}), "topic"),
        (json!({"topic": "t", "event_id": 1}), "event_id"),
        (json!("event"), ""),
        (json!([[]]), ""),
    ] {
        let problem = server.publish(&event).problem(422, "invalid-event");
        assert_eq!(problem["errors"][0]["field"], field, "{event}");
        assert_eq!(problem["errors"][0]["index"], 0, "{event}");
    }
    assert_eq!(server.stats()["received"], 0);
}

#[test]
fn a_malformed_body_is_400_and_changes_nothing() {
    let server = Server::start();
    let deep = format!(r#"{{"topic":"t","event_id":"e","payload":{}1{}}}"#, "[".repeat(128), "]".repeat(128));
    for body in [
        &b""[..],
        b"{",
        b"not json",
        b"[{\"topic\":\"t\",\"event_id\":\"e\"}",
        b"{\"topic\":\"t\",\"event_id\":\"e\"} x",
        b"{\"topic\":\"t\",\"topic\":\"t\",\"event_id\":\"e\"}",
        b"{\"topic\":\"t\",\"event_id\":\"\\ud800\"}",
        b"{\"topic\":\"t\",\"event_id\":\"\xff\"}",
        deep.as_bytes(),
    ] {
        server.publish_as("application/json", body).problem(400, "malformed-body");
    }
    assert_eq!(server.stats()["received"], 0);
}

#[test]
fn a_body_cut_off_midway_changes_nothing() {
    let server = Server::start();
    let whole = r#"[{"topic":"t","event_id":"e"}]"#;
    let answer = server.send_raw(
        format!("POST /publish HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{whole}")
            .as_bytes(),
    );
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    let answer = server.send_raw(
        format!(
            "POST /publish HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{whole}\r\n",
            whole.len()
        )
        .as_bytes(),
    );
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    assert_eq!(server.stats()["received"], 0);
}

#[test]
fn an_empty_array_is_200_with_zeros() {
    let server = Server::start();
    let answer = server.publish(&json!([]));
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({"status": "ok", "total_received": 0, "stored": 0, "duplicates": 0, "conflicts": 0,
            "processed": [], "duplicate_ids": [], "conflict_ids": []})
    );
}

#[test]
fn an_unsupported_content_type_or_encoding_is_415() {
    let server = Server::start();
    let event = r#"{"topic":"t","event_id":"e"}"#;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonish"] {
        server.publish_as(content_type, event).problem(415, "unsupported-media-type");
    }
    let encoded = [("content-type", "application/json"), ("content-encoding", "br")];
    server.send("POST", "/publish", &encoded, event.as_bytes()).problem(415, "unsupported-media-type");
    assert_eq!(server.stats()["received"], 0);
    assert_eq!(server.publish_as("Application/JSON; charset=utf-8", event).status, 200);
    assert_eq!(server.send("POST", "/publish", &[], event.as_bytes()).json()["duplicates"], 1);
}

#[test]
fn a_request_beyond_a_limit_is_413_and_names_the_limit() {
    let limits = [("max_body_bytes", "1000"), ("max_batch_events", "3"), ("max_event_bytes", "100")];
    let server = Server::with_variables(&limits);
    let event =
        |id: usize, payload: String| json!({"topic": "t", "event_id": id.to_string(), "payload": payload});
    let limit = |events: Value| {
        let problem = server.publish(&events).problem(413, "too-large");
        problem["detail"].as_str().unwrap().to_owned()
    };
    assert!(limit(event(1, "x".repeat(1000))).contains("max_body_bytes of 1000"));
    assert!(limit(event(1, "x".repeat(97))).contains("max_event_bytes of 100"));
    assert!(limit((0..4).map(|id| event(id, String::new())).collect()).contains("max_batch_events of 3"));
    let chunked = format!(
        "POST /publish HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{}",
        " ".repeat(2000)
    );
    assert!(server.send_raw(chunked.as_bytes()).starts_with("HTTP/1.1 413"));
    for announced in [2000_u64, 5_000_000_000] {
        let head = format!("POST /publish HTTP/1.1\r\nhost: x\r\ncontent-length: {announced}\r\n\r\n");
        let answer = server.send_raw(head.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 413"), "{announced}: {answer}");
    }
    assert_eq!(server.stats()["received"], 0);
    assert_eq!(server.publish(&event(1, "x".repeat(96))).status, 200);
    assert_eq!(server.publish(&(0..3).map(|id| event(id, String::new())).collect()).status, 200);
}

#[test]
fn a_batch_of_ten_thousand_is_one_commit() {
    let server = Server::start();
    let batch: Value =
        (0..10_000).map(|n| json!({"topic": "t", "event_id": n.to_string(), "payload": n})).collect();
    assert_eq!(server.publish(&batch).json()["stored"], 10_000);
    let again = server.publish(&batch).json();
    assert_eq!(
        (&again["stored"], &again["duplicates"], &again["conflicts"]),
        (&json!(0), &json!(10_000), &json!(0))
    );
    server.assert_books_balance();
}

#[test]
fn an_answer_does_not_wait_for_a_delayed_tcp_acknowledgement() {
    let server = Server::start();
    let mut times: Vec<_> = (0..51)
        .map(|n| {
            let start = std::time::Instant::now();
            assert_eq!(server.publish(&json!({"topic": "t", "event_id": n.to_string()})).status, 200);
            start.elapsed()
        })
        .collect();
    times.sort();
    // Only the fastest quarter counts, because a loaded machine delays others for other reasons.
    assert!(times[12].as_millis() < 30, "three quarters of the answers took more than {:?}", times[12]);
}

#[test]
fn a_database_that_stays_busy_is_503_with_nothing_stored() {
    let server = Server::start();
    server.publish(&json!({"topic": "t", "event_id": "before"}));
    let other = Writer::begin(&server);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|n| {
                let server = &server;
                scope.spawn(move || server.publish(&json!({"topic": "t", "event_id": format!("during {n}")})))
            })
            .collect();
        for answer in waiting.into_iter().map(|publisher| publisher.join().unwrap()) {
            answer.problem(503, "busy");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    });
    assert_eq!(server.stats()["received"], 1, "reads still work");
    drop(other);
    assert_eq!(server.publish(&json!({"topic": "t", "event_id": "after"})).json()["stored"], 1);
    assert_eq!(server.events().len(), 2);
    server.assert_books_balance();
}

#[test]
fn a_request_waits_for_a_database_that_is_busy_for_a_moment() {
    let server = Server::start();
    server.publish(&json!({"topic": "t", "event_id": "before"}));
    let other = Writer::begin(&server);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| server.publish(&json!({"topic": "t", "event_id": "during"})));
        thread::sleep(std::time::Duration::from_millis(500));
        drop(other);
        assert_eq!(waiting.join().unwrap().json()["stored"], 1);
    });
}

#[test]
fn conflicts_can_be_looked_into_until_their_event_is_erased() {
    let server = Server::with_variables(&[("admin_token", "boss")]);
    let event =
        |topic: &str, id: &str, payload: Value| json!({"topic": topic, "event_id": id, "payload": payload});
    server.publish(&json!([event("t", "1", json!(1)), event("t", "2", json!(1)), event("u", "1", json!(1))]));
    let ids = |query: &str| -> Vec<String> {
        let answer = server.get(&format!("/events?conflicts=true{query}"));
        let name = |event: &Value| format!("{}/{}", event["topic"], event["event_id"]).replace('"', "");
        answer.json().as_array().unwrap_or_else(|| panic!("{}", answer.text)).iter().map(name).collect()
    };
    assert_eq!(ids(""), Vec::<String>::new());
    let again =
        json!([event("u", "1", json!({"n": 2})), event("t", "2", json!(2)), event("t", "2", json!([3]))]);
    assert_eq!(server.publish(&again).json()["conflicts"], 3);
    assert_eq!(ids(""), ["t/2", "u/1"]);
    assert_eq!(ids("&order=desc&limit=1"), ["u/1"]);
    assert_eq!(ids("&topic=u"), ["u/1"]);
    assert_eq!(ids("&since=2100-01-01"), Vec::<String>::new());
    assert_eq!(server.get("/events?conflicts=false").json().as_array().unwrap().len(), 3);
    server.get("/events?conflicts=maybe").problem(400, "invalid-parameter");

    let rival = |id: &str| server.get(&format!("/events/{id}")).json()["rival"].clone();
    assert_eq!((rival("t/2"), rival("u/1"), rival("t/1")), (json!([3]), json!({"n": 2}), Value::Null));
    assert_eq!(server.events()[1].get("rival"), None, "a list has none");
    let largest = "x".repeat(16_382);
    server.publish(&event("t", "2", json!(largest)));
    assert_eq!(rival("t/2"), json!(largest));
    server.publish(&event("t", "2", json!(format!("{largest}y"))));
    assert_eq!(rival("t/2"), json!(largest), "a larger one is not kept");
    server.publish(&event("t", "2", json!(1)));
    assert_eq!(rival("t/2"), json!(largest), "a duplicate is no rival");

    let boss = [("authorization", "Bearer boss")];
    assert_eq!(server.send("DELETE", "/events/t/2", &boss, b"").status, 204);
    assert_eq!(ids(""), ["u/1"]);
    let of_sqlite = "select count(*) from events where rival is not null";
    assert_eq!(query(&server, of_sqlite, "select count(*) from sekali.rivals"), "1");
    server.assert_books_balance();
}

#[test]
fn a_store_keeps_its_identity_across_a_restart_and_another_has_its_own() {
    let mut server = Server::start();
    let id = server.stats()["store_id"].clone();
    assert_eq!(id.as_str().unwrap().len(), 32);
    server.crash_and_restart();
    assert_eq!(server.stats()["store_id"], id);
    assert_ne!(Server::start().stats()["store_id"], id);
}
