//! The service beside others that store events once: the same events, by the same clients, on the same machine.
//!
//! - [`run`](run::run) measures them in turns, [`crash`] kills each and looks for what it had acknowledged;
//! - [`peer`] is what they have in common; [`sekali`], [`postgres`], [`redis`], [`nats`] and [`restate`] know one each;
//! - [`protocol`] is a client of those that have a protocol;
//! - [`results`] is what is measured, [`table`] the report, [`chart`] the picture of it.

mod chart;
mod crash;
mod nats;
mod peer;
mod postgres;
mod protocol;
mod redis;
mod restate;
mod results;
mod run;
mod sekali;
mod table;

pub use self::postgres::inserts_per_second;
pub use self::results::Plan;
pub use self::run::run;
