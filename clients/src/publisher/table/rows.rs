//! The rows of a table on their way to the batches.

use std::sync::Arc;

use anyhow::{Context, Result};
use sekali_clients::interrupt::Interrupt;
use tokio::sync::mpsc;

use crate::input::{Chunk, Origin, Position, Row, Text};

/// Rows that are handed over at once.
const AT_ONCE: usize = 500;

/// Takes rows, and hands them over some at once.
pub struct Rows {
    origin: Arc<Origin>,
    taken: u64,
    held: Vec<Row>,
    /// Takes what is to be sent.
    pub sender: mpsc::Sender<Result<Chunk>>,
    interrupt: Interrupt,
}

impl Rows {
    /// Rows of this origin, before the first.
    pub fn new(origin: Origin, sender: mpsc::Sender<Result<Chunk>>, interrupt: Interrupt) -> Self {
        Self { origin: Arc::new(origin), taken: 0, held: Vec::new(), sender, interrupt }
    }

    /// Takes the next row. Returns what is to be sent, if it is enough.
    pub fn take(&mut self, row: Row) -> Option<Result<Chunk>> {
        self.taken += 1;
        self.held.push(row);
        (self.held.len() >= AT_ONCE).then(|| Ok(self.rest()))
    }

    /// The rows that were taken and not sent.
    fn rest(&mut self) -> Chunk {
        let rows = std::mem::take(&mut self.held);
        let at = |rows| Position { offset: rows, lines: rows };
        let (start, end) = (at(self.taken - rows.len() as u64), at(self.taken));
        Chunk { origin: Arc::clone(&self.origin), start, end, text: Text::Rows(rows) }
    }

    /// The rows to send at the end, and the reason for which there are no more.
    pub fn end(&mut self, read: Result<()>) -> Vec<Result<Chunk>> {
        let place = || format!("{} cannot be read behind its row {}", self.origin.path.display(), self.taken);
        let failure = read.with_context(place).err();
        [Ok(self.rest())].into_iter().chain(failure.map(Err)).collect()
    }

    /// True if there is a reason to read on.
    pub fn are_wanted(&self) -> bool {
        !self.sender.is_closed() && self.interrupt.exit_code().is_none()
    }
}
