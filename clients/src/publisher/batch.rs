//! Gathers events into batches, by count, bytes and time.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use sekali_clients::interrupt::Interrupt;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::event::Mapper;
use crate::input::{Identity, Origin, Piece, Pieces, Position, Text};

/// How many bytes of lines a batch may hold in any case: of long lines, little may become part of events.
const HELD: usize = 4 << 20;

/// When a batch is full.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes before compression.
    pub bytes: usize,
    /// How long its first event waits for more.
    pub wait: Duration,
    /// Whether a line that is no event ends the batch, because it ends the program.
    pub ends_at_unusable: bool,
}

/// Events in the order in which they were read.
#[derive(Debug, Default)]
pub struct Batch {
    /// All events, one a line.
    pub body: Vec<u8>,
    /// Which lines they are.
    pub items: Vec<Item>,
    /// The lines as they were read.
    raw: Vec<u8>,
    /// How many bytes of lines it holds, usable or not.
    held: usize,
    /// Lines among them that are no events.
    pub unusable: Vec<Unusable>,
    /// Where each input stands when this batch is done.
    pub reached: Vec<(Arc<Origin>, Position)>,
    /// Files of which nothing more comes.
    pub ended: Vec<Identity>,
    /// What was not read.
    pub warnings: Vec<String>,
}

/// A line that became an event.
#[derive(Debug)]
pub struct Item {
    /// Where it stands.
    pub place: Place,
    /// Its event in the body.
    pub json: Range<usize>,
    /// The line in what was read.
    raw: Range<usize>,
    /// Whether the service refused it.
    pub is_refused: bool,
}

/// Where a line stands.
#[derive(Clone, Debug)]
pub struct Place {
    /// Which input.
    pub origin: Arc<Origin>,
    /// Where it starts.
    pub start: Position,
}

impl Place {
    fn new(origin: &Arc<Origin>, start: Position) -> Self {
        Self { origin: Arc::clone(origin), start }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} line {}", self.origin.path.display(), self.start.lines + 1)
    }
}

/// A line that cannot be an event.
#[derive(Debug)]
pub struct Unusable {
    /// Where it stands.
    pub place: Place,
    /// What is wrong with it.
    pub reason: String,
    /// The line, or its beginning.
    pub text: String,
}

/// What the batching task hands over: batches in order, and at last, perhaps, why there are no more.
pub type Batches = mpsc::Receiver<Result<Batch>>;

/// Starts the task that makes batches of what is read, until that ends or the program is asked to. One batch
/// is ready while another is being sent.
pub fn gather(
    mut pieces: Pieces,
    mapper: Mapper,
    source: Option<String>,
    limits: Limits,
    interrupt: Interrupt,
) -> Batches {
    let (sender, batches) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut batcher =
            Batcher { mapper, source, limits, batch: Batch::default(), json: Vec::new(), due: None, sender };
        loop {
            let piece = tokio::select! {
                biased;
                () = sleep_until(batcher.due) => {
                    if !batcher.flush().await { return }
                    continue;
                }
                piece = pieces.recv() => piece,
                () = has_nothing_more(&interrupt) => None,
            };
            let goes_on = match piece {
                Some(Ok(piece)) => batcher.add(piece).await,
                Some(Err(error)) => {
                    batcher.flush().await;
                    let _ = batcher.sender.send(Err(error)).await; // or nobody wants to know
                    false
                }
                None => {
                    batcher.flush().await;
                    false
                }
            };
            if !goes_on {
                return;
            }
        }
    });
    batches
}

