//! Both encodings of any request make the same events. Protobuf comes from prost, by the messages as opentelemetry-proto
//! declares them.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fastrand::Rng;
use prost::Message as _;
use serde_json::{Value as Json, json};

use super::super::collect::UnknownFields;
use super::*;
use crate::event::NewEvent;
use crate::limits::Limits;

#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_logs: Vec<ScopeLogs>,
    #[prost(string, tag = "3")]
    schema_url: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "2")]
    dropped_attributes_count: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    log_records: Vec<LogRecord>,
    #[prost(string, tag = "3")]
    schema_url: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(message, repeated, tag = "3")]
    attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "4")]
    dropped_attributes_count: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LogRecord {
    #[prost(fixed64, tag = "1")]
    time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    severity_number: i32,
    #[prost(string, tag = "3")]
    severity_text: String,
    #[prost(message, optional, tag = "5")]
    body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "7")]
    dropped_attributes_count: u32,
    #[prost(fixed32, tag = "8")]
    flags: u32,
    #[prost(bytes, tag = "9")]
    trace_id: Vec<u8>,
    #[prost(bytes, tag = "10")]
    span_id: Vec<u8>,
    #[prost(fixed64, tag = "11")]
    observed_time_unix_nano: u64,
    #[prost(string, tag = "12")]
    event_name: String,
    /// A field that later versions may have.
    #[prost(string, tag = "99")]
    unknown: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4, 5, 6, 7")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    #[prost(message, tag = "6")]
    Map(KeyValueList),
    #[prost(bytes, tag = "7")]
    Bytes(Vec<u8>),
}

#[derive(Clone, PartialEq, prost::Message)]
struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    values: Vec<KeyValue>,
}

/// Makes messages, and writes them as JSON in one of the ways in which others do.
struct Maker(Rng);

impl Maker {
    fn request(&mut self) -> Request {
        let resource_logs = (0..self.0.usize(1..3)).map(|_| ResourceLogs {
            resource: self.0.bool().then(|| Resource {
                attributes: self.attributes(2),
                dropped_attributes_count: self.0.u32(..2),
            }),
            scope_logs: (0..self.0.usize(..3)).map(|_| self.scope_logs()).collect(),
            schema_url: self.text(),
        });
        Request { resource_logs: resource_logs.collect() }
    }

    fn scope_logs(&mut self) -> ScopeLogs {
        ScopeLogs {
            scope: self.0.bool().then(|| Scope {
                name: self.text(),
                version: self.text(),
                attributes: self.attributes(2),
                dropped_attributes_count: self.0.u32(..2),
            }),
            log_records: (0..self.0.usize(..4)).map(|_| self.record()).collect(),
            schema_url: self.text(),
        }
    }

    fn record(&mut self) -> LogRecord {
        LogRecord {
            time_unix_nano: self.nanos(),
            severity_number: self.0.i32(-1..25),
            severity_text: self.text(),
            body: self.0.bool().then(|| self.any(3)),
            attributes: self.attributes(2),
            dropped_attributes_count: self.0.u32(..2),
            flags: [0, self.0.u32(..)][self.0.usize(..2)],
            trace_id: self.bytes(),
            span_id: self.bytes(),
            observed_time_unix_nano: self.nanos(),
            event_name: self.text(),
            unknown: self.text(),
        }
    }

    fn nanos(&mut self) -> u64 {
        [0, 1_764_417_600_123_456_789, self.0.u64(..)][self.0.usize(..3)]
    }

