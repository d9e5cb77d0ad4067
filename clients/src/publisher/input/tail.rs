//! One input that is being read.

use std::fs::Metadata;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chunk::{Chunk, Sender, Stop, Text};
use super::content::Content;
use super::context::Context;
use super::lines::LineReader;
use super::origin::{Identity, Origin, Position, last_write, now};
use super::start::{Evidence, Line};

/// Bytes at the beginning and before the position of a file that are remembered, so that its content is recognised.
pub const MARK: u64 = 256;

/// Time without writes until a rotated file is closed: its writer may not have noticed the rotation yet.
pub const LINGER: Duration = Duration::from_secs(5);

/// An input, and the position up to which it was read.
pub struct Tail<R> {
    origin: Arc<Origin>,
    lines: LineReader<R>,
    /// The first bytes of the input, if they were sent.
    first: Option<Line>,
    /// The bytes that were sent last.
    last: Option<Line>,
    /// The identity of the file that is read in place of the origin's.
    copy: Option<Identity>,
    /// True if the origin's file has no other content any more, so that it ends with this input.
    is_last: bool,
    /// When it was last seen to grow, until it is told that it rests.
    grew: Option<Instant>,
}

impl<R: Read> Tail<R> {
    /// An input that is at the start of its origin.
    pub fn new(origin: Origin, input: R, context: &Context) -> Self {
        let lines = LineReader::new(input, origin.start).with_binary(context.reading.is_binary);
        let origin = Arc::new(origin);
        Self { origin, lines, first: None, last: None, copy: None, is_last: true, grew: None }
    }

    /// The origin of its lines.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The start of the next line.
    pub fn position(&self) -> Position {
        self.lines.position()
    }

    /// The content that another file has to hold to be taken for a copy of this one.
    pub fn evidence(&self) -> Evidence {
        Evidence {
            lines: self.first.iter().chain(&self.last).copied().collect(),
            length: self.position().offset,
            since: Some(self.origin.opened),
        }
    }

    /// The next lines; `None` if there are none at the moment.
    pub fn read_next(&mut self) -> Result<Option<Chunk>, Stop> {
        let next = self.lines.next().map_err(|error| Stop::failed(&self.origin.path, error))?;
        Ok(next.map(|(start, text)| self.chunk(start, self.lines.position(), text)))
    }

    /// Sends a chunk of this input.
    pub fn send(&mut self, chunk: Chunk, sender: &Sender) -> Result<(), Stop> {
        self.grew = Some(Instant::now());
        if let Text::Lines(lines) = &chunk.text {
            let marked = lines.len().min(MARK as usize);
            if chunk.start.offset == 0 {
                self.first = Some(Line::new(0, &lines[..marked]));
            }
            let last = &lines[lines.len() - marked..];
            self.last = Some(Line::new(chunk.end.offset - marked as u64, last));
        }
        sender.send(chunk)
    }

    /// Sends the next lines; false if there are none at the moment.
    pub fn send_next(&mut self, sender: &Sender) -> Result<bool, Stop> {
        sender.check()?;
        let Some(chunk) = self.read_next()? else { return Ok(false) };
        self.send(chunk, sender)?;
        Ok(true)
    }

    /// Tells that the input rests, once it has not grown for the time that is to be told.
    pub fn tell_rest(&mut self, context: &Context) -> Result<(), Stop> {
        let rests = |since: &mut Instant| context.reading.rest.is_some_and(|rest| since.elapsed() >= rest);
        if self.grew.take_if(rests).is_none() {
            return Ok(());
        }
        let end = self.lines.position();
        context.sender.send(self.chunk(end, end, Text::Rest))
    }

    /// Sends the last line of the input, if it has no end.
    pub fn send_rest(&mut self, sender: &Sender) -> Result<(), Stop> {
        while let Some((start, text)) = self.lines.rest() {
            // The chunk ends where it starts, because the line may still grow: the next run reads it again.
            sender.send(self.chunk(start, start, text))?;
        }
        let end = self.lines.position();
        sender.send(self.chunk(end, end, Text::Drained))
    }

    /// Sends all lines up to the end of the input.
    pub fn drain(&mut self, sender: &Sender) -> Result<(), Stop> {
        while self.send_next(sender)? {}
        self.send_rest(sender)
    }

    fn chunk(&self, start: Position, end: Position, text: Text) -> Chunk {
        Chunk { origin: Arc::clone(&self.origin), start, end, text }
    }
}

