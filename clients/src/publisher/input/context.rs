//! What all readers of a run share.

use super::piece::Sender;
use super::start::Starts;

/// Where reading starts, and where lines go.
pub struct Context {
    /// The positions in the checkpoint when the run began.
    pub starts: Starts,
    /// Takes what is read.
    pub sender: Sender,
}