/// When the program was asked to end, the reader hands over what it has read and ends. But it may be waiting for
/// standard input, and would not notice.
async fn has_nothing_more(interrupt: &Interrupt) {
    interrupt.requested().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

struct Batcher {
    mapper: Mapper,
    source: Option<String>,
    limits: Limits,
    batch: Batch,
    /// The event at hand.
    json: Vec<u8>,
    /// When the batch goes, full or not.
    due: Option<Instant>,
    sender: mpsc::Sender<Result<Batch>>,
}

impl Batcher {
    /// Adds lines, and sends each batch that is full; false when nobody takes batches any more.
    async fn add(&mut self, piece: Piece) -> bool {
        let origin = &piece.origin;
        let name = origin.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let source = self.source.clone().or(name).unwrap_or_default();
        match piece.text {
            Text::TooLong { beginning, bytes } => {
                let reason = format!("is too long: it has {bytes} bytes, of which this is the beginning");
                self.batch.add_unusable(Place::new(origin, piece.start), reason, &beginning);
                self.batch.reach(origin, piece.end);
            }
            Text::End { warning } => {
                self.batch.warnings.extend(warning);
                self.batch.ended.push(origin.identity);
            }
            Text::Lines(lines) => {
                let mut start = piece.start;
                for line in lines.split_inclusive(|&byte| byte == b'\n') {
                    let next = Position { offset: start.offset + line.len() as u64, lines: start.lines + 1 };
                    if !self.add_line(trim_end(line), Place::new(origin, start), &source).await {
                        return false;
                    }
                    // A line without an end may still grow: whoever goes on here looks at all of it.
                    self.batch.reach(origin, if line.ends_with(b"\n") { next } else { start });
                    start = next;
                }
            }
        }
        self.due.get_or_insert_with(|| Instant::now() + self.limits.wait);
        true
    }

    async fn add_line(&mut self, line: &[u8], place: Place, source: &str) -> bool {
        // Some editors mark a file as UTF-8, which is not part of its first line.
        let line = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| place.start.offset == 0).unwrap_or(line);
        if line.iter().all(u8::is_ascii_whitespace) {
            return true;
        }
        self.json.clear();
        let identity = (place.origin.identity, place.start.offset);
        let mapped = self.mapper.append(line, identity, source, &mut self.json);
        let is_empty = self.batch.items.is_empty() && self.batch.unusable.is_empty();
        let is_full = self.batch.items.len() >= self.limits.events
            || self.batch.body.len() + self.json.len() > self.limits.bytes
            || self.batch.held + line.len() > self.limits.bytes.max(HELD)
            || self.limits.ends_at_unusable && !self.batch.unusable.is_empty();
        if is_full && !is_empty && !self.flush().await {
            return false;
        }
        match mapped {
            Ok(()) => self.batch.add(place, &self.json, line),
            Err(error) => self.batch.add_unusable(place, error.to_string(), line),
        }
        self.batch.held += line.len();
        true
    }

    async fn flush(&mut self) -> bool {
        self.due = None;
        if self.batch.reached.is_empty() && self.batch.ended.is_empty() {
            return true;
        }
        self.sender.send(Ok(std::mem::take(&mut self.batch))).await.is_ok()
    }
}

impl Batch {
    /// The line that an item was made of.
    pub fn line(&self, item: &Item) -> &[u8] {
        &self.raw[item.raw.clone()]
    }

    /// Where the event with this id stands.
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

    fn add(&mut self, place: Place, json: &[u8], line: &[u8]) {
        let (json_start, raw_start) = (self.body.len(), self.raw.len());
        self.body.extend_from_slice(json);
        self.raw.extend_from_slice(line);
        self.items.push(Item {
            place,
            json: json_start..self.body.len(),
            raw: raw_start..self.raw.len(),
            is_refused: false,
        });
    }

    fn add_unusable(&mut self, place: Place, reason: String, line: &[u8]) {
        self.unusable.push(Unusable { place, reason, text: String::from_utf8_lossy(line).into_owned() });
    }

    fn reach(&mut self, origin: &Arc<Origin>, position: Position) {
        match self.reached.last_mut() {
            Some((last, reached)) if Arc::ptr_eq(last, origin) => *reached = position,
            _ => self.reached.push((Arc::clone(origin), position)),
        }
    }
}

/// A line without its end.
fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
