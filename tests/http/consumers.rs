//! Consumers over a real host: claims, commits and failures of several clients, over crashes, and on several hosts.

use std::collections::BTreeSet;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use sekali_harness::{Answer, Server, eventually};
use serde_json::{Value, json};

fn put(server: &Server, specification: Value) {
    let body = specification.to_string();
    let made = server.send("PUT", "/consumers/c", &[], body.as_bytes());
    assert_eq!(made.status, 201, "{}", made.text);
}

fn post(server: &Server, step: &str, body: Value) -> Answer {
    server.send("POST", &format!("/consumers/c/{step}"), &[], body.to_string().as_bytes())
}

fn claim(server: &Server, holder: &str) -> Answer {
    post(server, "claim", json!({"holder": holder, "limit": 10}))
}

fn commit(server: &Server, claim: &Value, failed: Value) -> Answer {
    post(server, "commit", json!({"claim": claim["claim"], "upto": claim["to"], "failed": failed}))
}

fn publish(server: &Server, topic: &str, ids: std::ops::Range<usize>) {
    let events: Vec<_> = ids.map(|id| json!({"topic": topic, "event_id": id.to_string()})).collect();
    assert_eq!(server.publish(&json!(events)).status, 200);
}

fn seqs(claim: &Value) -> Vec<i64> {
    claim["events"].as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect()
}

fn status(server: &Server) -> Value {
    server.get("/consumers/c").json()
}

#[test]
fn a_consumer_keeps_its_claim_its_place_and_its_failures_over_a_crash() {
    let mut server = Server::start();
    publish(&server, "t", 0..12);
    put(&server, json!({}));
    let first = claim(&server, "a").json();
    assert_eq!(seqs(&first), (1..=10).collect::<Vec<_>>());
    server.crash_and_restart();
    assert_eq!(claim(&server, "a").json()["claim"], first["claim"], "the holder has it still");
    claim(&server, "b").problem(409, "claimed");
    let failed = json!([{"seq": 9, "reason": "500"}, {"seq": 10}]);
    let standing = commit(&server, &first, failed.clone());
    assert_eq!(standing.json(), json!({"position": 10, "settled": 8, "lag": 2}));
    server.crash_and_restart();
    assert_eq!(commit(&server, &first, failed).text, standing.text, "its answer may have been lost");
    assert_eq!(claim(&server, "b").status, 204, "all of the topic waits for the one that failed");
    let listed = server.get("/consumers/c/failed").json()["failed"].clone();
    let states: Vec<_> = listed.as_array().unwrap().iter().map(|failure| failure["state"].clone()).collect();
    assert_eq!(states, ["parked", "waiting", "waiting", "waiting"]);
    assert_eq!(post(&server, "retry", json!({"seqs": [9]})).json(), json!({"changed": 1}));
    let again = claim(&server, "b").json();
    assert_eq!((&again["kind"], seqs(&again)), (&json!("retry"), vec![9, 10, 11, 12]));
    assert_eq!(commit(&server, &again, json!([])).json()["settled"], 12);
}

#[test]
fn a_claim_that_waits_is_answered_when_an_event_comes_on_another_connection() {
    let server = Server::start();
    put(&server, json!({"topics": ["a.*"]}));
    thread::scope(|scope| {
        let waiting =
            scope.spawn(|| (post(&server, "claim", json!({"holder": "w", "wait": 20})), Instant::now()));
        publish(&server, "b", 0..10);
        thread::sleep(Duration::from_millis(300)); // it waits, or will find the event at once
        publish(&server, "a.x", 0..1);
        let published = Instant::now();
        let (answer, answered) = waiting.join().unwrap();
        assert_eq!(seqs(&answer.json()), [11]);
        let latency = answered.saturating_duration_since(published);
        assert!(latency < Duration::from_secs(10), "{latency:?}: it was answered by the end of its wait");
    });
}

/// Workers on all hosts share what a consumer of no order has: each event is done once, although some claims are left to
/// run out; what fails for ever is dead once.
pub fn assert_shared(hosts: &[Server]) {
    const EVENTS: usize = 300;
    put(&hosts[0], json!({"topics": ["t"], "order": "none", "workers": 4, "attempts": 2}));
    publish(&hosts[0], "t", 0..EVENTS);
    let committed: Vec<(Value, Vec<i64>)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..6).map(|n| scope.spawn(move || work(hosts, n))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let done: Vec<_> = committed.iter().flat_map(|(_, done)| done.iter().copied()).collect();
    let unique: BTreeSet<_> = done.iter().copied().collect();
    assert_eq!(done.len(), unique.len(), "what was committed came again");
    assert_eq!(done.len(), EVENTS - EVENTS / 50, "what was not, did not");
    for host in hosts {
        let status = status(host);
        assert_eq!(
            [&status["delivered"], &status["parked"], &status["claims"], &status["lag"]],
            [&json!(EVENTS), &json!(0), &json!([]), &json!(0)],
            "{status}"
        );
        assert_eq!((&status["dead"], &status["settled"]), (&json!(EVENTS / 50), &status["position"]));
        let dead = host.get("/events?topic=dead.c").json();
        assert_eq!(dead.as_array().unwrap().len(), EVENTS / 50);
        host.assert_books_balance();
    }
}

