//! Sekali: the event inbox that stores each event once, as one component for Spin.
//!
//! The rooms of the house, each of which knows only those below it:
//!
//! 1. `spin`: the entry, and everything else that touches Spin's SDK;
//! 2. [`http`]: the routes, and all of HTTP that is not Spin's;
//! 3. [`committer`] joins the events of concurrent requests into one write, [`reader`] reads pages of events, and
//!    [`tail`] follows the newest ones; [`eraser`] takes away what it is told to, and [`retention`] what is too old;
//!    [`topics`] bounds what producers invent, [`history`] keeps the account of each minute, and [`yield_to_writers`]
//!    makes long work rest;
//!    [`consumers`] gives events out as claims, and keeps the place of each who takes them;
//!    beside them, [`ingest`] turns the bytes of a request into valid events, and [`receivers`] do so with the webhooks
//!    of other services, once their signature holds;
//! 4. [`store`] writes each event once, counts every delivery, and reads events back;
//! 5. [`event`] and [`payload`] define an event; [`clock`] and [`limits`] are the ground.
//!
//! Everything outside `spin` is plain Rust and is tested natively, the router included. `tests/direction.rs` checks
//! that no arrow points up. `docs/ARCHITECTURE.md` follows an event from file to file;
//! `docs/decisions/` has the reasons.
//!
//! # Exceptions
//!
//! Three things are not where a reader would look for them, because speed demands it:
//!
//! - The JSON of a stored event and the framing of server-sent events are written by SQL (`event.sql` and `page.sql` in
//!   `store/sqlite/sql/`): a page has to be one row, because each row costs a turn
//!   through the host.
//! - [`store::Ledger`] carries JSON for the same reason.
//! - [`tail`] writes the comments of server-sent events, because it knows when a stream has been silent.

pub mod clock;
pub mod committer;
pub mod consumers;
pub mod eraser;
pub mod event;
pub mod history;
pub mod http;
pub mod ingest;
pub mod limits;
pub mod payload;
pub mod reader;
pub mod receivers;
pub mod retention;
pub mod store;
pub mod tail;
pub mod topics;
pub mod yield_to_writers;

// Compiled everywhere, so that it is linted; entered only on Spin.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
mod spin;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
