//! One file a resource: read the request, call the domain, render the answer.

pub mod consumers;
pub mod elastic;
pub mod events;
pub mod health;
pub mod hooks;
pub mod logs;
pub mod metrics;
pub mod publish;
pub mod stats;
