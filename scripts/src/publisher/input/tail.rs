//! One input that is being read.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lines::LineReader;
use super::{Identity, Origin, Piece, Position, Sender, Starts, Stop, Text, failed};

/// An input, and how far it was read.
pub struct Tail<R> {
    origin: Arc<Origin>,
    lines: LineReader<R>,
}

impl<R: Read> Tail<R> {
    /// An input that stands where its origin says.
    pub fn new(origin: Origin, input: R) -> Self {
        let lines = LineReader::new(input, origin.start);
        Self { origin: Arc::new(origin), lines }
    }

    /// Which input it is.
    pub fn identity(&self) -> Identity {
        self.origin.identity
    }

    /// Sends the next lines; false when there are none, for now.
    pub fn send_next(&mut self, sender: &Sender) -> Result<bool, Stop> {
        let next = self.lines.next().map_err(|error| failed(&self.origin.path, error))?;
        match next {
            Some(piece) => self.send(piece, sender).map(|()| true),
            None => Ok(false),
        }
    }

    /// Sends the line that the input ends with, if that has no end of its own: there is nothing more to come.
    pub fn send_rest(&mut self, sender: &Sender) -> Result<(), Stop> {
        match self.lines.rest() {
            Some(piece) => self.send(piece, sender),
            None => Ok(()),
        }
    }

    /// Sends all there is.
    pub fn drain(&mut self, sender: &Sender) -> Result<(), Stop> {
        while self.send_next(sender)? {}
        self.send_rest(sender)
    }

    /// How many bytes of the input were read.
    pub fn read_to(&self) -> u64 {
        self.lines.read_to()
    }

    fn send(&self, (start, text): (Position, Text), sender: &Sender) -> Result<(), Stop> {
        let end = self.lines.position();
        let piece = Piece { origin: Arc::clone(&self.origin), start, end, text };
        sender.blocking_send(Ok(piece)).map_err(|_| Stop::Unwanted)
    }
}

impl Tail<File> {
    /// Starts again from the beginning of a file that was truncated.
    pub fn rewind(&mut self, mut file: File) -> io::Result<()> {
        file.rewind()?;
        self.lines = LineReader::new(file, Position::default());
        Ok(())
    }
}

/// Opens a file where its checkpoint says, and before it those that had its name then, if they were rotated away since
/// and are still there.
pub fn open(path: &Path, starts: &Starts) -> io::Result<Vec<Tail<File>>> {
    let current = open_one(path, starts)?;
    let mut tails = Vec::new();
    for file in starts.at(path).filter(|&file| file != current.identity()) {
        if let Some(rotated) = find_sibling(path, file) {
            tails.push(open_one(&rotated, starts)?);
        }
    }
    tails.push(current);
    Ok(tails)
}

/// Opens a file where its checkpoint says.
pub fn open_one(path: &Path, starts: &Starts) -> io::Result<Tail<File>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let identity = Identity::of_file(&metadata);
    let start = starts.of(identity);
    // A file that is shorter than it was has been truncated: it is another one now.
    let start = if start.offset <= metadata.len() { start } else { Position::default() };
    file.seek(SeekFrom::Start(start.offset))?;
    Ok(Tail::new(Origin { path: path.into(), identity, is_file: true, start }, file))
}

/// The file in the same directory that is this one, under whatever name.
fn find_sibling(path: &Path, identity: Identity) -> Option<PathBuf> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_it = |metadata: Metadata| metadata.is_file() && Identity::of_file(&metadata) == identity;
    std::fs::read_dir(directory)
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| entry.metadata().is_ok_and(is_it))
        .map(|entry| entry.path())
}
