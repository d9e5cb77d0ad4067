//! `GET /events` as `text/event-stream`: the live stream.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use sekali_harness::{Server, eventually};
use serde_json::{Value, json};

/// A follower, which reads its stream chunk by chunk.
pub struct Follower(BufReader<TcpStream>);

impl Follower {
    pub fn start(server: &Server, query: &str, headers: &str) -> Self {
        Self::try_start(server, query, headers).expect("there is a place for a follower")
    }

    /// A follower, or `None` if the server has no place for one.
    fn try_start(server: &Server, query: &str, headers: &str) -> Option<Self> {
        let mut stream = server.connect();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(
            stream,
            "GET /events{query} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n{headers}\r\n"
        )
        .unwrap();
        let mut follower = Self(BufReader::new(stream));
        let head: Vec<_> = std::iter::from_fn(|| follower.line().filter(|line| !line.is_empty())).collect();
        if head[0].contains("503") {
            return None;
        }
        assert!(head[0].contains("200"), "{head:?}");
        assert!(
            head.iter().any(|line| line.eq_ignore_ascii_case("content-type: text/event-stream")),
            "{head:?}"
        );
        assert_eq!(follower.chunk(), ": following\n\n", "the stream begins with a comment");
        Some(follower)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(line.trim_end().to_owned())
    }

    fn chunk(&mut self) -> String {
        let size = usize::from_str_radix(&self.line().expect("the stream ended"), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.0.read_exact(&mut chunk).unwrap();
        String::from_utf8(chunk[..size].to_vec()).unwrap()
    }

    /// Reads at least `count` events, and more if one chunk brings more. Skips comments.
    pub fn events(&mut self, count: usize) -> Vec<Value> {
        let (mut events, mut text) = (Vec::new(), String::new());
        while events.len() < count {
            text.push_str(&self.chunk());
            while let Some((event, rest)) = text.split_once("\n\n") {
                if let Some((id, data)) = event.split_once('\n') {
                    let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                    assert_eq!(id, format!("id: {}", data["seq"]));
                    events.push(data);
                }
                text = rest.to_owned();
            }
        }
        events
    }
}

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event_id"].as_str().unwrap()).collect()
}

fn event(id: &str) -> Value {
    json!({"topic": "t", "event_id": id})
}

#[test]
fn a_follower_gets_only_new_events_and_each_within_half_a_second() {
    let server = Server::start();
    server.publish(&event("before"));
    let mut follower = Follower::start(&server, "", "");
    let mut times: Vec<_> = ["a", "b", "c", "d", "e"]
        .into_iter()
        .map(|id| {
            let start = Instant::now();
            server.publish(&event(id));
            assert_eq!(ids(&follower.events(1)), [id]);
            start.elapsed()
        })
        .collect();
    // Only the fastest counts, because a loaded machine delays some of them.
    times.sort();
    assert!(times[0] < Duration::from_millis(500), "{times:?}");
}

#[test]
fn a_follower_that_can_set_no_header_resumes_by_the_query() {
    let server = Server::start();
    for id in 1..=4 {
        server.publish(&json!({"topic": "t", "event_id": id.to_string()}));
    }
    for (query, header, expected) in [
        ("?after=0&lastEventId=2", "", ["3", "4"]),
        ("?after=2&lastEventId=", "", ["3", "4"]),
        ("?lastEventId=1", "last-event-id: 2\r\n", ["3", "4"]),
    ] {
        assert_eq!(ids(&Follower::start(&server, query, header).events(2)), expected, "{query}");
    }
}

#[test]
fn a_follower_resumes_after_a_seq_or_by_last_event_id() {
    let mut server = Server::start();
    server.publish(&json!([event("1"), event("2"), event("3"), event("4")]));
    assert_eq!(ids(&Follower::start(&server, "?after=0", "").events(4)), ["1", "2", "3", "4"]);
    assert_eq!(ids(&Follower::start(&server, "?after=0", "last-event-id: 2\r\n").events(2)), ["3", "4"]);
    server.crash_and_restart();
    let mut follower = Follower::start(&server, "", "last-event-id: 3\r\n");
    server.publish(&event("5"));
    assert_eq!(ids(&follower.events(2)), ["4", "5"]);
}