    fn text(&mut self) -> String {
        ["", "0", "checkout", "log.record.uid", "a \"quoted\" \u{e9}\n\u{1f600}"][self.0.usize(..5)].into()
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.0.usize(..17)).map(|_| self.0.u8(..)).collect()
    }

    fn attributes(&mut self, depth: usize) -> Vec<KeyValue> {
        let count = self.0.usize(..3);
        let attribute = |_| KeyValue { key: self.text(), value: self.0.bool().then(|| self.any(depth)) };
        (0..count).map(attribute).collect()
    }

    fn any(&mut self, depth: usize) -> AnyValue {
        let doubles = [0.0, -0.0, 1.0, 1.5, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let value = match self.0.u8(..if depth > 0 { 8 } else { 6 }) {
            0 => None,
            1 => Some(Any::String(self.text())),
            2 => Some(Any::Bool(self.0.bool())),
            3 => Some(Any::Int([0, -1, self.0.i64(..)][self.0.usize(..3)])),
            4 => Some(Any::Double(doubles[self.0.usize(..doubles.len())])),
            5 => Some(Any::Bytes(self.bytes())),
            6 => {
                let values = (0..self.0.usize(..3)).map(|_| self.any(depth - 1)).collect();
                Some(Any::Array(ArrayValue { values }))
            }
            _ => Some(Any::Map(KeyValueList { values: self.attributes(depth - 1) })),
        };
        AnyValue { value }
    }

    fn json(&mut self, request: &Request) -> Json {
        let resource_logs = request.resource_logs.iter().map(|logs| {
            let resource = logs.resource.as_ref().map(|resource| {
                json!({
                    "attributes": self.json_attributes(&resource.attributes),
                    "droppedAttributesCount": resource.dropped_attributes_count,
                })
            });
            let scope_logs: Vec<_> = logs.scope_logs.iter().map(|logs| self.json_scope_logs(logs)).collect();
            json!({"resource": resource, "scopeLogs": scope_logs, "schemaUrl": logs.schema_url, "later": [1]})
        });
        json!({"resourceLogs": resource_logs.collect::<Vec<_>>(), "later": {"a": 1}})
    }

    fn json_scope_logs(&mut self, logs: &ScopeLogs) -> Json {
        let scope = logs.scope.as_ref().map(|scope| {
            json!({
                "name": scope.name,
                "version": scope.version,
                "attributes": self.json_attributes(&scope.attributes),
                "droppedAttributesCount": scope.dropped_attributes_count,
            })
        });
        let records: Vec<_> = logs.log_records.iter().map(|record| self.json_record(record)).collect();
        json!({"scope": scope, "logRecords": records, "schemaUrl": logs.schema_url})
    }

    fn json_record(&mut self, record: &LogRecord) -> Json {
        let mut json = json!({
            "timeUnixNano": self.number(&record.time_unix_nano),
            "severityNumber": record.severity_number,
            "severityText": record.severity_text,
            "body": record.body.as_ref().map(|body| self.json_any(body)),
            "attributes": self.json_attributes(&record.attributes),
            "droppedAttributesCount": record.dropped_attributes_count,
            "flags": record.flags,
            "traceId": self.digits(&record.trace_id),
            "spanId": self.digits(&record.span_id),
            "observedTimeUnixNano": self.number(&record.observed_time_unix_nano),
            "eventName": record.event_name,
            "later": {"nested": [null]},
        });
        // Many leave out what is not there.
        if self.0.bool() {
            let members = json.as_object_mut().unwrap();
            members.retain(|_, value| ![json!(null), json!(""), json!(0), json!([])].contains(value));
        }
        json
    }

    fn json_attributes(&mut self, attributes: &[KeyValue]) -> Json {
        let attribute = |attribute: &KeyValue| json!({"key": attribute.key, "value": attribute.value.as_ref().map(|value| self.json_any(value))});
        attributes.iter().map(attribute).collect()
    }

    fn json_any(&mut self, any: &AnyValue) -> Json {
        match &any.value {
            None => json!({}),
            Some(Any::String(text)) => json!({"stringValue": text}),
            Some(Any::Bool(truth)) => json!({"boolValue": truth}),
            Some(Any::Int(number)) => json!({"intValue": self.number(number)}),
            Some(Any::Double(number)) if number.is_finite() => json!({"doubleValue": number}),
            Some(Any::Double(number)) if number.is_nan() => json!({"doubleValue": "NaN"}),
            Some(Any::Double(number)) => {
                json!({"doubleValue": if *number > 0.0 { "Infinity" } else { "-Infinity" }})
            }
            Some(Any::Array(array)) => {
                json!({"arrayValue": {"values": array.values.iter().map(|value| self.json_any(value)).collect::<Vec<_>>()}})
            }
            Some(Any::Map(map)) => json!({"kvlistValue": {"values": self.json_attributes(&map.values)}}),
            Some(Any::Bytes(bytes)) => json!({"bytesValue": BASE64_STANDARD.encode(bytes)}),
        }
    }

    /// A 64-bit number as a number or as a text.
    fn number<N: Copy + Into<Json> + ToString>(&mut self, number: &N) -> Json {
        if self.0.bool() { (*number).into() } else { number.to_string().into() }
    }

    fn digits(&mut self, bytes: &[u8]) -> String {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.0.bool() { digits.to_uppercase() } else { digits }
    }
}

fn context() -> Context {
    let limits = Limits {
        max_body_bytes: 1 << 20,
        max_otlp_bytes: 1 << 20,
        max_batch_events: usize::MAX,
        max_event_bytes: 10_000,
    };
    Context { limits, partial: true, unknown_fields: UnknownFields::Ignored }
}

