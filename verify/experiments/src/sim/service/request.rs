//! Requests to publish, in every format.

use fastrand::Rng;
use serde_json::{Value, json};

/// Idempotency keys. They are few, so that many requests have the same.
pub const KEYS: [&str; 9] = ["1", "2", "3", "4", "5", "a", "b", "c", "d"];

/// An event of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its topic.
    pub topic: &'static str,
    /// Its name, which is unique among all topics.
    pub name: String,
    /// Its payload.
    pub payload: u32,
    /// False if it lacks its id.
    pub is_valid: bool,
}

/// The format of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One event as JSON.
    Single,
    /// An array of events.
    Array,
    /// An event a line.
    Lines,
    /// A CloudEvent as JSON.
    Structured,
    /// An array of CloudEvents.
    Batch,
    /// A CloudEvent whose attributes are headers.
    Binary,
}

impl Format {
    const ALL: [Self; 6] =
        [Self::Single, Self::Array, Self::Lines, Self::Structured, Self::Batch, Self::Binary];

    fn is_of_one(self) -> bool {
        matches!(self, Self::Single | Self::Structured | Self::Binary)
    }

    fn is_cloud_event(self) -> bool {
        matches!(self, Self::Structured | Self::Batch | Self::Binary)
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Single | Self::Array | Self::Binary => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Structured => "application/cloudevents+json",
            Self::Batch => "application/cloudevents-batch+json",
        }
    }
}

/// A request. Two are equal if the service gets the same from both.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its format.
    pub format: Format,
    /// Its events.
    pub events: Vec<Event>,
    /// The value of an attribute that binary CloudEvents have besides.
    pub note: u32,
    /// True if its body is no JSON.
    pub is_malformed: bool,
    /// True if the valid events are to be stored although others are invalid.
    pub partial: bool,
    /// The preferred detail of the answer.
    pub prefer: Option<&'static str>,
}

impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        let meaning = |request: &Self| (request.partial, request.headers(None), request.body());
        meaning(self) == meaning(other)
    }
}

impl Request {
    /// Draws a request. A few have more events than one statement carries.
    pub fn draw(random: &mut Rng, number: usize) -> Self {
        let format = random.choice(Format::ALL).unwrap_or(Format::Single);
        let is_big = !format.is_of_one() && random.u32(..50) == 0;
        let count = match format {
            _ if format.is_of_one() => 1,
            _ if is_big => 4200,
            _ => random.usize(..6),
        };
        let event = |place: usize| {
            let topic = random.choice(["t", "u"]).unwrap_or_default();
            let id = random.u32(..30);
            Event {
                topic,
                name: if is_big { format!("{number}-{place}") } else { format!("{topic}{id}") },
                payload: random.u32(..2),
                is_valid: random.u32(..if is_big { 4000 } else { 15 }) != 0,
            }
        };
        let events = (0..count).map(event).collect();
        Self {
            format,
            events,
            note: 0,
            is_malformed: random.u32(..30) == 0,
            partial: random.u32(..4) == 0,
            prefer: random
                .choice([None, None, Some("return=minimal"), Some("return=representation")])
                .flatten(),
        }
    }

    /// The same request, but for one thing.
    pub fn changed(&self, random: &mut Rng) -> Self {
        let mut other = self.clone();
        match random.u32(..6) {
            0 => other.partial = !self.partial,
            1 => other.prefer = random.choice([None, Some("return=minimal")]).flatten(),
            // Headers alone: the body stays as it is.
            2 if self.format == Format::Binary => other.note += 1,
            _ if self.format == Format::Binary => {
                if let Some(event) = other.events.first_mut() {
                    event.name = format!("{}{}", event.topic, random.u32(..30));
                }
            }
            3 => other.is_malformed = !self.is_malformed,
            _ => {
                if let Some(event) = other.events.last_mut() {
                    event.payload += 1;
                }
            }
        }
        other
    }

    /// True if the whole request is refused because its body is malformed. In part, a malformed line is one line.
    pub fn is_unreadable(&self) -> bool {
        self.is_malformed && !(self.partial && self.format == Format::Lines)
    }

    /// The number of events that a receipt counts.
    pub fn received(&self) -> usize {
        self.events.len() + usize::from(self.is_malformed)
    }

    /// The id that an event is stored under.
    pub fn event_id(&self, event: &Event) -> String {
        if self.format.is_cloud_event() { format!("/s#{}", event.name) } else { event.name.clone() }
    }

    /// The target of the request, in one of the spellings that mean the same.
    pub fn target(&self, random: &mut Rng) -> &'static str {
        match self.partial {
            true => "/publish?partial=true",
            false => random.choice(["/publish", "/publish?partial=false"]).unwrap_or_default(),
        }
    }

    /// The headers of the request.
    pub fn headers(&self, key: Option<&str>) -> Vec<(&'static str, String)> {
        let mut headers = vec![("content-type", self.format.content_type().to_owned())];
        headers.extend(key.map(|key| ("idempotency-key", key.to_owned())));
        headers.extend(self.prefer.map(|prefer| ("prefer", prefer.to_owned())));
        if let (Format::Binary, Some(event)) = (self.format, self.events.first()) {
            headers.push(("ce-specversion", "1.0".into()));
            headers.push(("ce-source", "/s".into()));
            headers.push(("ce-type", event.topic.into()));
            headers.push(("ce-note", self.note.to_string()));
            if event.is_valid {
                headers.push(("ce-id", event.name.clone()));
            }
        }
        headers
    }

    /// The body of the request.
    pub fn body(&self) -> String {
        let values: Vec<_> = self.events.iter().map(|event| self.value(event)).collect();
        let first = values.first().map(Value::to_string).unwrap_or_default();
        let mut body = match self.format {
            Format::Single | Format::Structured => first,
            Format::Array | Format::Batch => Value::from(values).to_string(),
            Format::Lines => values.iter().map(|value| format!("{value}\n")).collect(),
            Format::Binary => self.events.first().map_or(0, |event| event.payload).to_string(),
        };
        if self.is_malformed {
            body.push('{');
        }
        body
    }

    fn value(&self, event: &Event) -> Value {
        let Event { topic, name, payload, is_valid } = event;
        let (mut value, id) = if self.format.is_cloud_event() {
            (json!({"specversion": "1.0", "type": topic, "source": "/s", "id": name, "data": payload}), "id")
        } else {
            (json!({"topic": topic, "event_id": name, "payload": payload}), "event_id")
        };
        if let (false, Some(fields)) = (is_valid, value.as_object_mut()) {
            fields.remove(id);
        }
        value
    }
}