#[test]
fn a_follower_may_filter_events() {
    let server = Server::start();
    let mut follower = Follower::start(&server, "?topic=b&topic=c&source=s&after=0", "");
    for (topic, source) in [("a", "s"), ("b", "s"), ("b", "r"), ("c", "s")] {
        server.publish(&json!({"topic": topic, "source": source, "event_id": format!("{topic}{source}")}));
    }
    assert_eq!(ids(&follower.events(2)), ["bs", "cs"]);
}

#[test]
fn parameters_without_a_meaning_for_a_live_stream_are_refused() {
    let server = Server::start();
    let get = |path: &str, id: &str| {
        server.send("GET", path, &[("accept", "text/event-stream"), ("last-event-id", id)], b"")
    };
    get("/events?limit=5", "").problem(400, "invalid-parameter");
    get("/events?order=desc", "").problem(400, "invalid-parameter");
    get("/events", "five").problem(400, "invalid-header");
}

#[test]
fn followers_miss_nothing_and_see_nothing_twice_while_writers_run_in_several_instances() {
    const WRITERS: usize = 8;
    const EVENTS: usize = 150;
    let server = Server::start();
    std::thread::scope(|scope| {
        let followers: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = Vec::new();
                    let mut after = 0;
                    while seen.len() < WRITERS * EVENTS {
                        // Each connection ends after some events, and the next one resumes behind them.
                        let mut follower = Follower::start(&server, &format!("?after={after}"), "");
                        let wanted = 200.min(WRITERS * EVENTS - seen.len());
                        seen.extend(follower.events(wanted));
                        after = seen.last().unwrap()["seq"].as_i64().unwrap();
                    }
                    seen.iter().map(|event| event["seq"].as_i64().unwrap()).collect::<Vec<_>>()
                })
            })
            .collect();
        for writer in 0..WRITERS {
            let server = &server;
            scope.spawn(move || {
                for n in 0..EVENTS {
                    server.publish(&event(&format!("{writer}-{n}")));
                }
            });
        }
        for follower in followers {
            let seen = follower.join().unwrap();
            assert_eq!(seen, (1..=(WRITERS * EVENTS) as i64).collect::<Vec<_>>());
        }
    });
}

#[test]
fn two_hundred_followers_get_every_event_while_publishing_goes_on() {
    let server = Server::start();
    let mut followers: Vec<_> = (0..200).map(|_| Follower::start(&server, "", "")).collect();
    let start = Instant::now();
    for n in 0..50 {
        assert_eq!(server.publish(&event(&n.to_string())).json()["stored"], 1);
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let expected: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    for follower in &mut followers {
        assert_eq!(ids(&follower.events(50)), expected);
    }
}

#[test]
fn a_follower_without_new_events_gets_a_comment() {
    let server = Server::start();
    let mut follower = Follower::start(&server, "", "");
    let start = Instant::now();
    assert_eq!(follower.chunk(), ": still here\n\n");
    assert!((14..40).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[test]
fn followers_that_go_away_make_room_for_others() {
    let server = Server::start();
    for _ in 0..3 {
        // The server notices that a follower has gone when it sends the next event.
        let start = || {
            Follower::try_start(&server, "", "").or_else(|| {
                server.publish(&event(&format!("{:?}", Instant::now())));
                None
            })
        };
        let followers: Vec<_> = (0..500).map(|_| eventually("a place for a follower", start)).collect();
        drop(followers);
    }
    let mut follower = eventually("a place", || Follower::try_start(&server, "", ""));
    server.publish(&event("last"));
    assert_eq!(ids(&follower.events(1)), ["last"]);
}
