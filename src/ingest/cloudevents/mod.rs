//! CloudEvents 1.0 (<https://github.com/cloudevents/spec/tree/v1.0.2>): structured and batch mode in the JSON
//! event format, and binary mode of the HTTP protocol binding, where headers hold the attributes.
//!
//! The identity of an event is its source and id together (section "REQUIRED Attributes"), so `event_id` is made of
//! both. Its type is the topic. Attributes without a column of their own are kept as they are.

mod attributes;
mod binary;
mod structured;

use self::binary::binary;
use self::structured::Members;
use super::format::Format;
use super::json;

/// Structured and batch mode. The body itself tells which of the two it is, as for plain events.
pub const STRUCTURED: Format = Format {
    media_types: &["application/cloudevents+json", "application/cloudevents-batch+json"],
    keeps_content_type: false,
    parse: |_, body, context| json::one_or_many::<Members>(body, context),
};

/// Binary mode.
pub const BINARY: Format = Format { media_types: &[], keeps_content_type: true, parse: binary };

/// The header that marks binary mode, whatever the content type.
pub const BINARY_MARK: &str = "ce-specversion";

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::attributes::event_id;
    use super::binary::unquoted;
    use super::*;
    use crate::event::NewEvent;
    use crate::ingest::collect::{Context, IngestError, UnknownFields};
    use crate::limits::Limits;

    const CONTEXT: Context = Context {
        limits: Limits {
            max_body_bytes: 1 << 20,
            max_otlp_bytes: 1 << 20,
            max_batch_events: 10,
            max_event_bytes: 1000,
        },
        partial: false,
        unknown_fields: UnknownFields::Ignored,
    };

    fn one(body: &str) -> NewEvent {
        json::one_or_many::<Members>(body.as_bytes(), &CONTEXT).unwrap().events.remove(0)
    }

    fn wrong(body: &str) -> Vec<String> {
        match json::one_or_many::<Members>(body.as_bytes(), &CONTEXT) {
            Err(IngestError::Invalid(invalid)) => {
                invalid.listed.into_iter().map(|error| error.field.into()).collect()
            }
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn a_structured_event_becomes_an_event_and_keeps_its_attributes() {
        let event = one(
            r#"{"specversion":"1.0","type":"com.shop.order","source":"/shop","id":"A-1","time":"2026-11-21T08:00:00+07:00",
                "subject":"o1","datacontenttype":"application/json","tries":3,"vip":true,"data":{"n": 1}}"#,
        );
        assert_eq!((event.topic.as_str(), event.event_id.as_str()), ("com.shop.order", "/shop#A-1"));
        assert_eq!(event.timestamp.unwrap().to_string(), "2026-11-21T01:00:00Z");
        assert_eq!(event.source.unwrap().as_str(), "/shop");
        assert_eq!(event.payload.as_json(), r#"{"n":1}"#);
        assert_eq!(
            event.attributes.unwrap(),
            r#"{"datacontenttype":"application/json","specversion":"1.0","subject":"o1","tries":3,"vip":true}"#
        );
    }

    #[test]
    fn data_may_be_base64_or_missing() {
        assert_eq!(
            one(r#"{"specversion":"1.0","type":"t","source":"s","id":"1","data_base64":"AAEC"}"#)
                .payload
                .as_json(),
            "\"AAEC\""
        );
        assert_eq!(one(r#"{"specversion":"1.0","type":"t","source":"s","id":"1"}"#).payload.as_json(), "{}");
    }

    #[test]
    fn violations_of_the_specification_are_named() {
        assert_eq!(wrong("{}"), ["specversion", "type", "source", "id"]);
        let start = r#"{"specversion":"1.0","type":"t","source":"s","id":"1""#;
        assert_eq!(
            wrong(&format!("{}}}", start.replace("1.0", "0.3").replace(r#""s""#, r#""""#))),
            ["specversion", "source"]
        );
        assert_eq!(wrong(&format!(r#"{start},"data":1,"data_base64":"AA=="}}"#)), ["data_base64"]);
        assert_eq!(wrong(&format!(r#"{start},"data_base64":"%"}}"#)), ["data_base64"]);
        assert_eq!(
            wrong(&format!(r#"{start},"Upper":1,"o":{{}},"n":1.5,"subject":"","x":null,"time":"now"}}"#)),
            ["time", "", "", "", ""]
        );
        assert_eq!(
            wrong(&format!("{}}}", start.replace(r#""1""#, &format!("\"{}\"", "x".repeat(254))))),
            ["id"]
        );
        for malformed in ["[1]", "\"x\"", r#"{"id":"1","id":"2"}"#] {
            let read = json::one_or_many::<Members>(malformed.as_bytes(), &CONTEXT);
            assert!(matches!(read, Err(IngestError::Malformed(_))), "{malformed}: {read:?}");
        }
    }

    fn headers(more: &[(&'static str, &str)]) -> HeaderMap {
        let required = [
            ("ce-specversion", "1.0"),
            ("ce-type", "t"),
            ("ce-source", "/s"),
            ("ce-id", "1"),
            ("other", "x"),
        ];
        required
            .iter()
            .chain(more)
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn binary_mode_takes_attributes_from_headers_and_any_data() {
        for (content_type, body, payload) in [
            ("application/json; charset=utf-8", &b" {\"n\" : 1} "[..], r#"{"n":1}"#),
            ("application/vnd.shop+json", b"[1]", "[1]"),
            ("text/plain", "h\u{e9} \"q\"".as_bytes(), "\"h\u{e9} \\\"q\\\"\""),
            ("text/plain; title=\u{e9}", b"1", "\"1\""),
            ("image/png", &[0, 1, 2], "\"AAEC\""),
            ("application/json", b"", "{}"),
            ("application/json", b"\xef\xbb\xbf1", "1"),
        ] {
            let headers = headers(&[("content-type", content_type), ("ce-subject", "caf%C3%A9%20%22x%22")]);
            let event = binary(&headers, body, &CONTEXT).unwrap().events.remove(0);
            assert_eq!(event.event_id.as_str(), "/s#1");
            assert_eq!(event.payload.as_json(), payload, "{content_type}");
            let attributes: serde_json::Value = serde_json::from_str(&event.attributes.unwrap()).unwrap();
            assert_eq!(attributes["subject"], "caf\u{e9} \"x\"");
            assert_eq!(attributes["datacontenttype"], content_type);
            assert_eq!(attributes.as_object().unwrap().len(), 3, "{attributes}");
        }
    }

    #[test]
    fn binary_mode_without_a_content_type_takes_text_or_bytes() {
        for (body, payload) in
            [(&b"hello"[..], "\"hello\""), (b"{\"n\":1}", "\"{\\\"n\\\":1}\""), (b"\xff\x00", "\"/wA=\"")]
        {
            let event = binary(&headers(&[]), body, &CONTEXT).unwrap().events.remove(0);
            assert_eq!(event.payload.as_json(), payload);
        }
    }

    #[test]
    fn a_quoted_header_is_the_same_event_as_in_structured_mode() {
        let mut quoted = headers(&[("ce-subject", r#""a \"b\" %25""#)]);
        quoted.insert("ce-id", http::HeaderValue::from_static("\"42\""));
        let event = binary(&quoted, b"", &CONTEXT).unwrap().events.remove(0);
        let structured =
            one(r#"{"specversion":"1.0","type":"t","source":"/s","id":"42","subject":"a \"b\" %"}"#);
        assert_eq!((event.event_id, event.attributes), (structured.event_id, structured.attributes));
        assert_eq!(unquoted("\"").as_ref(), "\"");
    }

    #[test]
    fn no_two_pairs_of_source_and_id_have_one_event_id() {
        let parts = ["a", "#", "a#b", "b#c", "#1#a", "1", "a#", "#a", "3#a#b"];
        let mut seen = std::collections::HashMap::new();
        for source in parts {
            for id in parts {
                let event_id = event_id(source, id).unwrap();
                let before = seen.insert(event_id.to_string(), (source, id));
                assert_eq!(before, None, "{source} {id}: {event_id}");
            }
        }
        assert_eq!(event_id("/a#b", "c").unwrap().as_str(), "#4#/a#b#c");
        assert_eq!(event_id("/a", "b#c").unwrap().as_str(), "/a#b#c");
    }

    #[test]
    fn a_header_that_is_given_twice_is_malformed() {
        let twice = headers(&[("ce-id", "2")]);
        assert!(matches!(binary(&twice, b"", &CONTEXT), Err(IngestError::Malformed(_))));
    }

    #[test]
    fn binary_mode_refuses_malformed_json() {
        let json = headers(&[("content-type", "application/json")]);
        assert!(matches!(binary(&json, b"{", &CONTEXT), Err(IngestError::Malformed(_))));
        assert!(matches!(binary(&json, b"\xff", &CONTEXT), Err(IngestError::Malformed(_))));
    }

    #[test]
    fn binary_mode_refuses_a_content_type_that_cannot_be_kept() {
        let mut headers = headers(&[]);
        headers.insert("content-type", http::HeaderValue::from_bytes(b"text/\xff").unwrap());
        let read = binary(&headers, b"1", &CONTEXT);
        assert_eq!(read.unwrap_err().to_string(), "header content-type is not UTF-8");
    }
}
