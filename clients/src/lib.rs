//! What Sekali's two producers share. `publisher` ships what it reads, `stress-test` proves that the service
//! keeps its promises; both deliver at least once, to the same API.
//!
//! - [`arguments`]: values of arguments
//! - [`api`]: the JSON of the API, as a client needs it
//! - [`client`]: one request and what became of it
//! - [`retry`]: when to send a request again, and when to give up
//! - [`interrupt`]: the first Ctrl-C ends the work, the second the program
//! - [`terminal`]: progress, colours and numbers for whoever watches

pub mod api;
pub mod arguments;
pub mod client;
pub mod interrupt;
pub mod retry;
pub mod terminal;
