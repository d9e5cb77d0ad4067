//! Code that Sekali's two producers share. `publisher` ships lines and events, `stress-test` proves that the service
//! keeps its promises; both deliver at least once, to the same API.
//!
//! - [`arguments`]: values of command-line arguments
//! - [`client`]: one request and its outcome
//! - [`retry`]: pauses between the attempts of a request, and when to give up
//! - [`interrupt`]: the first Ctrl-C ends the work, the second the program
//! - [`terminal`]: progress, colours and numbers for people

pub mod arguments;
pub mod client;
pub mod interrupt;
pub mod retry;
pub mod terminal;
