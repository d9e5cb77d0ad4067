//! The ways in which events are written.

use std::io::Write;

use fastrand::Rng;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::identities::{cloud_id, event_id, payload, source, timestamp, topic};

/// A topic that must never be seen.
const TOPIC_OF_INVALID: &str = "invalid";

/// The form of a body.
#[derive(Clone, Copy)]
pub struct Form {
    /// Its format.
    pub format: Format,
    /// True if it has other white space and another notation of numbers, which makes no conflict.
    is_spaced: bool,
    /// True if it is compressed.
    is_gzip: bool,
}

/// A format of the service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An event in JSON.
    One,
    /// An array of events.
    Array,
    /// An event a line.
    Lines,
    /// A CloudEvent in structured mode.
    CloudOne,
    /// CloudEvents in batch mode.
    CloudBatch,
    /// A CloudEvent in binary mode.
    CloudBinary,
}

const FORMATS: [Format; 6] =
    [Format::One, Format::Array, Format::Lines, Format::CloudOne, Format::CloudBatch, Format::CloudBinary];

/// An event to be written, as identity and payload; `None` for an invalid one.
type Event = Option<(usize, usize)>;

impl Format {
    /// True if a body has exactly one event.
    pub fn is_single(self) -> bool {
        matches!(self, Self::One | Self::CloudOne | Self::CloudBinary)
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::One | Self::Array | Self::CloudBinary => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::CloudOne => "application/cloudevents+json",
            Self::CloudBatch => "application/cloudevents-batch+json",
        }
    }
}

impl Form {
    /// A format, as it is usually written.
    pub fn plain(format: Format) -> Self {
        Self { format, is_spaced: false, is_gzip: false }
    }

    /// A random form.
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            format: FORMATS[rng.usize(..FORMATS.len())],
            is_spaced: rng.u8(..4) == 0,
            is_gzip: rng.u8(..4) == 0,
        }
    }

    /// The headers that tell the form, and in binary mode the event.
    pub fn headers(self, events: &[Event]) -> Vec<(&'static str, String)> {
        let mut headers = vec![("content-type", self.format.content_type().to_owned())];
        if let (Format::CloudBinary, [Some((identity, _))]) = (self.format, events) {
            headers.extend(attributes(*identity));
        }
        if self.is_gzip {
            headers.push(("content-encoding", "gzip".to_owned()));
        }
        headers
    }

    /// The body.
    pub fn body(self, events: &[Event]) -> Vec<u8> {
        let is_cloud = matches!(self.format, Format::CloudOne | Format::CloudBatch);
        let values: Vec<_> = events
            .iter()
            .map(|event| if is_cloud { cloud_event(*event) } else { plain_event(*event) })
            .collect();
        let text: String = match (self.format, events) {
            (Format::CloudBinary, [Some((identity, number))]) => self.text(&payload(*identity, *number)),
            (Format::Lines, _) => values.iter().map(|value| format!("{value}\n")).collect(),
            (Format::Array | Format::CloudBatch, _) => self.text(&Value::Array(values)),
            _ => values.iter().map(|value| self.text(value)).collect(),
        };
        if self.is_gzip { gzip(text.as_bytes()) } else { text.into_bytes() }
    }

    fn text(self, value: &Value) -> String {
        match self.is_spaced {
            true => format!("{value:#}").replace("1.5", "0.15e1"),
            false => value.to_string(),
        }
    }
}

fn plain_event(event: Event) -> Value {
    let Some((identity, number)) = event else { return json!({"topic": TOPIC_OF_INVALID}) };
    json!({
        "topic": topic(identity), "event_id": event_id(identity), "timestamp": timestamp(identity),
        "source": source(identity), "payload": payload(identity, number),
    })
}

fn cloud_event(event: Event) -> Value {
    let Some((identity, number)) = event else {
        return json!({"specversion": "1.0", "type": TOPIC_OF_INVALID});
    };
    json!({
        "specversion": "1.0", "type": topic(identity), "source": source(identity), "id": cloud_id(identity),
        "time": timestamp(identity), "data": payload(identity, number),
    })
}

/// The attributes of a CloudEvent in binary mode.
fn attributes(identity: usize) -> [(&'static str, String); 5] {
    [
        ("ce-specversion", "1.0".into()),
        ("ce-type", encoded(topic(identity))),
        ("ce-source", encoded(source(identity))),
        ("ce-id", encoded(&cloud_id(identity))),
        ("ce-time", timestamp(identity)),
    ]
}

/// A text with each byte percent-encoded that is not a letter, a digit or one of `-._~`: safe in headers, paths and queries.
pub fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => (byte as char).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Bytes, compressed.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail; an empty body would be refused by the service, and be noticed.
    encoder.write_all(body).and_then(|()| encoder.finish()).unwrap_or_default()
}
