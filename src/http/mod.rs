//! HTTP without a host: from a request to a reply.
//!
//! [`router`] is the whole table of routes, and [`routes`] has a file for each resource. The others serve them:
//! [`app`] holds the state of an instance, [`settings`], [`access`], [`tokens`] and [`origin`] the rules of its operator; [`body`], [`query`],
//! [`negotiate`], [`prefer`] and [`idempotency`] read the parts of a request; [`receipt`], [`reply`] and [`problem`]
//! make the answer, which [`dialect`] puts into the words of the client if it failed; [`batch`] and [`shipment`] bring
//! events to the store, and [`saved_answers`] keeps some answers.

pub mod access;
pub mod app;
pub mod batch;
pub mod body;
pub mod budget;
pub mod dialect;
pub mod idempotency;
pub mod negotiate;
pub mod origin;
pub mod prefer;
pub mod problem;
pub mod query;
pub mod receipt;
pub mod reply;
pub mod router;
pub mod routes;
pub mod saved_answers;
pub mod send_stream;
pub mod settings;
pub mod shipment;
pub mod tokens;
