//! One input that is being read.

use std::fs::Metadata;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chunk::{Chunk, Sender, Stop, Text};
use super::content::Content;
use super::context::Context;
use super::evidence::{Evidence, Line, MARK};
use super::identity::Identity;
use super::lines::LineReader;
use super::origin::{Origin, Position};
use super::registry::Recognised;

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
    /// The number of its content in the registry, once that is known.
    known: Option<usize>,
    /// When it was last seen to grow, until it is told that it rests.
    grew: Option<Instant>,
    /// True if nobody writes to it any more.
    is_closed: bool,
    /// Counts it as open.
    _open: Rc<()>,
}

impl<R: Read> Tail<R> {
    /// An input that is at the start of its origin.
    pub fn new(origin: Origin, input: R, context: &Context) -> Self {
        let lines = LineReader::new(input, origin.start).with_binary(context.reading.is_binary);
        let origin = Arc::new(origin);
        Self {
            origin,
            lines,
            first: None,
            last: None,
            known: None,
            grew: None,
            is_closed: false,
            _open: Rc::clone(&context.open),
        }
    }

    /// The origin of its lines.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The start of the next line.
    pub fn position(&self) -> Position {
        self.lines.position()
    }

    /// What was sent of it, by which its content is recognised.
    fn evidence(&self) -> Evidence {
        Evidence {
            lines: self.first.iter().chain(&self.last).copied().collect(),
            length: self.position().offset,
        }
    }

    /// The next lines; `None` if there are none at the moment.
    pub fn read_next(&mut self) -> Result<Option<Chunk>, Stop> {
        let next = self.lines.next().map_err(|error| Stop::failed(&self.origin.path, error))?;
        Ok(next.map(|(start, text)| self.chunk(start, self.lines.position(), text)))
    }

    /// Takes note of a chunk that is to be sent.
    fn remember(&mut self, chunk: &Chunk) {
        self.grew = Some(Instant::now());
        if let Text::Lines(lines) = &chunk.text {
            let marked = lines.len().min(MARK as usize);
            if chunk.start.offset == 0 {
                self.first = Some(Line::new(0, &lines[..marked]));
            }
            let last = &lines[lines.len() - marked..];
            self.last = Some(Line::new(chunk.end.offset - marked as u64, last));
        }
    }

    /// Tells that the input rests, once it has not grown for the time that is to be told.
    pub fn tell_rest(&mut self, context: &Context) -> Result<(), Stop> {
        let rests = |since: &mut Instant| since.elapsed() >= context.reading.rest.unwrap_or_default();
        if self.grew.take_if(rests).is_none() || context.reading.rest.is_none() {
            return Ok(());
        }
        let end = self.lines.position();
        context.sender.send(self.chunk(end, end, Text::Rest))
    }

    /// True if nothing is to be told of it any more, until it grows.
    pub fn is_told(&self) -> bool {
        self.grew.is_none()
    }

    /// Sends all lines of an input that is read once.
    pub fn drain(&mut self, sender: &Sender) -> Result<(), Stop> {
        loop {
            sender.check()?;
            let Some(chunk) = self.read_next()? else { break };
            sender.send(chunk)?;
        }
        while let Some((start, text)) = self.lines.rest() {
            sender.send(self.chunk(start, start, text))?;
        }
        let end = self.lines.position();
        sender.send(self.chunk(end, end, Text::Drained))
    }

    fn chunk(&self, start: Position, end: Position, text: Text) -> Chunk {
        Chunk { origin: Arc::clone(&self.origin), start, end, text }
    }
}

/// A file that was opened.
pub enum Opened {
    /// Its content is to be read.
    Tail(Box<Tail<Content>>),
    /// Its content is that of another file, or may be.
    Later,
}

