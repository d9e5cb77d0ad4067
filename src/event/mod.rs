//! An event: parsed at the edge, and valid by construction. Deeper functions accept nothing rawer.

mod name;
mod pattern;
mod timestamp;

pub use self::name::{EventId, InvalidField, MAX_NAME_BYTES, Source, Topic};
pub use self::pattern::TopicPattern;
pub use self::timestamp::Timestamp;

use crate::payload::Payload;

/// An event as a producer delivered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// First half of the identity.
    pub topic: Topic,
    /// Second half of the identity: unique within the topic.
    pub event_id: EventId,
    /// Its moment. Without one, the time of receipt stands in.
    pub timestamp: Option<Timestamp>,
    /// Its sender.
    pub source: Option<Source>,
    /// Its content.
    pub payload: Payload,
    /// A JSON object of the other attributes of a CloudEvent.
    pub attributes: Option<String>,
}

impl NewEvent {
    /// Bytes of topic, event id, source, payload and attributes.
    pub fn stored_bytes(&self) -> usize {
        let source = self.source.as_ref().map_or(0, |source| source.as_str().len());
        let attributes = self.attributes.as_ref().map_or(0, String::len);
        self.topic.as_str().len()
            + self.event_id.as_str().len()
            + source
            + self.payload.as_json().len()
            + attributes
    }
}
