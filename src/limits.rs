//! Limits that an operator sets, and bounds that keep the memory of an instance finite.

/// The largest requests that are accepted. Each limit is an application variable of the same name.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's body, after inflation, too.
    pub max_body_bytes: usize,
    /// Events of a request.
    pub max_batch_events: usize,
    /// Bytes of a body of logs, after inflation, too: shippers drop what is refused for its size.
    pub max_otlp_bytes: usize,
    /// Bytes that one event stores: topic, event id, source, payload and attributes.
    pub max_event_bytes: usize,
}

/// The most bytes of a body, and the variable that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit {
    /// The name of the variable.
    pub variable: &'static str,
    /// Its value.
    pub bytes: usize,
}

impl Limits {
    /// For most bodies.
    pub fn body(&self) -> BodyLimit {
        BodyLimit { variable: "max_body_bytes", bytes: self.max_body_bytes }
    }

    /// For those of shippers of logs.
    pub fn shipment(&self) -> BodyLimit {
        BodyLimit { variable: "max_otlp_bytes", bytes: self.max_otlp_bytes }
    }
}

/// Bytes that all events of a request hold in memory, at most. An instance has four times as much.
pub const REQUEST_BYTES: usize = 256 << 20;

/// Bytes that an event holds beside what it stores, about, and that are held for one that is refused.
pub const EVENT_BYTES: usize = 256;

/// Bytes of request bodies that an instance holds at once. A body counts until its answer is sent. It bounds
/// `max_body_bytes`, too.
pub const BODIES_BYTES: usize = 64 << 20;

/// Bytes of whole answers that an instance holds at once until their clients have read them. Small answers, such as
/// most, are not counted.
pub const ANSWERS_BYTES: usize = 64 << 20;

/// The size from which an answer is large: it is counted, and its client has to read it in time. The host takes a
/// smaller one at once, whatever its client does.
pub const LARGE_ANSWER_BYTES: usize = 64 << 10;

/// Answers that an instance streams at once. Each holds two pages.
pub const STREAMS: usize = 32;

/// Followers that an instance serves at once. Each holds a small page at most, and shares it with others.
pub const FOLLOWERS: usize = 512;
