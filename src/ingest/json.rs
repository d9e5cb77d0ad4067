//! `application/json` (RFC 8259): one event, or an array of events.
//!
//! Every field is taken as its raw text first, borrowed from the body, so that a wrong type in one
//! event is an error of that field and not the end of the request. Half of the file are its tests.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::collect::{
    Collector, Context, FieldErrors, IngestError, Ingested, Judged, Unknown, utf8, without_mark,
};
use super::field::{moment, optional, required, text};
use super::format::Format;
use crate::event::{EventId, NewEvent, Source, Topic};
use crate::payload::{self, Payload};

/// The format.
pub const FORMAT: Format = Format {
    media_types: &["application/json"],
    keeps_content_type: false,
    parse: |_, body, context| one_or_many::<Item>(body, context),
};

/// An event as the body has it, well-formed but not yet valid.
pub trait Candidate<'de>: Deserialize<'de> {
    /// Checks the event, whose fields stand inside `depth` arrays and objects.
    fn judge(self, depth: usize, unknown: &mut Unknown) -> Judged;
}

/// Reads one event or an array of them.
pub fn one_or_many<'de, T: Candidate<'de>>(
    body: &'de [u8],
    context: &Context,
) -> Result<Ingested, IngestError> {
    let text = utf8(without_mark(body))?.trim_ascii_start();
    if text.is_empty() {
        return Err(IngestError::Malformed("the body is empty".into()));
    }
    let mut collector = Collector::new(context);
    if text.starts_with('[') {
        many::<T>(text, &mut collector)?;
    } else {
        one::<T>(text, &mut collector)?;
    }
    collector.finish()
}

/// Reads one event.
pub fn one<'de, T: Candidate<'de>>(text: &'de str, collector: &mut Collector<'_>) -> Result<(), IngestError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let event = T::deserialize(&mut json)?;
    json.end().map_err(|error| explained(text, &error))?;
    collector.take(|unknown| event.judge(1, unknown))
}

fn many<'de, T: Candidate<'de>>(text: &'de str, collector: &mut Collector<'_>) -> Result<(), IngestError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut stopped = None;
    let array = Array { collector, stopped: &mut stopped, item: PhantomData::<T> };
    let read = json.deserialize_seq(array);
    if let Some(error) = stopped {
        return Err(error);
    }
    read.and_then(|()| json.end()).map_err(|error| explained(text, &error))
}

/// An error of syntax, with the remedy where another event stands in the place of what was expected.
fn explained(text: &str, error: &serde_json::Error) -> IngestError {
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let place = line.as_bytes().get(error.column().saturating_sub(1)..).unwrap_or_default();
    let told = error.to_string();
    let remedy = match place.first() {
        Some(b'{') if told.starts_with("trailing characters") => {
            ": several events are an array, or lines of application/x-ndjson"
        }
        Some(b'{') if told.starts_with("expected `,`") => ": the events of an array have commas between them",
        _ => "",
    };
    IngestError::Malformed(told + remedy)
}

/// Takes the events of an array one by one, so that an exceeded limit ends the parsing at once.
struct Array<'a, 'c, T> {
    collector: &'a mut Collector<'c>,
    /// The error that ended the parsing, if it is not one of syntax.
    stopped: &'a mut Option<IngestError>,
    item: PhantomData<T>,
}

