//! One input that is being read.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::lines::LineReader;
use super::origin::{Identity, Origin, Position};
use super::piece::{Piece, Sender, Stop, Text};
use super::start::Starts;

/// Bytes of a file that are remembered, so that a change of the file is noticed.
const MARK: usize = 256;

/// Time without writes until a rotated file is closed: its writer may not have noticed the rotation yet.
pub const LINGER: Duration = Duration::from_secs(5);

/// An input, and the position up to which it was read.
pub struct Tail<R> {
    origin: Arc<Origin>,
    lines: LineReader<R>,
    /// The last bytes that were sent, and the offset of their end.
    mark: (Vec<u8>, u64),
    /// The identity of the copy, if a copy is read in place of a file that was truncated.
    copy: Option<Identity>,
}

impl<R: Read> Tail<R> {
    /// An input that is at the start of its origin.
    pub fn new(origin: Origin, input: R) -> Self {
        let lines = LineReader::new(input, origin.start);
        Self { origin: Arc::new(origin), lines, mark: (Vec::new(), 0), copy: None }
    }

    /// The origin of its lines.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The next lines; `None` if there are none at the moment.
    pub fn read_next(&mut self) -> Result<Option<Piece>, Stop> {
        let next = self.lines.next().map_err(|error| Stop::failed(&self.origin.path, error))?;
        Ok(next.map(|(start, text)| self.piece(start, self.lines.position(), text)))
    }

    /// Sends a piece of this input.
    pub fn send(&mut self, piece: Piece, sender: &Sender) -> Result<(), Stop> {
        if let Text::Lines(lines) = &piece.text {
            self.mark = (lines[lines.len().saturating_sub(MARK)..].to_vec(), piece.end.offset);
        }
        sender.send(piece)
    }

    /// Sends the next lines; false if there are none at the moment.
    pub fn send_next(&mut self, sender: &Sender) -> Result<bool, Stop> {
        sender.check()?;
        let Some(piece) = self.read_next()? else { return Ok(false) };
        self.send(piece, sender)?;
        Ok(true)
    }

    /// Sends the last line of the input, if it has no end.
    pub fn send_rest(&mut self, sender: &Sender) -> Result<(), Stop> {
        match self.lines.rest() {
            // The piece ends where it starts, because the line may still grow: the next run reads it again.
            Some((start, text)) => sender.send(self.piece(start, start, text)),
            None => Ok(()),
        }
    }

    /// Sends all lines up to the end of the input.
    pub fn drain(&mut self, sender: &Sender) -> Result<(), Stop> {
        while self.send_next(sender)? {}
        self.send_rest(sender)
    }

    fn piece(&self, start: Position, end: Position, text: Text) -> Piece {
        Piece { origin: Arc::clone(&self.origin), start, end, text }
    }
}

impl Tail<File> {
    /// Opens the file at `path`, found first as `watched`, at the position in its checkpoint.
    pub fn open(path: &Path, watched: &Path, starts: &Starts) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let (identity, born) = Identity::of_file(&file.metadata()?);
        let start = starts.of(identity).filter(|start| start.fits(&file));
        let start = start.map(|start| start.position).unwrap_or_default();
        file.seek(SeekFrom::Start(start.offset))?;
        let marked = start.offset.min(MARK as u64);
        let mut mark = vec![0; marked as usize];
        file.read_exact_at(&mut mark, start.offset - marked)?;
        let (path, watched) = (path.into(), watched.into());
        let origin = Origin { path, watched, identity, born, is_file: true, start };
        Ok(Self { mark: (mark, start.offset), ..Self::new(origin, file) })
    }

    /// Opens a copy of a file that was truncated, at the position up to which the file was read. The lines get the
    /// origin of the file.
    pub fn open_copy(path: &Path, of: &Origin, start: Position) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start.offset))?;
        let copy = Some(Identity::of_file(&file.metadata()?).0);
        let origin = Origin { path: path.into(), start, ..of.clone() };
        Ok(Self { copy, ..Self::new(origin, file) })
    }

    /// The identity of the copy, if it is one. Nobody writes to a copy any more.
    pub fn copy(&self) -> Option<Identity> {
        self.copy
    }

    /// The start of the next line.
    pub fn position(&self) -> Position {
        self.lines.position()
    }

    /// The metadata of the open file.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.lines.input().metadata()
    }

    /// Sends the rest of a file that was rotated away, and marks its end, unless its writer may not have noticed the
    /// rotation yet.
    pub fn send_end(&mut self, sender: &Sender) -> Result<(), Stop> {
        self.drain(sender)?;
        let is_at_rest =
            || self.metadata()?.modified().map(|time| time.elapsed().is_ok_and(|rest| rest > LINGER));
        let is_open =
            self.copy.is_some() || !is_at_rest().map_err(|error| Stop::failed(&self.origin.path, error))?;
        let end = self.lines.position();
        if is_open { Ok(()) } else { sender.send(self.piece(end, end, Text::End { warning: None })) }
    }

    /// True if the bytes that were read are not in the file any more, because it was truncated or overwritten.
    pub fn is_overwritten(&self) -> io::Result<bool> {
        let file = self.lines.input();
        let length = file.metadata()?.len();
        // Files in /proc have the length 0, whatever they hold.
        if length > 0 && length < self.lines.read_to() {
            return Ok(true);
        }
        self.is_marked(file).map(|is_marked| !is_marked)
    }

    /// True if bytes are known by which a copy of the file can be recognised.
    pub fn has_mark(&self) -> bool {
        !self.mark.0.is_empty()
    }

    /// True if a file has the bytes that were sent last in the same place.
    pub fn is_marked(&self, file: &File) -> io::Result<bool> {
        let (mark, end) = &self.mark;
        let mut now = vec![0; mark.len()];
        match file.read_exact_at(&mut now, end.saturating_sub(mark.len() as u64)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| now == *mark),
        }
    }

    /// Moves to another position, and discards bytes that were read and not sent.
    pub fn go_to(&mut self, position: Position) -> io::Result<()> {
        let mut file = self.lines.input().try_clone()?;
        file.seek(SeekFrom::Start(position.offset))?;
        self.lines = LineReader::new(file, position);
        if position == Position::default() {
            self.mark = (Vec::new(), 0);
        }
        Ok(())
    }
}
