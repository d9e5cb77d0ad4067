//! From the bytes of a request to valid events, or to all that is wrong with them.

pub mod cloudevents;
pub mod inflate;
pub mod json;
pub mod ndjson;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::event::{InvalidField, NewEvent};
use crate::payload;
use crate::settings::Limits;

/// How many errors an answer lists; it says how many there were besides.
const MAX_LISTED_ERRORS: usize = 100;

/// What every reader of a format needs to know beside the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// How much is taken.
    pub limits: Limits,
    /// Whether valid events are taken without those that are not.
    pub partial: bool,
}

/// What a request brought.
#[derive(Debug, Default)]
pub struct Ingested {
    /// Its valid events, in the order of the request.
    pub events: Vec<NewEvent>,
    /// The position of each of them in the request, from 0.
    pub indexes: Vec<usize>,
    /// What is wrong with the others; nothing unless the request may be taken in part.
    pub rejected: Invalid,
}

/// Why nothing of a request is stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The body is not what its content type says, and where it stops being so.
    #[error("{0}")]
    Malformed(String),
    /// The body holds events that break a rule.
    #[error("{} of the events are invalid", .0.events)]
    Invalid(Invalid),
    /// The body holds more events than a request may.
    #[error("more than {limit} events")]
    TooManyEvents {
        /// The limit that was passed.
        limit: usize,
    },
    /// One event stores more than an event may.
    #[error("event {index} has {bytes} bytes")]
    EventTooLarge {
        /// Its position in the request, from 0.
        index: usize,
        /// Bytes of its topic, event id, source and payload.
        bytes: usize,
        /// The limit that was passed.
        limit: usize,
    },
}

/// What breaks a rule in a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Invalid {
    /// The first hundred errors, in the order of the request.
    pub listed: Vec<EventError>,
    /// How many errors there were.
    pub errors: usize,
    /// How many events have one.
    pub events: usize,
}

/// One broken rule.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct EventError {
    /// Position of the event in the request, from 0.
    pub index: usize,
    /// The field at fault; empty when the event as a whole is.
    pub field: &'static str,
    /// What the rule says.
    pub message: String,
}

/// Gathers the events of a request, or what is wrong with them.
struct Collector<'c> {
    context: &'c Context,
    ingested: Ingested,
    seen: usize,
}

impl<'c> Collector<'c> {
    fn new(context: &'c Context) -> Self {
        Self { context, ingested: Ingested::default(), seen: 0 }
    }

    /// Judges one more event, whose fields stand inside `depth` arrays and objects.
    fn take<'de>(&mut self, candidate: impl Candidate<'de>, depth: usize) -> Result<(), IngestError> {
        let index = self.next_index()?;
        let judged = candidate
            .judge(depth)
            .map_err(|error| IngestError::Malformed(format!("event {index}: {error}")))?;
        match judged {
            Ok(event) => self.accept(index, event),
            Err(errors) => {
                self.reject(index, errors);
                Ok(())
            }
        }
    }

    /// Counts one more event and says at which position it stands.
    fn next_index(&mut self) -> Result<usize, IngestError> {
        let limit = self.context.limits.max_batch_events;
        if self.seen == limit {
            return Err(IngestError::TooManyEvents { limit });
        }
        self.seen += 1;
        Ok(self.seen - 1)
    }

    fn accept(&mut self, index: usize, event: NewEvent) -> Result<(), IngestError> {
        let bytes = event.stored_bytes();
        let limit = self.context.limits.max_event_bytes;
        if bytes > limit {
            if !self.context.partial {
                return Err(IngestError::EventTooLarge { index, bytes, limit });
            }
            let message =
                format!("an event may have max_event_bytes, which is {limit}, and this has {bytes}");
            self.reject(index, vec![("", message)]);
            return Ok(());
        }
        self.ingested.events.push(event);
        self.ingested.indexes.push(index);
        Ok(())
    }

    fn reject(&mut self, index: usize, errors: FieldErrors) {
        let invalid = &mut self.ingested.rejected;
        invalid.events += 1;
        invalid.errors += errors.len();
        let room = MAX_LISTED_ERRORS - invalid.listed.len();
        let named = |(field, message)| EventError { index, field, message };
        invalid.listed.extend(errors.into_iter().take(room).map(named));
    }

    /// All events if all of them are valid, or the valid ones where they may be taken alone.
    fn finish(self) -> Result<Ingested, IngestError> {
        if self.ingested.rejected.events > 0 && !self.context.partial {
            return Err(IngestError::Invalid(self.ingested.rejected));
        }
        Ok(self.ingested)
    }
}

/// What stands where an event should.
trait Candidate<'de>: serde::Deserialize<'de> {
    /// The event, or all that is wrong with it; its fields stand inside `depth` arrays and objects.
    fn judge(self, depth: usize) -> Result<Result<NewEvent, FieldErrors>, payload::Malformed>;
}

/// What is wrong with an event: the fields and the rules they break.
type FieldErrors = Vec<(&'static str, String)>;

/// The text of a body that has to be UTF-8.
fn utf8(body: &[u8]) -> Result<&str, IngestError> {
    std::str::from_utf8(body)
        .map_err(|error| IngestError::Malformed(format!("invalid UTF-8 at byte {}", error.valid_up_to())))
}

fn required<'de, T>(
    field: &'static str,
    raw: Option<&'de RawValue>,
    depth: usize,
    parse: impl Fn(Cow<'de, str>) -> Result<T, InvalidField>,
    errors: &mut FieldErrors,
) -> Result<Option<T>, payload::Malformed> {
    let Some(raw) = raw else {
        errors.push((field, "is required".into()));
        return Ok(None);
    };
    let parsed = match string(raw, depth)? {
        Ok(text) => parse(text).map_err(|error| error.to_string()),
        Err(kind) => Err(format!("must be a string, not {kind}")),
    };
    Ok(parsed.map_err(|message| errors.push((field, message))).ok())
}

/// Like [`required`], but neither a missing field nor a null is an error.
fn optional<'de, T>(
    field: &'static str,
    raw: Option<&'de RawValue>,
    depth: usize,
    parse: impl Fn(Cow<'de, str>) -> Result<T, InvalidField>,
    errors: &mut FieldErrors,
) -> Result<Option<T>, payload::Malformed> {
    match raw {
        Some(raw) if raw.get() != "null" => required(field, Some(raw), depth, parse, errors),
        _ => Ok(None),
    }
}

/// The text of a JSON string, or the name of what stands there instead.
fn string(raw: &RawValue, depth: usize) -> Result<Result<Cow<'_, str>, &'static str>, payload::Malformed> {
    let json = raw.get();
    let kind = match json.as_bytes()[0] {
        b'"' if !json.contains('\\') => return Ok(Ok(Cow::Borrowed(&json[1..json.len() - 1]))),
        // The grammar holds already, so a lone surrogate is all that can be wrong.
        b'"' => {
            let text = serde_json::from_str(json).map_err(|_| payload::Malformed::LoneSurrogate)?;
            return Ok(Ok(Cow::Owned(text)));
        }
        b'{' => "an object",
        b'[' => "an array",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        _ => "a number",
    };
    payload::check(raw, depth)?;
    Ok(Err(kind))
}
