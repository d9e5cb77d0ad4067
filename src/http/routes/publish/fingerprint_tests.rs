//! Everything that gives a publish its meaning, sent under one idempotency key: each request of a table as the first
//! one, and each as the second.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use sekali_harness::Answer;

use crate::testing::service::Service;

/// A body that JSON, NDJSON and binary mode take.
const EVENT: &[u8] = br#"{"specversion":"1.0","type":"t","source":"s","id":"i","topic":"t","event_id":"e"}"#;
/// A body that the structured mode of CloudEvents takes, too.
const CLOUD_EVENT: &[u8] = br#"{"specversion":"1.0","type":"t","source":"s","id":"i","topic":"t"}"#;
/// A body with a valid event and an invalid one.
const MIXED: &[u8] = br#"[{"topic":"t","event_id":"e"},{"topic":"t"}]"#;

type Header = (&'static str, &'static str);

/// A request to publish, but for its key.
struct Sent {
    query: &'static str,
    headers: Vec<Header>,
    body: Vec<u8>,
}

impl Sent {
    async fn to(&self, service: &Service, key: &'static str) -> Answer {
        let headers = [&self.headers[..], &[("idempotency-key", key)]].concat();
        self.with(service, &headers).await
    }

    async fn with(&self, service: &Service, headers: &[Header]) -> Answer {
        service.send("POST", &format!("/publish{}", self.query), headers, self.body.clone()).await
    }
}

impl std::fmt::Display for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {}", self.query, self.headers, String::from_utf8_lossy(&self.body))
    }
}

fn sent(query: &'static str, headers: &[Header], body: impl AsRef<[u8]>) -> Sent {
    Sent { query, headers: headers.to_vec(), body: body.as_ref().to_vec() }
}

/// A request in binary mode, with more headers.
fn binary(query: &'static str, more: &[Header]) -> Sent {
    let headers = [("ce-specversion", "1.0"), ("ce-type", "t"), ("ce-source", "/s"), ("ce-id", "1")];
    sent(query, &[&headers[..], more].concat(), EVENT)
}

