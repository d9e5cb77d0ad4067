//! `/hooks/{name}`: receivers of webhooks, each as its provider sends them.
//!
//! - `deliver`: a delivery, and the handshakes that look like one
//! - `backfill`: what a provider's list of events has, under the identities of the deliveries
//! - `list`: the receivers, for people

mod backfill;
mod deliver;
mod list;
#[cfg(test)]
mod tests;

pub use self::backfill::backfill;
pub use self::deliver::{challenge, deliver};
pub use self::list::list;

use crate::http::app::{App, Platform};
use crate::http::problem::Problem;
use crate::receivers::Receiver;

/// The receiver with a name.
///
/// # Errors
/// [`Problem::UnknownHook`].
pub fn receiver<'a, P: Platform>(app: &'a App<P>, name: &str) -> Result<&'a Receiver, Problem> {
    app.receivers.get(name).ok_or(Problem::UnknownHook)
}

/// True if everybody who may publish may deliver to a receiver.
pub fn is_unsigned<P: Platform>(app: &App<P>, name: &str) -> bool {
    app.receivers.get(name).is_some_and(|receiver| receiver.verification.is_none())
}
