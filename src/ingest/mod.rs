//! From the bytes of a request to valid events, or to all that is wrong with them.

pub mod json;

use serde::Serialize;

use crate::event::{NewEvent, Timestamp};
use crate::settings::Limits;

/// How many errors an answer lists; it says how many there were besides.
const MAX_LISTED_ERRORS: usize = 100;

/// What every reader of a format needs to know beside the bytes.
#[derive(Debug)]
pub struct Context {
    /// How much is taken.
    pub limits: Limits,
    /// When the request arrived.
    pub received_at: Timestamp,
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
    events: Vec<NewEvent>,
    invalid: Invalid,
    seen: usize,
}

impl<'c> Collector<'c> {
    fn new(context: &'c Context) -> Self {
        Self { context, events: Vec::new(), invalid: Invalid::default(), seen: 0 }
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
            return Err(IngestError::EventTooLarge { index, bytes, limit });
        }
        self.events.push(event);
        Ok(())
    }

    fn reject(&mut self, errors: Vec<EventError>) {
        self.invalid.events += 1;
        self.invalid.errors += errors.len();
        let room = MAX_LISTED_ERRORS - self.invalid.listed.len();
        self.invalid.listed.extend(errors.into_iter().take(room));
    }

    /// All events, if all of them are valid.
    fn finish(self) -> Result<Vec<NewEvent>, IngestError> {
        if self.invalid.events > 0 {
            return Err(IngestError::Invalid(self.invalid));
        }
        Ok(self.events)
    }
}
