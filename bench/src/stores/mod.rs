//! What is hard for a store, on SQLite and on PostgreSQL: keys, many topics, retention, erasure, readers, bytes on disk,
//! and many partitions. Several builds of the service can be measured in turns, such as one before a change and one
//! after.
//!
//! - [`run`](run::run) goes through the [`parts`], several times, because a machine is slower for minutes at a time;
//! - [`build`] starts a build on a store, [`clients`] are its clients, [`events`] what its store is filled with;
//! - [`scale`] is how much of all this, [`figures`] what came of it;
//! - the others measure one thing each.

mod build;
mod bytes;
mod clients;
mod erasure;
mod events;
mod figures;
mod keys;
mod partitions;
mod parts;
mod readers;
mod retention;
mod run;
mod scale;
mod topics;

pub use self::run::{Plan, run};