/// Claims and commits by turns at all hosts until all is done, and returns what was committed. Every fiftieth event fails
/// each time. Every seventh claim is left to run out.
fn work(hosts: &[Server], worker: usize) -> Vec<(Value, Vec<i64>)> {
    let mut committed = Vec::new();
    for round in worker.. {
        let host = &hosts[round % hosts.len()];
        // A holder that has left its claim would get it again by its own name.
        let holder = format!("{worker}-{round}");
        let answer = post(host, "claim", json!({"holder": holder, "limit": 7, "lease": 1}));
        match answer.status {
            200 if round % 7 == 6 => continue,
            200 => {
                let claim = answer.json();
                let (failed, done) = seqs(&claim).into_iter().partition::<Vec<_>, _>(|seq| seq % 50 == 0);
                let failed: Vec<_> = failed.iter().map(|seq| json!({"seq": seq, "retry_in": 0})).collect();
                let answer = commit(&hosts[(round + 1) % hosts.len()], &claim, json!(failed));
                match answer.status {
                    200 => committed.push((claim, done)),
                    _ => _ = answer.problem(409, "claim-lost"),
                }
            }
            204 if status(host)["settled"].as_u64() >= Some(300) => break,
            204 => thread::sleep(Duration::from_millis(20)),
            _ => {
                answer.problem(409, "claimed");
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
    committed
}

#[test]
fn workers_share_a_consumer_and_do_each_event_once() {
    assert_shared(&[Server::start()]);
}

#[test]
fn a_claim_that_ran_out_goes_to_the_holder_that_stands_by() {
    let server = Server::start();
    publish(&server, "t", 0..3);
    put(&server, json!({"lease": 1}));
    let lost = claim(&server, "a").json();
    let retry_after = claim(&server, "b").header("retry-after").map(str::to_owned);
    assert_eq!(retry_after.as_deref().map(|seconds| ["1", "2"].contains(&seconds)), Some(true));
    let taken =
        eventually("the claim runs out", || Some(claim(&server, "b")).filter(|answer| answer.status == 200));
    let taken = taken.json();
    assert_eq!((seqs(&taken), &taken["attempt"]), (vec![1, 2, 3], &json!(2)));
    commit(&server, &lost, json!([])).problem(409, "claim-lost");
    assert_eq!(commit(&server, &taken, json!([])).status, 200);
    assert_eq!(status(&server)["redelivered"], 3);
}

#[test]
fn a_zipped_body_is_taken_and_so_is_an_empty_one() {
    let server = Server::start();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(br#"{"topics":["zipped"]}"#).unwrap();
    let zipped = encoder.finish().unwrap();
    let made = server.send("PUT", "/consumers/c", &[("content-encoding", "gzip")], &zipped);
    assert_eq!((made.status, &made.json()["specification"]["topics"]), (201, &json!(["zipped"])));
    assert_eq!(server.send("PUT", "/consumers/all", &[], b"").json()["specification"]["topics"], json!([]));
    let names: Vec<_> = ["", "/c", "/c/failed"].map(|path| format!("/consumers{path}")).into();
    for path in names {
        let (got, asked) = (server.get(&path), server.head(&path));
        assert_eq!((asked.status, asked.text.as_str()), (200, ""));
        assert_eq!(asked.header("content-length"), Some(got.text.len().to_string().as_str()), "{path}");
    }
    let refused = server.send("POST", "/consumers/c/claim?wait=1", &[], br#"{"holder":"w"}"#);
    refused.problem(400, "invalid-parameter");
}

#[test]
fn a_page_of_another_origin_moves_no_consumer_unless_it_is_listed() {
    let server = Server::with_variables(&[("cors_origins", "https://a.example")]);
    put(&server, json!({}));
    publish(&server, "t", 0..1);
    let claim =
        |origin: &str| server.send("POST", "/consumers/c/claim", &[("origin", origin)], br#"{"holder":"w"}"#);
    claim("https://evil.example").problem(403, "foreign-origin");
    server.send("DELETE", "/consumers/c", &[("origin", "null")], b"").problem(403, "foreign-origin");
    assert_eq!(status(&server)["delivered"], 0);
    let answer = claim("https://a.example");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "PUT")];
    let allowed = server.send("OPTIONS", "/consumers/c", &preflight, b"");
    assert_eq!(
        allowed.header("access-control-allow-methods"),
        Some("GET, HEAD, PUT, DELETE, OPTIONS"),
        "{allowed:?}"
    );
}
