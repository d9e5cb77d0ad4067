//! Gathers the valid events of a request, or all errors in it. Every format hands its events to a [`Collector`].

use std::borrow::Cow;

use serde::Serialize;

use crate::event::NewEvent;
use crate::limits::{EVENT_BYTES, Limits, REQUEST_BYTES};
use crate::payload;

/// Errors that an answer lists. It also says how many there were.
pub(super) const MAX_LISTED_ERRORS: usize = 100;

/// The conditions under which a body is read.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The limits of a request.
    pub limits: Limits,
    /// True if the valid events are taken although others are invalid.
    pub partial: bool,
    /// The treatment of fields that no event has.
    pub unknown_fields: UnknownFields,
}

/// The treatment of fields that no event has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// They are ignored, and the answer names them.
    #[default]
    Ignored,
    /// An event with one is invalid.
    Refused,
}

/// The events of a request.
#[derive(Debug, Default)]
pub struct Ingested {
    /// Its valid events, in the order of the request.
    pub events: Vec<NewEvent>,
    /// The position of each of them in the request, from 0.
    pub indexes: Vec<usize>,
    /// The errors of the others; empty unless the request may be taken in part.
    pub rejected: Invalid,
    /// The names of fields that were ignored, each once, at most `MAX_IGNORED` of them.
    pub ignored: Vec<String>,
}

/// Names of ignored fields that an answer tells, and the bytes of each.
const MAX_IGNORED: usize = 16;
const MAX_IGNORED_BYTES: usize = 64;

impl Ingested {
    /// The same without the events that break one more rule, which only the store knows. `message` is a phrase that
    /// follows the name of the field.
    ///
    /// # Errors
    /// [`IngestError::Invalid`] with those events, unless the request may be taken in part.
    pub fn refuse(
        self,
        context: &Context,
        is_refused: impl Fn(&NewEvent) -> bool,
        field: &'static str,
        message: &str,
    ) -> Result<Self, IngestError> {
        let judged = self.events.into_iter().zip(self.indexes);
        let (refused, taken): (Vec<_>, Vec<_>) = judged.partition(|(event, _)| is_refused(event));
        let (events, indexes) = taken.into_iter().unzip();
        let mut rejected = self.rejected;
        rejected.errors += refused.len();
        rejected.events += refused.len();
        let errors = refused.iter().map(|(_, index)| EventError {
            index: *index,
            field: field.into(),
            message: message.into(),
        });
        rejected.listed.extend(errors.take(MAX_LISTED_ERRORS));
        rejected.listed.sort_by_key(|error| error.index);
        rejected.listed.truncate(MAX_LISTED_ERRORS);
        if context.partial {
            Ok(Self { events, indexes, rejected, ignored: self.ignored })
        } else {
            Err(IngestError::Invalid(rejected))
        }
    }
}

/// The reason for which nothing of a request is stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The body does not have the format that its content type names. The text says where.
    #[error("{0}")]
    Malformed(String),
    /// Events of the body break a rule.
    #[error("{} of the events are invalid", .0.events)]
    Invalid(Invalid),
    /// All events of the body together hold more memory than those of a request may: a few bytes of it can be repeated in
    /// each.
    #[error("the events hold more than {limit} bytes")]
    TooLargeTogether {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// The body has more events than a request may have.
    #[error("more than {limit} events")]
    TooManyEvents {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// One event would store more bytes than an event may.
    #[error("event {index} has {bytes} bytes")]
    EventTooLarge {
        /// Its position in the request, from 0.
        index: usize,
        /// Bytes of its topic, event id, source and payload.
        bytes: usize,
        /// The limit that was exceeded.
        limit: usize,
    },
}

/// The broken rules of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Invalid {
    /// The first hundred errors, in the order of the request.
    pub listed: Vec<EventError>,
    /// The number of errors.
    pub errors: usize,
    /// The number of events with an error.
    pub events: usize,
}

/// One broken rule.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct EventError {
    /// Position of the event in the request, from 0.
    pub index: usize,
    /// The field at fault; empty if the event as a whole is.
    pub field: Cow<'static, str>,
    /// The rule, as a phrase that follows the name of the field.
    pub message: String,
}

/// An event, or the rules that it breaks; an error if it is not even well-formed.
pub type Judged = Result<Result<NewEvent, FieldErrors>, payload::Malformed>;

