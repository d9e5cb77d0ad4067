//! Gathers events into batches, by count, bytes and time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use sekali_clients::interrupt::Interrupt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::batch::{Batch, Place};
use crate::event::Mapper;
use crate::formats::csv::Header;
use crate::formats::trim_end;
use crate::framing::{Content, Framers, Gathered, Record};
use crate::input::{Chunk, Chunks, Origin, Position, Text};

/// Bytes of lines that a batch may hold even if the limit on its body is lower: of a long line, little may become part
/// of its event.
const HELD: usize = 4 << 20;

/// The limits of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Its number of events.
    pub events: usize,
    /// Its bytes before compression.
    pub bytes: usize,
    /// The time that its first event waits for more.
    pub wait: Duration,
    /// True if an unusable line ends the batch, because it ends the program.
    pub ends_at_unusable: bool,
}

/// The source of events that name none.
#[derive(Clone, Debug)]
pub enum Source {
    /// The name of the file.
    Name,
    /// The path of the file as it was found first. A relative one starts at this directory.
    Path(PathBuf),
    /// This one.
    Given(String),
}

/// The most bytes of a source that the service takes.
const SOURCE: usize = 255;

impl Source {
    /// The source of events of an input.
    fn of(&self, origin: &Origin) -> String {
        let mut source = match self {
            Self::Given(source) => return source.clone(),
            // Standard input has no path.
            Self::Path(directory) if origin.watched.as_os_str() != "-" => {
                // The components leave out `.` and doubled slashes.
                let path: PathBuf = directory.join(&origin.watched).components().collect();
                path.to_string_lossy().into_owned()
            }
            Self::Name | Self::Path(_) => {
                let name = origin.path.file_name();
                name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            }
        };
        // The end of a path says more than its beginning.
        let excess = source.len().saturating_sub(SOURCE);
        source.drain(..source.ceil_char_boundary(excess));
        source
    }
}

/// The batches in order; an error comes last and says why there are no more.
pub type Batches = mpsc::Receiver<Result<Batch>>;

/// Starts the task that makes batches until the input ends or the program is interrupted. One batch waits ready while
/// another is sent.
pub fn gather(
    chunks: Chunks,
    (framers, mapper): (Option<Framers>, Mapper),
    source: Source,
    limits: Limits,
    interrupt: Interrupt,
) -> Batches {
    let (sender, batches) = mpsc::channel(1);
    let (batch, json) = (Batch::default(), Vec::new());
    let batcher = Batcher { framers, mapper, source, limits, batch, json, due: None, sender };
    tokio::spawn(batcher.run(chunks, interrupt));
    batches
}

/// Waits until the reader has had time to send what it has read after an interrupt. A reader that waits for standard
/// input does not notice the interrupt, so its end cannot be awaited.
async fn input_is_over(interrupt: &Interrupt) {
    interrupt.requested().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// Waits until then, or for ever.
pub async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What is to become an event.
struct Line<'a> {
    place: Place,
    /// Bytes of a byte order mark before its text.
    mark: u64,
    text: &'a [u8],
    /// The bytes of the first line of its text.
    first_line: usize,
    /// The names of its columns.
    header: Option<&'a Header>,
}

struct Batcher {
    /// Gathers lines into records; `None` if each line is one.
    framers: Option<Framers>,
    mapper: Mapper,
    source: Source,
    limits: Limits,
    batch: Batch,
    /// The current event; a buffer that is reused.
    json: Vec<u8>,
    /// The time to send the batch even if it is not full.
    due: Option<Instant>,
    sender: mpsc::Sender<Result<Batch>>,
}

impl Batcher {
    async fn run(mut self, mut chunks: Chunks, interrupt: Interrupt) {
        let mut goes_on = true;
        while goes_on {
            goes_on = tokio::select! {
                biased;
                () = sleep_until(self.due) => self.flush().await,
                chunk = chunks.recv() => self.take(chunk).await,
                // Behind the lines: what was read meanwhile belongs to the records.
                () = sleep_until(self.framers.as_ref().and_then(Framers::due)) => self.end_due_records().await,
                () = input_is_over(&interrupt) => self.take(None).await,
            };
        }
    }

    /// Takes what the reader sent; false if it was the last, or if nobody takes batches any more.
    async fn take(&mut self, chunk: Option<Result<Chunk>>) -> bool {
        match chunk {
            Some(Ok(chunk)) => self.add(chunk).await,
            Some(Err(error)) => {
                self.flush().await;
                let _ = self.sender.send(Err(error)).await; // fails if nobody takes batches any more
                false
            }
            None => {
                let last = self.framers.as_mut().map(Framers::end).unwrap_or_default();
                if self.add_records(last).await {
                    self.flush().await;
                }
                false
            }
        }
    }

    async fn end_due_records(&mut self) -> bool {
        let ended = self.framers.as_mut().map(Framers::expire).unwrap_or_default();
        self.due.get_or_insert_with(|| Instant::now() + self.limits.wait);
        self.add_records(ended).await
    }