impl<'de, T: Candidate<'de>> Visitor<'de> for Array<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<T>()? {
            if let Err(error) = self.collector.take(|unknown| item.judge(2, unknown)) {
                *self.stopped = Some(error);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// An element of the body: an object, or the name of another JSON type.
pub enum Item<'de> {
    Object(Fields<'de>),
    Other(&'static str),
}

impl<'de> Deserialize<'de> for Item<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

impl<'de> Candidate<'de> for Item<'de> {
    fn judge(self, depth: usize, unknown: &mut Unknown) -> Judged {
        match self {
            Item::Object(fields) => fields.into_event(depth, unknown),
            Item::Other(kind) => {
                Ok(Err(vec![("".into(), format!("an event must be a JSON object, not {kind}"))]))
            }
        }
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Fields::read(map).map(Item::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while let Some(raw) = items.next_element()? {
            payload::check(raw, 2).map_err(A::Error::custom)?;
        }
        Ok(Item::Other("an array"))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Item::Other("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Item::Other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Item::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Item::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Item::Other("a number"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Item::Other("a string"))
    }
}

/// The raw texts of an object's fields.
#[derive(Default)]
pub struct Fields<'de> {
    topic: Option<&'de RawValue>,
    event_id: Option<&'de RawValue>,
    timestamp: Option<&'de RawValue>,
    source: Option<&'de RawValue>,
    payload: Option<&'de RawValue>,
    /// Fields that no event has, but that still have to be JSON.
    others: Vec<(Cow<'de, str>, &'de RawValue)>,
}

impl<'de> Fields<'de> {
    fn read<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut fields = Self::default();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let value = map.next_value()?;
            let (name, slot) = match key.0.as_ref() {
                "topic" => ("topic", &mut fields.topic),
                "event_id" => ("event_id", &mut fields.event_id),
                "timestamp" => ("timestamp", &mut fields.timestamp),
                "source" => ("source", &mut fields.source),
                "payload" => ("payload", &mut fields.payload),
                _ => {
                    fields.others.push((key.0, value));
                    continue;
                }
            };
            if slot.replace(value).is_some() {
                return Err(A::Error::duplicate_field(name));
            }
        }
        Ok(fields)
    }

    fn into_event(self, depth: usize, unknown: &mut Unknown) -> Judged {
        let mut errors = FieldErrors::new();
        for (name, raw) in &self.others {
            payload::check(raw, depth)?;
            unknown.note(name, &mut errors);
        }
        if self.topic.is_none() && self.others.iter().any(|(name, _)| name == "specversion") {
            errors.push(("".into(), "is a CloudEvent: send it as application/cloudevents+json".into()));
        }
        let topic = required("topic", text(self.topic, depth)?, Topic::parse, &mut errors);
        let event_id = required("event_id", text(self.event_id, depth)?, EventId::parse, &mut errors);
        let timestamp = moment("timestamp", text(self.timestamp, depth)?, &mut errors);
        let source = optional("source", text(self.source, depth)?, Source::parse, &mut errors);
        let payload = match self.payload {
            Some(raw) => Payload::new(raw, depth)?,
            None => Payload::empty(),
        };
        let (Some(topic), Some(event_id), true) = (topic, event_id, errors.is_empty()) else {
            return Ok(Err(errors));
        };
        Ok(Ok(NewEvent { topic, event_id, timestamp, source, payload, attributes: None }))
    }
}

