//! What survives, and what an end looks like.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::server::Server;

#[test]
fn what_was_acknowledged_is_there_after_a_crash_and_its_duplicate_is_still_refused() {
    let mut server = Server::start();
    let crashed = AtomicBool::new(false);
    // Producers are cut off in the middle of their work: what they were told is what must be there.
    let acknowledged: Vec<String> = thread::scope(|scope| {
        let address = server.url("/publish");
        let producers: Vec<_> = (0..4)
            .map(|producer| {
                let (address, crashed) = (address.clone(), &crashed);
                scope.spawn(move || {
                    let mut acknowledged = Vec::new();
                    for n in 0.. {
                        let id = format!("{producer}-{n}");
                        let body = json!([{"topic": "t", "event_id": id}, {"topic": "t", "event_id": id}])
                            .to_string();
                        match ureq::post(&address).content_type("application/json").send(&body) {
                            Ok(_) => acknowledged.push(id),
                            Err(_) if crashed.load(Ordering::Relaxed) => break,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(500));
        crashed.store(true, Ordering::Relaxed);
        server.crash_and_restart();
        producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect()
    });
    assert!(acknowledged.len() > 20, "only {} were acknowledged", acknowledged.len());
    server.assert_books_balance();
    for chunk in acknowledged.chunks(1000) {
        let again = chunk.iter().map(|id| json!({"topic": "t", "event_id": id})).collect();
        let answer = server.publish(&again).json();
        assert_eq!((&answer["stored"], &answer["duplicates"]), (&json!(0), &json!(chunk.len())));
    }
    server.assert_books_balance();
}

#[test]
fn a_store_is_opened_again_and_again() {
    let mut server = Server::start();
    for round in 1..=3 {
        let answer = server.publish(
            &json!([{"topic": "t", "event_id": round.to_string()}, {"topic": "t", "event_id": "same"}]),
        );
        assert_eq!(answer.status, 200, "{}", answer.text);
        server.crash_and_restart();
    }
    assert_eq!(server.events().len(), 4);
    server.assert_books_balance();
}

#[test]
fn a_store_of_a_newer_program_is_left_alone() {
    let mut server = Server::start();
    server.publish(&json!({"topic": "t", "event_id": "1"}));
    let database = rusqlite::Connection::open(server.database()).unwrap();
    database.execute("insert into schema_migrations values (1000, 'later')", []).unwrap();
    server.crash_and_restart();
    server.publish(&json!({"topic": "t", "event_id": "2"})).problem(500, "internal");
    server.get("/readyz").problem(503, "not-ready");
    let events: i64 = database.query_row("select count(*) from events", [], |row| row.get(0)).unwrap();
    assert_eq!(events, 1);
}

#[test]
fn a_request_to_end_lets_running_requests_finish_and_exits_with_0() {
    let mut server = Server::start();
    server.publish(&json!({"topic": "t", "event_id": "1"}));
    let other = rusqlite::Connection::open(server.database()).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let url = server.url("/publish");
    let running = thread::spawn(move || {
        ureq::post(&url)
            .content_type("application/json")
            .send(r#"{"topic":"t","event_id":"2"}"#)
            .unwrap()
            .status()
    });
    thread::sleep(Duration::from_millis(300));
    let ending = thread::spawn(move || (server.terminate(), server));
    thread::sleep(Duration::from_millis(300));
    other.execute_batch("commit").unwrap();
    assert_eq!(running.join().unwrap(), 200);
    let (status, _server) = ending.join().unwrap();
    if std::env::var_os("SPIN").is_none() {
        assert!(status.success(), "{status}"); // Spin ends by the signal
    }
}
