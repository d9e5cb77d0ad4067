//! The state that all readers of a run share.

use super::chunk::Sender;
use super::content::Reading;
use super::start::Starts;

/// Where reading starts, and where lines go.
pub struct Context {
    /// The positions in the checkpoint when the run began.
    pub starts: Starts,
    /// The way to read text that is not UTF-8.
    pub reading: Reading,
    /// Takes what is read.
    pub sender: Sender,
}