/// The name of a field, borrowed from the body unless it has escapes.
#[derive(Deserialize)]
pub struct Key<'a>(#[serde(borrow)] pub Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::super::collect::UnknownFields;
    use super::*;
    use crate::limits::Limits;

    fn context() -> Context {
        Context {
            limits: Limits {
                max_body_bytes: 1 << 20,
                max_otlp_bytes: 1 << 20,
                max_batch_events: 3,
                max_event_bytes: 100,
            },
            partial: false,
            unknown_fields: UnknownFields::Ignored,
        }
    }

    fn read(body: impl AsRef<[u8]>) -> Result<Vec<NewEvent>, IngestError> {
        one_or_many::<Item>(body.as_ref(), &context()).map(|ingested| ingested.events)
    }

    fn errors(body: &str) -> Vec<(usize, String, String)> {
        match read(body) {
            Err(IngestError::Invalid(invalid)) => {
                assert_eq!(invalid.errors, invalid.listed.len());
                invalid
                    .listed
                    .into_iter()
                    .map(|error| (error.index, error.field.into(), error.message))
                    .collect()
            }
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn an_event_needs_a_topic_and_an_id_and_nothing_else() {
        let events = read(r#" {"topic":"t","event_id":"e"} "#).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].timestamp, None);
        assert_eq!(events[0].source, None);
        assert_eq!(events[0].payload, Payload::empty());
    }

    #[test]
    fn fields_come_in_any_order_and_any_escaping() {
        let events = read(
            r#"[{"payload":[1, 2],"n\u006fte":{"x":[1]},"source":"s","timestamp":"2026-11-21T08:00:00+07:00","event_id":"\"e\"","t\u006fpic":"\u00e9"}]"#,
        )
        .unwrap();
        let event = &events[0];
        assert_eq!((event.topic.as_str(), event.event_id.as_str()), ("é", "\"e\""));
        assert_eq!(event.timestamp.as_ref().unwrap().to_string(), "2026-11-21T01:00:00Z");
        assert_eq!(event.source.as_ref().unwrap().as_str(), "s");
        assert_eq!(event.payload.as_json(), "[1,2]");
    }

    #[test]
    fn null_means_absent_where_absence_is_allowed() {
        let events =
            read(r#"{"topic":"t","event_id":"e","timestamp":null,"source":null,"payload":null}"#).unwrap();
        assert_eq!(events[0].source, None);
        assert_eq!(events[0].payload.as_json(), "null");
        assert_eq!(
            errors(r#"{"topic":null,"event_id":"e"}"#),
            [(0, "topic".into(), "must be a string, not null".into())]
        );
    }

    #[test]
    fn an_empty_array_holds_no_events() {
        assert_eq!(read(" [ ] "), Ok(vec![]));
    }

    #[test]
    fn every_broken_rule_of_a_batch_is_named() {
        let found = errors(
            r#"[{"topic":"","event_id":7,"timestamp":"invalid-date"},{"topic":"t","event_id":"e"},5]"#,
        );
        let places: Vec<_> = found.iter().map(|(index, field, _)| (*index, field.as_str())).collect();
        assert_eq!(places, [(0, "topic"), (0, "event_id"), (0, "timestamp"), (2, "")]);
    }

    #[test]
    fn anything_but_an_object_is_invalid() {
        for (body, kind) in [
            ("null", "null"),
            ("true", "a boolean"),
            ("-1", "a number"),
            ("1", "a number"),
            ("1.5", "a number"),
            ("\"e\"", "a string"),
            ("[[1]]", "an array"),
        ] {
            assert!(errors(body)[0].2.ends_with(kind), "{body}");
        }
    }

    #[test]
    fn anything_but_json_is_malformed() {
        for body in [
            "",
            " ",
            "{",
            "[",
            "[{]",
            "{}{}",
            "[],",
            "nope",
            "{\"topic\":}",
            "[{\"topic\":\"a\"},]",
            "{'topic':'t'}",
            "{\"topic\":\"t\",\"topic\":\"t\",\"event_id\":\"e\"}",
            "{\"topic\":\"t\",\"event_id\":\"e\",\"t\\u006fpic\":\"t\"}",
            "{\"topic\":\"\\ud800\",\"event_id\":\"e\"}",
            "{\"topic\":\"t\",\"event_id\":\"e\",\"other\":\"\\ud800\"}",
            "{\"topic\":\"t\",\"event_id\":\"e\",\"payload\":\"\\udc00\"}",
            "{\"topic\":[\"\\ud800\"],\"event_id\":\"e\"}",
            "{\"topic\":\"t\nu\",\"event_id\":\"e\"}",
        ] {
            assert!(matches!(read(body), Err(IngestError::Malformed(_))), "{body:?}: {:?}", read(body));
        }
        assert!(matches!(read(b"{\"topic\":\"\xff\"}"), Err(IngestError::Malformed(_))));
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_another_encoding_is_named() {
        assert_eq!(read("\u{feff}{\"topic\":\"t\",\"event_id\":\"e\"}").unwrap().len(), 1);
        for (body, named) in
            [(&b"\xff\xfe{\0"[..], "UTF-16"), (b"\xfe\xff\0{", "UTF-16"), (b"\x1f\x8b\x08", "gzip")]
        {
            let error = read(body).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn an_error_that_many_make_names_the_remedy() {
        let event = r#"{"topic":"t","event_id":"e"}"#;
        for (body, remedy) in [
            (format!("{event}\n{event}\n"), "application/x-ndjson"),
            (format!("{event} {event}"), "application/x-ndjson"),
            (format!("[{event}\n{event}]"), "commas"),
            (format!("[{event}, {event} {event}]"), "commas"),
            (event.replace('}', ",}"), "trailing comma"),
        ] {
            let error = read(&body).unwrap_err().to_string();
            assert!(error.contains(remedy), "{body}: {error}");
        }
        let number = errors(r#"{"topic":"t","event_id":"e","timestamp":1513299569}"#);
        assert!(number[0].1 == "timestamp" && number[0].2.contains("RFC 3339"), "{number:?}");
        let cloud = errors(r#"{"specversion":"1.0","type":"t","source":"s","id":"1"}"#);
        assert!(cloud[0].2.contains("application/cloudevents+json"), "{cloud:?}");
    }

    #[test]
    fn fields_that_no_event_has_are_told_or_refused() {
        let event = |fields: &str| format!(r#"{{"topic":"t","event_id":"e",{fields}}}"#);
        let ignored = |body: &str, context: &Context| {
            one_or_many::<Item>(body.as_bytes(), context).map(|ingested| ingested.ignored)
        };
        let batch = format!("[{},{}]", event(r#""payloads":1,"Topic":2"#), event(r#""payloads":1"#));
        assert_eq!(ignored(&batch, &context()).unwrap(), ["payloads", "Topic"]);
        let many: Vec<_> = (0..99).map(|n| format!("\"{n}{}\":1", "\u{e9}".repeat(40))).collect();
        let names = ignored(
            &event(&many.join(",")),
            &Context { limits: Limits { max_event_bytes: 10_000, ..context().limits }, ..context() },
        )
        .unwrap();
        assert!(names.len() == 16 && names.iter().all(|name| name.len() <= 64), "{names:?}");
        let refuses = Context { unknown_fields: UnknownFields::Refused, ..context() };
        let Err(IngestError::Invalid(invalid)) = ignored(&event(r#""payloads":1"#), &refuses) else {
            panic!()
        };
        assert_eq!((invalid.listed[0].field.as_ref(), invalid.errors), ("payloads", 1));
    }

    #[test]
    fn nesting_is_counted_from_the_top_of_the_body() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let event = |payload: String| format!(r#"{{"topic":"t","event_id":"e","payload":{payload}}}"#);
        let mut context = context();
        context.limits.max_event_bytes = 1000;
        let parse = |body: String| one_or_many::<Item>(body.as_bytes(), &context);
        assert!(parse(event(deep(127))).is_ok());
        assert!(matches!(parse(event(deep(128))), Err(IngestError::Malformed(_))));
        assert!(matches!(parse(format!("[{}]", event(deep(127)))), Err(IngestError::Malformed(_))));
        assert!(matches!(read(deep(1_000_000)), Err(IngestError::Malformed(_))));
        assert!(matches!(read(format!("[{}]", deep(1_000_000))), Err(IngestError::Malformed(_))));
    }

    #[test]
    fn an_exceeded_limit_ends_the_parsing() {
        let event = r#"{"topic":"t","event_id":"e"}"#;
        assert_eq!(read(format!("[{event},{event},{event}]")).unwrap().len(), 3);
        assert_eq!(
            read(format!("[{event},{event},{event},{event}")),
            Err(IngestError::TooManyEvents { limit: 3 })
        );
        let large = format!(r#"{{"topic":"t","event_id":"e","payload":"{}"}}"#, "x".repeat(97));
        assert_eq!(
            read(format!("[{event},{large}]")),
            Err(IngestError::EventTooLarge { index: 1, bytes: 101, limit: 100 })
        );
    }

    #[test]
    fn the_list_of_errors_is_bounded_and_says_how_many_there_were() {
        let mut context = context();
        context.limits.max_batch_events = 1000;
        let body = format!("[{}]", vec!["{}"; 150].join(","));
        let Err(IngestError::Invalid(invalid)) = one_or_many::<Item>(body.as_bytes(), &context) else {
            panic!()
        };
        assert_eq!((invalid.listed.len(), invalid.errors, invalid.events), (100, 300, 150));
    }
}
