//! Consumers as a client sees them, on SQLite.

use std::time::Duration;

use futures::join;
use sekali_harness::Answer;
use serde_json::{Value, json};

use crate::testing::service::Service;

/// A client of the consumer `c`.
struct Consumer(Service);

impl Consumer {
    /// A consumer with a specification, and events of the topics that `topics` spells, a letter each.
    async fn over(topics: &str, specification: Value) -> Self {
        let service = Service::start();
        publish(&service, topics).await;
        let made = send(&service, "PUT", "/consumers/c", &specification).await;
        assert_eq!(made.status, 201, "{}", made.text);
        Self(service)
    }

    async fn post(&self, step: &str, body: Value) -> Answer {
        send(&self.0, "POST", &format!("/consumers/c/{step}"), &body).await
    }

    /// The seqs of a claim of `worker`, and its token.
    async fn claim(&self, limit: u32) -> (Vec<i64>, String) {
        let answer = self.post("claim", json!({"holder": "worker", "limit": limit})).await;
        if answer.status == 204 {
            return (vec![], String::new());
        }
        assert_eq!(answer.status, 200, "{}", answer.text);
        (seqs(&answer), answer.json()["claim"].as_str().unwrap().to_owned())
    }

    async fn commit(&self, token: &str, upto: i64, failed: Value) -> Value {
        let answer = self.post("commit", json!({"claim": token, "upto": upto, "failed": failed})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// Claims once, and commits all of it.
    async fn done(&self, limit: u32) -> Vec<i64> {
        let answer = self.post("claim", json!({"holder": "worker", "limit": limit})).await;
        if answer.status == 204 {
            return vec![];
        }
        let claim = answer.json();
        self.commit(claim["claim"].as_str().unwrap(), claim["to"].as_i64().unwrap(), json!([])).await;
        seqs(&answer)
    }

    async fn status(&self) -> Value {
        self.0.get("/consumers/c").await.json()
    }

    async fn failed(&self) -> Vec<Value> {
        let listed = self.0.get("/consumers/c/failed").await.json()["failed"].clone();
        let brief = |failure: &Value| json!([failure["seq"], failure["state"], failure["attempts"]]);
        listed.as_array().unwrap().iter().map(brief).collect()
    }

    /// All failures become due.
    fn make_due(&self) {
        self.0.database().execute("update failures set due_at = min(due_at, 1)", []).unwrap();
    }

    /// All claims run out.
    fn run_out(&self) {
        let sql = "update consumers set version = version + 1, state = json_set(state, '$.claims', \
            json((select json_group_array(json(json_set(value, '$.expires_at', 1))) from json_each(state, '$.claims'))))";
        self.0.database().execute(sql, []).unwrap();
    }
}

async fn publish(service: &Service, topics: &str) {
    let before = service.get("/stats").await.json()["last_seq"].as_i64().unwrap();
    let events: Vec<_> = (before..)
        .zip(topics.chars())
        .map(|(id, topic)| json!({"topic": topic.to_string(), "event_id": id.to_string()}))
        .collect();
    assert_eq!(service.publish(&json!(events)).await.status, 200);
}

async fn send(service: &Service, method: &str, path: &str, body: &Value) -> Answer {
    service.send(method, path, &[("content-type", "application/json")], body.to_string()).await
}

fn seqs(answer: &Answer) -> Vec<i64> {
    answer.json()["events"].as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect()
}

fn dead(seq: i64) -> Value {
    json!({"seq": seq, "reason": "bad", "dead": true})
}

#[tokio::test]
async fn events_are_given_out_once_and_the_place_is_kept() {
    let consumer = Consumer::over("aabab", json!({"topics": ["a"]})).await;
    let answer = consumer.post("claim", json!({"holder": "worker", "limit": 2})).await.json();
    assert_eq!(
        (&answer["kind"], &answer["from"], &answer["to"], &answer["attempt"], &answer["skipped"]),
        (&json!("new"), &json!(0), &json!(2), &json!(1), &json!({"expired": 0, "erased": 0}))
    );
    let event = &answer["events"][0];
    assert_eq!(
        (&event["seq"], &event["topic"], &event["attempt"], &event["deliveries"]),
        (&json!(1), &json!("a"), &json!(1), &json!(1))
    );
    let token = answer["claim"].as_str().unwrap();
    let standing = json!({"position": 2, "settled": 2, "lag": 1});
    for _ in 0..2 {
        assert_eq!(consumer.commit(token, 2, json!([])).await, standing, "the same commit again");
    }
    assert_eq!(consumer.done(10).await, [4]);
    assert_eq!(consumer.done(10).await, [0; 0]);
    publish(&consumer.0, "ba").await;
    assert_eq!(consumer.done(10).await, [7]);
    let status = consumer.status().await;
    let [position, settled, lag, behind] =
        ["position", "settled", "lag", "behind_seconds"].map(|name| status[name].as_i64().unwrap());
    assert_eq!((position, settled, lag, behind), (7, 7, 0, 0));
    assert_eq!((&status["delivered"], &status["redelivered"]), (&json!(4), &json!(0)));
    assert_eq!(status["specification"]["topics"], json!(["a"]));
}

#[tokio::test]
async fn a_holder_gets_its_claim_again_and_nobody_else_does() {
    let consumer = Consumer::over("aaaa", json!({})).await;
    let (first, token) = consumer.claim(3).await;
    assert_eq!(first, [1, 2, 3]);
    assert_eq!(consumer.claim(1).await, (vec![1, 2, 3], token.clone()), "its answer may be lost");
    let refused = consumer.post("claim", json!({"holder": "other"})).await;
    let problem = refused.problem(409, "claimed");
    assert_eq!(problem["holders"][0]["holder"], "worker");
    assert!((29..=31).contains(&refused.header("retry-after").unwrap().parse::<u32>().unwrap()));
    assert_eq!(consumer.commit(&token, 2, json!([])).await["position"], 2);
    assert_eq!(consumer.claim(9).await, (vec![3], token.clone()), "less what was committed");
    let heartbeat = consumer.post("commit", json!({"claim": token})).await.json();
    assert_eq!(heartbeat["position"], 2);

    consumer.run_out();
    consumer.post("commit", json!({"claim": token, "upto": 3})).await.problem(409, "claim-lost");
    let other = consumer.post("claim", json!({"holder": "other", "limit": 100})).await;
    assert_eq!((seqs(&other), &other.json()["attempt"]), (vec![3], &json!(2)), "whole, before newer ones");
    assert_eq!(other.json()["events"][0]["attempt"], 2);
    let lost = consumer.post("commit", json!({"claim": token, "upto": 3})).await;
    assert_eq!(lost.problem(409, "claim-lost")["position"], 2);
    let released = json!({"claim": other.json()["claim"], "release": true});
    assert_eq!(consumer.post("commit", released).await.status, 200);
    let again = consumer.post("claim", json!({"holder": "worker"})).await.json();
    assert_eq!((&again["attempt"], &again["to"]), (&json!(2), &json!(3)), "no attempt was counted");
}

#[tokio::test]
async fn later_events_of_a_topic_wait_for_one_that_failed() {
    let consumer = Consumer::over("abab", json!({})).await;
    let (_, token) = consumer.claim(3).await;
    let standing = consumer.commit(&token, 3, json!([{"seq": 1, "reason": "500"}, {"seq": 3}])).await;
    assert_eq!(standing, json!({"position": 3, "settled": 0, "lag": 1}));
    assert_eq!(consumer.failed().await, [json!([1, "parked", 1]), json!([3, "waiting", 0])]);
    publish(&consumer.0, "abc").await;
    assert_eq!(consumer.done(10).await, [4, 6, 7]);
    assert_eq!(consumer.failed().await.last(), Some(&json!([5, "waiting", 0])));
    assert_eq!(consumer.done(10).await, [0; 0], "none is due");

    consumer.make_due();
    let retry = consumer.post("claim", json!({"holder": "worker", "limit": 2})).await.json();
    assert_eq!((&retry["kind"], &retry["from"], &retry["to"]), (&json!("retry"), &json!(0), &json!(3)));
    assert_eq!((&retry["events"][0]["attempt"], &retry["events"][1]["attempt"]), (&json!(2), &json!(1)));
    let token = retry["claim"].as_str().unwrap();
    let again = json!([{"seq": 1, "reason": "502", "retry_in": 0}, {"seq": 3}]);
    assert_eq!(consumer.commit(token, 3, again).await["settled"], 0);
    assert_eq!(
        consumer.failed().await,
        [json!([1, "parked", 2]), json!([3, "waiting", 0]), json!([5, "waiting", 0])]
    );
    assert_eq!(consumer.done(2).await, [1, 3]);
    assert_eq!(consumer.failed().await, [json!([5, "parked", 0])], "the next of its topic");
    assert_eq!(consumer.done(9).await, [5]);
    let status = consumer.status().await;
    assert_eq!(
        (&status["parked"], &status["waiting"], &status["settled"]),
        (&json!(0), &json!(0), &json!(7))
    );
}

#[tokio::test]
async fn a_total_order_stands_still_and_no_order_goes_on() {
    for (order, expected) in [("total", vec![]), ("none", vec![3, 4]), ("topic", vec![4])] {
        let consumer = Consumer::over("abab", json!({"order": order})).await;
        let (_, token) = consumer.claim(2).await;
        consumer.commit(&token, 2, json!([{"seq": 1}])).await;
        assert_eq!(consumer.done(9).await, expected, "{order}");
        consumer.make_due();
        let mut rest = Vec::new();
        while let seqs = consumer.done(1).await
            && !seqs.is_empty()
        {
            rest.extend(seqs);
        }
        let expected: Vec<_> = [1, 3, 4].into_iter().filter(|seq| !expected.contains(seq)).collect();
        assert_eq!(rest, expected, "{order}");
    }
}

#[tokio::test]
async fn a_dead_event_is_stored_once_and_lets_the_others_pass() {
    let consumer = Consumer::over("aaab", json!({"attempts": 2})).await;
    let (_, token) = consumer.claim(9).await;
    consumer.commit(&token, 4, json!([{"seq": 1, "reason": "no", "retry_in": 0}, {"seq": 2}])).await;
    let (seqs, token) = consumer.claim(9).await;
    assert_eq!(seqs, [1, 2]);
    let failed = json!([{"seq": 1, "reason": "never"}, {"seq": 2}]);
    for _ in 0..2 {
        consumer.commit(&token, 2, failed.clone()).await;
    }
    assert_eq!(consumer.failed().await, [json!([1, "dead", 2]), json!([2, "parked", 0])]);
    let event = consumer.0.get("/events?topic=dead.c").await.json()[0].clone();
    let status = consumer.status().await;
    assert_eq!(event["event_id"], format!("{}-1", status["generation"]));
    let payload = &event["payload"];
    let named =
        ["consumer", "seq", "topic", "event_id", "reason", "attempts"].map(|name| payload[name].clone());
    assert_eq!(json!(named), json!(["c", 1, "a", "0", "never", 2]));
    assert!(payload["first_failed_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(consumer.done(9).await, [2]);
    assert_eq!(consumer.done(9).await, [0; 0], "what tells of its own failures is not given to it");
    let status = consumer.status().await;
    assert_eq!((&status["lag"], &status["behind_seconds"]), (&json!(0), &json!(0)), "and is no lag");

    assert_eq!(consumer.post("retry", json!({"seqs": [1, 99]})).await.json(), json!({"changed": 1}));
    let (seqs, token) = consumer.claim(9).await;
    assert_eq!(seqs, [1]);
    consumer.commit(&token, 1, json!([dead(1)])).await;
    let stats = consumer.0.get("/stats?topic=dead.c").await.json();
    assert_eq!(stats["by_topic"][0]["unique_processed"], 1, "{stats}");
    assert_eq!(consumer.post("drop", json!({"state": "dead"})).await.json(), json!({"changed": 1}));
    assert_eq!((consumer.failed().await, &consumer.status().await["dead"]), (vec![], &json!(0)));
}

#[tokio::test]
async fn a_seek_begins_a_new_life() {
    let consumer = Consumer::over("aaa", json!({"attempts": 1})).await;
    let (_, token) = consumer.claim(9).await;
    consumer.commit(&token, 2, json!([{"seq": 1}])).await;
    let before = consumer.status().await["generation"].as_i64().unwrap();
    let answer = consumer.post("seek", json!({"to": "start"})).await.json();
    assert!(answer["generation"].as_i64().unwrap() > before);
    assert_eq!((&answer["position"], &answer["dead"], &answer["claims"]), (&json!(0), &json!(0), &json!([])));
    consumer.post("commit", json!({"claim": token, "upto": 3})).await.problem(409, "claim-lost");
    let (seqs, token) = consumer.claim(9).await;
    assert_eq!(seqs, [1, 2, 3]);
    consumer.commit(&token, 3, json!([{"seq": 1}])).await;
    let stats = consumer.0.get("/stats?topic=dead.c").await.json();
    assert_eq!(stats["by_topic"][0]["unique_processed"], 2, "one in each life");
    for (to, position) in [(json!("now"), 5), (json!(2), 2), (json!("2"), 2), (json!("2020-01-01T00:00Z"), 0)]
    {
        assert_eq!(consumer.post("seek", json!({"to": to})).await.json()["position"], position, "{to}");
    }
    assert_eq!(consumer.post("seek", json!({"to": 99})).await.problem(409, "cursor-ahead")["last_seq"], 5);
}

#[tokio::test]
async fn workers_share_what_has_no_order() {
    let consumer = Consumer::over("aaaaaa", json!({"order": "none", "workers": 3})).await;
    let claim = async |holder: &str| consumer.post("claim", json!({"holder": holder, "limit": 2})).await;
    let (a, b, c) = join!(claim("a"), claim("b"), claim("c"));
    let mut all: Vec<_> = [&a, &b, &c].iter().flat_map(|answer| seqs(answer)).collect();
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 4, 5, 6]);
    claim("d").await.problem(409, "claimed");
    let second = [&a, &b, &c].into_iter().find(|answer| seqs(answer) == [3, 4]).unwrap().json();
    let standing = consumer.commit(second["claim"].as_str().unwrap(), 4, json!([])).await;
    assert_eq!(standing["position"], 0, "the first two are not done");
}

#[tokio::test]
async fn what_is_gone_is_told() {
    let consumer = Consumer::over("aaaa", json!({})).await;
    let service = &consumer.0;
    service.database().execute("update events set gone = 'erased' where seq = 2", []).unwrap();
    let answer = consumer.post("claim", json!({"holder": "worker"})).await.json();
    assert_eq!(answer["skipped"], json!({"expired": 0, "erased": 1}));
    let token = answer["claim"].as_str().unwrap();
    consumer.commit(token, 4, json!([{"seq": 1, "retry_in": 0}, {"seq": 3}, {"seq": 4}])).await;
    service.database().execute("update events set gone = 'erased' where seq = 1", []).unwrap();
    let answer = consumer.post("claim", json!({"holder": "worker"})).await.json();
    assert_eq!((&answer["skipped"]["erased"], &answer["events"][0]["seq"]), (&json!(1), &json!(3)));
    let status = consumer.status().await;
    assert_eq!((&status["parked"], &status["waiting"]), (&json!(1), &json!(1)));
    consumer.commit(answer["claim"].as_str().unwrap(), 4, json!([])).await;
    assert_eq!(consumer.status().await["settled"], 4);
}

#[tokio::test(start_paused = true)]
async fn a_claim_waits_for_events() {
    let consumer = Consumer::over("b", json!({"topics": ["a"]})).await;
    let start = tokio::time::Instant::now();
    let answer = consumer.post("claim", json!({"holder": "worker", "wait": 3})).await;
    assert_eq!((answer.status, start.elapsed().as_secs()), (204, 3));
    let waits = consumer.post("claim", json!({"holder": "worker", "wait": 20}));
    let publishes = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        publish(&consumer.0, "ba").await;
        tokio::time::Instant::now()
    };
    let (answer, published) = join!(waits, publishes);
    assert_eq!(seqs(&answer), [3]);
    assert!(published.elapsed() < Duration::from_millis(200), "{:?}", published.elapsed());
}

#[tokio::test]
async fn bad_input_is_refused_and_changes_nothing() {
    let consumer = Consumer::over("ab", json!({"topics": ["a"]})).await;
    for (body, field) in [
        (json!({"topics": [""]}), "a topic"),
        (json!({"workers": 2}), "order"),
        (json!({"workers": 17, "order": "none"}), "workers"),
        (json!({"lease": 0}), "lease"),
        (json!({"attempts": 1001}), "attempts"),
        (json!({"dead": "dead.*"}), "dead"),
        (json!({"dead": "stripe.paid"}), "dead"),
        (json!({"sources": vec!["x".repeat(255); 17]}), "bytes"),
        (json!({"order": "random"}), "random"),
        (json!({"topic": "a"}), "topic"),
        (json!({"from": "yesterday"}), "must be start"),
    ] {
        let problem = send(&consumer.0, "PUT", "/consumers/c", &body).await.problem(422, "invalid-field");
        assert!(problem["detail"].as_str().unwrap().contains(field), "{problem}");
    }
    let (_, token) = consumer.claim(9).await;
    for (step, body) in [
        ("claim", json!({})),
        ("claim", json!({"holder": ""})),
        ("claim", json!({"holder": "w", "limit": 0})),
        ("claim", json!({"holder": "w", "wait": 21})),
        ("claim", json!({"holder": "w", "lease": 3601})),
        ("commit", json!({"claim": token, "upto": 3})),
        ("commit", json!({"claim": token, "failed": [{"seq": 1}]})),
        ("commit", json!({"claim": token, "upto": 1, "failed": [{"seq": 2}]})),
        ("commit", json!({"claim": token, "upto": 2, "failed": [{"seq": 2}]})),
        ("commit", json!({"claim": token, "upto": 1, "failed": [{"seq": 1, "retry_in": 604_801}]})),
        ("seek", json!({})),
        ("retry", json!({})),
        ("drop", json!({"seqs": [1], "state": "dead"})),
    ] {
        consumer.post(step, body.clone()).await.problem(422, "invalid-field");
    }
    for (step, body) in [("claim", "["), ("commit", "{")] {
        let answer = consumer.0.send("POST", &format!("/consumers/c/{step}"), &[], body).await;
        answer.problem(400, "malformed-body");
    }
    for (method, path) in [
        ("GET", "/consumers/none"),
        ("GET", "/consumers/none/failed"),
        ("DELETE", "/consumers/none"),
        ("POST", "/consumers/none/claim"),
    ] {
        let answer = send(&consumer.0, method, path, &json!({"holder": "w"})).await;
        answer.problem(404, "unknown-consumer");
    }
    let named = send(&consumer.0, "PUT", "/consumers/a%20b", &json!({})).await;
    named.problem(422, "invalid-field");
    consumer.0.get("/consumers/c/failed?state=late").await.problem(400, "invalid-parameter");
    assert_eq!(consumer.claim(9).await, (vec![1], token), "the claim is as it was");
    assert_eq!(consumer.0.get("/consumers").await.json().as_array().unwrap().len(), 1);
    assert_eq!(consumer.0.send("DELETE", "/consumers/c", &[], "").await.status, 204);
    assert_eq!(consumer.0.get("/consumers").await.json(), json!([]));
}

#[tokio::test]
async fn another_specification_ends_claims_and_skips_nothing() {
    let consumer = Consumer::over("abab", json!({"topics": ["a"]})).await;
    let (seqs, token) = consumer.claim(9).await;
    assert_eq!(seqs, [1, 3]);
    consumer.commit(&token, 1, json!([{"seq": 1}])).await;
    let changed = send(&consumer.0, "PUT", "/consumers/c", &json!({"topics": [], "lease": 5})).await;
    assert_eq!((changed.status, &changed.json()["specification"]["lease"]), (200, &json!(5)));
    consumer.post("commit", json!({"claim": token, "upto": 3})).await.problem(409, "claim-lost");
    assert_eq!(consumer.done(9).await, [2, 4]);
    assert_eq!(consumer.failed().await, [json!([1, "parked", 1]), json!([3, "waiting", 0])]);
    let changed = send(&consumer.0, "PUT", "/consumers/c", &json!({"order": "none", "workers": 2})).await;
    assert_eq!(changed.status, 200);
    assert_eq!(consumer.done(9).await, [3]);
}

#[tokio::test]
async fn a_named_token_uses_its_consumers() {
    let tokens = json!({
        "shop": {"token": "s", "read": ["shop.*"], "consume": ["shop.*"]},
        "till": {"token": "t", "consume": ["shop.till"]},
    });
    let service = Service::with_variables(&[("tokens", tokens.to_string().as_str()), ("read_token", "r")]);
    let status = async |method: &str, path: &str, token: &str, body: Value| {
        let authorization = format!("Bearer {token}");
        service.send(method, path, &[("authorization", &authorization)], body.to_string()).await.status
    };
    let own = json!({"topics": ["shop.a"]});
    for (method, path, token, body, expected) in [
        ("PUT", "/consumers/shop.till", "t", own.clone(), 403),
        ("PUT", "/consumers/shop.till", "s", json!({}), 403),
        ("PUT", "/consumers/shop.till", "s", json!({"topics": ["a"]}), 403),
        ("PUT", "/consumers/shop.till", "s", own.clone(), 201),
        ("PUT", "/consumers/other", "s", own.clone(), 403),
        ("PUT", "/consumers/other", "r", json!({}), 201),
        ("GET", "/consumers/shop.till", "t", json!({}), 200),
        ("GET", "/consumers/other", "t", json!({}), 403),
        ("POST", "/consumers/shop.till/claim", "t", json!({"holder": "w"}), 204),
        ("POST", "/consumers/other/claim", "s", json!({"holder": "w"}), 403),
        ("GET", "/consumers", "x", json!({}), 401),
        ("DELETE", "/consumers/other", "r", json!({}), 204),
    ] {
        assert_eq!(status(method, path, token, body).await, expected, "{method} {path} {token}");
    }
    let listed = service.send("GET", "/consumers", &[("authorization", "Bearer t")], "").await.json();
    assert_eq!(listed[0]["name"], "shop.till");
}

#[tokio::test]
async fn what_is_left_of_a_claim_waits_for_what_failed_in_it() {
    let later = |seq: i64| json!([{"seq": seq, "retry_in": 3600}]);
    for (order, failed) in [("topic", "parked"), ("total", "parked")] {
        let consumer = Consumer::over("aaaa", json!({"order": order})).await;
        let (_, token) = consumer.claim(9).await;
        consumer.commit(&token, 2, later(2)).await;
        assert_eq!(consumer.claim(9).await.0, [0; 0], "{order}: 3 and 4 wait, whoever asks");
        consumer.run_out();
        assert_eq!(consumer.claim(9).await.0, [0; 0], "{order}");
        let expected = [json!([2, failed, 1]), json!([3, "waiting", 0]), json!([4, "waiting", 0])];
        assert_eq!(consumer.failed().await, expected, "{order}");

        consumer.make_due();
        let (seqs, token) = consumer.claim(9).await;
        assert_eq!(seqs, [2, 3, 4]);
        consumer.commit(&token, 2, later(2)).await;
        assert_eq!(consumer.claim(9).await.0, [0; 0], "{order}: of a claim on what failed, too");
        consumer.make_due();
        let (seqs, token) = consumer.claim(9).await;
        assert_eq!(seqs, [2, 3, 4]);
        consumer.commit(&token, 2, json!([dead(2)])).await;
        publish(&consumer.0, "a").await;
        let (rest, token) = consumer.claim(9).await;
        assert_eq!(rest, [3, 4], "{order}: a death lets the next ones pass, in their claim");
        consumer.commit(&token, 4, json!([{"seq": 3, "retry_in": 3600}, {"seq": 4}])).await;
        assert_eq!(consumer.done(9).await, [0; 0], "{order}: 5 is not before 3");
    }
}

#[tokio::test]
async fn nothing_that_people_do_meanwhile_breaks_the_order_or_skips() {
    let consumer = Consumer::over("aaaa", json!({"attempts": 0})).await;
    let (_, token) = consumer.claim(3).await;
    consumer.commit(&token, 3, json!([{"seq": 1, "retry_in": 0}, {"seq": 2}, {"seq": 3}])).await;
    let (seqs, token) = consumer.claim(2).await;
    assert_eq!(seqs, [1, 2]);
    assert_eq!(consumer.post("drop", json!({"seqs": [1]})).await.json(), json!({"changed": 1}));
    consumer.commit(&token, 2, json!([{"seq": 2, "retry_in": 3600}])).await;
    assert_eq!(consumer.done(9).await, [0; 0], "3 and 4 wait for 2");
    consumer.make_due();
    let (seqs, token) = consumer.claim(9).await;
    assert_eq!(seqs, [2, 3, 4]);
    let changed = send(&consumer.0, "PUT", "/consumers/c", &json!({"topics": ["a", "b"]})).await;
    assert_eq!(changed.status, 200);
    consumer.post("commit", json!({"claim": token, "upto": 4})).await.problem(409, "claim-lost");
    publish(&consumer.0, "ab").await;
    assert_eq!(consumer.done(9).await, [6]);
    assert_eq!(consumer.done(9).await, [2, 3, 4, 5], "what failed is still there, in its order");

    let (_, token) = consumer.claim(9).await;
    assert_eq!(token, "");
    publish(&consumer.0, "aaa").await;
    let (_, token) = consumer.claim(1).await;
    consumer.commit(&token, 7, json!([{"seq": 7, "retry_in": 3600}])).await;
    assert_eq!(consumer.done(9).await, [0; 0]);
    assert_eq!(consumer.post("drop", json!({"seqs": [8]})).await.json(), json!({"changed": 1}));
    consumer.make_due();
    assert_eq!(consumer.done(9).await, [7, 9], "what was dropped does not come again");
}

#[tokio::test]
async fn a_dead_event_that_is_tried_again_frees_none_behind_another() {
    let consumer = Consumer::over("aaa", json!({})).await;
    let (_, token) = consumer.claim(9).await;
    consumer.commit(&token, 3, json!([dead(1), {"seq": 2}, {"seq": 3}])).await;
    let (seqs, token) = consumer.claim(9).await;
    assert_eq!(seqs, [2, 3]);
    consumer.commit(&token, 3, json!([{"seq": 2, "retry_in": 3600}, {"seq": 3}])).await;
    assert_eq!(consumer.post("retry", json!({"seqs": [1]})).await.json(), json!({"changed": 1}));
    assert_eq!(consumer.done(9).await, [1]);
    assert_eq!(consumer.done(9).await, [0; 0], "3 waits for 2");
}

#[tokio::test]
async fn another_specification_lets_nothing_that_was_committed_come_again() {
    let consumer = Consumer::over("aaaaaa", json!({"order": "none", "workers": 2})).await;
    let claim = async |holder: &str| {
        let answer = consumer.post("claim", json!({"holder": holder, "limit": 3})).await;
        (seqs(&answer), answer.json()["claim"].as_str().unwrap().to_owned())
    };
    let (first, _) = claim("one").await;
    let (second, token) = claim("two").await;
    assert_eq!((first, second), (vec![1, 2, 3], vec![4, 5, 6]));
    consumer.commit(&token, 6, json!([{"seq": 4, "retry_in": 3600}, dead(5)])).await;
    let changed = send(&consumer.0, "PUT", "/consumers/c", &json!({"order": "total", "workers": 1})).await;
    assert_eq!(changed.json()["position"], 0);
    assert_eq!(consumer.done(9).await, [1, 2, 3]);
    assert_eq!(consumer.failed().await, [json!([4, "parked", 1]), json!([5, "dead", 1])]);
    consumer.make_due();
    assert_eq!(consumer.done(9).await, [4]);
    assert_eq!(consumer.done(9).await, [0; 0], "what tells of 5 is not given to it, and all else was done");
}

#[tokio::test]
async fn every_commit_may_be_repeated() {
    let consumer = Consumer::over("aaaa", json!({})).await;
    let (_, token) = consumer.claim(4).await;
    let commit = async |body: Value| consumer.post("commit", body).await.status;
    let progress = json!({"claim": token, "upto": 2, "failed": [{"seq": 1, "retry_in": 3600}]});
    let release = json!({"claim": token, "upto": 3, "release": true, "failed": [{"seq": 3}]});
    for body in [&progress, &progress, &release, &release, &progress] {
        assert_eq!(commit(body.clone()).await, 200, "{body}");
    }
    assert_eq!(commit(json!({"claim": token})).await, 409, "it has ended");
    assert_eq!(commit(json!({"claim": token, "upto": 4})).await, 409);
    assert_eq!(
        consumer.failed().await,
        [json!([1, "parked", 1]), json!([3, "waiting", 0])],
        "each was counted once"
    );
}

#[tokio::test]
async fn a_claim_of_which_nothing_is_left_to_give_out_again_is_lost() {
    let consumer = Consumer::over("aa", json!({})).await;
    let (_, first) = consumer.claim(9).await;
    consumer.commit(&first, 1, json!([{"seq": 1, "retry_in": 3600}])).await;
    consumer.run_out();
    assert_eq!(consumer.done(9).await, [0; 0], "the second waits for the first");
    consumer.post("commit", json!({"claim": first, "upto": 2})).await.problem(409, "claim-lost");
}

#[tokio::test]
async fn what_is_gone_is_told_also_where_nothing_is_left_to_give() {
    let consumer = Consumer::over("aaaaa", json!({})).await;
    let skipped = async |consumer: &Consumer| {
        let answer = consumer.post("claim", json!({"holder": "worker", "limit": 2})).await;
        (answer.json()["skipped"].clone(), seqs(&answer))
    };
    let expire = |service: &Service, through: i64| {
        let database = service.database();
        database.execute("update events set gone = 'expired' where seq <= ?1", [through]).unwrap();
        database.execute("update upkeep set expired_through = ?1", [through]).unwrap();
    };
    assert_eq!(consumer.claim(2).await.0, [1, 2]);
    consumer.run_out();
    expire(&consumer.0, 2);
    for _ in 0..2 {
        assert_eq!(skipped(&consumer).await, (json!({"expired": 2, "erased": 0}), vec![3, 4]), "again, too");
    }
    let (_, token) = consumer.claim(2).await;
    consumer.commit(&token, 4, json!([{"seq": 3, "retry_in": 0}])).await;
    consumer.0.database().execute("update events set gone = 'erased' where seq = 3", []).unwrap();
    assert_eq!(skipped(&consumer).await, (json!({"expired": 0, "erased": 1}), vec![5]));
}

#[tokio::test]
async fn no_more_claims_are_live_than_there_are_workers_after_a_change() {
    let consumer = Consumer::over("aaaa", json!({"order": "none", "workers": 2})).await;
    for holder in ["one", "two"] {
        assert_eq!(consumer.post("claim", json!({"holder": holder, "limit": 2})).await.status, 200);
    }
    let one = json!({"order": "topic", "workers": 1});
    assert_eq!(send(&consumer.0, "PUT", "/consumers/c", &one).await.status, 200);
    assert_eq!(seqs(&consumer.post("claim", json!({"holder": "one"})).await), [1, 2]);
    let other = consumer.post("claim", json!({"holder": "two"})).await;
    assert_eq!(other.status, 409, "{}", other.text);
}

#[tokio::test]
async fn two_who_change_different_fields_at_once_both_do() {
    let consumer = Consumer::over("a", json!({})).await;
    let (lease, attempts) = (json!({"lease": 7}), json!({"attempts": 3}));
    let put = |body| send(&consumer.0, "PUT", "/consumers/c", body);
    let (one, other) = join!(put(&lease), put(&attempts));
    assert_eq!((one.status, other.status), (200, 200));
    let specification = consumer.status().await["specification"].clone();
    assert_eq!((&specification["lease"], &specification["attempts"]), (&json!(7), &json!(3)));
}

#[tokio::test]
async fn consumers_of_everything_are_not_given_each_others_dead_events() {
    let consumer = Consumer::over("a", json!({"attempts": 1})).await;
    for (name, topics) in [("d", json!([])), ("e", json!(["dead.*"]))] {
        let body = json!({"topics": topics, "attempts": 1});
        assert_eq!(send(&consumer.0, "PUT", &format!("/consumers/{name}"), &body).await.status, 201);
    }
    let claim = async |name: &str| {
        let path = format!("/consumers/{name}/claim");
        let answer = send(&consumer.0, "POST", &path, &json!({"holder": "h"})).await;
        if answer.status == 204 { None } else { Some(answer.json()) }
    };
    let fail = async |name: &str, claim: &Value| {
        let seq = claim["events"][0]["seq"].clone();
        let body = json!({"claim": claim["claim"], "upto": seq, "failed": [{"seq": seq}]});
        assert_eq!(send(&consumer.0, "POST", &format!("/consumers/{name}/commit"), &body).await.status, 200);
    };
    fail("c", &claim("c").await.unwrap()).await;
    fail("d", &claim("d").await.unwrap()).await;
    for name in ["c", "d"] {
        assert_eq!(claim(name).await, None, "{name}");
    }
    let topics = claim("e").await.unwrap();
    let topics: Vec<_> = topics["events"].as_array().unwrap().iter().map(|event| &event["topic"]).collect();
    assert_eq!(topics, ["dead.c", "dead.d"]);
}

#[tokio::test]
async fn an_instance_remembers_what_it_alone_has_changed() {
    let consumer = Consumer::over("aaaaaa", json!({})).await;
    assert_eq!(consumer.done(1).await, [1]);
    assert_eq!(consumer.done(1).await, [2]);
    // Another host: everything is read anew, also what is refused and what is nothing.
    let change = |sql: &str| consumer.0.database().execute(sql, []).unwrap();
    change("update consumers set version = version + 1, state = json_set(state, '$.next', 4)");
    assert_eq!(consumer.done(1).await, [5]);
    let (seqs, token) = consumer.claim(1).await;
    assert_eq!(seqs, [6]);
    change("update consumers set version = version + 1, state = json_set(state, '$.claims', json_array())");
    let lost = consumer.post("commit", json!({"claim": token, "upto": 6})).await;
    assert_eq!(lost.status, 409, "{}", lost.text);
    change("update consumers set version = version + 1, state = json_set(state, '$.next', 5)");
    assert_eq!(consumer.done(1).await, [6], "nothing was there before");
    change("delete from consumers");
    assert_eq!(consumer.post("claim", json!({"holder": "worker"})).await.status, 404);
}
