//! Code that the programs which speak to Sekali share. `publisher` ships lines and events, `forwarder` takes events out and
//! delivers them, `stress-test` proves that the service keeps its promises; all of them send at least once.
//!
//! - [`arguments`]: values of command-line arguments
//! - [`client`]: one request and its outcome
//! - [`retry`]: pauses between the attempts of a request, and when to give up
//! - [`interrupt`]: the first Ctrl-C ends the work, the second the program
//! - [`metrics`]: numbers for Prometheus, at an address
//! - [`terminal`]: progress, colours and numbers for people

pub mod arguments;
pub mod client;
pub mod interrupt;
pub mod metrics;
pub mod retry;
pub mod terminal;
