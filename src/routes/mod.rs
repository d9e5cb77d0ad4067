//! One file a resource: read the request, call the domain, render the answer.

pub mod events;
pub mod health;
pub mod publish;
pub mod stats;

/// The media type of most answers.
const JSON: &str = "application/json";
