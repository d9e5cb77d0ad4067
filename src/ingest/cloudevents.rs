//! CloudEvents 1.0 (<https://github.com/cloudevents/spec/tree/v1.0.2>): structured and batch mode in the JSON
//! event format, and binary mode of the HTTP protocol binding, where headers hold the attributes.
//!
//! The identity of an event is its source and id together (section "REQUIRED Attributes"), so `event_id` is made of
//! both; see [`event_id`]. Its type is the topic. Attributes without a column of their own are kept as they are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::collect::{
    Collector, Context, FieldErrors, IngestError, Ingested, Judged, MAX_LISTED_ERRORS, Unknown, utf8,
    without_mark,
};
use super::field::{Text, moment, optional, required, text};
use super::format::Format;
use super::json::{self, Candidate, Key};
use crate::event::{EventId, InvalidField, MAX_NAME_BYTES, NewEvent, Source, Topic};
use crate::payload::{self, Payload};

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

/// The attributes that are columns, and the data.
const COLUMNS: [&str; 6] = ["id", "source", "type", "time", "data", "data_base64"];

/// The attributes that every mode has, as texts.
struct Attributes<'a> {
    specversion: Text<'a>,
    r#type: Text<'a>,
    source: Text<'a>,
    id: Text<'a>,
    time: Text<'a>,
}

impl<'a> Attributes<'a> {
    /// The attributes that `text` returns by their names.
    fn of(text: impl Fn(&str) -> Result<Text<'a>, payload::Malformed>) -> Result<Self, payload::Malformed> {
        Ok(Self {
            specversion: text("specversion")?,
            r#type: text("type")?,
            source: text("source")?,
            id: text("id")?,
            time: text("time")?,
        })
    }

    /// The event with these attributes, a payload and the members of the kept attributes, unless `errors` has some.
    fn into_event(
        self,
        payload: Payload,
        kept: &[String],
        mut errors: FieldErrors,
    ) -> Result<NewEvent, FieldErrors> {
        let mut found = FieldErrors::new();
        required("specversion", self.specversion, version, &mut found);
        let topic = required("type", self.r#type, Topic::parse, &mut found);
        let source = required("source", self.source, source, &mut found);
        let id = required("id", self.id, EventId::parse, &mut found);
        let timestamp = moment("time", self.time, &mut found);
        found.append(&mut errors);
        let (Some(topic), Some(source), Some(id), true) = (topic, source, id, found.is_empty()) else {
            return Err(found);
        };
        let event_id =
            event_id(source.as_str(), id.as_str()).map_err(|message| vec![("id".into(), message)])?;
        let attributes = Some(format!("{{{}}}", kept.join(",")));
        Ok(NewEvent { topic, event_id, timestamp, source: Some(source), payload, attributes })
    }
}

/// The event id of a source and an id: `<source>#<id>`, or `#<bytes of source>#<source>#<id>` if the source contains
/// `#`. No two pairs have the same: a source is never empty, so only the second form begins with `#`, and there the
/// length tells where the source ends.
fn event_id(source: &str, id: &str) -> Result<EventId, String> {
    let joined = match source.contains('#') {
        false => format!("{source}#{id}"),
        true => format!("#{}#{source}#{id}", source.len()),
    };
    EventId::parse(joined)
        .map_err(|_| format!("must be at most {MAX_NAME_BYTES} bytes together with source and separators"))
}

fn version(text: Cow<'_, str>) -> Result<(), InvalidField> {
    match text.as_ref() {
        "1.0" => Ok(()),
        other => Err(InvalidField(format!("must be 1.0, is {other:?}"))),
    }
}

fn source(text: Cow<'_, str>) -> Result<Source, InvalidField> {
    if text.is_empty() {
        return Err(InvalidField("must not be empty".into()));
    }
    Source::parse(text)
}

/// Reads an event whose attributes are headers and whose data is the body.
fn binary(headers: &HeaderMap, body: &[u8], context: &Context) -> Result<Ingested, IngestError> {
    let attributes = header_attributes(headers)?;
    let payload = binary_data(attributes.get("datacontenttype").map(String::as_str), body)?;
    let mut collector = Collector::new(context);
    collector.take(|_| {
        let text = |name: &str| Ok(attributes.get(name).map(|value| Ok(Cow::Borrowed(value.as_str()))));
        let (mut kept, mut errors) = (Vec::new(), FieldErrors::new());
        for (name, value) in attributes.iter().filter(|(name, _)| !COLUMNS.contains(&name.as_str())) {
            match check_name(name) {
                Err(message) => errors.push(("".into(), message)),
                Ok(()) if value.is_empty() && !may_be_empty(name) => {
                    errors.push(("".into(), invalid_value(name)))
                }
                Ok(()) => kept.push(format!("\"{name}\":{}", quoted(value))),
            }
        }
        Ok(Attributes::of(text)?.into_event(payload?, &kept, errors))
    })?;
    collector.finish()
}

/// The attributes in the headers: those with the prefix `ce-`, and the content type as `datacontenttype`.
fn header_attributes(headers: &HeaderMap) -> Result<BTreeMap<String, String>, IngestError> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        // HTTP protocol binding, section 3.1.3.2: older senders quote, and characters that a header cannot hold are
        // percent-encoded.
        let value = std::str::from_utf8(value.as_bytes()).ok().map(unquoted);
        let value = value.and_then(|value| Some(percent_decode_str(&value).decode_utf8().ok()?.into_owned()));
        let Some(value) = value else {
            return Err(IngestError::Malformed(format!(
                "header ce-{name} is not UTF-8: percent-encode its value"
            )));
        };
        if ["data", "data_base64"].contains(&name) {
            let message = format!("header ce-{name}: in binary mode the body is the data");
            return Err(IngestError::Malformed(message));
        }
        if attributes.insert(name.to_owned(), value).is_some() {
            return Err(IngestError::Malformed(format!("header ce-{name} is given twice")));
        }
    }
    if let Some(content_type) = headers.get(header::CONTENT_TYPE) {
        let content_type = std::str::from_utf8(content_type.as_bytes())
            .map_err(|_| IngestError::Malformed("header content-type is not UTF-8".into()))?;
        attributes.insert("datacontenttype".into(), content_type.to_owned());
    }
    Ok(attributes)
}

