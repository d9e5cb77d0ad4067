//! Receivers of webhooks, prefix topics and named tokens, as a provider and a reader see them.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use hmac::{Hmac, KeyInit, Mac};
use sekali_harness::deployment::Setup;
use sekali_harness::{Answer, Server};
use serde_json::{Value, json};
use sha2::Sha256;

const SECRET: &str = "It's a Secret to Everybody";

/// A receiver of GitHub's, and one of many events.
fn hooks() -> String {
    json!({
        "code": {"kind": "github", "secrets": ["an older one", SECRET]},
        "mail": {"kind": "custom", "secrets": [SECRET], "signature": {"header": "x-signature"}, "each": "", "event_id": "{json:/id}",
            "type": "{json:/event}", "volatile": ["/attempt"]},
    })
    .to_string()
}

fn signature(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Delivers a body as GitHub does, signed as another one if that is given.
fn deliver(server: &Server, id: &str, kind: &str, body: &[u8], signed: Option<&[u8]>) -> Answer {
    let signature = format!("sha256={}", signature(signed.unwrap_or(body)));
    let headers = [
        ("x-hub-signature-256", signature.as_str()),
        ("x-github-delivery", id),
        ("x-github-event", kind),
        ("content-type", "application/json"),
    ];
    server.send("POST", "/hooks/code", &headers, body)
}

#[test]
fn a_signed_delivery_is_stored_once_and_another_one_leaves_no_trace() {
    let server = Server::with_variables(&[("hooks", &hooks())]);
    let body = br#"{"repository":{"full_name":"a/b"},"n":1.50}"#;
    let answer = deliver(&server, "d-1", "push", body, None);
    assert_eq!((answer.status, &answer.json()["stored"]), (200, &json!(1)), "{}", answer.text);
    let again = deliver(&server, "d-1", "push", body, None).json();
    assert_eq!((&again["duplicates"], &again["conflicts"]), (&json!(1), &json!(0)));
    for (body, signed) in [(&body[1..], &body[..]), (&body[..], b""), (b"{}", b"{} ")] {
        let refused = deliver(&server, "d-2", "push", body, Some(signed));
        refused.problem(401, "invalid-signature");
    }
    let unsigned = server.send("POST", "/hooks/code", &[], body).problem(401, "invalid-signature");
    assert!(unsigned["detail"].as_str().unwrap().ends_with(": the header x-hub-signature-256"), "{unsigned}");
    server.send("POST", "/hooks/none", &[], body).problem(404, "unknown-hook");
    let events = server.events();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0]["topic"], &events[0]["event_id"], &events[0]["source"]),
        (&json!("code.push"), &json!("d-1"), &json!("a/b"))
    );
    let stored = server.get("/events/code.push/d-1");
    assert!(
        stored.text.contains(r#""n":1.50}"#) && stored.text.contains(r#""deliveries":2"#),
        "{}",
        stored.text
    );
    assert_eq!(server.stats()["received"], 2, "what is refused is not received");
    server.assert_books_balance();
}

