//! Runs of lines, and the channel that carries them from the reading thread to the batches.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use sekali_clients::interrupt::Interrupt;
use tokio::sync::mpsc;

use super::origin::{Origin, Position};

/// A run of lines of one input.
#[derive(Debug)]
pub struct Chunk {
    /// The input.
    pub origin: Arc<Origin>,
    /// The start of the first line.
    pub start: Position,
    /// The end of the last line.
    pub end: Position,
    /// The lines.
    pub text: Text,
}

/// The content of a chunk.
#[derive(Debug)]
pub enum Text {
    /// Lines with their line ends; the last line of an input may have none.
    Lines(Vec<u8>),
    /// A line that is too long to be held.
    TooLong {
        /// Its first bytes.
        beginning: Vec<u8>,
        /// Its length in bytes, without its line end.
        bytes: u64,
    },
    /// Rows of a table. Their number is the offset.
    #[cfg_attr(not(feature = "tables"), expect(dead_code))]
    Rows(Vec<Row>),
    /// So many NUL bytes at the start of a line, as a truncation leaves them when the writer does not append.
    Nuls(u64),
    /// No lines: the input has had no more for a while.
    Rest,
    /// No lines: the input was read to its end, and is not read on.
    Drained,
    /// No lines: the file was rotated away and read to its end.
    End,
    /// No lines: this content was found, in this file. Comes before its lines.
    Found,
    /// No lines: news of the input, for people.
    News(News),
}

/// A row of a table: its event as JSON, or the column that cannot be taken and why.
#[derive(Debug)]
pub struct Row(pub Result<Vec<u8>, String>);

/// News of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing is lost, but something is to be known.
    Note(String),
    /// Lines were not read, or may not have been.
    Gap(String),
}

/// The chunks in order; an error comes last and says why reading stopped.
pub type Chunks = mpsc::Receiver<Result<Chunk>>;

/// The sending end of [`Chunks`].
pub struct Sender {
    pub chunks: mpsc::Sender<Result<Chunk>>,
    pub interrupt: Interrupt,
}

impl Sender {
    /// Fails if there is no reason to read on. After an interrupt, lines that were read are still sent.
    pub fn check(&self) -> Result<(), Stop> {
        let is_wanted = !self.chunks.is_closed() && self.interrupt.exit_code().is_none();
        if is_wanted { Ok(()) } else { Err(Stop::Unwanted) }
    }

    /// Sends a chunk, and waits while the channel is full.
    pub fn send(&self, chunk: Chunk) -> Result<(), Stop> {
        self.chunks.blocking_send(Ok(chunk)).map_err(|_| Stop::Unwanted)
    }

    /// Sends news of the input at `path`.
    pub fn tell(&self, path: &Path, news: News) -> Result<(), Stop> {
        let origin = Arc::new(Origin::stream(path, ""));
        let at = Position::default();
        self.send(Chunk { origin, start: at, end: at, text: Text::News(news) })
    }

    /// Sends the error that stopped the reading.
    pub fn fail(&self, error: anyhow::Error) {
        let _ = self.chunks.blocking_send(Err(error)); // fails if nobody takes chunks any more
    }
}

/// The reason why reading ends early.
#[derive(Debug)]
pub enum Stop {
    /// Nobody takes chunks any more, or the program was interrupted.
    Unwanted,
    /// The input failed.
    Failed(anyhow::Error),
}

impl Stop {
    /// An error of the input at `path`.
    pub fn failed(path: &Path, error: io::Error) -> Self {
        Self::Failed(anyhow::Error::new(error).context(format!("{} cannot be read", path.display())))
    }
}
