//! From a verified delivery to events. Its shape is never a reason to refuse it: the provider will not change it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};
use sekali_common::webhooks::pointer::{Document, Pointer, elements, scalar};
use sekali_common::webhooks::template::{Template, Value, Values};
use serde_json::value::RawValue;

use super::Receiver;
use super::delivery::{Delivery, bytes, sha256};
use crate::event::{EventId, NewEvent, Source, Timestamp, Topic};
use crate::ingest::{Collector, Context, FieldErrors, IngestError, Ingested};
use crate::payload::Payload;

/// The events in one body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Each {
    /// The elements of an array.
    Element(Pointer),
    /// The lines.
    Line,
}

/// The way to the events of a body, where it differs from the receiver's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Where they are; without it, the body is one event.
    pub each: Option<Each>,
    /// The place of the payload in each; without it, the event is its own payload.
    pub payload: Option<Pointer>,
}

/// Reads the events of a verified delivery. `body` is its body without its encoding.
///
/// # Errors
/// [`IngestError::Invalid`] names where an id should be; the limits of a request are the others.
pub fn events(
    delivery: &Delivery<'_>,
    body: &[u8],
    layout: &Layout,
    context: &Context,
) -> Result<Ingested, IngestError> {
    let content = Content::of(delivery.headers, body, context.limits.max_event_bytes);
    let document: &RawValue = &content.json;
    let mut collector = Collector::new(context);
    let mut take = |value, is_part| {
        let item = Item { delivery, document: Document::new(value), is_part, r#type: None };
        collector.take(|_| Ok(item.into_event(layout, &content)))
    };
    match &layout.each {
        Some(Each::Line) => {
            let text = String::from_utf8_lossy(body);
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            let lines: Vec<_> = lines
                .map(|line| if as_json(line, "").is_some() { line.into() } else { quoted(line) })
                .collect();
            for line in &lines {
                take(serde_json::from_str(line)?, true)?;
            }
        }
        Some(Each::Element(pointer)) => match pointer.find(document).and_then(elements) {
            Some(items) => items.into_iter().try_for_each(|item| take(item, true))?,
            None => take(document, false)?,
        },
        None => take(document, false)?,
    }
    collector.finish()
}

/// A body as JSON.
struct Content<'b> {
    json: Cow<'b, RawValue>,
    /// The media type of what is no JSON: it tells text from bytes.
    media_type: Option<String>,
    /// True if the JSON was made of a form, which its media type alone can tell.
    is_form: bool,
}

impl<'b> Content<'b> {
    /// JSON as it is, the fields of a form, text as a string, and any other bytes as a string of base64. A form that is
    /// larger than an event may be, however it is encoded, is not taken apart.
    fn of(headers: &HeaderMap, body: &'b [u8], max_event_bytes: usize) -> Self {
        let media_type =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let text = std::str::from_utf8(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
        let of = |json| Self { json, media_type: None, is_form: false };
        let other =
            |text: &str| Self { media_type: Some(media_type.to_owned()), ..of(value_of(quoted(text))) };
        match text {
            Ok(_) if essence == "application/x-www-form-urlencoded" && body.len() / 3 <= max_event_bytes => {
                Self { is_form: true, ..of(value_of(form(body))) }
            }
            Ok(text) if text.trim().is_empty() => of(value_of("{}".into())),
            Ok(text) => as_json(text, &essence).map_or_else(|| other(text), |json| of(Cow::Borrowed(json))),
            Err(_) => {
                let is_binary =
                    !essence.is_empty() && !essence.starts_with("text/") && essence != "application/json";
                let media_type = if is_binary { media_type } else { "application/octet-stream" };
                let json = value_of(quoted(&BASE64_STANDARD.encode(body)));
                Self { media_type: Some(media_type.to_owned()), ..of(json) }
            }
        }
    }
}

/// A text as JSON, if it is, also where it is too deep for an event: its id is still found. A plain text is JSON only if
/// nobody would write it otherwise.
fn as_json<'t>(text: &'t str, media_type: &str) -> Option<&'t RawValue> {
    let may_be = !media_type.starts_with("text/") || text.trim_start().starts_with(['{', '[']);
    may_be.then(|| serde_json::from_str(text).ok()).flatten()
}

/// A JSON text that was made here.
fn value_of(json: String) -> Cow<'static, RawValue> {
    Cow::Owned(RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned()))
}

/// The fields of a form as an object: a name that is there once has a string, another an array.
fn form(body: &[u8]) -> String {
    let mut fields = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in form_urlencoded::parse(body) {
        fields.entry(name).or_default().push(quoted(&value));
    }
    let member = |(name, values): (&Cow<'_, str>, &Vec<String>)| match values.as_slice() {
        [value] => format!("{}:{value}", quoted(name)),
        values => format!("{}:[{}]", quoted(name), values.join(",")),
    };
    format!("{{{}}}", fields.iter().map(member).collect::<Vec<_>>().join(","))
}

/// A text as a JSON string.
fn quoted(text: &str) -> String {
    // A string cannot fail to become JSON.
    serde_json::to_string(text).unwrap_or_default()
}

/// One event of a delivery.
struct Item<'i, 'd> {
    delivery: &'i Delivery<'d>,
    document: Document<'i>,
    /// True if the delivery has others beside it.
    is_part: bool,
    r#type: Option<String>,
}

impl Values for Item<'_, '_> {
    fn get(&self, value: &Value) -> Option<Cow<'_, [u8]>> {
        match value {
            Value::Json(pointer) => self.document.find(pointer).and_then(scalar).map(bytes),
            Value::Type => self.r#type.as_deref().map(|text| text.as_bytes().into()),
            Value::Sha256 if self.is_part => {
                Some(sha256(self.document.value().get().as_bytes()).into_bytes().into())
            }
            value => self.delivery.get(value),
        }
    }
}

