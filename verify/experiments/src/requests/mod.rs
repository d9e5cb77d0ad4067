//! Random requests to publish, the same for all experiments that publish: [`Request`] in all formats of the service, made of
//! few [`identities`] at a time, so that their deliveries race.

pub mod format;
pub mod identities;
mod request;

pub use self::request::{MOMENTS_OF_A_KEY, Request, Sent};
