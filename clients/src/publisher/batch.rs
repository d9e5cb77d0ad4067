//! A batch of events, and where their lines stand.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;

use crate::input::{Identity, Line, News, Origin, Position};

/// Events in the order in which they were read.
#[derive(Debug, Default)]
pub struct Batch {
    /// All events as JSON, one a line.
    pub body: Vec<u8>,
    /// The lines that became these events.
    pub items: Vec<Item>,
    /// The text of these lines.
    raw: Vec<u8>,
    /// The bytes of all its lines, unusable ones included.
    pub held: usize,
    /// Lines that cannot be events.
    pub unusable: Vec<Unusable>,
    /// When its first line was read.
    pub began: Option<Instant>,
    /// The position of each input when this batch is done.
    pub reached: Vec<(Arc<Origin>, Position)>,
    /// Contents that were found, before lines of them.
    pub found: Vec<Arc<Origin>>,
    /// Contents that were rotated away and read to their end.
    pub ended: Vec<Identity>,
    /// Offsets at which records ended only because nothing came.
    pub rests: Vec<(Arc<Origin>, u64)>,
    /// News of the inputs.
    pub news: Vec<News>,
    /// Lines without an event.
    pub skipped: u64,
    /// NUL bytes that were skipped.
    pub nuls: u64,
    /// Bytes of text that are not UTF-8.
    pub malformed: u64,
}

/// A line that became an event.
#[derive(Debug)]
pub struct Item {
    /// The place of the line.
    pub place: Place,
    /// The range of its event in [`Batch::body`].
    pub json: Range<usize>,
    /// The range of its text in [`Batch::raw`].
    raw: Range<usize>,
    /// Bytes of a byte order mark before its text.
    mark: u64,
    /// The bytes of the first line of its text.
    first_line: usize,
    /// True if the service refused its event.
    pub is_refused: bool,
}

/// The place of a line.
#[derive(Clone, Debug)]
pub struct Place {
    /// The input.
    pub origin: Arc<Origin>,
    /// The start of the line.
    pub start: Position,
}

impl Place {
    /// The place of the line of this input that starts there.
    pub fn new(origin: &Arc<Origin>, start: Position) -> Self {
        Self { origin: Arc::clone(origin), start }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.origin.path.display(), self.origin.unit, self.start.lines + 1)
    }
}

/// A line that cannot be an event.
#[derive(Debug)]
pub struct Unusable {
    /// The place of the line.
    pub place: Place,
    /// The error, as a phrase that follows the place.
    pub reason: String,
    /// The line, or its beginning.
    pub text: String,
}

impl Batch {
    /// True if nothing was read for it.
    pub fn is_empty(&self) -> bool {
        let Self { reached, found, ended, news, nuls, .. } = self;
        reached.is_empty() && found.is_empty() && ended.is_empty() && news.is_empty() && *nuls == 0
    }

    /// The line of an item.
    pub fn line(&self, item: &Item) -> &[u8] {
        &self.raw[item.raw.clone()]
    }

    /// The place of the event with this id.
    pub fn find(&self, event_id: &str) -> Option<&Place> {
        #[derive(Deserialize)]
        struct Id<'a> {
            #[serde(borrow)]
            event_id: Cow<'a, str>,
        }
        let has_id = |item: &&Item| {
            serde_json::from_slice(&self.body[item.json.clone()]).is_ok_and(|id: Id| id.event_id == event_id)
        };
        self.items.iter().find(has_id).map(|item| &item.place)
    }

    /// The first line of an item, to be looked for in its file later.
    pub fn line_in_file(&self, item: &Item) -> Line {
        Line::new(item.place.start.offset + item.mark, &self.line(item)[..item.first_line])
    }

    /// Adds an event and its text, before which stand `mark` bytes of a byte order mark.
    pub fn add(&mut self, (place, mark): (Place, u64), json: &[u8], line: &[u8], first_line: usize) {
        let (json_start, raw_start) = (self.body.len(), self.raw.len());
        self.body.extend_from_slice(json);
        self.raw.extend_from_slice(line);
        self.items.push(Item {
            place,
            json: json_start..self.body.len(),
            raw: raw_start..self.raw.len(),
            mark,
            first_line,
            is_refused: false,
        });
    }

    /// Adds a line that cannot be an event.
    pub fn add_unusable(&mut self, place: Place, reason: String, line: &[u8]) {
        self.unusable.push(Unusable { place, reason, text: String::from_utf8_lossy(line).into_owned() });
    }

    /// Records that this input is read up to here.
    pub fn reach(&mut self, origin: &Arc<Origin>, position: Position) {
        self.began.get_or_insert_with(Instant::now);
        match self.reached.last_mut() {
            Some((last, reached)) if Arc::ptr_eq(last, origin) => *reached = position,
            _ => self.reached.push((Arc::clone(origin), position)),
        }
    }
}