impl Item<'_, '_> {
    fn into_event(mut self, layout: &Layout, content: &Content<'_>) -> Result<NewEvent, FieldErrors> {
        let receiver = self.delivery.receiver;
        let mapping = &receiver.mapping;
        self.r#type =
            mapping.r#type.as_ref().and_then(|template| template.text(&self)).filter(|text| !text.is_empty());
        let Some(event_id) = mapping.event_id.text(&self).and_then(event_id) else {
            let message =
                format!("is not where receiver {} looks for it: {}", receiver.name, mapping.event_id);
            return Err(vec![("event_id".into(), message)]);
        };
        let optional = |template: &Option<Template>| template.as_ref()?.text(&self);
        let timestamp = optional(&mapping.timestamp).and_then(|text| moment(&text));
        let source = optional(&mapping.source).filter(|text| !text.is_empty());
        Ok(NewEvent {
            topic: self.topic(receiver)?,
            event_id,
            timestamp,
            source: source.and_then(|text| Source::parse(text).ok()),
            payload: self.payload(layout, receiver),
            attributes: receiver.attributes(self.delivery.headers, content),
        })
    }

    /// The topic, or the receiver's name where the template makes none that an event may have.
    fn topic(&self, receiver: &Receiver) -> Result<Topic, FieldErrors> {
        let filled = receiver.mapping.topic.text(self).and_then(|text| Topic::parse(text).ok());
        let topic = filled.map_or_else(|| Topic::parse(&receiver.name), Ok);
        topic.map_err(|error| vec![("topic".into(), error.to_string())])
    }

    /// The payload, which is compared with that of a redelivery without what changes from one to the next.
    fn payload(&self, layout: &Layout, receiver: &Receiver) -> Payload {
        let inner = layout.payload.as_ref().and_then(|place| self.document.find(place)).map(Document::new);
        let document = inner.as_ref().unwrap_or(&self.document);
        let mut payload = payload_of(document.value());
        if !receiver.mapping.volatile.is_empty() {
            let stable = document.without(&receiver.mapping.volatile);
            // What is too deep, or has half a character, is compared as a text, without the rest.
            let compared = payload.compare_as(&stable);
            _ = compared.or_else(|_| payload.compare_as(&quoted(&stable)));
        }
        payload
    }
}

/// A value as a payload, or its text if no event may have it: because it is too deep, or has half a character.
fn payload_of(value: &RawValue) -> Payload {
    Payload::new(value, 0).unwrap_or_else(|_| text_payload(value.get()))
}

/// A text as a payload.
fn text_payload(text: &str) -> Payload {
    let quoted = quoted(text);
    let raw = serde_json::from_str::<&RawValue>(&quoted).ok();
    raw.and_then(|raw| Payload::new(raw, 0).ok()).unwrap_or_else(Payload::empty)
}

/// An id, or the hash of one that no event may have, because it is too long or has control characters. An empty one is
/// none: many events would have it.
fn event_id(text: String) -> Option<EventId> {
    if text.trim().is_empty() {
        return None;
    }
    let hash = || format!("sha256:{}", sha256(text.as_bytes()));
    EventId::parse(text.as_str()).or_else(|_| EventId::parse(hash())).ok()
}

/// A moment by RFC 3339 or ISO 8601, or a number since 1970 whose magnitude tells its unit: seconds, milliseconds or
/// microseconds.
fn moment(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number =
        !whole.is_empty() && (whole.to_owned() + fraction).bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Timestamp::parse(text).ok();
    }
    let number: i64 = whole.parse().ok()?;
    let per_second = match number {
        ..100_000_000_000 => 1,
        100_000_000_000..100_000_000_000_000 => 1_000,
        _ => 1_000_000,
    };
    let nanos_of_unit = 1_000_000_000 / per_second;
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let beyond: i64 = digits.parse().ok()?;
    let nanos = number % per_second * nanos_of_unit + beyond / per_second;
    Timestamp::of_unix(number / per_second, nanos.try_into().ok()?)
}

impl Receiver {
    /// The headers that are kept, and the media type of what is no JSON, as an object of attributes. That of a form is kept
    /// as a header: the payload is JSON, and whoever sends it on has to know what it was. A header that is a secret is none:
    /// whoever may read events could deliver with it.
    fn attributes(&self, headers: &HeaderMap, content: &Content<'_>) -> Option<String> {
        let mut members = Vec::new();
        if let Some(media_type) = content.media_type.as_ref().filter(|media_type| !media_type.is_empty()) {
            members.push(format!("\"datacontenttype\":{}", quoted(media_type)));
        }
        let is_secret = |name: &str| {
            let verification = self.verification.as_ref();
            name == "authorization" || verification.is_some_and(|verification| verification.is_secret(name))
        };
        let is_kept = |name: &str| {
            let is_named = |kept: &String| match kept.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == kept,
            };
            let is_of_form = content.is_form && name == header::CONTENT_TYPE;
            !is_secret(name) && (is_of_form || self.mapping.headers.iter().any(is_named))
        };
        let kept = headers.keys().filter(|name| is_kept(name.as_str()));
        let kept = kept.map(|name| {
            // Several values are one list (RFC 9110, section 5.3).
            let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            format!("{}:{}", quoted(name.as_str()), quoted(&values.collect::<Vec<_>>().join(", ")))
        });
        let kept: Vec<_> = kept.collect();
        if !kept.is_empty() {
            members.push(format!("\"headers\":{{{}}}", kept.join(",")));
        }
        (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
    }
}
