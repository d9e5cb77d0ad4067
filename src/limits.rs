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

/// Bytes of request bodies that an instance holds at once. It bounds `max_body_bytes`, too.
pub const BODIES_BYTES: usize = 64 << 20;

/// Answers that an instance streams at once. Each holds two pages.
pub const STREAMS: usize = 32;

/// Followers that an instance serves at once. Each holds a small page at most, and shares it with others.
pub const FOLLOWERS: usize = 512;
