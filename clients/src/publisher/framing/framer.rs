//! Gathers the lines of one input into records.

use std::sync::Arc;

use tokio::time::Instant;

use super::multiline::{State, Step};
use super::{Content, Gathered, Record, Settings};
use crate::formats::csv::{self, Header};
use crate::formats::{Framing, STREAMS, trim_end};
use crate::input::{Origin, Position};

/// The longest record that is held: the default limit of the service for one request.
const LONGEST: usize = 8 << 20;

/// The longest event of several lines, or messages: the next one begins another. It leaves room for what JSON adds.
const LONGEST_OF_LINES: usize = 1 << 20;

/// Bytes that are shown of a record that is too long.
const BEGINNING: usize = 1024;

/// The records of one input that have not ended.
pub struct Framer {
    /// The input.
    pub origin: Arc<Origin>,
    /// The time at which its records end because no line came.
    pub due: Option<Instant>,
    settings: Settings,
    format: Box<dyn Framing>,
    streams: [Stream; STREAMS],
    /// The position up to which lines were taken.
    end: Position,
    /// The names of columns, of a format that has them.
    header: Option<Arc<Header>>,
    /// The delimiter of columns whose names are still to come.
    awaits_header: Option<u8>,
}

#[derive(Default)]
struct Stream {
    open: Option<Open>,
    state: State,
    /// The start of a record that was given up, to which what comes next belongs.
    torn: Option<Position>,
}

/// A record that has not ended.
struct Open {
    start: Position,
    mark: u64,
    text: Vec<u8>,
    first_line: usize,
    /// True if the format says that more is to come.
    is_message_open: bool,
    /// True if other lines, or messages, may follow in the same event.
    may_go_on: bool,
    /// True if its beginning was given up.
    is_torn: bool,
}

impl Framer {
    /// The records of an input, from the start of its origin on.
    pub fn new(origin: &Arc<Origin>, settings: &Settings) -> Self {
        let mut framer = Self {
            origin: Arc::clone(origin),
            due: None,
            settings: settings.clone(),
            format: settings.framing(),
            streams: Default::default(),
            end: origin.start,
            header: None,
            awaits_header: settings.has_header().then_some(settings.delimiter),
        };
        if origin.start.offset > 0
            && let Some(delimiter) = framer.awaits_header.take()
        {
            framer.header = header_of(&origin.head, framer.format.as_mut(), delimiter);
        }
        framer
    }

    /// Goes on at `start`. If lines are read once more, what was made of them is forgotten.
    pub fn resume(&mut self, origin: &Arc<Origin>, start: Position) {
        self.origin = Arc::clone(origin);
        if self.end != start {
            self.streams = Default::default();
            self.format = self.settings.framing();
            self.end = start;
        }
    }

    /// Passes over bytes that are no lines, up to `end`.
    pub fn pass(&mut self, end: Position) {
        self.end = end;
    }

    /// True if a record has not ended.
    pub fn is_open(&self) -> bool {
        self.streams.iter().any(|stream| stream.open.is_some())
    }

    /// The position before which all records are done.
    pub fn reached(&self) -> Position {
        let open = |stream: &Stream| stream.open.as_ref().map(|open| open.start).or(stream.torn);
        self.streams.iter().filter_map(open).min_by_key(|start| start.offset).unwrap_or(self.end)
    }

