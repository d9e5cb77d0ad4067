//! Code that the component, its pages, the host and the programs share.
//!
//! - [`api`]: the JSON of the API, as a client needs it
//! - [`consumers`]: the same of those who take events out
//! - [`drain`]: the rest of a body whose request is answered
//! - [`log`]: one line an incident on standard error
//! - [`problems`]: the kinds of problems that a client can meet
//! - [`schema`]: the versions of a store's schema
//! - [`webhooks`]: how providers sign, and where their events have their parts
//! - [`database_url`]: how the address of a PostgreSQL database is read

pub mod api;
pub mod consumers;
pub mod database_url;
pub mod drain;
pub mod log;
pub mod problems;
pub mod schema;
pub mod webhooks;
