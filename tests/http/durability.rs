//! Crashes, restarts and shutdown.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sekali_harness::{Server, eventually, is_skipped_on_spin};
use serde_json::json;

use crate::database::{Writer, query};

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
    query(
        &server,
        "insert into schema_migrations values (1000, 'later')",
        "insert into sekali.schema_migrations values (1000, now())",
    );
    server.crash_and_restart();
    server.publish(&json!({"topic": "t", "event_id": "2"})).problem(500, "internal");
    server.get("/readyz").problem(503, "not-ready");
    let count = query(&server, "select count(*) from events", "select count(*) from sekali.events");
    assert_eq!(count, "1");
}

/// Why the tests of the end are skipped on Spin.
const ENDS_BY_SIGNAL: &str = "it ends by the signal, without waiting for requests";

/// Publishes an event to a server whose database another writer has locked, so that the request waits. The receiver gets
/// its status.
fn publish_and_wait(server: &Server) -> (mpsc::Receiver<u16>, Writer) {
    server.publish(&json!({"topic": "t", "event_id": "1"}));
    let other = Writer::begin(server);
    let (statuses, answered) = mpsc::channel();
    for _ in 0..2 {
        let (url, statuses) = (server.url("/publish"), statuses.clone());
        thread::spawn(move || {
            let request = ureq::post(&url).content_type("application/json").header("idempotency-key", "k");
            let request = request.config().http_status_as_error(false).build();
            if let Ok(answer) = request.send(r#"{"topic":"t","event_id":"2"}"#) {
                let _ = statuses.send(answer.status().as_u16());
            }
        });
    }
    // One of them waits for the database, and so the other finds the key in use.
    assert_eq!(answered.recv(), Ok(409));
    (answered, other)
}

/// True if a stream has not ended, after reading what has come.
fn is_open(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    loop {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

/// Waits until the server has noticed SIGTERM: from then on, each connection ends with its request.
fn wait_until_it_drains(server: &Server) {
    eventually("the server drains", || {
        let mut stream = server.connect();
        write!(stream, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let lines = BufReader::new(stream).lines().map(Result::unwrap);
        let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        assert!(head.first().is_some_and(|line| line.starts_with("HTTP/1.1 200")), "{head:?}");
        head.iter().any(|line| line.eq_ignore_ascii_case("connection: close")).then_some(())
    });
}

#[test]
fn a_terminated_server_refuses_nobody_until_running_requests_have_finished_and_then_ends_streams_at_once() {
    if is_skipped_on_spin(ENDS_BY_SIGNAL) {
        return;
    }
    let mut server = Server::with(&[], &["--instances", "1"]);
    let (answered, other) = publish_and_wait(&server);
    let mut follower = server.connect_follower("/events");
    server.ask_to_end();
    wait_until_it_drains(&server);
    assert!(is_open(&mut follower), "streams go on while requests run");
    drop(other);
    let committed = Instant::now();
    assert_eq!(answered.recv(), Ok(200));
    follower.set_read_timeout(None).unwrap();
    let _ = follower.read_to_end(&mut Vec::new());
    let status = server.wait_for_end();
    assert!(status.success(), "{status}");
    assert!(committed.elapsed() < Duration::from_secs(4), "the stream held it for {:?}", committed.elapsed());
}

#[test]
fn a_second_signal_cuts_running_requests_off() {
    if is_skipped_on_spin(ENDS_BY_SIGNAL) {
        return;
    }
    let mut server = Server::with(&[], &["--instances", "1"]);
    let (answered, other) = publish_and_wait(&server);
    server.ask_to_end();
    wait_until_it_drains(&server);
    server.ask_to_end();
    server.wait_for_end();
    assert!(answered.recv().is_err(), "the request got no answer");
    drop(other);
}
