//! What is known of providers' webhooks: how each signs, and where its events have their parts. Receivers verify by it,
//! and the forwarder signs by it.

pub mod pointer;
pub mod template;

/// The kinds of receivers, each the preset fields of its receivers: a JSON object of objects.
pub const KINDS: &str = include_str!("kinds.json");