#[track_caller]
fn read(encoding: Encoding, body: &[u8]) -> Ingested {
    let ingested = logs(encoding, body, &context()).unwrap();
    assert!(ingested.rejected.listed.is_empty(), "{:?}", ingested.rejected);
    ingested
}

/// The events of a request with these records of one service.
#[track_caller]
fn of_records(records: &Json) -> Vec<NewEvent> {
    let service = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]});
    let request = json!({"resourceLogs": [{"resource": service, "scopeLogs": [{"logRecords": records}]}]});
    read(Encoding::Json, request.to_string().as_bytes()).events
}

#[test]
fn both_encodings_of_any_request_make_the_same_events() {
    let mut maker = Maker(Rng::with_seed(30));
    let mut seen = 0;
    for _ in 0..2_000 {
        let request = maker.request();
        let json = maker.json(&request).to_string();
        let of_protobuf = read(Encoding::Protobuf, &request.encode_to_vec()).events;
        assert_eq!(of_protobuf, read(Encoding::Json, json.as_bytes()).events, "{json}");
        seen += of_protobuf.len();
    }
    assert!(seen > 3_000, "{seen}");
}

#[test]
fn a_record_is_stored_with_its_resource_and_scope() {
    // The example of opentelemetry-proto, examples/logs.json, shortened.
    let request = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},
        "scopeLogs":[{"scope":{"name":"my.library","version":"1.0.0"},"schemaUrl":"https://s","logRecords":[{
        "timeUnixNano":"1544712660300000000","observedTimeUnixNano":"1544712660300000001","severityNumber":10,
        "severityText":"Information","traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174",
        "body":{"stringValue":"Example log record"},"attributes":[
        {"key":"int.attribute","value":{"intValue":10}},{"key":"map.attribute","value":{"kvlistValue":{"values":[
        {"key":"some.map.key","value":{"stringValue":"some value"}}]}}}]}]}]}]}"#;
    let [event] = &read(Encoding::Json, request.as_bytes()).events[..] else { panic!() };
    assert_eq!(
        (event.topic.as_str(), event.event_id.as_str()),
        ("my.service", "106ac24b1169d282c949a3ab37a101e5")
    );
    assert_eq!(event.timestamp.as_ref().unwrap().to_string(), "2018-12-13T14:51:00.3Z");
    let expected = concat!(
        r#"{"attributes":[{"key":"int.attribute","value":{"intValue":"10"}},{"key":"map.attribute","value":"#,
        r#"{"kvlistValue":{"values":[{"key":"some.map.key","value":{"stringValue":"some value"}}]}}}],"#,
        r#""body":{"stringValue":"Example log record"},"observedTimeUnixNano":"1544712660300000001","severityNumber":10,"#,
        r#""severityText":"Information","spanId":"eee19b7ec3c1b174","timeUnixNano":"1544712660300000000","#,
        r#""traceId":"5b8efff798038103d269b633813fc60c","#,
        r#""resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},"#,
        r#""scope":{"name":"my.library","schemaUrl":"https://s","version":"1.0.0"}}"#
    );
    assert_eq!(event.payload.as_json(), expected);
}

#[test]
fn a_retry_has_the_same_ids_however_it_is_cut_and_whenever_it_is_seen() {
    let record = |n: u32, observed: u32| json!({"timeUnixNano": n, "body": {"stringValue": "x"}, "observedTimeUnixNano": observed, "droppedAttributesCount": observed});
    let first: Vec<_> = (1..100).map(|n| record(n, 1)).collect();
    let again: Vec<_> = (1..100).map(|n| record(n, 2)).collect();
    let first = of_records(&json!(first));
    let again: Vec<_> = again.chunks(7).flat_map(|records| of_records(&json!(records))).collect();
    let identities = |events: &[NewEvent]| -> Vec<_> {
        events.iter().map(|event| (event.event_id.to_string(), event.payload.digest())).collect()
    };
    assert_eq!(identities(&first), identities(&again), "and no retry is a conflict");
    assert_eq!(first.iter().map(|event| event.event_id.as_str()).collect::<BTreeSet<_>>().len(), 99);
    assert_ne!(first[0].payload.as_json(), again[0].payload.as_json(), "what was seen is kept");
}

