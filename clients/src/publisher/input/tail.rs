//! One input that is being read.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::lines::LineReader;
use super::{Identity, Line, Origin, Piece, Position, Sender, Start, Starts, Stop, Text, failed};

/// How many bytes of a file are remembered, to notice that others are in their place.
const MARK: usize = 256;

/// How long a file that was rotated away is still read: whoever writes it may not have noticed yet.
pub const LINGER: Duration = Duration::from_secs(5);

/// An input, and how far it was read.
pub struct Tail<R> {
    origin: Arc<Origin>,
    lines: LineReader<R>,
    /// The last bytes that were sent, and where they end.
    mark: (Vec<u8>, u64),
    /// Which file it is in fact, if it stands in for one that was truncated.
    copy: Option<Identity>,
}

impl<R: Read> Tail<R> {
    /// An input that stands where its origin says.
    pub fn new(origin: Origin, input: R) -> Self {
        let lines = LineReader::new(input, origin.start);
        Self { origin: Arc::new(origin), lines, mark: (Vec::new(), 0), copy: None }
    }

    /// Which input it is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The next lines; `None` when there are none, for now.
    pub fn read_next(&mut self) -> Result<Option<Piece>, Stop> {
        let next = self.lines.next().map_err(|error| failed(&self.origin.path, error))?;
        Ok(next.map(|(start, text)| self.piece(start, self.lines.position(), text)))
    }

    /// Sends what was read.
    pub fn send(&mut self, piece: Piece, sender: &Sender) -> Result<(), Stop> {
        if let Text::Lines(lines) = &piece.text {
            self.mark = (lines[lines.len().saturating_sub(MARK)..].to_vec(), piece.end.offset);
        }
        sender.send(piece)
    }

    /// Sends the next lines; false when there are none, for now.
    pub fn send_next(&mut self, sender: &Sender) -> Result<bool, Stop> {
        sender.check()?;
        let Some(piece) = self.read_next()? else { return Ok(false) };
        self.send(piece, sender)?;
        Ok(true)
    }

    /// Sends the line that the input ends with, if that has no end of its own: there is nothing more to come for now.
    pub fn send_rest(&mut self, sender: &Sender) -> Result<(), Stop> {
        match self.lines.rest() {
            // It may still grow: whoever goes on later looks at all of it.
            Some((start, text)) => sender.send(self.piece(start, start, text)),
            None => Ok(()),
        }
    }

    /// Sends all there is.
    pub fn drain(&mut self, sender: &Sender) -> Result<(), Stop> {
        while self.send_next(sender)? {}
        self.send_rest(sender)
    }

    fn piece(&self, start: Position, end: Position, text: Text) -> Piece {
        Piece { origin: Arc::clone(&self.origin), start, end, text }
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

    /// Opens, where the reading of it stood, a copy of what a file held before it was truncated. The lines are those of the
    /// file.
    pub fn open_copy(path: &Path, of: &Origin, start: Position) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start.offset))?;
        let copy = Some(Identity::of_file(&file.metadata()?).0);
        let origin = Origin { path: path.into(), start, ..of.clone() };
        Ok(Self { copy, ..Self::new(origin, file) })
    }

    /// Which file it is in fact, if it is a copy: nobody writes to it any more.
    pub fn copy(&self) -> Option<Identity> {
        self.copy
    }

    /// Where the next line starts.
    pub fn position(&self) -> Position {
        self.lines.position()
    }

    /// What the file system says of it.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.lines.input().metadata()
    }

    /// Sends what is left of a file that was rotated away, and that this is its end; unless whoever writes it may not have
    /// noticed yet.
    pub fn send_end(&mut self, sender: &Sender) -> Result<(), Stop> {
        self.drain(sender)?;
        let is_at_rest =
            || self.metadata()?.modified().map(|time| time.elapsed().is_ok_and(|rest| rest > LINGER));
        let goes_on =
            self.copy.is_some() || !is_at_rest().map_err(|error| failed(&self.origin.path, error))?;
        let end = self.lines.position();
        if goes_on { Ok(()) } else { sender.send(self.piece(end, end, Text::End { warning: None })) }
    }

    /// Whether what was read of the file is not there any more, because it was truncated or written anew.
    pub fn is_rewritten(&self) -> io::Result<bool> {
        let file = self.lines.input();
        let length = file.metadata()?.len();
        // Some that are no real files have no length, whatever they hold.
        if length > 0 && length < self.lines.read_to() {
            return Ok(true);
        }
        self.is_marked(file).map(|is_marked| !is_marked)
    }

    /// Whether anything tells the file from another one.
    pub fn has_mark(&self) -> bool {
        !self.mark.0.is_empty()
    }

    /// Whether a file has what was read last where it was read.
    pub fn is_marked(&self, file: &File) -> io::Result<bool> {
        let (mark, end) = &self.mark;
        let mut now = vec![0; mark.len()];
        match file.read_exact_at(&mut now, end.saturating_sub(mark.len() as u64)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| now == *mark),
        }
    }

    /// Reads on from another position, and forgets what was read and not sent.
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

/// Whether the last line before the checkpoint is still where it was: else the file was truncated, and is another one.
pub fn is_as_before(file: &File, start: &Start) -> bool {
    let is_there = |line: Line| {
        let mut bytes = vec![0; line.bytes];
        file.read_exact_at(&mut bytes, line.offset).is_ok() && Identity::hash(&bytes) == line.hash
    };
    start.line.is_none_or(is_there)
        && file.metadata().is_ok_and(|metadata| metadata.len() >= start.position.offset)
}
