//! The message of an event: its body, and the headers that describe it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::ValueEnum;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sekali_common::consumers::ClaimedEvent;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::ledger::Parcel;

/// The part of an event that is sent, and its form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Its payload, as it was published
    #[default]
    Payload,
    /// All of it, as GET /events shows it
    Event,
    /// A CloudEvent 1.0: attributes in headers, the payload as body (a batch has them in the body)
    Cloudevent,
}

/// A body and its headers.
pub struct Message {
    /// The same on each copy.
    pub id: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Form {
    /// One event.
    pub fn one(self, event: &ClaimedEvent) -> Message {
        let mut message = Message { id: id(&[event.seq]), headers: HeaderMap::new(), body: Vec::new() };
        match self {
            Self::Payload => message.set_payload(event),
            Self::Event => message.set_json(event),
            Self::Cloudevent => {
                message.set_payload(event);
                for (name, value) in cloudevent(event) {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    message.set(&format!("ce-{name}"), &escaped(&value));
                }
            }
        }
        message.set("sekali-topic", &escaped(&event.topic));
        message.set("sekali-event-id", &escaped(&event.event_id));
        message.set("sekali-attempt", &event.attempt.to_string());
        message
    }

    /// One event as a line of JSON.
    pub fn line(self, event: &ClaimedEvent) -> String {
        match self {
            Self::Payload => event.payload.get().to_owned(),
            Self::Event => serde_json::to_string(event).unwrap_or_default(),
            Self::Cloudevent => structured(event).to_string(),
        }
    }

    /// Events as a JSON array.
    pub fn many(self, parcel: &Parcel) -> Message {
        let mut message = Message { id: id(&parcel.seqs()), headers: HeaderMap::new(), body: Vec::new() };
        let events = parcel.events.iter();
        match self {
            Self::Payload => message.set_json(&events.map(|event| &event.payload).collect::<Vec<_>>()),
            Self::Event => message.set_json(&events.map(AsRef::as_ref).collect::<Vec<&ClaimedEvent>>()),
            Self::Cloudevent => {
                message.set_json(&events.map(|event| structured(event)).collect::<Vec<_>>());
                message.set(CONTENT_TYPE.as_str(), "application/cloudevents-batch+json");
            }
        }
        message
    }
}

impl Message {
    /// Sets a header. One that no request may have is left out.
    pub fn set(&mut self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            self.headers.insert(name, value);
        }
    }

    /// The payload: JSON, or the text or bytes that a receiver or a CloudEvent brought, with their media type.
    fn set_payload(&mut self, event: &ClaimedEvent) {
        let attributes = attributes(event);
        let media_type = attributes.get("datacontenttype").and_then(Value::as_str).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_json = essence.is_empty() || essence.ends_with("/json") || essence.ends_with("+json");
        match serde_json::from_str::<String>(event.payload.get()) {
            Ok(text) if !is_json => {
                let is_text = essence.starts_with("text/");
                let bytes = BASE64_STANDARD.decode(&text).ok().filter(|_| !is_text);
                self.body = bytes.unwrap_or_else(|| text.into_bytes());
                self.set(CONTENT_TYPE.as_str(), media_type);
            }
            _ => self.set_json(&event.payload),
        }
    }

    fn set_json(&mut self, value: &impl serde::Serialize) {
        // What came as JSON cannot fail to become JSON.
        self.body = serde_json::to_vec(value).unwrap_or_default();
        self.set(CONTENT_TYPE.as_str(), "application/json");
    }
}

/// The id of a message: of one event by its seq; of several by a hash, as others may lie between the first and the last.
fn id(seqs: &[u64]) -> String {
    let [seq] = seqs else {
        let text = seqs.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let hash: String = Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        return format!("evt_{hash}");
    };
    format!("evt_{seq}")
}

/// The attributes of an event: of a CloudEvent, and what a receiver kept.
pub fn attributes(event: &ClaimedEvent) -> Map<String, Value> {
    let text = event.attributes.as_ref().map(|attributes| attributes.get());
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The attributes of an event as a CloudEvent. Of one that came as such they are what they were. Of another, source and id
/// together are the path of the event in the service: no two have the same.
fn cloudevent(event: &ClaimedEvent) -> Map<String, Value> {
    let mut all = attributes(event);
    let was_one = all.contains_key("specversion");
    all.retain(|name, _| !["headers", "datacontenttype"].contains(&name.as_str()));
    let producer = event.source.as_deref().unwrap_or_default();
    let prefix = match producer.contains('#') {
        false => format!("{producer}#"),
        true => format!("#{}#{producer}#", producer.len()),
    };
    let (source, id) = match event.event_id.strip_prefix(&prefix).filter(|_| was_one) {
        Some(id) => (producer.to_owned(), id.to_owned()),
        None => (format!("/events/{}", escaped(&event.topic)), event.event_id.clone()),
    };
    if !was_one && !producer.is_empty() {
        all.insert("producer".into(), producer.into());
    }
    for (name, value) in [
        ("specversion", "1.0"),
        ("type", &event.topic),
        ("source", &source),
        ("id", &id),
        ("time", &event.timestamp),
    ] {
        all.insert(name.into(), value.into());
    }
    all
}

/// An event in the JSON format of CloudEvents.
fn structured(event: &ClaimedEvent) -> Value {
    #[derive(Deserialize)]
    struct Attributes {
        datacontenttype: Option<String>,
    }
    let text = event.attributes.as_ref().map_or("{}", |attributes| attributes.get());
    let kind = serde_json::from_str::<Attributes>(text).ok().and_then(|kept| kept.datacontenttype);
    let mut all = cloudevent(event);
    all.insert("datacontenttype".into(), json!(kind.as_deref().unwrap_or("application/json")));
    all.insert("data".into(), serde_json::from_str(event.payload.get()).unwrap_or_default());
    Value::Object(all)
}

/// A text as the value of a header: what that cannot hold is percent-encoded (HTTP protocol binding of CloudEvents,
/// section 3.1.3.2).
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' => escaped.push_str(&format!("%{byte:02X}")),
            b'!'..=b'~' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
