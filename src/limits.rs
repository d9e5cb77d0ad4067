//! Limits that an operator sets, and bounds that keep the memory of an instance finite.

/// The largest requests that are accepted. Each limit is an application variable of the same name.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's body, after inflation, too.
    pub max_body_bytes: usize,
    /// Events of a request.
    pub max_batch_events: usize,
    /// Bytes that one event stores: topic, event id, source, payload and attributes.
    pub max_event_bytes: usize,
}

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
