//! A consumer as the contract promises it, whatever happened to its calls and their answers.
//!
//! Its clients note each call when they send it and when its answer comes ([`Call`]). Afterwards the calls are replayed in
//! that order beside the events themselves ([`check()`]). What was asked and not answered may have been done or not: from
//! the moment at which it was sent, nothing is claimed of the events that it is about. So each rule speaks of what is
//! certain: an event is open for certain until a commit is sent that may settle it, and done for certain when such a
//! commit is answered; a claim is live for certain from its answer until its lease, or a call that may end it.

mod call;
mod check;
mod claims;
mod events;
mod replay;
mod rules;
#[cfg(test)]
mod tests;

pub use call::{Ask, Call, Failed, Given, Moment, Order, Place, Selected, Specification, Told};
pub use check::check;
pub use events::{Dead, Log};
pub use rules::Rules;
