//! Crashes, restarts and shutdown.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use sekali_harness::{Server, eventually, is_skipped_on_spin};
use serde_json::json;

#[test]
fn acknowledged_events_survive_a_crash_and_their_duplicates_are_still_dropped() {
    let mut server = Server::start();
    let (answers, crashed) = (AtomicUsize::new(0), AtomicBool::new(false));
    // The crash interrupts producers at work. Every event that was acknowledged must still be stored.
    let acknowledged: Vec<String> = thread::scope(|scope| {
        let address = server.url("/publish");
        let producers: Vec<_> = (0..4)
            .map(|producer| {
                let (address, answers, crashed) = (address.clone(), &answers, &crashed);
                scope.spawn(move || {
                    let mut acknowledged = Vec::new();
                    for n in 0.. {
                        let id = format!("{producer}-{n}");
                        let body = json!([{"topic": "t", "event_id": id}, {"topic": "t", "event_id": id}])
                            .to_string();
                        match ureq::post(&address).content_type("application/json").send(&body) {
                            Ok(_) => {
                                acknowledged.push(id);
                                answers.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(_) if crashed.load(Ordering::Relaxed) => break,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        eventually("producers are at work", || (answers.load(Ordering::Relaxed) > 50).then_some(()));
        crashed.store(true, Ordering::Relaxed);
        server.crash_and_restart();
        producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect()
    });
    server.assert_books_balance();
    for chunk in acknowledged.chunks(1000) {
        let again = chunk.iter().map(|id| json!({"topic": "t", "event_id": id})).collect();
        let answer = server.publish(&again).json();
        assert_eq!((&answer["stored"], &answer["duplicates"]), (&json!(0), &json!(chunk.len())));
    }
    server.assert_books_balance();
}

#[test]
fn a_store_can_be_opened_again_after_every_crash() {
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
fn a_terminated_server_finishes_running_requests_and_exits_with_0() {
    if is_skipped_on_spin("it ends by the signal, without waiting for requests") {
        return;
    }
    let mut server = Server::with(&[], &["--instances", "1"]);
    server.publish(&json!({"topic": "t", "event_id": "1"}));
    let other = rusqlite::Connection::open(server.database()).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let (statuses, answered) = mpsc::channel();
    for _ in 0..2 {
        let (url, statuses) = (server.url("/publish"), statuses.clone());
        thread::spawn(move || {
            let request = ureq::post(&url).content_type("application/json").header("idempotency-key", "k");
            let request = request.config().http_status_as_error(false).build();
            let answer = request.send(r#"{"topic":"t","event_id":"2"}"#).unwrap();
            statuses.send(answer.status().as_u16()).unwrap();
        });
    }
    // One of them waits for the database, and so the other finds the key in use.
    assert_eq!(answered.recv(), Ok(409));
    let address = server.address();
    let ending = thread::spawn(move || (server.terminate(), server));
    eventually("the server takes no more connections", || TcpStream::connect(address).err());
    other.execute_batch("commit").unwrap();
    assert_eq!(answered.recv(), Ok(200));
    let (status, _server) = ending.join().unwrap();
    assert!(status.success(), "{status}");
}
