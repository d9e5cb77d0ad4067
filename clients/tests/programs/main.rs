//! Black-box tests of the programs: against the real service, and against a test double that is broken in one way.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on has failed

mod checkpoint;
mod compress;
mod daemon;
mod double;
mod endpoint;
mod forms;
mod forwarder;
mod place;
mod program;
mod publisher;
mod records;
mod rotation;
mod stress_test;
mod table;