#[test]
fn what_is_signed_is_stored_whatever_its_shape() {
    let server = Server::with_variables(&[("hooks", &hooks())]);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(br#"{"zipped":true}"#).unwrap();
    let gzip = encoder.finish().unwrap();
    let deep = [b"[".repeat(300), b"]".repeat(300)].concat();
    for (n, (body, expected)) in [
        (&b"{\"a\":1}\r\n"[..], json!({"a": 1})),
        (b"", json!({})),
        (b"plain", json!("plain")),
        (br#"{"half":"\ud800"}"#, json!(r#"{"half":"\ud800"}"#)),
        (&deep, json!(String::from_utf8_lossy(&deep))),
        (b"\xff\x00", json!("/wA=")),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = deliver(&server, &n.to_string(), "odd", body, None);
        assert_eq!((answer.status, &answer.json()["stored"]), (200, &json!(1)), "{}", answer.text);
        assert_eq!(server.get(&format!("/events/code.odd/{n}")).json()["payload"], expected);
    }
    let signature = format!("sha256={}", signature(&gzip));
    let headers = [
        ("x-hub-signature-256", signature.as_str()),
        ("x-github-delivery", "gzip"),
        ("x-github-event", "odd"),
        ("content-encoding", "gzip"),
    ];
    assert_eq!(server.send("POST", "/hooks/code", &headers, &gzip).status, 200);
    assert_eq!(server.get("/events/code.odd/gzip").json()["payload"], json!({"zipped": true}));
    server.assert_books_balance();
}

/// Delivers several events in one body.
fn deliver_mail(server: &Server, events: &Value) -> Answer {
    let body = events.to_string();
    server.send("POST", "/hooks/mail", &[("x-signature", &signature(body.as_bytes()))], body.as_bytes())
}

#[test]
fn a_delivery_of_many_events_is_one_batch_and_a_list_tells_what_was_missed() {
    let server = Server::with_variables(&[("hooks", &hooks())]);
    let event = |id: u32, attempt: u32| json!({"id": id, "event": "sent", "attempt": attempt});
    deliver_mail(&server, &json!([event(1, 0), {"event": "sent"}, event(2, 0)]))
        .problem(422, "invalid-event");
    assert_eq!(server.stats()["received"], 0, "one without an id, and nothing is stored");
    assert_eq!(deliver_mail(&server, &json!([event(1, 0), event(2, 0)])).json()["stored"], 2);
    let again = deliver_mail(&server, &json!([event(1, 1), event(2, 1)])).json();
    assert_eq!((&again["duplicates"], &again["conflicts"]), (&json!(2), &json!(0)), "but for the attempt");
    let list = json!({"data": [event(1, 9), event(2, 9), event(3, 9)]}).to_string();
    let filled = server.send("POST", "/hooks/mail/backfill?each=/data", &[], list.as_bytes()).json();
    assert_eq!(
        (&filled["stored"], &filled["duplicates"], &filled["conflicts"]),
        (&json!(1), &json!(2), &json!(0))
    );
    assert_eq!(server.get("/events/mail.sent/3").status, 200);
    server.assert_books_balance();
}

#[test]
fn a_topic_that_ends_in_a_star_means_all_with_its_prefix() {
    let server = Server::with_variables(&[("admin_token", "boss")]);
    let topics = ["a.b", "a.c", "a", "ab", "a.b.c", "b"];
    let events: Vec<_> = topics.iter().map(|topic| json!({"topic": topic, "event_id": "1"})).collect();
    server.publish(&json!(events));
    server.publish(&json!({"topic": "a.*", "event_id": "1"})).problem(422, "invalid-event");
    let read = |query: &str| -> Vec<Value> {
        let events = server.get(&format!("/events?{query}")).json();
        events.as_array().unwrap().iter().map(|event| event["topic"].clone()).collect()
    };
    assert_eq!(read("topic=a.*"), ["a.b", "a.c", "a.b.c"]);
    assert_eq!(read("topic=a.*&topic=b&topic=a.b"), ["a.b", "a.c", "a.b.c", "b"]);
    assert_eq!(read("topic=a.*&order=desc&limit=2"), ["a.b.c", "a.c"]);
    assert_eq!(read("topic=c.*"), [""; 0]);
    assert_eq!(server.get("/stats?topic=a.*").json()["topics"], json!(["a.b", "a.b.c", "a.c"]));
    let erased = server.send("DELETE", "/events?topic=a.b.*", &[("authorization", "Bearer boss")], b"");
    assert_eq!(erased.json()["erased"], 1);
    assert_eq!(read("topic=a.*"), ["a.b", "a.c"]);
    server.assert_books_balance();
}

#[test]
fn a_named_token_is_for_its_topics_alone() {
    let tokens = json!({
        "shop": {"token": "s", "publish": ["shop.*"], "read": ["shop.*", "till"]},
        "till": {"token": "t", "publish": ["*"]},
    });
    let tokens = tokens.to_string();
    let server = Server::with_variables(&[("tokens", &tokens), ("read_token", "all")]);
    let publish = |token: &str, topic: &str| {
        let body = json!({"topic": topic, "event_id": "1"}).to_string();
        let headers = [("content-type", "application/json"), ("authorization", token)];
        server.send("POST", "/publish", &headers, body.as_bytes())
    };
    assert_eq!(publish("Bearer s", "shop.a").status, 200);
    let refused = publish("Bearer s", "till").problem(403, "forbidden-topic");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("token shop is not for topic till"), "{detail}");
    publish("Bearer all", "shop.a").problem(403, "forbidden");
    publish("", "shop.a").problem(401, "unauthorized");
    let with_key = |token: &str| {
        let headers =
            [("content-type", "application/json"), ("authorization", token), ("idempotency-key", "order-1")];
        let body = json!({"topic": "shop.b", "event_id": token}).to_string();
        server.send("POST", "/publish", &headers, body.as_bytes()).status
    };
    assert_eq!(["Bearer s", "Bearer t", "Bearer s"].map(with_key), [200; 3], "each has its own keys");
    let read = |token: &str, path: &str| server.send("GET", path, &[("authorization", token)], b"");
    for path in
        ["/events?topic=shop.*", "/events?topic=shop.a&topic=till", "/stats?topic=shop.*", "/events/shop.a/1"]
    {
        assert_eq!(read("Bearer s", path).status, 200, "{path}");
    }
    for path in ["/events", "/events?topic=other", "/events/other/1", "/stats", "/metrics", "/hooks"] {
        read("Bearer s", path).problem(403, "forbidden-topic");
        assert_ne!(read("Bearer all", path).status, 403, "{path}");
    }
}

#[test]
fn an_invalid_receiver_or_token_is_named_and_nothing_is_served() {
    let invalid = [
        ("hooks", r#"{"pay":{"kind":"stripe","secrets":["s3cret"],"topic":"{jsn}"}}"#),
        ("tokens", r#"{"shop":{"token":"s3cret"}}"#),
    ];
    let mut setup = Setup::from_environment().unwrap();
    setup.variables.extend(invalid.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let error = match setup.host.is_spin() {
        true => Server::of(setup).get("/readyz").problem(503, "not-ready")["detail"].to_string(),
        false => format!("{:#}", setup.start().err().unwrap()),
    };
    for expected in ["receiver pay: field topic at column 2", "shop", "is for nothing"] {
        assert!(error.contains(expected) && !error.contains("s3cret"), "{error}");
    }
}
