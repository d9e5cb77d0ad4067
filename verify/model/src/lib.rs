//! The model with which the service has to agree, whatever an event is: the stress test and all experiments hold its
//! answers, counts and events against it.
//!
//! An event is a register that its first delivery sets, once ([`Register`]); all others are duplicates. An attempt whose
//! answer was lost may have counted or not, so a count lies within [`Bounds`]. Clients note what they sent and what was
//! answered in a [`Ledger`]. Events that are read back are recognised by a [`Catalogue`], gathered in a [`ReadBack`], and
//! compared with their registers ([`Comparison`]). Registers add up to the counts of `/stats` ([`Growth`]).
//!
//! What the clients of a [`consumer`] asked for and were told is held against what was promised to them.
//!
//! Where the order of all steps is known, an [`Inbox`] says exactly what each answer and the store have to be.

mod answer;
mod bounds;
mod compare;
pub mod consumer;
mod growth;
mod inbox;
mod ledger;
mod read;
mod register;
mod wrong;

pub use answer::check_results;
pub use bounds::Bounds;
pub use compare::{Comparison, Seen};
pub use growth::{Growth, account_of, check_balance};
pub use inbox::{Book, Contents, Event, Inbox, Outcome};
pub use ledger::Ledger;
pub use read::{Catalogue, Lines, ReadBack, Recognised, Stored};
pub use register::Register;
pub use wrong::Wrong;