    /// Adds a chunk, and sends each batch that is full; false if nobody takes batches any more.
    async fn add(&mut self, chunk: Chunk) -> bool {
        let origin = &chunk.origin;
        let source = self.source.of(origin);
        if let Some(framers) = &mut self.framers {
            let gathered = framers.take(&chunk);
            if !self.add_records(gathered).await {
                return false;
            }
        }
        match chunk.text {
            Text::TooLong { beginning, bytes } => {
                let reason = format!("is too long: it has {bytes} bytes, of which this is the beginning");
                self.batch.add_unusable(Place::new(origin, chunk.start), reason, &beginning);
                if self.framers.is_none() {
                    self.batch.reach(origin, chunk.end);
                }
            }
            Text::Rows(rows) => {
                for (number, row) in (chunk.start.lines..).zip(rows) {
                    let place = Place::new(origin, Position { offset: number, lines: number });
                    let end = Position { offset: number + 1, lines: number + 1 };
                    match row.0 {
                        Ok(event) => {
                            if !self.add_line(&event, place, &source).await {
                                return false;
                            }
                        }
                        Err(reason) => self.batch.add_unusable(place, reason, b""),
                    }
                    if self.batch.unusable.len() >= self.limits.events && !self.flush().await {
                        return false;
                    }
                    self.batch.reach(origin, end);
                }
            }
            Text::Nuls(nuls) => self.batch.nuls += nuls,
            Text::Found => self.batch.found.push(Arc::clone(origin)),
            Text::End => self.batch.ended.push(origin.identity),
            Text::News(news) => self.batch.news.push(news),
            Text::Rest | Text::Drained => {}
            Text::Lines(_) if self.framers.is_some() => {}
            Text::Lines(lines) => {
                if !self.add_lines(&lines, origin, chunk.start, &source).await {
                    return false;
                }
            }
        }
        self.due.get_or_insert_with(|| Instant::now() + self.limits.wait);
        true
    }

    /// Adds records; false if nobody takes batches any more.
    async fn add_records(&mut self, gathered: Gathered) -> bool {
        self.batch.nuls += gathered.nuls;
        self.batch.rests.extend(gathered.rest);
        for Record { origin, start, mark, text, first_line, header, content, reached } in gathered.records {
            let place = Place::new(&origin, start);
            match content {
                Content::Event => {
                    let source = self.source.of(&origin);
                    let text = Line { place, mark, text: &text, first_line, header: header.as_deref() };
                    if !self.add_event(text, &source).await {
                        return false;
                    }
                }
                Content::Nothing => self.batch.skipped += 1,
                Content::Broken(reason) => self.batch.add_unusable(place, reason, &text),
            }
            self.batch.reach(&origin, reached);
        }
        if let Some((origin, reached)) = gathered.reached {
            self.batch.reach(&origin, reached);
        }
        true
    }

    async fn add_lines(
        &mut self,
        lines: &[u8],
        origin: &Arc<Origin>,
        mut start: Position,
        source: &str,
    ) -> bool {
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            let next = Position { offset: start.offset + line.len() as u64, lines: start.lines + 1 };
            if !self.add_line(trim_end(line), Place::new(origin, start), source).await {
                return false;
            }
            // A line without an end may still grow, so the next run reads it again.
            self.batch.reach(origin, if line.ends_with(b"\n") { next } else { start });
            start = next;
        }
        true
    }

    async fn add_line(&mut self, line: &[u8], mut place: Place, source: &str) -> bool {
        // A truncation leaves NUL bytes in place of what was there, if the writer does not append.
        let nuls = line.iter().position(|&byte| byte != 0).unwrap_or(line.len());
        place.start.offset += nuls as u64;
        self.batch.nuls += nuls as u64;
        // A byte order mark at the start of a file is not part of its first line.
        let text = line[nuls..].strip_prefix(b"\xef\xbb\xbf").filter(|_| place.start.offset == 0);
        let mark = if text.is_some() { 3 } else { 0 };
        let line = text.unwrap_or(&line[nuls..]);
        if line.iter().all(u8::is_ascii_whitespace) {
            self.batch.skipped += 1;
            return true;
        }
        let text = Line { place, mark, text: line, first_line: line.len(), header: None };
        self.add_event(text, source).await
    }

    async fn add_event(&mut self, line: Line<'_>, source: &str) -> bool {
        let Line { place, mark, text: line, first_line, header } = line;
        self.json.clear();
        let identity = (place.origin.identity, place.start.offset);
        let header = header.unwrap_or(const { &Header::new() });
        let mapped = self.mapper.append((line, header), identity, source, &mut self.json);
        let is_empty = self.batch.items.is_empty() && self.batch.unusable.is_empty();
        let is_full = self.batch.items.len() >= self.limits.events
            || self.batch.body.len() + self.json.len() > self.limits.bytes
            || self.batch.held + line.len() > self.limits.bytes.max(HELD)
            || self.limits.ends_at_unusable && !self.batch.unusable.is_empty();
        if is_full && !is_empty && !self.flush().await {
            return false;
        }
        match mapped {
            Ok(false) => self.batch.skipped += 1,
            Ok(true) => {
                self.batch.malformed +=
                    line.utf8_chunks().map(|chunk| chunk.invalid().len() as u64).sum::<u64>();
                self.batch.add((place, mark), &self.json, line, first_line);
            }
            Err(error) => self.batch.add_unusable(place, error.to_string(), line),
        }
        self.batch.held += line.len();
        true
    }

    /// Sends the batch, unless it is empty; false if nobody takes batches any more.
    async fn flush(&mut self) -> bool {
        self.due = None;
        if self.batch.is_empty() {
            return true;
        }
        self.sender.send(Ok(std::mem::take(&mut self.batch))).await.is_ok()
    }
}
