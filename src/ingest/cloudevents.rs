//! CloudEvents 1.0 (<https://github.com/cloudevents/spec/tree/v1.0.2>): structured and batch mode in the JSON
//! event format, and binary mode of the HTTP protocol binding, where headers hold the attributes.
//!
//! An event's identity is its source and id together (section "REQUIRED Attributes"), so `event_id` is
//! `<source>#<id>`; its type is the topic. What else it says of itself is kept as its attributes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json::Key;
use super::{
    Candidate, Collector, Context, FieldErrors, IngestError, Ingested, MAX_LISTED_ERRORS, json, optional,
    required,
};
use crate::event::{EventId, InvalidField, MAX_NAME_BYTES, NewEvent, Source, Timestamp, Topic};
use crate::payload::{self, Payload};

/// The header by which binary mode is recognised, whatever the content type.
pub const BINARY_MARK: &str = "ce-specversion";

/// Reads `application/cloudevents+json` or `application/cloudevents-batch+json`: which of the two is
/// told by the body, as for plain events.
///
/// # Errors
/// See [`IngestError`]; nothing of a body with an error is used.
pub fn structured(body: &[u8], context: &Context) -> Result<Ingested, IngestError> {
    json::one_or_many::<Attributes>(body, context)
}

/// Reads an event whose attributes are headers and whose data is the body.
///
/// # Errors
/// See [`IngestError`].
pub fn binary(headers: &HeaderMap, body: &[u8], context: &Context) -> Result<Ingested, IngestError> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        // HTTP protocol binding, section 3.1.3.2: what a header cannot hold is percent-encoded.
        let value = std::str::from_utf8(value.as_bytes()).ok();
        let value = value.and_then(|value| percent_decode_str(value).decode_utf8().ok());
        let Some(value) = value else {
            return Err(IngestError::Malformed(format!("header ce-{name} is no UTF-8")));
        };
        if ["data", "data_base64"].contains(&name) {
            return Err(IngestError::Malformed(format!(
                "header ce-{name}: in binary mode the body is the data"
            )));
        }
        attributes.insert(name.to_owned(), value.into_owned());
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.map(|value| value.split(';').next().unwrap_or_default().trim());
    let data = data(media_type, body)?;
    if let Some(content_type) = content_type {
        attributes.insert("datacontenttype".into(), content_type.to_owned());
    }

    // From here on it is an event in structured mode.
    let raw = |json: String| RawValue::from_string(json).map_err(IngestError::from);
    let mut fields = BTreeMap::new();
    for (name, value) in attributes {
        fields.insert(name, raw(serde_json::to_string(&value)?)?);
    }
    if let Some(data) = data {
        fields.insert("data".into(), raw(data)?);
    }
    let event = Attributes(
        fields.iter().map(|(name, value)| (Cow::Borrowed(name.as_str()), value.as_ref())).collect(),
    );
    let mut collector = Collector::new(context);
    collector.take(event, 0)?;
    collector.finish()
}

/// The data as JSON text: JSON as it is, text as a string, anything else as a string of base64.
fn data(media_type: Option<&str>, body: &[u8]) -> Result<Option<String>, IngestError> {
    let media_type = media_type.unwrap_or_default().to_ascii_lowercase();
    if body.is_empty() {
        return Ok(None);
    }
    if media_type.ends_with("/json") || media_type.ends_with("+json") || media_type.is_empty() {
        return Ok(Some(super::utf8(body)?.to_owned()));
    }
    let text = if media_type.starts_with("text/") { std::str::from_utf8(body).ok() } else { None };
    Ok(Some(match text {
        Some(text) => serde_json::to_string(text)?,
        None => serde_json::to_string(&BASE64_STANDARD.encode(body))?,
    }))
}

/// The members of a CloudEvent in the JSON format; `None` stands for something that is no object.
struct Attributes<'de>(BTreeMap<Cow<'de, str>, &'de RawValue>);

impl<'de> Deserialize<'de> for Attributes<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AttributesVisitor)
    }
}

struct AttributesVisitor;

impl<'de> Visitor<'de> for AttributesVisitor {
    type Value = Attributes<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a CloudEvent, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut attributes = BTreeMap::new();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let value = map.next_value()?;
            if attributes.insert(key.0.clone(), value).is_some() {
                return Err(A::Error::custom(format!("duplicate field `{}`", key.0)));
            }
        }
        Ok(Attributes(attributes))
    }
}

/// The attributes that are columns of their own.
const COLUMNS: [&str; 6] = ["id", "source", "type", "time", "data", "data_base64"];

