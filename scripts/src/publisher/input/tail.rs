//! One input that is being read.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::lines::LineReader;
use super::{Identity, Origin, Piece, Position, Sender, Start, Starts, Stop, Text, failed};

/// How many bytes of a file are remembered, to notice that others are in their place.
const MARK: usize = 256;

/// An input, and how far it was read.
pub struct Tail<R> {
    origin: Arc<Origin>,
    lines: LineReader<R>,
    /// The last bytes that were sent, and where they end.
    mark: (Vec<u8>, u64),
}

impl<R: Read> Tail<R> {
    /// An input that stands where its origin says.
    pub fn new(origin: Origin, input: R) -> Self {
        let lines = LineReader::new(input, origin.start);
        Self { origin: Arc::new(origin), lines, mark: (Vec::new(), 0) }
    }

    /// Which input it is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Sends the next lines; false when there are none, for now.
    pub fn send_next(&mut self, sender: &Sender) -> Result<bool, Stop> {
        sender.check()?;
        let next = self.lines.next().map_err(|error| failed(&self.origin.path, error))?;
        let Some((start, text)) = next else { return Ok(false) };
        let end = self.lines.position();
        if let Text::Lines(lines) = &text {
            self.mark = (lines[lines.len().saturating_sub(MARK)..].to_vec(), end.offset);
        }
        self.send(start, end, text, sender)?;
        Ok(true)
    }

    /// Sends the line that the input ends with, if that has no end of its own: there is nothing more to come for now.
    pub fn send_rest(&mut self, sender: &Sender) -> Result<(), Stop> {
        match self.lines.rest() {
            // It may still grow: whoever goes on later looks at all of it.
            Some((start, text)) => self.send(start, start, text, sender),
            None => Ok(()),
        }
    }

    /// Sends all there is.
    pub fn drain(&mut self, sender: &Sender) -> Result<(), Stop> {
        while self.send_next(sender)? {}
        self.send_rest(sender)
    }

    /// Sends what is left of a file that was rotated away, and that this is its end.
    pub fn send_end(&mut self, sender: &Sender) -> Result<(), Stop> {
        self.drain(sender)?;
        let end = self.lines.position();
        self.send(end, end, Text::End { warning: None }, sender)
    }

    fn send(&self, start: Position, end: Position, text: Text, sender: &Sender) -> Result<(), Stop> {
        sender.send(Piece { origin: Arc::clone(&self.origin), start, end, text })
    }
}

impl Tail<File> {
    /// Opens a file, which is or was called `watched`, where its checkpoint says.
    pub fn open(path: &Path, watched: &Path, starts: &Starts) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let (identity, born) = Identity::of_file(&file.metadata()?);
        let start = starts.of(identity).filter(|start| is_as_before(&file, start));
        let start = start.map(|start| start.position).unwrap_or_default();
        file.seek(SeekFrom::Start(start.offset))?;
        let marked = start.offset.min(MARK as u64);
        let mut mark = vec![0; marked as usize];
        file.read_exact_at(&mut mark, start.offset - marked)?;
        let (path, watched) = (path.into(), watched.into());
        let origin = Origin { path, watched, identity, born, is_file: true, start };
        Ok(Self { mark: (mark, start.offset), ..Self::new(origin, file) })
    }

    /// What the file system says of it.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.lines.input().metadata()
    }

    /// Whether nobody has written to it for so long.
    pub fn is_at_rest(&self, span: Duration) -> io::Result<bool> {
        Ok(self.metadata()?.modified()?.elapsed().is_ok_and(|elapsed| elapsed > span))
    }

    /// Whether what was read of the file is not there any more, because it was truncated or written anew.
    pub fn is_rewritten(&self) -> io::Result<bool> {
        let file = self.lines.input();
        if file.metadata()?.len() < self.lines.read_to() {
            return Ok(true);
        }
        let (mark, end) = &self.mark;
        let mut now = vec![0; mark.len()];
        match file.read_exact_at(&mut now, end.saturating_sub(mark.len() as u64)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
            read => read.map(|()| now != *mark),
        }
    }

    /// Starts again from the beginning of the file.
    pub fn rewind(&mut self) -> io::Result<()> {
        let mut file = self.lines.input().try_clone()?;
        file.rewind()?;
        self.lines = LineReader::new(file, Position::default());
        self.mark = (Vec::new(), 0);
        Ok(())
    }
}

/// Whether the last line before the checkpoint is still where it was: else the file was truncated, and is another one.
fn is_as_before(file: &File, start: &Start) -> bool {
    let mut line = vec![0; start.line_bytes];
    file.read_exact_at(&mut line, start.line_offset).is_ok()
        && Identity::hash(&line) == start.line_hash
        && file.metadata().is_ok_and(|metadata| metadata.len() >= start.position.offset)
}