impl Tail<Content> {
    /// Opens the file at `path`, found first as `watched`, at the position in its checkpoint. If it does not hold what
    /// the checkpoint says, it was truncated or overwritten, and is read from its beginning as another content.
    pub fn open(path: &Path, watched: &Path, context: &Context) -> io::Result<Self> {
        let mut content = Content::open(path, &context.reading)?;
        let metadata = content.metadata()?;
        let (file, born) = Identity::of_file(&metadata);
        // A compressed file was made later than what it holds, but keeps its last write.
        let born = if content.is_plain() { born } else { born.min(Some(last_write(&metadata))) };
        let known = context.starts.of(file);
        let as_before = known.map(|start| content.has(&start.evidence())).transpose()?.unwrap_or_default();
        let (generation, start, opened) = match known {
            Some(start) if as_before => (start.generation, start.position, start.opened),
            Some(start) => (start.generation + 1, Position::default(), None),
            None => (0, Position::default(), None),
        };
        let read = start.offset;
        let marked = read.min(MARK);
        let line = |start, end| content.range(start, end).map(|bytes| Line::new(start, &bytes));
        let marks = if read == 0 { None } else { Some((line(0, marked)?, line(read - marked, read)?)) };
        let (first, last) = marks.unzip();
        content.go_to(read)?;
        let origin = Origin {
            path: path.into(),
            watched: watched.into(),
            file,
            generation,
            identity: file.of_generation(generation),
            unit: "line",
            is_file: true,
            born,
            opened: opened.unwrap_or_else(now),
            start,
            head: content.head(read)?,
            rests: known.filter(|_| as_before).map(|start| start.rests.clone()).unwrap_or_default(),
        };
        Ok(Self { first, last, ..Self::new(origin, content, context) })
    }

    /// Opens a file that holds what another held, at the origin's start. The lines get this origin. `is_last` is true
    /// if the other file is gone; else it was truncated, and has another content.
    pub fn open_copy(path: &Path, origin: Origin, is_last: bool, context: &Context) -> io::Result<Self> {
        let mut content = Content::open(path, &context.reading)?;
        content.go_to(origin.start.offset)?;
        let copy = Some(Identity::of_file(&content.metadata()?).0);
        let head = content.head(origin.start.offset)?;
        let origin = Origin { path: path.into(), head, ..origin };
        Ok(Self { copy, is_last, ..Self::new(origin, content, context) })
    }

    /// The identity of the copy, if it is one. Nobody writes to a copy any more.
    pub fn copy(&self) -> Option<Identity> {
        self.copy
    }

    /// The open file.
    pub fn content(&self) -> &Content {
        self.lines.input()
    }

    /// The metadata of the open file.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.lines.input().metadata()
    }

    /// Sends the rest of a file that was rotated away, and marks its end, unless its writer may not have noticed the
    /// rotation yet.
    pub fn send_end(&mut self, sender: &Sender) -> Result<(), Stop> {
        self.drain(sender)?;
        if let Some(copy) = self.copy {
            let end = self.lines.position();
            sender.send(self.chunk(end, end, Text::Copied(copy)))?;
        }
        // Nobody writes to a copy, or to a compressed file.
        let is_closed = self.copy.is_some() || !self.content().is_plain();
        let is_at_rest =
            || self.metadata()?.modified().map(|time| time.elapsed().is_ok_and(|rest| rest > LINGER));
        let failed = |error| Stop::failed(&self.origin.path, error);
        if self.is_last && (is_closed || is_at_rest().map_err(failed)?) {
            let end = self.lines.position();
            sender.send(self.chunk(end, end, Text::End))?;
        }
        Ok(())
    }

    /// True if the bytes that were read are not in the file any more, because it was truncated or overwritten.
    pub fn is_overwritten(&self) -> io::Result<bool> {
        self.lines.input().is_overwritten(self.lines.read_to(), &self.evidence())
    }

    /// Goes to a position, and discards bytes that were read and not sent.
    pub fn go_to(&mut self, position: Position) -> io::Result<()> {
        self.lines.input_mut().go_to(position.offset)?;
        self.lines.restart(position);
        Ok(())
    }

    /// Reads the file from its beginning, as another content.
    pub fn begin_anew(&mut self, generation: u32) -> io::Result<()> {
        let start = Position::default();
        self.go_to(start)?;
        let origin = self.origin.with_generation(generation, start);
        self.origin = Arc::new(Origin { opened: now(), head: Vec::new(), rests: Vec::new(), ..origin });
        (self.first, self.last, self.grew) = (None, None, Some(Instant::now()));
        Ok(())
    }
}