#[test]
fn a_record_is_known_again_though_its_maps_come_in_another_order() {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let list = |values: [&str; 2]| json!({"arrayValue": {"values": values.map(|text| json!({"stringValue": text}))}});
    let event = |attributes: [Json; 2], map: [Json; 2], values: [&str; 2]| {
        let map = json!({"key": "map", "value": {"kvlistValue": {"values": map}}});
        let [one, other] = attributes;
        let attributes = json!([one, map, other]);
        let event = of_records(&json!([{"attributes": attributes, "body": list(values)}])).remove(0);
        (event.event_id.to_string(), event.payload.digest())
    };
    let first = event([text("a", "1"), text("b", "2")], [text("c", "3"), text("d", "4")], ["x", "y"]);
    let again = event([text("b", "2"), text("a", "1")], [text("d", "4"), text("c", "3")], ["x", "y"]);
    assert_eq!(first, again);
    for other in [
        event([text("a", "1"), text("b", "2")], [text("c", "3"), text("d", "4")], ["y", "x"]),
        event([text("a", "2"), text("b", "1")], [text("c", "3"), text("d", "4")], ["x", "y"]),
        event([text("a", "1"), text("b", "2")], [text("c", "4"), text("d", "3")], ["x", "y"]),
    ] {
        assert_ne!(first, other);
    }
}

#[test]
fn equal_records_of_a_request_are_told_apart_and_equal_ids_are_not() {
    let plain = json!({"body": {"stringValue": "x"}});
    let with_id = |id: &str| json!({"body": {"stringValue": "x"}, "attributes": [{"key": "log.record.uid", "value": {"stringValue": id}}]});
    let ids = |records: &Json| -> Vec<String> {
        of_records(records).iter().map(|event| event.event_id.to_string()).collect()
    };
    let hash = ids(&json!([plain])).remove(0);
    assert_eq!(hash.len(), 32);
    assert_eq!(ids(&json!([plain, plain, plain])), [hash.clone(), format!("{hash}#2"), format!("{hash}#3")]);
    assert_eq!(ids(&json!([with_id("01J"), with_id("01J")])), ["01J", "01J"]);
    let too_long = "x".repeat(256);
    assert_eq!(ids(&json!([with_id(&too_long)]))[0].len(), 32, "it is no event_id, so the content is the id");
}

#[test]
fn the_topic_is_the_service_made_valid_or_logs() {
    let topic = |service: Json| {
        let resource = json!({"attributes": [{"key": "service.name", "value": service}]});
        let request = json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [{}]}]}]});
        read(Encoding::Json, request.to_string().as_bytes()).events[0].topic.to_string()
    };
    let long = "\u{e9}".repeat(200);
    for (service, expected) in [
        (json!({"stringValue": "checkout"}), "checkout"),
        (json!({"stringValue": "a\tb\n"}), "a_b_"),
        (json!({"stringValue": "a.*"}), "a._"),
        (json!({"stringValue": " "}), "logs"),
        (json!({"stringValue": ""}), "logs"),
        (json!({"intValue": 1}), "logs"),
        (json!(null), "logs"),
        (json!({"stringValue": long}), &long[..254]),
    ] {
        assert_eq!(topic(service.clone()), expected, "{service}");
    }
}

#[test]
fn the_moment_is_that_of_the_record_or_of_its_observation() {
    for (record, expected) in [
        (json!({"timeUnixNano": "1500000000", "observedTimeUnixNano": "9"}), Some("1970-01-01T00:00:01.5Z")),
        (json!({"timeUnixNano": 0, "observedTimeUnixNano": "9"}), Some("1970-01-01T00:00:00.000000009Z")),
        (json!({"timeUnixNano": u64::MAX}), Some("2554-07-21T23:34:33.709551615Z")),
        (json!({}), None),
    ] {
        let events = of_records(&json!([record]));
        assert_eq!(events[0].timestamp.as_ref().map(ToString::to_string).as_deref(), expected, "{record}");
    }
}