impl Tail<Content> {
    /// Opens the file at `path`, for the log at `watched`, at the position up to which its content was read. A content
    /// that is not known is read from its beginning.
    pub fn open(path: &Path, watched: &Path, context: &Context) -> io::Result<Opened> {
        if context.is_being_compressed(path) {
            return Ok(Opened::Later);
        }
        let mut content = Content::open(path, &context.reading)?;
        let registry = &context.registry;
        let (known, start) = match registry.recognise(path, &content, &context.reading)? {
            Recognised::Known(number, start) => (Some(number), start),
            Recognised::New => (None, Position::default()),
            Recognised::Later => return Ok(Opened::Later),
        };
        let metadata = content.metadata()?;
        let holder = Identity::of_file(&metadata).0;
        registry.saw(holder, path);
        registry.opened(holder, content.file());
        let origin = match known {
            Some(number) => registry.get(number).origin(path, holder, start),
            None => {
                let new = Origin { watched: watched.into(), ..Origin::file(path, &metadata) };
                new.with_generation(registry.generations(holder))
            }
        };
        let read = start.offset;
        let marked = read.min(MARK);
        let line = |start, end| content.range(start, end).map(|bytes| Line::new(start, &bytes));
        let marks = if read == 0 { None } else { Some((line(0, marked)?, line(read - marked, read)?)) };
        let (first, last) = marks.unzip();
        let first = first.or(origin.first);
        let head = content.head(read)?;
        content.go_to(read)?;
        let tail = Self::new(Origin { head, ..origin }, content, context);
        Ok(Opened::Tail(Box::new(Self { first, last, known, ..tail })))
    }

    /// Records that this file holds its content now. Until then, it was only looked at.
    pub fn claim(&mut self, context: &Context) -> Result<(), Stop> {
        let Some(number) = self.known else { return self.introduce(None, context) };
        let holder = self.origin.holder;
        if context.registry.get(number).holder() == holder {
            return Ok(());
        }
        context.registry.hold(number, holder);
        self.tell_found(&context.sender)
    }

    /// The number of its content in the registry, if it is known.
    pub fn known(&self) -> Option<usize> {
        self.known
    }

    /// Makes the content known before the first of its lines is sent: if the program ends before they are acknowledged,
    /// they have the same ids next time, whichever file they are in then.
    fn introduce(&mut self, chunk: Option<&Chunk>, context: &Context) -> Result<(), Stop> {
        let known = self.origin.first.unwrap_or_else(|| Line::new(0, b""));
        if self.known.is_some() && known.bytes as u64 == MARK {
            return Ok(());
        }
        let lines = chunk.filter(|chunk| self.known.is_none() && chunk.start.offset == 0);
        let head = match lines.map(|chunk| &chunk.text) {
            Some(Text::Lines(lines)) => lines[..lines.len().min(MARK as usize)].to_vec(),
            _ => {
                let read = self.content().head_mark();
                read.map_err(|error| Stop::failed(&self.origin.path, error))?.0
            }
        };
        // It may have been truncated and written anew just now.
        if head.len() <= known.bytes || Line::new(0, &head[..known.bytes]) != known {
            return Ok(());
        }
        let (beginning, first) = (Line::first(&head), Some(Line::new(0, &head)));
        self.origin = Arc::new(Origin { beginning, first, ..Origin::clone(&self.origin) });
        self.first = first;
        match self.known {
            None => self.known = Some(context.registry.add(&self.origin)),
            Some(number) => context.registry.begins(number, beginning, first),
        }
        self.tell_found(&context.sender)
    }

    fn tell_found(&self, sender: &Sender) -> Result<(), Stop> {
        let start = self.origin.start;
        sender.send(self.chunk(start, start, Text::Found))
    }

    /// Sends a chunk of this file.
    pub fn send(&mut self, chunk: Chunk, context: &Context) -> Result<(), Stop> {
        self.introduce(Some(&chunk), context)?;
        let chunk = Chunk { origin: Arc::clone(&self.origin), ..chunk };
        self.remember(&chunk);
        if let Some(number) = self.known {
            context.registry.advance(number, chunk.end, self.last);
        }
        context.sender.send(chunk)
    }

    /// Sends the next lines; false if there are none at the moment.
    pub fn send_next(&mut self, context: &Context) -> Result<bool, Stop> {
        context.sender.check()?;
        let Some(chunk) = self.read_next()? else { return Ok(false) };
        self.send(chunk, context)?;
        Ok(true)
    }

