//! `Idempotency-Key`: a repeated request gets the saved answer.

use sekali_harness::{Answer, Server};
use serde_json::json;

fn publish(server: &Server, key: &str, body: &serde_json::Value) -> Answer {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    server.send("POST", "/publish", &headers, body.to_string().as_bytes())
}

#[test]
fn the_same_key_with_the_same_body_answers_exactly_as_the_first_time() {
    let mut server = Server::start();
    let body = json!([{"topic": "t", "event_id": "1"}, {"topic": "t", "event_id": "2"}]);
    let first = publish(&server, "order 1", &body);
    assert_eq!((&first.json()["stored"], first.header("idempotent-replayed")), (&json!(2), None));
    for restart in [false, true] {
        if restart {
            server.crash_and_restart();
        }
        let again = publish(&server, "order 1", &body);
        assert_eq!((again.status, &again.text), (200, &first.text));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
    }
    assert_eq!(server.stats()["received"], 2, "a saved answer counts no delivery");
    assert_eq!(publish(&server, "order 2", &body).json()["duplicates"], 2);
    server.assert_books_balance();
}

#[test]
fn the_same_key_with_another_body_is_refused() {
    let server = Server::start();
    publish(&server, "k", &json!({"topic": "t", "event_id": "1"}));
    publish(&server, "k", &json!({"topic": "t", "event_id": "2"})).problem(422, "idempotency-key-mismatch");
    assert_eq!(server.events().len(), 1);
}

#[test]
fn spelling_and_unrelated_headers_do_not_make_another_request() {
    let server = Server::start();
    let body = br#"{"topic":"t","event_id":"e"}"#;
    let send = |path: &str, content_type: &str| {
        let headers = [("content-type", content_type), ("idempotency-key", "k"), ("x-trace", path)];
        server.send("POST", path, &headers, body)
    };
    assert_eq!(send("/publish", "application/json").json()["stored"], 1);
    let again = send("/publish?partial=false", "Application/JSON; charset=utf-8");
    assert_eq!((&again.json()["stored"], again.header("idempotent-replayed")), (&json!(1), Some("true")));
}

#[test]
fn an_invalid_key_is_refused() {
    let server = Server::start();
    let body = json!({"topic": "t", "event_id": "1"});
    for key in ["", " ", &"x".repeat(256), "tab\there"] {
        publish(&server, key, &body).problem(400, "invalid-header");
    }
    assert_eq!(publish(&server, &"x".repeat(255), &body).status, 200);
}

#[test]
fn simultaneous_requests_with_one_key_store_once_and_get_the_answer_or_409() {
    let server = Server::start();
    let body = json!({"topic": "t", "event_id": "1"});
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..16).map(|_| scope.spawn(|| publish(&server, "k", &body))).collect();
        publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect()
    });
    for answer in &statuses {
        match answer.status {
            200 => {}
            _ => assert!(answer.problem(409, "idempotency-key-in-use")["title"].is_string()),
        }
    }
    assert!(statuses.iter().any(|answer| answer.status == 200));
    assert_eq!(server.events().len(), 1);
    server.assert_books_balance();
}

#[test]
fn answers_are_beside_the_events_or_in_key_value_where_they_may_be_lost() {
    for (place, stored, duplicates) in [("store", 1, 0), ("key-value", 0, 1)] {
        let mut server = Server::with_variables(&[("answers", place)]);
        let body = json!({"topic": "t", "event_id": "1"});
        let first = publish(&server, "k", &body);
        let again = publish(&server, "k", &body);
        assert_eq!(
            (again.header("idempotent-replayed"), &again.text),
            (Some("true"), &first.text),
            "{place}"
        );
        let key_value = server.key_value();
        server.crash_while(|_| _ = std::fs::remove_file(key_value));
        let receipt = publish(&server, "k", &body).json();
        assert_eq!(
            (&receipt["stored"], &receipt["duplicates"]),
            (&json!(stored), &json!(duplicates)),
            "{place}"
        );
        server.assert_books_balance();
    }
}
