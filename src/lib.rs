//! Sekali: the event inbox that stores each event once, as one component for Spin.
//!
//! The way of an event through the modules:
//!
//! - [`request`] takes a request over from the host, and [`router`] sends it to its resource in [`routes`];
//! - [`body`] and [`ingest`] turn its bytes into valid events, which [`event`] and [`payload`] define;
//! - [`access`] says who may call what, and [`replay`] answers a repeated request as the first time;
//! - [`committer`] joins the events of concurrent requests into one write;
//! - [`store`] writes them once and counts every delivery, in one statement;
//! - [`tail`] shows followers what is new;
//! - [`reply`] sends the answer, or [`problem`] says what went wrong.
//!
//! [`app`] is what the requests of an instance share, [`settings`] what an operator can set, and
//! [`uptime`] knows when the service started. Nothing below the routes knows HTTP, and nothing above
//! the store knows SQL. All but the entry below, [`request`], [`store::spin`], [`uptime`] and the
//! last step of [`reply`] is plain Rust, which is tested natively.

pub mod access;
pub mod app;
pub mod body;
pub mod committer;
pub mod event;
pub mod ingest;
pub mod payload;
pub mod problem;
pub mod replay;
pub mod reply;
pub mod request;
pub mod router;
pub mod routes;
pub mod settings;
pub mod store;
pub mod tail;
pub mod uptime;

// Compiled everywhere, so that it is linted; entered only where Spin is.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
mod component;
#[cfg(test)]
mod testing;
