use std::time::Duration;

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::http::reply::{Pieces, ReplyBody};
use crate::http::send_stream::send_stream;
use crate::testing::service::Service;

/// A service with the events 1 to `count`, in batches of a thousand.
async fn with_events(count: usize) -> Service {
    let service = Service::start();
    let events: Vec<_> =
        (1..=count).map(|n| json!({"topic": "t", "event_id": n.to_string(), "payload": n})).collect();
    for batch in events.chunks(1000) {
        assert_eq!(service.publish(&json!(batch)).await.status, 200);
    }
    service
}

fn seqs(body: &Value) -> Vec<i64> {
    body.as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn an_answer_goes_on_where_a_full_page_ends_with_its_window() {
    let service = Service::start();
    // A window of a filter by both has 64 events, and as many of this size fill a page of a megabyte.
    let text = "x".repeat(16_400);
    let event = |id: u32| json!({"topic": "t", "source": "s", "event_id": id.to_string(), "payload": text});
    assert_eq!(service.publish(&(0..200).map(event).collect()).await.json()["stored"], 200);
    for (target, count) in [("/events?topic=t&source=s", 200), ("/events?topic=t&source=s&order=desc", 200)] {
        let found = service.get(target).await.json();
        assert_eq!(found.as_array().unwrap().len(), count, "{target}");
    }
}

#[tokio::test]
async fn lines_that_are_searched_for_long_have_no_line_without_an_event() {
    let service = Service::start();
    let event = |n: usize| {
        let (topic, source) = [("a", "x"), ("b", "y")][n % 2];
        json!({"topic": topic, "source": source, "event_id": n.to_string()})
    };
    for batch in 0..5 {
        let events: Vec<_> = (batch * 1000..(batch + 1) * 1000).map(event).collect();
        service.publish(&json!(events)).await;
    }
    let lines = async |service: &Service| {
        let accept = [("accept", "application/x-ndjson")];
        service.send("GET", "/events?topic=a&source=y", &accept, "").await.text
    };
    assert_eq!(service.get("/events?topic=a&source=y").await.json(), json!([]));
    assert_eq!(lines(&service).await, "", "they never meet");
    service.publish(&json!({"topic": "a", "source": "y", "event_id": "late"})).await;
    let found = lines(&service).await;
    assert!(found.starts_with('{') && found.ends_with("}\n") && found.lines().count() == 1, "{found:?}");
}

#[tokio::test]
async fn an_answer_of_any_length_is_one_array_or_lines() {
    for count in [0, 1, 1000, 2500] {
        let service = with_events(count).await;
        let expected: Vec<_> = (1..=count as i64).collect();
        assert_eq!(seqs(&service.get("/events").await.json()), expected);
        let reversed: Vec<_> = expected.iter().rev().copied().collect();
        assert_eq!(seqs(&service.get("/events?order=desc").await.json()), reversed);
        let lines = service.send("GET", "/events", &[("accept", "application/x-ndjson")], "").await;
        assert!(lines.text.is_empty() || lines.text.ends_with('\n'));
        let lines: Value =
            lines.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
        assert_eq!(seqs(&lines), expected);
    }
}

#[tokio::test]
async fn links_lead_through_every_page_in_both_orders() {
    let service = with_events(25).await;
    for order in ["asc", "desc"] {
        let mut next = Some(format!("/events?topic=t&limit=10&order={order}"));
        let mut seen = Vec::new();
        while let Some(path) = next {
            let answer = service.get(&path).await;
            seen.extend(seqs(&answer.json()));
            next = answer.header("link").map(|link| {
                link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned()
            });
        }
        let mut expected: Vec<_> = (1..=25).collect();
        if order == "desc" {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn an_unknown_or_invalid_parameter_is_named() {
    let service = Service::start();
    for (query, named) in [
        ("topics=t", "topics"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("after=-1", "after"),
        ("since=yesterday", "since"),
        ("lastEventId=x", "lastEventId"),
        ("order=up", "order"),
        ("topic=%ff", "topic"),
        ("limit=1&limit=2", "limit"),
        (&"topic=a&".repeat(3).replace('a', ""), "topic"),
    ] {
        let problem = service.get(&format!("/events?{query}")).await.problem(400, "invalid-parameter");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("'{named}'")), "{query}: {problem}");
    }
    let blank = service.get("/events?until=2013-04-05T18:50:00+05:30").await;
    assert!(blank.text.contains("'until'") && blank.text.contains("%2B"), "{}", blank.text);
    assert_eq!(service.get("/events?since=2013-04-05").await.status, 200, "a date is its beginning");
    let live = [("accept", "text/event-stream"), ("last-event-id", "five")];
    service.send("GET", "/events", &live, "").await.problem(400, "invalid-header");
    service.send("GET", "/events", &[("accept", "text/html")], "").await.problem(406, "not-acceptable");
}

#[tokio::test]
async fn a_cursor_beyond_the_store_is_a_conflict_that_tells_the_newest_seq() {
    let service = with_events(3).await;
    let live = [("accept", "text/event-stream")];
    for (target, headers) in [
        ("/events?after=4", vec![]),
        ("/events?after=4&limit=1", vec![]),
        ("/events?after=4&order=desc", vec![]),
        ("/events?after=4", live.to_vec()),
        ("/events", [&live[..], &[("last-event-id", "4")]].concat()),
    ] {
        let problem = service.send("GET", target, &headers, "").await.problem(409, "cursor-ahead");
        assert_eq!(problem["last_seq"], 3, "{target}");
    }
    assert_eq!(service.get("/events?after=3").await.text, "[]");
}

#[tokio::test]
async fn an_answer_that_fails_midway_is_broken_off() {
    let service = with_events(2500).await;
    service.get("/events?limit=1").await; // opens a connection
    // The seqs that can be read, and two of the three pages.
    service.faults.statements_left.set(3);
    let reply = service.reply("GET", "/events", &[], "").await;
    let ReplyBody::Stream(pieces, _) = reply.body else { panic!("not a stream") };
    let pieces: Vec<_> = pieces.collect().await;
    let failed = pieces.iter().position(Result::is_err);
    assert_eq!((reply.status.as_u16(), failed), (200, Some(2)), "after two pages");
}

#[tokio::test]
async fn places_for_streamed_answers_are_limited_and_given_back() {
    let service = with_events(1001).await;
    let mut replies = Vec::new();
    for _ in 0..crate::limits::STREAMS {
        replies.push(service.reply("GET", "/events", &[], "").await);
    }
    let refused = service.get("/events").await;
    refused.problem(503, "overloaded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(service.get("/events?limit=10").await.status, 200, "a page needs no place");
    replies.pop();
    assert_eq!(service.get("/events").await.status, 200);
}

/// A live stream.
async fn follow(service: &Service, target: &str) -> Pieces {
    let reply = service.reply("GET", target, &[("accept", "text/event-stream")], "").await;
    match reply.body {
        ReplyBody::Stream(pieces, comments) => Box::pin(stream::select(pieces, comments.map(Ok))),
        ReplyBody::Full(_) => panic!("not a stream"),
    }
}

/// The comments of a stream before its first event.
async fn comments_before_event(mut pieces: Pieces) -> Vec<String> {
    let mut comments = Vec::new();
    loop {
        let text = String::from_utf8(pieces.next().await.unwrap().unwrap()).unwrap();
        if text.starts_with("id: ") {
            return comments;
        }
        comments.push(text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_does_not_wait_behind_answers() {
    let service = with_events(1).await;
    let pieces = follow(&service, "/events?after=0").await;
    service.faults.slow.set(Some(("group_concat", Duration::from_secs(60))));
    let slow = join_all((0..8).map(|_| service.get("/events")));
    let follower = async {
        tokio::task::yield_now().await;
        service.faults.slow.set(None); // for the follower's own read
        comments_before_event(pieces).await
    };
    let (_, comments) = futures::join!(slow, follower);
    assert_eq!(comments, [": following\n\n"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_of_one_follower_delays_neither_its_heartbeats_nor_the_events_of_others() {
    let service = with_events(1).await;
    // One that is behind reads twice, and one that is not reads once: 40 seconds each time.
    for (target, heartbeats) in
        [("/events?topic=t&source=slow&after=0", 5), ("/events?topic=t&source=slow", 2)]
    {
        let slow = follow(&service, target).await;
        let other = follow(&service, "/events").await;
        service.faults.slow.set(Some(("+source in", Duration::from_secs(40))));
        let publish = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let event = json!({"topic": "t", "event_id": target, "source": "slow"});
            assert_eq!(service.publish(&event).await.status, 200);
        };
        let began = Instant::now();
        let other = async { (comments_before_event(other).await.len(), began.elapsed()) };
        let (heard, (_, waited), ()) = futures::join!(comments_before_event(slow), other, publish);
        assert_eq!(heard.iter().filter(|text| *text == ": still here\n\n").count(), heartbeats, "{target}");
        assert!(waited < Duration::from_millis(1500), "{target}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_missed_little_does_not_wait_for_one_that_missed_much() {
    let service = with_events(300).await;
    service.faults.slow.set(Some(("+source in", Duration::from_secs(40))));
    let slow = follow(&service, "/events?topic=t&source=slow&after=0").await;
    let event = json!({"topic": "t", "event_id": "slow", "source": "slow"});
    assert_eq!(service.publish(&event).await.status, 200);
    let other = follow(&service, "/events?after=300").await;
    let began = Instant::now();
    let other = async {
        tokio::time::sleep(Duration::from_secs(1)).await; // the other one reads by now
        comments_before_event(other).await;
        began.elapsed()
    };
    let (_, waited) = futures::join!(comments_before_event(slow), other);
    assert!(waited < Duration::from_millis(1500), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_follower_whose_client_reads_nothing_does_not_keep_others_from_their_events() {
    let service = with_events(1).await;
    let reply = service.reply("GET", "/events?topic=quiet", &[("accept", "text/event-stream")], "").await;
    let ReplyBody::Stream(pieces, comments) = reply.body else { panic!("not a stream") };
    // Its client takes the first piece only, and its second heartbeat falls into a look at the store that takes
    // long.
    let mut taken = 0;
    let stuck = send_stream(pieces, comments, async |_| {
        taken += 1;
        if taken > 1 { futures::future::pending().await } else { true }
    });
    let others = async {
        tokio::time::sleep(Duration::from_secs(29)).await;
        service.faults.slow.set(Some(("max(seq)", Duration::from_secs(4))));
        tokio::time::sleep(Duration::from_secs(2)).await;
        service.faults.slow.set(None); // for later looks
        tokio::time::sleep(Duration::from_secs(4)).await;
        let other = follow(&service, "/events").await;
        service.publish(&json!({"topic": "t", "event_id": "new"})).await;
        let published = Instant::now();
        timeout(Duration::from_secs(30), comments_before_event(other)).await.expect("an event");
        published.elapsed()
    };
    let waited = tokio::select! {
        _ = stuck => panic!("it was taken"),
        waited = others => waited,
    };
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

const ADMIN: [(&str, &str); 1] = [("authorization", "Bearer boss")];

/// A service whose administration is open to a token.
fn administered() -> Service {
    Service::with_variables(&[("admin_token", "boss"), ("read_token", "read")])
}

#[tokio::test]
async fn nobody_may_erase_without_a_token_of_administration() {
    let service = Service::start();
    for path in ["/events/t/1", "/events?topic=t"] {
        service.send("DELETE", path, &ADMIN, "").await.problem(403, "administration-disabled");
        let service = administered();
        service.send("DELETE", path, &[], "").await.problem(401, "unauthorized");
        let reader = [("authorization", "Bearer read")];
        service.send("DELETE", path, &reader, "").await.problem(403, "forbidden");
        service.send("GET", "/stats", &ADMIN, "").await.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn one_event_is_erased_and_its_identity_stays() {
    let service = administered();
    let event = |payload: i64| json!({"topic": "a/b", "event_id": "é", "source": "s", "payload": payload});
    service.publish(&event(1)).await;
    for _ in 0..2 {
        let erased = service.send("DELETE", "/events/a%2Fb/%C3%A9", &ADMIN, "").await;
        assert_eq!((erased.status, erased.text.as_str()), (204, ""));
    }
    service.send("DELETE", "/events/a%2Fb/other", &ADMIN, "").await.problem(404, "not-found");
    let reader = [("authorization", "Bearer read")];
    service.send("GET", "/events/a%2Fb/%C3%A9", &reader, "").await.problem(410, "gone");
    assert_eq!(service.send("GET", "/events", &reader, "").await.text, "[]");
    let receipt = service.publish(&event(2)).await.json();
    assert_eq!((&receipt["duplicates"], &receipt["conflicts"]), (&json!(1), &json!(0)));
    let stats = service.send("GET", "/stats", &reader, "").await.json();
    let counts = ["received", "unique_processed", "duplicate_dropped", "conflicts", "erased", "expired"];
    assert_eq!(counts.map(|name| stats[name].as_i64().unwrap()), [2, 1, 1, 0, 1, 0]);
    assert_eq!(stats["by_topic"][0]["erased"], 1);
}

#[tokio::test]
async fn events_of_a_filter_are_erased_a_thousand_at_a_time() {
    let service = Service::with_variables(&[("admin_token", "boss")]);
    let events: Vec<_> = (0..3000)
        .map(|n| json!({"topic": (["t", "u"][n % 2]), "event_id": n.to_string(), "source": "s"}))
        .collect();
    service.publish(&json!(events)).await;
    let erase = async |query: &str| {
        let answer = service.send("DELETE", &format!("/events?{query}"), &ADMIN, "").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    };
    assert_eq!(erase("topic=t").await, r#"{"erased":1000,"has_more":true}"#);
    assert_eq!(erase("topic=t").await, r#"{"erased":500,"has_more":false}"#);
    assert_eq!(erase("topic=t&source=s").await, r#"{"erased":0,"has_more":false}"#);
    assert_eq!(erase("source=s&until=2000-01-01T00:00Z").await, r#"{"erased":0,"has_more":false}"#);
    let left = service.get("/events").await.json();
    assert!(left.as_array().unwrap().iter().all(|event| event["topic"] == "u"));
    assert_eq!(left.as_array().unwrap().len(), 1500);
}

#[tokio::test]
async fn erasing_needs_a_topic_or_a_source_and_takes_nothing_but_a_filter() {
    let service = Service::with_variables(&[("admin_token", "boss")]);
    for query in ["", "?since=2000-01-01T00:00Z", "?topic=t&limit=1", "?topic=t&after=1"] {
        let answer = service.send("DELETE", &format!("/events{query}"), &ADMIN, "").await;
        answer.problem(400, "invalid-parameter");
    }
}

#[tokio::test(start_paused = true)]
async fn an_erasure_is_not_confirmed_while_somebody_reads_the_old_state() {
    let service = Service::with_variables(&[("admin_token", "boss")]);
    service.publish(&json!({"topic": "t", "event_id": "1"})).await;
    let reader = service.database();
    reader.execute_batch("begin; select * from events").unwrap();
    let busy = service.send("DELETE", "/events/t/1", &ADMIN, "").await;
    busy.problem(503, "busy");
    reader.execute_batch("rollback").unwrap();
    assert_eq!(service.send("DELETE", "/events/t/1", &ADMIN, "").await.status, 204);
}

/// A service in which a topic and a source are common and meet only once, far behind.
async fn with_a_rare_meeting() -> Service {
    let service = Service::with_variables(&[("admin_token", "boss")]);
    let events: Vec<_> = (1..=20_000)
        .map(|n| {
            let (topic, source) = if n % 2 == 0 { ("t", "a") } else { ("u", "b") };
            let source = if n == 19_000 { "b" } else { source };
            json!({"topic": topic, "event_id": n.to_string(), "source": source})
        })
        .collect();
    for batch in events.chunks(10_000) {
        assert_eq!(service.publish(&json!(batch)).await.status, 200);
    }
    service
}

#[tokio::test]
async fn an_answer_whose_search_finds_nothing_for_long_shows_whether_its_client_is_there() {
    let service = with_a_rare_meeting().await;
    // A line has to be JSON, so there lines wait for the first event.
    let of = [("application/json", "[19000]", 6..99), ("application/x-ndjson", "19000", 0..1)];
    for (accept, found, blanks) in of {
        let reply = service.reply("GET", "/events?topic=t&source=b", &[("accept", accept)], "").await;
        let ReplyBody::Stream(pieces, _) = reply.body else { panic!("not a stream") };
        let pieces: Vec<_> = pieces.map(|piece| String::from_utf8(piece.unwrap()).unwrap()).collect().await;
        let count = pieces.iter().filter(|piece| *piece == " ").count();
        assert!(blanks.contains(&count), "{pieces:?}");
        let body: Value = serde_json::from_str(&pieces.concat()).unwrap();
        let seq = if body.is_array() { json!(seqs(&body)) } else { body["seq"].clone() };
        assert_eq!(seq.to_string(), found);
    }
}

#[tokio::test]
async fn a_limited_answer_whose_search_ends_early_has_a_link_that_goes_on() {
    let service = with_a_rare_meeting().await;
    for order in ["asc", "desc"] {
        let mut next = Some(format!("/events?topic=t&source=b&limit=2&order={order}"));
        let mut answers = Vec::new();
        while let Some(path) = next {
            let answer = service.get(&path).await;
            answers.push(seqs(&answer.json()));
            next = answer.header("link").map(|link| link[1..].split('>').next().unwrap().to_owned());
        }
        assert!(answers.len() > 1, "one search went through everything: {answers:?}");
        assert_eq!(answers.concat(), [19_000]);
    }
}

#[tokio::test]
async fn an_erasure_finds_the_only_match_however_far_behind_it_is() {
    let service = with_a_rare_meeting().await;
    let erased = service.send("DELETE", "/events?topic=t&source=b", &ADMIN, "").await;
    assert_eq!(erased.text, r#"{"erased":1,"has_more":false}"#);
}

#[tokio::test]
async fn a_short_answer_from_many_windows_is_whole() {
    let service = Service::start();
    let events: Vec<_> = (0..3000)
        .map(|n| {
            let topic = if n % 100 == 0 { "t" } else { "u" };
            json!({"topic": topic, "event_id": n.to_string(), "source": if n % 2 == 0 { "a" } else { "b" }})
        })
        .collect();
    service.publish(&json!(events)).await;
    let reply = service.reply("GET", "/events?topic=u&source=a&limit=500", &[], "").await;
    assert!(matches!(reply.body, ReplyBody::Full(_)), "it has a length");
    let answer = service.get("/events?topic=u&source=a&limit=500").await.json();
    assert_eq!(answer.as_array().unwrap().len(), 500);
}

#[tokio::test(start_paused = true)]
async fn followers_share_every_page_of_a_tick() {
    let service = with_events(2000).await;
    service.get("/events?limit=1").await; // opens connections
    let mut followers = Vec::new();
    for _ in 0..50 {
        followers.push(follow(&service, "/events?after=0").await);
    }
    let before = service.faults.statements_left.get();
    let read = followers.into_iter().map(|mut pieces| async move {
        let mut events = 0;
        while events < 2000 {
            let text = String::from_utf8(pieces.next().await.unwrap().unwrap()).unwrap();
            events += text.matches("id: ").count();
        }
    });
    join_all(read).await;
    let statements = before - service.faults.statements_left.get();
    // Eight pages, the windows they lie in, the end of the store, and the opening of connections.
    assert!(statements < 60, "{statements} statements for 50 followers");
}