impl<'de> Candidate<'de> for Attributes<'de> {
    fn judge(self, depth: usize) -> Result<Result<NewEvent, FieldErrors>, payload::Malformed> {
        let mut errors = FieldErrors::new();
        let get = |name: &str| self.0.get(name).copied();
        required("specversion", get("specversion"), depth, version, &mut errors)?;
        let topic = required("type", get("type"), depth, Topic::parse, &mut errors)?;
        let source = required("source", get("source"), depth, source, &mut errors)?;
        let id = required("id", get("id"), depth, EventId::parse, &mut errors)?;
        let timestamp = optional("time", get("time"), depth, |text| Timestamp::parse(&text), &mut errors)?;
        optional("data_base64", get("data_base64"), depth, base64, &mut errors)?;
        let payload = match get("data").or(get("data_base64")) {
            Some(raw) => Payload::new(raw, depth)?,
            None => Payload::empty(),
        };
        if get("data").is_some() && get("data_base64").is_some() {
            errors.push(("data_base64", "must not stand beside data".into()));
        }
        let mut others = Vec::new();
        for (name, raw) in &self.0 {
            if COLUMNS.contains(&name.as_ref()) {
                continue;
            }
            if errors.len() > MAX_LISTED_ERRORS {
                break; // enough to know, and to say
            }
            match attribute(name, raw, depth)? {
                Ok(None) => {}
                Ok(Some(member)) => others.push(member),
                Err(message) => errors.push(("", message)),
            }
        }
        let (Some(topic), Some(source), Some(id), true) = (topic, source, id, errors.is_empty()) else {
            return Ok(Err(errors));
        };
        let Ok(event_id) = EventId::parse(format!("{source}#{id}")) else {
            let message = format!("must be at most {MAX_NAME_BYTES} bytes together with source and '#'");
            return Ok(Err(vec![("id", message)]));
        };
        let attributes = Some(format!("{{{}}}", others.join(",")));
        Ok(Ok(NewEvent { topic, event_id, timestamp, source: Some(source), payload, attributes }))
    }
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

fn base64(text: Cow<'_, str>) -> Result<(), InvalidField> {
    BASE64_STANDARD.decode(text.as_ref()).map(drop).map_err(|_| InvalidField("must be base64".into()))
}

/// An attribute as a member of a JSON object, by the rules for names and types of the specification: strings,
/// booleans and integers of 32 bits. A null is an attribute that is not there.
fn attribute(
    name: &str,
    raw: &RawValue,
    depth: usize,
) -> Result<Result<Option<String>, String>, payload::Malformed> {
    let value = Payload::new(raw, depth)?;
    let value = value.as_json();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Ok(Err(format!("attribute {name:?} must be named by lower-case letters and digits alone")));
    }
    let is_allowed = match value.as_bytes()[0] {
        b'n' => return Ok(Ok(None)),
        b'"' => !(["subject", "datacontenttype", "dataschema"].contains(&name) && value == "\"\""),
        b't' | b'f' => true,
        _ => value.parse::<i32>().is_ok(),
    };
    if !is_allowed {
        let message =
            format!("attribute {name:?} must be a string that says something, an integer or a boolean");
        return Ok(Err(message));
    }
    Ok(Ok(Some(format!("\"{name}\":{value}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Limits;

    const CONTEXT: Context = Context {
        limits: Limits { max_body_bytes: 1 << 20, max_batch_events: 10, max_event_bytes: 1000 },
        partial: false,
    };

    fn one(body: &str) -> NewEvent {
        structured(body.as_bytes(), &CONTEXT).unwrap().events.remove(0)
    }

    fn wrong(body: &str) -> Vec<&'static str> {
        match structured(body.as_bytes(), &CONTEXT) {
            Err(IngestError::Invalid(invalid)) => invalid.listed.iter().map(|error| error.field).collect(),
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
    fn what_the_specification_forbids_is_named() {
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
            let read = structured(malformed.as_bytes(), &CONTEXT);
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
            ("image/png", &[0, 1, 2], "\"AAEC\""),
            ("application/json", b"", "{}"),
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
    fn binary_mode_refuses_json_that_is_none() {
        let json = headers(&[("content-type", "application/json")]);
        assert!(matches!(binary(&json, b"{", &CONTEXT), Err(IngestError::Malformed(_))));
        assert!(matches!(binary(&json, b"\xff", &CONTEXT), Err(IngestError::Malformed(_))));
    }
}