/// The broken rules of an event: field and message.
pub type FieldErrors = Vec<(Cow<'static, str>, String)>;

/// The fields of a request that no event has.
pub struct Unknown {
    fate: UnknownFields,
    names: Vec<String>,
}

impl Unknown {
    /// Notes the name of such a field, of an event whose errors these are.
    pub(super) fn note(&mut self, name: &str, errors: &mut FieldErrors) {
        let name = &name[..name.floor_char_boundary(MAX_IGNORED_BYTES)];
        if self.fate == UnknownFields::Refused {
            let message = "is unknown; known are topic, event_id, timestamp, source and payload";
            errors.push((name.to_owned().into(), message.into()));
        } else if self.names.len() < MAX_IGNORED && !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }
}

/// Gathers the events of a request, or their errors.
pub struct Collector<'c> {
    context: &'c Context,
    ingested: Ingested,
    unknown: Unknown,
    seen: usize,
    /// The memory that all of it holds, about.
    bytes: usize,
}

impl<'c> Collector<'c> {
    /// A collector of no events yet.
    pub fn new(context: &'c Context) -> Self {
        let unknown = Unknown { fate: context.unknown_fields, names: Vec::new() };
        Self { context, ingested: Ingested::default(), unknown, seen: 0, bytes: 0 }
    }

    /// Counts one more event, has it judged and takes it.
    pub fn take(&mut self, judge: impl FnOnce(&mut Unknown) -> Judged) -> Result<(), IngestError> {
        let index = self.next_index()?;
        let judged = judge(&mut self.unknown);
        let judged = judged.map_err(|error| IngestError::Malformed(format!("event {index}: {error}")))?;
        match judged {
            Ok(event) => self.accept(index, event),
            Err(errors) => {
                self.reject(index, errors);
                Ok(())
            }
        }
    }

    /// The events seen so far.
    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    /// Counts one more event and returns its position.
    pub(super) fn next_index(&mut self) -> Result<usize, IngestError> {
        let limit = self.context.limits.max_batch_events;
        if self.seen == limit {
            return Err(IngestError::TooManyEvents { limit });
        }
        self.seen += 1;
        self.hold(EVENT_BYTES)?;
        Ok(self.seen - 1)
    }

    fn hold(&mut self, bytes: usize) -> Result<(), IngestError> {
        self.bytes += bytes;
        match self.bytes > REQUEST_BYTES {
            true => Err(IngestError::TooLargeTogether { limit: REQUEST_BYTES }),
            false => Ok(()),
        }
    }

    fn accept(&mut self, index: usize, event: NewEvent) -> Result<(), IngestError> {
        let bytes = event.stored_bytes();
        let limit = self.context.limits.max_event_bytes;
        if bytes > limit {
            if !self.context.partial {
                return Err(IngestError::EventTooLarge { index, bytes, limit });
            }
            let message = format!("exceeds the limit max_event_bytes of {limit} with {bytes} bytes");
            self.reject(index, vec![("".into(), message)]);
            return Ok(());
        }
        self.hold(bytes)?;
        self.ingested.events.push(event);
        self.ingested.indexes.push(index);
        Ok(())
    }

    /// Notes the errors of an event.
    pub(super) fn reject(&mut self, index: usize, errors: FieldErrors) {
        let invalid = &mut self.ingested.rejected;
        invalid.events += 1;
        invalid.errors += errors.len();
        let room = MAX_LISTED_ERRORS - invalid.listed.len();
        let named = |(field, message)| EventError { index, field, message };
        invalid.listed.extend(errors.into_iter().take(room).map(named));
    }

    /// All events if all are valid, or the valid ones if the request may be taken in part.
    pub fn finish(self) -> Result<Ingested, IngestError> {
        if self.ingested.rejected.events > 0 && !self.context.partial {
            return Err(IngestError::Invalid(self.ingested.rejected));
        }
        Ok(Ingested { ignored: self.unknown.names, ..self.ingested })
    }
}

impl From<serde_json::Error> for IngestError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// The text of a body that has to be UTF-8.
pub(super) fn utf8(body: &[u8]) -> Result<&str, IngestError> {
    std::str::from_utf8(body).map_err(|error| {
        IngestError::Malformed(match body {
            [0x1f, 0x8b, ..] => "the body is gzip: send it with content-encoding: gzip".into(),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the body is UTF-16, and has to be UTF-8".into(),
            _ => format!("invalid UTF-8 at byte {}", error.valid_up_to()),
        })
    })
}

/// A body without the byte order mark that it may begin with (RFC 8259, section 8.1, lets parsers ignore it).
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}