/// The content of a quoted string (RFC 9110, section 5.6.4), or the value as it is.
fn unquoted(value: &str) -> Cow<'_, str> {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.into();
    };
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    text.into()
}

/// The data of binary mode: JSON as it is, text as a string, anything else as a string of base64. Without a content type
/// it is text, if it is UTF-8.
fn binary_data(
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Result<Payload, payload::Malformed>, IngestError> {
    if body.is_empty() {
        return Ok(Ok(Payload::empty()));
    }
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let media_type = media_type.to_ascii_lowercase();
    if media_type.ends_with("/json") || media_type.ends_with("+json") {
        return Ok(Payload::new(serde_json::from_str(utf8(without_mark(body))?)?, 0));
    }
    let text = if media_type.starts_with("text/") || media_type.is_empty() {
        std::str::from_utf8(body).ok()
    } else {
        None
    };
    let string = match text {
        Some(text) => quoted(text),
        None => quoted(&BASE64_STANDARD.encode(body)),
    };
    Ok(Payload::new(serde_json::from_str(&string)?, 0))
}

/// A text as a JSON string.
fn quoted(text: &str) -> String {
    // A string cannot fail to become JSON.
    serde_json::to_string(text).unwrap_or_default()
}

/// The members of a CloudEvent in the JSON format.
struct Members<'de>(BTreeMap<Cow<'de, str>, &'de RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a CloudEvent, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let value = map.next_value()?;
            if members.insert(key.0.clone(), value).is_some() {
                return Err(A::Error::custom(format!("duplicate field `{}`", key.0)));
            }
        }
        Ok(Members(members))
    }
}

impl<'de> Candidate<'de> for Members<'de> {
    fn judge(self, depth: usize, _: &mut Unknown) -> Judged {
        let get = |name: &str| self.0.get(name).copied();
        let attributes = Attributes::of(|name| text(get(name), depth))?;
        let mut errors = FieldErrors::new();
        optional("data_base64", text(get("data_base64"), depth)?, base64, &mut errors);
        let payload = match get("data").or(get("data_base64")) {
            Some(raw) => Payload::new(raw, depth)?,
            None => Payload::empty(),
        };
        if get("data").is_some() && get("data_base64").is_some() {
            errors.push(("data_base64".into(), "must not stand beside data".into()));
        }
        let mut kept = Vec::new();
        for (name, raw) in self.0.iter().filter(|(name, _)| !COLUMNS.contains(&name.as_ref())) {
            if errors.len() > MAX_LISTED_ERRORS {
                break; // no more are listed
            }
            match member(name, raw, depth)? {
                Ok(None) => {}
                Ok(Some(member)) => kept.push(member),
                Err(message) => errors.push(("".into(), message)),
            }
        }
        Ok(attributes.into_event(payload, &kept, errors))
    }
}

fn base64(text: Cow<'_, str>) -> Result<(), InvalidField> {
    BASE64_STANDARD.decode(text.as_ref()).map(drop).map_err(|_| InvalidField("must be base64".into()))
}

/// An attribute as a member of a JSON object, by the specification's rules for types: strings, booleans and integers
/// of 32 bits. A null stands for an absent attribute.
fn member(
    name: &str,
    raw: &RawValue,
    depth: usize,
) -> Result<Result<Option<String>, String>, payload::Malformed> {
    let value = Payload::new(raw, depth)?;
    let value = value.as_json();
    if let Err(message) = check_name(name) {
        return Ok(Err(message));
    }
    let is_valid = match value.as_bytes()[0] {
        b'n' => return Ok(Ok(None)),
        b'"' => value != "\"\"" || may_be_empty(name),
        b't' | b'f' => true,
        _ => value.parse::<i32>().is_ok(),
    };
    Ok(if is_valid { Ok(Some(format!("\"{name}\":{value}"))) } else { Err(invalid_value(name)) })
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err(format!("attribute {name:?} must be named by lower-case letters and digits alone"));
    }
    Ok(())
}

/// Extensions may be empty; optional attributes of the specification may not.
fn may_be_empty(name: &str) -> bool {
    !["subject", "datacontenttype", "dataschema"].contains(&name)
}

fn invalid_value(name: &str) -> String {
    format!("attribute {name:?} must be a non-empty string, an integer or a boolean")
}

#[cfg(test)]
mod tests {
    use super::super::collect::UnknownFields;
    use super::*;
    use crate::limits::Limits;

    const CONTEXT: Context = Context {
        limits: Limits { max_body_bytes: 1 << 20, max_batch_events: 10, max_event_bytes: 1000 },
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
