//! `/events`: a file for each thing that one can do with stored events.

mod erase;
mod follow;
mod list;
mod one;
mod query;
#[cfg(test)]
mod tests;

pub use erase::{erase, erase_one};
pub use list::list;
pub use one::one;
