//! `GET /events` and `GET /events/{topic}/{event_id}`.

use sekali_harness::Server;
use serde_json::{Value, json};

const TOPICS: [&str; 3] = ["a", "b", "c d"];

#[test]
fn without_a_filter_every_topic_is_returned_in_the_order_of_storage() {
    let server = Server::start();
    server.publish(&json!([{"topic": "b", "event_id": "1"}, {"topic": "a", "event_id": "1"}]));
    server.publish(&json!({"topic": "c", "event_id": "1"}));
    let topics: Vec<_> = server.events().iter().map(|event| event["topic"].clone()).collect();
    assert_eq!(topics, ["b", "a", "c"]);
}

#[test]
fn an_event_comes_back_with_every_field() {
    let server = Server::start();
    server.publish(
        &json!({"topic": "é \"t\"", "event_id": "a/1?", "timestamp": "2026-11-21T08:00:00.50+07:00",
        "source": "shop", "payload": {"n": 1}}),
    );
    let event = &server.events()[0];
    let fields: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "seq",
        "topic",
        "event_id",
        "timestamp",
        "source",
        "payload",
        "received_at",
        "deliveries",
        "conflicts",
    ];
    expected.sort();
    assert_eq!(fields, expected);
    assert_eq!((&event["topic"], &event["event_id"]), (&json!("é \"t\""), &json!("a/1?")));
    assert_eq!((&event["timestamp"], &event["source"]), (&json!("2026-11-21T01:00:00.5Z"), &json!("shop")));
    assert_eq!((&event["seq"], &event["deliveries"], &event["conflicts"]), (&json!(1), &json!(1), &json!(0)));
    assert!(event["received_at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_field_that_was_not_sent_has_its_default() {
    let server = Server::start();
    server.publish(&json!({"topic": "t", "event_id": "e"}));
    let event = &server.events()[0];
    assert_eq!((&event["payload"], &event["source"]), (&json!({}), &Value::Null));
    assert_eq!(event["timestamp"], event["received_at"]);
}

#[test]
fn numbers_and_strings_come_back_as_they_were_sent() {
    let server = Server::start();
    let payload =
        r#"{"big":12345678901234567890123,"price":1.50,"tiny":1e-400,"text":"\u0041 \\ \" é 😀","list":[]}"#;
    let spaced = payload.replace(",\"", ",\r\n  \"");
    server.publish_as("application/json", format!(r#"{{"topic":"t","event_id":"e","payload":{spaced}}}"#));
    let answer = server.get("/events");
    assert!(answer.text.contains(&format!(r#""payload":{payload},"#)), "{}", answer.text);
}

#[test]
fn only_events_of_the_chosen_topics_are_returned() {
    let server = Server::start();
    let batch: Value = (0..30).map(|n| json!({"topic": TOPICS[n % 3], "event_id": n.to_string()})).collect();
    server.publish(&batch);
    let ids = |query: &str| -> Vec<i64> {
        let answer = server.get(&format!("/events?{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text);
        let ids = answer.json();
        ids.as_array()
            .unwrap()
            .iter()
            .map(|event| event["event_id"].as_str().unwrap().parse().unwrap())
            .collect()
    };
    assert_eq!(ids("topic=b"), (0..30).filter(|n| n % 3 == 1).collect::<Vec<_>>());
    assert_eq!(ids("topic=c%20d&topic=a"), (0..30).filter(|n| n % 3 != 1).collect::<Vec<_>>());
    assert_eq!(ids("topic=unknown"), Vec::<i64>::new());
}

#[test]
fn an_empty_store_is_an_empty_list() {
    assert_eq!(Server::start().get("/events").text, "[]");
}

#[test]
fn an_unknown_or_invalid_parameter_is_400_and_is_named() {
    let server = Server::start();
    for (query, name) in [
        ("topics=a", "topics"),
        ("topic=", "topic"),
        ("topic=a%ff", "topic"),
        ("limit=1&limit=1", "limit"),
        ("since=yesterday", "since"),
        ("order=up", "order"),
        ("topic=a&x=1", "x"),
        ("after=-1", "after"),
        ("after=x", "after"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
    ] {
        let problem = server.get(&format!("/events?{query}")).problem(400, "invalid-parameter");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("'{name}'")), "{problem}");
    }
}

#[test]
fn many_events_are_streamed_in_order_and_each_once() {
    let server = Server::start();
    let large = "x".repeat(2000);
    for batch in 0..5 {
        let events: Value = (0..2000)
            .map(|n| json!({"topic": format!("t{}", n % 2), "event_id": format!("{batch}-{n}"), "payload": large}))
            .collect();
        assert_eq!(server.publish(&events).json()["stored"], 2000);
    }
    let seqs = |path: &str| -> Vec<i64> {
        let answer = server.get(path);
        assert_eq!(answer.header("content-length"), None, "a streamed answer has no length");
        answer.json().as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect()
    };
    assert_eq!(seqs("/events"), (1..=10_000).collect::<Vec<_>>());
    assert_eq!(seqs("/events?topic=t1"), (1..=10_000).filter(|seq| seq % 2 == 0).collect::<Vec<_>>());
    assert_eq!(seqs("/events?topic=t1&topic=t0"), (1..=10_000).collect::<Vec<_>>());
}

#[test]
fn a_short_answer_has_a_length() {
    let server = Server::start();
    server.publish(&json!({"topic": "t", "event_id": "e"}));
    let answer = server.get("/events");
    assert_eq!(answer.header("content-length"), Some(answer.text.len().to_string().as_str()));
    let head = server.head("/events");
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), answer.header("content-length"));
}

#[test]
fn every_page_but_the_last_links_to_the_next() {
    let server = Server::start();
    let batch: Value =
        (0..2500).map(|n| json!({"topic": TOPICS[n % 3], "event_id": n.to_string()})).collect();
    server.publish(&batch);
    for (first, expected) in [
        ("/events?limit=1000", (1..=2500).collect::<Vec<_>>()),
        ("/events?limit=1250", (1..=2500).collect()),
        ("/events?limit=10000", (1..=2500).collect()),
        ("/events?topic=c%20d&limit=7&after=30", (31..=2500).filter(|seq| seq % 3 == 0).collect()),
        ("/events?limit=100&topic=a&topic=b", (1..=2500).filter(|seq| seq % 3 != 0).collect()),
        ("/events?limit=5&after=2500", vec![]),
    ] {
        let limit: usize = first.split_once("limit=").unwrap().1.split('&').next().unwrap().parse().unwrap();
        let (mut seqs, mut next) = (Vec::new(), Some(first.to_owned()));
        while let Some(path) = next {
            let answer = server.get(&path);
            let page: Vec<i64> = answer
                .json()
                .as_array()
                .unwrap()
                .iter()
                .map(|event| event["seq"].as_i64().unwrap())
                .collect();
            next = answer.header("link").map(|link| {
                assert_eq!(page.len(), limit, "only the last page may be short");
                link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned()
            });
            seqs.extend(page);
        }
        assert_eq!(seqs, expected, "{first}");
    }
}

#[test]
fn ndjson_is_one_event_a_line() {
    let server = Server::start();
    let accept = [("accept", "application/x-ndjson")];
    assert_eq!(server.send("GET", "/events", &accept, b"").text, "");
    let many: Vec<_> = (0..2500).map(|n| json!({"topic": "t", "event_id": n.to_string()})).collect();
    server.publish(&json!(many));
    let answer = server.send("GET", "/events", &accept, b"");
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    assert!(answer.text.ends_with("}\n"));
    let seqs: Vec<_> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_i64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=2500).collect::<Vec<_>>());
}

#[test]
fn an_accept_header_that_excludes_every_format_is_406() {
    let server = Server::start();
    let accept = |path: &str, accept: &str| server.send("GET", path, &[("accept", accept)], b"");
    accept("/events", "text/html").problem(406, "not-acceptable");
    accept("/events", "application/json;q=0").problem(406, "not-acceptable");
    assert_eq!(accept("/events", "text/html, */*;q=0.1").status, 200);
    server.publish(&json!({"topic": "t", "event_id": "1"}));
    accept("/events/t/1", "application/x-ndjson").problem(406, "not-acceptable");
}

/// Publishes 48 events of four topics and three sources, a minute apart, the newest first.
fn assorted(server: &Server) {
    let events: Vec<_> = (0..48)
        .map(|n| {
            json!({"topic": format!("t{}", n % 4), "source": format!("s{}", n % 3), "event_id": n.to_string(),
                "timestamp": format!("2026-11-21T01:{:02}:00Z", 47 - n)})
        })
        .collect();
    server.publish(&json!(events));
}

fn seqs_of(server: &Server, query: &str) -> Vec<i64> {
    let answer = server.get(&format!("/events?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json().as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect()
}

#[test]
fn every_filter_works_alone_and_with_the_others() {
    let server = Server::start();
    assorted(&server);
    for (query, wanted) in [
        ("source=s1", (|n: i64| n % 3 == 1) as fn(i64) -> bool),
        ("source=s1&source=s2", |n| n % 3 != 0),
        ("topic=t0&source=s1", |n| n % 4 == 0 && n % 3 == 1),
        ("topic=t0&topic=t3&topic=t0", |n| n % 4 == 0 || n % 4 == 3),
        ("since=2026-11-21T01:40:00Z", |n| 47 - n >= 40),
        ("until=2026-11-21T08:10:00%2B07:00", |n| 47 - n < 10),
        ("since=2026-11-21T01:10:00&until=2026-11-21T01:20:00", |n| (10..20).contains(&(47 - n))),
        ("since=2026-11-21T01:10:00Z&topic=t1&source=s0&after=10", |n| {
            47 - n >= 10 && n % 4 == 1 && n % 3 == 0 && n + 1 > 10
        }),
        ("since=2027-01-01T00:00:00Z", |_| false),
        ("source=unknown", |_| false),
    ] {
        let expected: Vec<i64> = (0..48).filter(|n| wanted(*n)).map(|n| n + 1).collect();
        assert_eq!(seqs_of(&server, query), expected, "{query}");
        let reversed: Vec<i64> = expected.into_iter().rev().collect();
        if !query.contains("after") {
            assert_eq!(seqs_of(&server, &format!("{query}&order=desc")), reversed, "{query}");
        }
    }
}

#[test]
fn links_lead_through_a_filtered_list_in_either_order() {
    let server = Server::start();
    assorted(&server);
    for query in [
        "topic=t1&topic=t2",
        "source=s2",
        "since=2026-11-21T01:05:00Z",
        "topic=t1&until=2026-11-21T01:40:00Z",
    ] {
        for order in ["asc", "desc"] {
            let mut path = format!("/events?{query}&order={order}&limit=5");
            let mut seqs = Vec::new();
            loop {
                let answer = server.get(&path);
                let page = answer.json();
                assert!(page.as_array().unwrap().len() <= 5);
                seqs.extend(page.as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()));
                let Some(link) = answer.header("link") else { break };
                path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
            }
            assert_eq!(seqs, seqs_of(&server, &format!("{query}&order={order}")), "{query} {order}");
            assert!(!seqs.is_empty());
        }
    }
}

#[test]
fn one_event_is_found_by_its_percent_encoded_topic_and_id() {
    let server = Server::start();
    server.publish(&json!({"topic": "a/b c", "event_id": "\u{e9}#1", "payload": [1]}));
    let found = server.get("/events/a%2Fb%20c/%C3%A9%231");
    assert_eq!((found.status, &found.json()["payload"]), (200, &json!([1])));
    assert_eq!(server.head("/events/a%2Fb%20c/%C3%A9%231").status, 200);
    for path in [
        "/events/a%2Fb%20c/2",
        "/events/x/%C3%A9%231",
        "/events/%FF/1",
        "/events/%20/1",
        "/events/a",
        "/events/a/b/c",
        "/events//1",
    ] {
        server.get(path).problem(404, "not-found");
    }
}

#[test]
fn every_route_that_reads_answers_head_like_get() {
    let server = Server::start();
    server.publish(&json!({"topic": "t", "event_id": "1"}));
    for path in ["/events", "/events/t/1", "/stats", "/metrics", "/healthz", "/readyz"] {
        let (head, get) = (server.head(path), server.get(path));
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert!(get.header("content-length").is_some(), "{path}");
    }
}
