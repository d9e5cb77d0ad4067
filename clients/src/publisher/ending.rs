//! The end of the program: its exit code.

use crate::report::Tally;

/// Exit code: stopped early.
const STOPPED: u8 = 1;
/// Exit code: invalid arguments, or an unreadable input or checkpoint.
pub const USAGE: u8 = 2;
/// Exit code: some events are in the rejects file, or lines may be missing.
const INCOMPLETE: u8 = 3;

/// What became of all inputs.
#[derive(Debug, Default)]
pub struct Ending {
    has_failed: bool,
    is_incomplete: bool,
}

impl Ending {
    /// Adds an input that has ended.
    pub fn add(&mut self, has_failed: bool, tally: &Tally) {
        self.has_failed |= has_failed;
        self.is_incomplete |= !tally.is_whole();
    }

    /// The exit code. `signal` is that of a signal, if one ended the program.
    pub fn code(&self, signal: Option<u8>) -> u8 {
        match signal {
            _ if self.has_failed => STOPPED,
            Some(code) => code,
            None if self.is_incomplete => INCOMPLETE,
            None => 0,
        }
    }
}