    /// Takes lines, of which the last one of the input may have no end.
    pub fn take(&mut self, lines: &[u8], gathered: &mut Gathered) {
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            self.take_line(line, gathered);
        }
    }

    fn take_line(&mut self, line: &[u8], gathered: &mut Gathered) {
        if self.origin.rests.contains(&self.end.offset) {
            self.finish(gathered); // as before
        }
        let next = Position { offset: self.end.offset + line.len() as u64, lines: self.end.lines + 1 };
        let is_whole = line.ends_with(b"\n");
        let mut start = self.end;
        // A truncation leaves NUL bytes in place of what was there, if the writer does not append.
        let nuls = if self.format.keeps_line_ends() {
            0
        } else {
            line.iter().take_while(|byte| **byte == 0).count()
        };
        start.offset += nuls as u64;
        gathered.nuls += nuls as u64;
        // A byte order mark at the start of a file is not part of its first line.
        let text = line[nuls..].strip_prefix(b"\xef\xbb\xbf").filter(|_| start.offset == 0);
        let (mark, line) = (if text.is_some() { 3 } else { 0 }, text.unwrap_or(&line[nuls..]));

        let part = self.format.part(line);
        let stream = &mut self.streams[part.stream];
        let is_message_open = stream.open.as_ref().is_some_and(|open| open.is_message_open);
        let step = match &self.settings.multiline {
            _ if is_message_open => Step::GoesOn,
            None => Step::Alone,
            Some(multiline) => {
                let has_room = |open: &Open| open.text.len() + line.len() <= LONGEST_OF_LINES;
                match multiline.step(&mut stream.state, stream.open.is_some(), trim_end(&part.text)) {
                    Step::GoesOn if !stream.open.as_ref().is_some_and(has_room) => Step::Begins,
                    step => step,
                }
            }
        };
        let (at, ends) = (part.stream, part.ends);
        if step != Step::GoesOn {
            self.close(at, gathered);
        }
        self.end = next;
        let exact = self.format.keeps_line_ends();
        let stream = &mut self.streams[at];
        let torn = stream.torn.take();
        let open = stream.open.get_or_insert_with(|| Open {
            start: torn.unwrap_or(start),
            mark,
            text: Vec::new(),
            first_line: trim_end(line).len(),
            is_message_open: true,
            may_go_on: step == Step::Begins && torn.is_none(),
            is_torn: torn.is_some(),
        });
        open.text.extend_from_slice(if exact { line } else { trim_end(line) });
        if !exact {
            open.text.push(b'\n');
        }
        open.is_message_open = !ends;
        if !is_whole {
            self.end = open.start; // it may still grow: the next run reads it again
        }
        if ends && !open.may_go_on {
            self.close(at, gathered);
        } else if open.text.len() > LONGEST && !ends {
            self.give_up(at, gathered);
        }
    }

    /// Passes over a line that is too long, up to `end`.
    pub fn skip(&mut self, bytes: u64, end: Position, gathered: &mut Gathered) {
        self.finish(gathered);
        if !self.format.skip(bytes + 1) {
            self.streams[0].torn = Some(self.end);
        }
        self.end = end;
    }

    /// Ends the records after which nothing came for a while.
    pub fn rest(&mut self, gathered: &mut Gathered) {
        self.due = None;
        if self.is_open() && self.origin.is_file {
            gathered.rest = Some((Arc::clone(&self.origin), self.end.offset));
        }
        self.finish(gathered);
        gathered.reached = Some((Arc::clone(&self.origin), self.reached()));
    }

    /// Ends all records, because the input has ended.
    pub fn end(&mut self, gathered: &mut Gathered) {
        // A message without its end may still grow: the next run reads it again.
        let open = self.streams.iter().flat_map(|stream| &stream.open).filter(|open| open.is_message_open);
        let open = open.map(|open| open.start).min_by_key(|start| start.offset);
        self.end = open.unwrap_or(self.end);
        self.rest(gathered);
    }

    /// Ends all records, in the order of their places.
    fn finish(&mut self, gathered: &mut Gathered) {
        let place = |stream: &Stream| stream.open.as_ref().map(|open| open.start.offset);
        let mut streams: Vec<_> = (0..STREAMS).collect();
        streams.sort_by_key(|&at| place(&self.streams[at]));
        for at in streams {
            match (&self.streams[at].open, self.format.unended()) {
                (Some(open), Some(reason)) if open.is_message_open => {
                    self.emit(at, Content::Broken(reason.into()), gathered);
                }
                _ => self.close(at, gathered),
            }
            self.streams[at] = Stream::default();
        }
    }

    /// Ends a record that is too long. What follows of it is no record either.
    fn give_up(&mut self, at: usize, gathered: &mut Gathered) {
        if let Some(open) = &mut self.streams[at].open {
            let reason = format!(
                "is too long: it has more than {} bytes, of which this is the beginning",
                open.text.len()
            );
            open.text.truncate(BEGINNING);
            self.streams[at].torn = Some(open.start);
            self.format.cut();
            self.emit(at, Content::Broken(reason), gathered);
        }
    }

    /// Ends the record of a stream, if one is open.
    fn close(&mut self, at: usize, gathered: &mut Gathered) {
        let Some(open) = &self.streams[at].open else { return };
        let content = if open.is_torn {
            Content::Broken("is the rest of a record that was given up".into())
        } else if open.text.iter().all(u8::is_ascii_whitespace) {
            Content::Nothing
        } else if let Some(delimiter) = self.awaits_header.take() {
            match csv::header(trim_end(&open.text), delimiter) {
                Ok(header) => {
                    self.header = Some(Arc::new(header));
                    Content::Nothing
                }
                Err(error) => Content::Broken(error.to_string()),
            }
        } else {
            Content::Event
        };
        self.emit(at, content, gathered);
    }

    fn emit(&mut self, at: usize, content: Content, gathered: &mut Gathered) {
        let Some(open) = self.streams[at].open.take() else { return };
        let mut text = open.text;
        let length = match self.format.keeps_line_ends() {
            true => trim_end(&text).len(),
            false => text.iter().rposition(|&byte| byte != b'\n').map_or(0, |last| last + 1),
        };
        text.truncate(length);
        gathered.records.push(Record {
            origin: Arc::clone(&self.origin),
            start: open.start,
            mark: open.mark,
            first_line: open.first_line.min(text.len()),
            text,
            header: self.header.clone(),
            content,
            reached: self.reached(),
        });
    }
}

/// The names of columns at the beginning of a file.
fn header_of(head: &[u8], format: &mut dyn Framing, delimiter: u8) -> Option<Arc<Header>> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let mut end = 0;
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        end += line.len();
        let is_blank = head[..end].iter().all(u8::is_ascii_whitespace);
        if format.part(line).ends && !is_blank {
            return csv::header(trim_end(&head[..end]), delimiter).ok().map(Arc::new);
        }
    }
    format.cut();
    None
}
