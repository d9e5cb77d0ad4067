//! Random requests to publish, the same for all experiments that publish: [`Request`] in all formats of the service, made of
//! few [`identities`] at a time, so that their deliveries race, and [`deliveries`] to receivers. A [`receipt`] is what the
//! answer to one tells.

pub mod deliveries;
pub mod format;
pub mod identities;
pub mod receipt;
mod request;

pub use self::request::{Draft, MOMENTS_OF_A_KEY, Request, Sent};