#[test]
fn a_malformed_record_is_rejected_alone() {
    let good = json!({"body": {"stringValue": "x"}});
    let mut deep = json!({"stringValue": "x"});
    for _ in 0..50 {
        deep = json!({"arrayValue": {"values": [deep]}});
    }
    let records = json!([
        {"traceId": "xyz"}, good, {"timeUnixNano": "-1"}, {"attributes": {}}, {"body": "text"}, 7, {"body": deep},
        {"severityText": "x".repeat(10_000)}, good
    ]);
    let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string();
    let ingested = logs(Encoding::Json, request.as_bytes(), &context()).unwrap();
    assert_eq!((ingested.indexes, ingested.rejected.events), (vec![1, 8], 7));
    let first = &ingested.rejected.listed[0];
    assert_eq!((first.index, first.message.as_str()), (0, "traceId is not what OTLP says"));

    // In protobuf: a text that is no UTF-8, and a number where a message should be.
    let record = LogRecord { event_name: "e".into(), ..LogRecord::default() };
    let records = [&b"\x1a\x01\xff"[..], &record.encode_to_vec(), b"\x28\x01", b"\x0a"];
    let scope_logs: Vec<u8> =
        records.iter().flat_map(|record| [&[0x12, record.len() as u8], *record].concat()).collect();
    let resource_logs = [&[0x12, scope_logs.len() as u8], &scope_logs[..]].concat();
    let request = [&[0x0a, resource_logs.len() as u8], &resource_logs[..]].concat();
    let ingested = logs(Encoding::Protobuf, &request, &context()).unwrap();
    assert_eq!((ingested.indexes, ingested.rejected.events), (vec![1], 3));
}

#[test]
fn a_request_whose_records_cannot_be_found_is_malformed() {
    for (encoding, body) in [
        (Encoding::Json, &b"{"[..]),
        (Encoding::Json, b"[]"),
        (Encoding::Json, br#"{"resourceLogs":7}"#),
        (Encoding::Json, br#"{"resourceLogs":[{"scopeLogs":[[]]}]}"#),
        (Encoding::Protobuf, b"\x0a"),
        (Encoding::Protobuf, b"{}"),
        (Encoding::Protobuf, b"\x0a\x02\x12\x05"),
    ] {
        let read = logs(encoding, body, &context());
        assert!(
            matches!(read, Err(IngestError::Malformed(_))),
            "{:?} {read:?}",
            String::from_utf8_lossy(body)
        );
    }
    for (encoding, body) in [
        (Encoding::Json, &b"{}"[..]),
        (Encoding::Json, br#"{"resourceLogs":null}"#),
        (Encoding::Protobuf, b""),
    ] {
        assert_eq!(read(encoding, body).events.len(), 0);
    }
}

#[test]
fn a_long_origin_of_many_records_ends_at_the_memory_of_a_request() {
    let long = "x".repeat(9_000);
    let resource = json!({"attributes": [{"key": "k", "value": {"stringValue": long}}]});
    let records = vec![json!({}); 40_000];
    let request = json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]});
    let read = logs(Encoding::Json, request.to_string().as_bytes(), &context());
    assert!(
        matches!(read, Err(IngestError::TooLargeTogether { .. })),
        "{:?}",
        read.map(|read| read.events.len())
    );
}

#[test]
fn bytes_of_any_kind_are_read_or_refused() {
    let mut maker = Maker(Rng::with_seed(31));
    for _ in 0..3_000 {
        let request = maker.request();
        let mut bodies = [request.encode_to_vec(), maker.json(&request).to_string().into_bytes()];
        for (body, encoding) in bodies.iter_mut().zip([Encoding::Protobuf, Encoding::Json]) {
            for _ in 0..maker.0.usize(1..4) {
                if !body.is_empty() {
                    let at = maker.0.usize(..body.len());
                    body[at] = maker.0.u8(..);
                    body.truncate(maker.0.usize(at..body.len()) + 1);
                }
            }
            let _ = logs(encoding, body, &context());
        }
    }
}

#[test]
fn answers_are_what_a_reader_of_protobuf_expects() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Response {
        #[prost(message, optional, tag = "1")]
        partial_success: Option<PartialSuccess>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct PartialSuccess {
        #[prost(int64, tag = "1")]
        rejected_log_records: i64,
        #[prost(string, tag = "2")]
        error_message: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
    }
    let why = "why ".repeat(50);
    let partial = PartialSuccess { rejected_log_records: 300, error_message: why.clone() };
    let response = Response { partial_success: Some(partial) };
    assert_eq!(Encoding::Protobuf.response(300, &why), response.encode_to_vec());
    assert_eq!(Encoding::Protobuf.response(0, ""), b"");
    assert_eq!(
        Encoding::Protobuf.status(14, &why),
        Status { code: 14, message: why.clone() }.encode_to_vec()
    );
    let json = |bytes: Vec<u8>| -> Json { serde_json::from_slice(&bytes).unwrap() };
    assert_eq!(
        json(Encoding::Json.response(1, "a \"b\"")),
        json!({"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "a \"b\""}})
    );
    assert_eq!(json(Encoding::Json.response(0, "")), json!({}));
    assert_eq!(json(Encoding::Json.status(3, "x")), json!({"code": 3, "message": "x"}));
}
