//! Black-box tests: the component as clients see it, over HTTP, on sekali-host or on the Spin that
//! the variable SPIN names. Each test has a server of its own with fresh state.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on has failed

mod access;
mod connections;
mod consumers;
mod contract;
mod database;
mod deploy;
mod durability;
mod early_answers;
mod events;
mod follow;
mod formats;
mod hooks;
mod hosts;
mod idempotency;
mod libsql;
mod operations;
mod pages;
mod pooler;
mod proxies;
mod publish;
mod removal;
mod scripts;
mod secrets;
mod shippers;
mod stats;
mod tls;
mod upgrade;