/// A request in binary mode where one of the required headers has another value.
fn altered(name: &str, value: &'static str) -> Sent {
    let mut request = binary("", &[]);
    request.headers.iter_mut().filter(|header| header.0 == name).for_each(|header| header.1 = value);
    request
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Requests of which each row has a meaning of its own, in different spellings.
fn meanings() -> Vec<Vec<Sent>> {
    let event = |query, headers: &[Header]| sent(query, headers, EVENT);
    let typed = |content_type| sent("", &[("content-type", content_type)], EVENT);
    let data = |content_type| binary("", &[("content-type", content_type)]);
    let zipped = |headers: &[Header]| sent("", headers, gzip(EVENT));
    const JSON: Header = ("content-type", "application/json");
    const NDJSON: Header = ("content-type", "application/x-ndjson");
    const GZIP: Header = ("content-encoding", "gzip");
    const BYTES: Header = ("content-type", "application/octet-stream");
    vec![
        // Formats, as far as their names differ.
        vec![
            event("", &[]),
            event("?", &[]),
            event("?partial=false", &[]),
            event("?&p%61rtial=f%61lse&", &[]),
            typed("application/json"),
            typed("Application/JSON"),
            typed(" application/json ;charset=utf-8"),
            typed("application/json; charset=iso-8859-1"), // JSON is UTF-8: the parameter has no meaning
            event("", &[JSON, ("content-type", "text/plain")]), // the first counts
            event("", &[("content-encoding", "identity")]),
            event("", &[("content-encoding", "")]),
            event("", &[("prefer", "respond-async, wait=10")]),
            event("", &[("prefer", "return=everything"), ("prefer", "return")]),
            event("", &[("expect", "100-continue"), ("authorization", "Bearer x"), ("accept", "text/html")]),
            event("", &[("x-ce-id", "1"), ("traceparent", "00-1-1-01"), ("cookie", "a=b"), ("ce", "1")]),
        ],
        vec![typed("application/x-ndjson"), typed("APPLICATION/X-NDJSON;charset=utf-8")],
        vec![typed("application/jsonl")],
        vec![typed("application/cloudevents+json")],
        vec![sent("", &[("content-type", "application/cloudevents+json")], CLOUD_EVENT)],
        vec![sent("", &[("content-type", "application/cloudevents-batch+json")], CLOUD_EVENT)],
        vec![sent("", &[], CLOUD_EVENT)],
        vec![sent("?partial=true", &[], CLOUD_EVENT)],
        vec![sent("?partial=true", &[NDJSON], CLOUD_EVENT)],
        vec![sent("?partial=true", &[("content-type", "application/cloudevents+json")], CLOUD_EVENT)],
        vec![typed("text/plain")],
        vec![typed("")],
        // Parameters.
        vec![event("?partial=true", &[]), event("?&partial=%74rue", &[JSON])],
        vec![event("?partial=true&partial=true", &[])],
        vec![event("?partial=True", &[])],
        vec![event("?x=1", &[])],
        vec![sent("", &[], MIXED)],
        vec![sent("?partial=true", &[], MIXED)],
        // Preferences.
        vec![
            event("", &[("prefer", "return=minimal")]),
            event("", &[("prefer", "RETURN = \"minimal\" ; foo=\"bar\"")]),
            event("", &[("prefer", "respond-async, return=minimal, return=representation")]),
            event("", &[("prefer", "handling=lenient"), ("prefer", "return=minimal")]),
            event("", &[("prefer", "return=other"), ("prefer", "return=minimal")]),
        ],
        vec![
            event("", &[("prefer", "return=representation")]),
            event("", &[("prefer", "return=representation, return=minimal")]),
            event("", &[("prefer", "return=representation"), ("prefer", "return=minimal")]),
        ],
        vec![event("?partial=true", &[("prefer", "return=minimal")])],
        vec![binary("", &[("prefer", "return=minimal")])],
        // Encodings.
        vec![
            zipped(&[GZIP]),
            zipped(&[JSON, ("content-encoding", "identity, GZIP")]),
            zipped(&[("content-encoding", "identity"), GZIP]),
        ],
        vec![zipped(&[NDJSON, GZIP])],
        vec![zipped(&[])],
        vec![zipped(&[GZIP, GZIP])],
        vec![zipped(&[("content-encoding", "deflate")])],
        vec![event("", &[GZIP])],
        vec![Sent { body: gzip(EVENT), ..binary("", &[BYTES]) }],
        vec![Sent { body: gzip(EVENT), ..binary("", &[BYTES, GZIP]) }],
        // Bodies.
        vec![sent("", &[], [EVENT, b"\n"].concat())],
        vec![sent("", &[], br#"{"topic":"t","event_id":"e"}"#)],
        vec![sent("", &[], br#"{"event_id":"e","topic":"t"}"#)],
        vec![sent("", &[], br#"{"topic":"t","event_id":"e","payload":1}"#)],
        vec![sent("", &[], "[]")],
        vec![sent("", &[NDJSON], "")],
        vec![sent("", &[], "")],
        // Attributes of binary mode, and headers that would be some with ce-specversion.
        vec![event("", &[("ce-id", "1")])],
        vec![event("", &[("ce-id", "2")])],
        vec![
            binary("", &[]),
            Sent { headers: binary("", &[]).headers.into_iter().rev().collect(), ..binary("", &[]) },
            binary("?partial=false", &[("x-id", "1"), ("content-encoding", "identity")]),
        ],
        vec![binary("?partial=true", &[])],
        vec![Sent { body: vec![], ..binary("", &[]) }],
        vec![Sent { body: b"{}".to_vec(), ..binary("", &[]) }],
        vec![altered("ce-specversion", "0.3")],
        vec![altered("ce-type", "u")],
        vec![altered("ce-source", "/s2")],
        vec![altered("ce-id", "2")],
        vec![altered("ce-id", "")],
        vec![altered("ce-id", "a b")],
        vec![altered("ce-id", "a%20b")],
        vec![altered("ce-id", "\u{e9}")],
        vec![binary("", &[("ce-id", "1")])],
        vec![binary("", &[("ce-id", "2")])],
        vec![binary("", &[("ce-time", "2026-11-21T01:00:00Z")])],
        vec![binary("", &[("ce-time", "2026-11-21T01:00:01Z")])],
        vec![binary("", &[("ce-subject", "s")])],
        vec![binary("", &[("ce-subject", "S")])],
        vec![binary("", &[("ce-subject", "")])],
        vec![binary("", &[("ce-dataschema", "s")])],
        vec![binary("", &[("ce-x", "")])],
        vec![binary("", &[("ce-x", "1")])],
        vec![binary("", &[("ce-x", "2")])],
        vec![binary("", &[("ce-y", "1")])],
        vec![binary("", &[("ce-x", "1"), ("ce-y", "2")]), binary("", &[("ce-y", "2"), ("ce-x", "1")])],
        vec![binary("", &[("ce-x", "2"), ("ce-y", "1")])],
        vec![binary("", &[("ce-x", "1"), ("ce-x", "1")])],
        vec![binary("", &[("ce-x", "1"), ("ce-x", "2")])],
        vec![binary("", &[("ce-x", "1, 2")])],
        vec![binary("", &[("ce-traceparent", "00-1-1-01")])],
        vec![binary("", &[("ce-partial", "true")])],
        vec![binary("", &[("ce-data", "1")])],
        // The media type of binary mode, which is kept as it is.
        vec![data("application/json"), binary("", &[JSON, ("content-type", "text/plain")])],
        vec![binary("", &[("content-type", "text/plain"), JSON])],
        vec![data("Application/JSON")],
        vec![data("application/json; charset=utf-8")],
        vec![data("application/json;charset=utf-8")],
        vec![data("application/x-ndjson")],
        vec![data("application/cloudevents+json")],
        vec![data("text/csv")],
        vec![data("application/octet-stream")],
        vec![data("")],
        vec![data("?")],
        vec![data("text/\u{e9}")],
        vec![data("text/\u{e8}")],
        vec![binary("?partial=true", &[("content-type", "")])],
        vec![binary("", &[("ce-datacontenttype", "text/csv")])],
        vec![binary("", &[("ce-datacontenttype", "")])],
        vec![binary("", &[JSON, ("ce-datacontenttype", "text/csv")])],
    ]
}

#[tokio::test]
async fn a_request_is_answered_by_the_answer_of_another_only_if_both_mean_the_same() {
    let (meanings, service) = (meanings(), Service::start());
    let mut without_key = Vec::new();
    for meaning in &meanings {
        without_key.push(meaning[0].with(&service, &meaning[0].headers).await);
    }
    let is_saved = |row: usize| without_key[row].status < 300;
    assert!((0..meanings.len()).filter(|row| is_saved(*row)).count() > 50, "most of them are valid");
    for (first, meaning) in meanings.iter().enumerate().filter(|(row, _)| is_saved(*row)) {
        let service = Service::start();
        let answer = meaning[0].to(&service, "k").await;
        assert_eq!((answer.status, answer.header("idempotent-replayed")), (without_key[first].status, None));
        let stored = service.get("/events").await.text;
        for (second, other) in meanings.iter().enumerate().filter(|(row, _)| *row != first) {
            let again = other[0].to(&service, "k").await;
            let pair = format!("{}\nand then {}: {}", meaning[0], other[0], again.text);
            assert_eq!(again.header("idempotent-replayed"), None, "{pair}");
            if is_saved(second) || again.text != without_key[second].text {
                again.problem(422, "idempotency-key-mismatch");
            }
        }
        for other in meaning {
            let again = other.to(&service, "k").await;
            let pair = format!("{}\nand then {other}: {}", meaning[0], again.text);
            assert_eq!(again.header("idempotent-replayed"), Some("true"), "{pair}");
            assert_eq!((again.status, &again.text), (answer.status, &answer.text), "{pair}");
            assert_eq!(again.header("preference-applied"), answer.header("preference-applied"), "{pair}");
        }
        assert_eq!(service.get("/events").await.text, stored, "one of them was carried out");
        // Without a key, all spellings are one duplicate after the other.
        let duplicate = meaning[0].with(&service, &meaning[0].headers).await;
        for other in &meaning[1..] {
            let again = other.with(&service, &other.headers).await;
            assert_eq!((again.status, &again.text), (duplicate.status, &duplicate.text), "{other}");
        }
    }
}

#[tokio::test]
async fn a_saved_answer_is_for_those_who_may_publish() {
    let mut service = Service::with_variables(&[("publish_token", "write"), ("read_token", "read")]);
    let send = async |service: &Service, headers: &[Header]| {
        let headers = [&[("idempotency-key", "k")], headers].concat();
        service.send("POST", "http://localhost:3000/publish", &headers, EVENT).await
    };
    let write = [("authorization", "Bearer write")];
    let first = send(&service, &write).await;
    assert_eq!(first.status, 200);
    send(&service, &[]).await.problem(401, "unauthorized");
    send(&service, &[("authorization", "Bearer writ")]).await.problem(401, "unauthorized");
    send(&service, &[("authorization", "Bearer read")]).await.problem(403, "forbidden");
    let foreign = [("origin", "https://evil.example")];
    send(&service, &foreign).await.problem(403, "foreign-origin");
    assert_eq!(send(&service, &write).await.header("idempotent-replayed"), Some("true"));
    service.app.access.publish_token = "other".into();
    send(&service, &write).await.problem(401, "unauthorized");
    let again = send(&service, &[("authorization", "Bearer other")]).await;
    assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &first.text));
}

#[tokio::test]
async fn keys_are_compared_as_they_are_but_for_quotes_and_white_space_around_them() {
    let service = Service::start();
    let send = async |keys: &[&'static str]| {
        let headers: Vec<_> = keys.iter().map(|key| ("idempotency-key", *key)).collect();
        service.send("POST", "/publish", &headers, EVENT).await
    };
    for key in ["k", "K", "k k", "k  k", "\" k\"", "\"k", "k;a=b", "k, k", "/k", "answer/k"] {
        let (first, again) = (send(&[key]).await, send(&[key]).await);
        assert_eq!((first.status, first.header("idempotent-replayed")), (200, None), "{key}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{key}");
    }
    for key in ["\"k\"", " k ", " \"k\" "] {
        assert_eq!(send(&[key]).await.header("idempotent-replayed"), Some("true"), "{key}");
    }
    for keys in [&["k", "k"][..], &["k", "other"], &["\u{e9}"], &[""], &["\"\""]] {
        send(keys).await.problem(400, "invalid-header");
    }
}
