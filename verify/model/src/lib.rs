//! The model with which the service has to agree, whatever an event is: the stress test and the history checker hold
//! its answers, counts and events against it.
//!
//! An event is a register that its first delivery sets, once ([`Register`]); all others are duplicates. An attempt whose
//! answer was lost may have counted or not, so a count lies within [`Bounds`]. Registers add up to the counts of
//! `/stats` ([`Growth`]). Events that are read back are recognised by a [`Catalogue`], gathered in a [`ReadBack`], and
//! compared with their registers ([`Comparison`]).
//!
//! Where the order of all steps is known, an [`Inbox`] says exactly what each answer and the store have to be.

mod bounds;
mod compare;
mod growth;
mod inbox;
mod read;
mod register;
mod wrong;

pub use bounds::Bounds;
pub use compare::{Comparison, Seen};
pub use growth::{Growth, check_balance};
pub use inbox::{Book, Contents, Event, Inbox, Outcome};
pub use read::{Catalogue, Lines, ReadBack, Recognised, Stored};
pub use register::Register;
pub use wrong::Wrong;