    /// Sends the last line of the file, if it has no end.
    pub fn send_rest(&mut self, context: &Context) -> Result<(), Stop> {
        while let Some((start, text)) = self.lines.rest() {
            self.introduce(None, context)?;
            // The chunk ends where it starts, because the line may still grow: the next run reads it again.
            context.sender.send(self.chunk(start, start, text))?;
        }
        let end = self.lines.position();
        context.sender.send(self.chunk(end, end, Text::Drained))
    }

    /// Goes to the end of the last line that is there, without sending what is before.
    pub fn skip_to_end(&mut self, context: &Context) -> Result<(), Stop> {
        while self.read_next()?.is_some() {}
        let position = self.position();
        let path = self.origin.path.clone();
        let failed = |error| Stop::failed(&path, error);
        self.go_to(position).map_err(failed)?;
        if position.offset == 0 {
            return Ok(());
        }
        let marked = position.offset.min(MARK);
        let line = |start, end| self.content().range(start, end).map(|bytes| Line::new(start, &bytes));
        let (first, last) = (line(0, marked), line(position.offset - marked, position.offset));
        (self.first, self.last) = (Some(first.map_err(failed)?), Some(last.map_err(failed)?));
        let head = self.content().head(position.offset).map_err(failed)?;
        self.origin = Arc::new(Origin { start: position, head, ..Origin::clone(&self.origin) });
        self.introduce(None, context)?;
        if let Some(number) = self.known {
            context.registry.advance(number, position, self.last);
        }
        Ok(())
    }

    /// Records that nobody writes to the file any more.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// True if nobody writes to the file any more, as to a copy, or to a compressed one.
    pub fn is_closed(&self) -> bool {
        self.is_closed || self.origin.holder != self.origin.file || self.content().is_compressed()
    }

    /// True if it is a compressed file that was read to its end.
    pub fn is_whole(&self) -> bool {
        self.content().is_whole()
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
    pub fn send_end(&mut self, context: &Context) -> Result<(), Stop> {
        while self.send_next(context)? {}
        self.send_rest(context)?;
        let failed = |error| Stop::failed(&self.origin.path, error);
        if self.is_closed() || self.is_at_rest().map_err(failed)? { self.end(context) } else { Ok(()) }
    }

    /// Marks the end of its content.
    pub fn end(&mut self, context: &Context) -> Result<(), Stop> {
        let Some(number) = self.known else { return Ok(()) };
        context.registry.end(number);
        let end = self.lines.position();
        context.sender.send(self.chunk(end, end, Text::End))
    }

    /// Marks the end of a file that is read for itself, was rotated away, and rests: when it is deleted, nothing is lost.
    pub fn end_if_closed(&mut self, context: &Context) -> Result<(), Stop> {
        let Some(number) = self.known.filter(|number| !context.registry.has_ended(*number)) else {
            return Ok(());
        };
        let path = context.registry.get(number).path;
        let is_renamed = || std::path::absolute(&self.origin.path).is_ok_and(|here| here != path);
        let is_over = self.is_whole() || self.is_told() && is_renamed() && self.is_at_rest().unwrap_or(false);
        if is_over { self.end(context) } else { Ok(()) }
    }

    /// True if all was read that the file had at the time of this metadata: it may have grown since the last read.
    pub fn is_read_as_of(&self, metadata: &Metadata) -> bool {
        match self.content().is_plain() {
            true => metadata.len() == self.lines.read_to(),
            false => self.is_at_rest().unwrap_or(false), // what was read is not counted in bytes of the file
        }
    }

    /// True if nobody has written to the file for a while.
    fn is_at_rest(&self) -> io::Result<bool> {
        self.metadata()?.modified().map(|time| time.elapsed().is_ok_and(|rest| rest > LINGER))
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
    pub fn begin_anew(&mut self, context: &Context) -> io::Result<()> {
        self.go_to(Position::default())?;
        let metadata = self.metadata()?;
        let (path, watched) = (self.origin.path.clone(), self.origin.watched.clone());
        let new = Origin { watched, ..Origin::file(&path, &metadata) };
        let generation = context.registry.generations(new.file);
        self.origin = Arc::new(new.with_generation(generation));
        (self.first, self.last, self.known, self.grew) = (None, None, None, Some(Instant::now()));
        Ok(())
    }
}
