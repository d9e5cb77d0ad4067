//! Random requests to publish, the same for all experiments that publish: [`Request`] in all formats of the service, made of
//! few [`identities`] at a time, so that their deliveries race. A [`receipt`] is what the answer to one tells.

pub mod format;
pub mod identities;
pub mod receipt;
mod request;

pub use self::request::{Draft, MOMENTS_OF_A_KEY, Request, Sent};
