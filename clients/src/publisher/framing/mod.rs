//! Gathers the lines of each input into records, where a record is not simply a line: an input has a [`Framer`], which
//! knows what belongs together, and holds what has not ended.

mod framer;
mod multiline;
#[cfg(test)]
mod tests;
mod traces;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cli::{Cli, Format};
use crate::formats::csv::{self, Header};
use crate::formats::{Framing, Lines, cri::Cri, docker::Docker, journald::Journald};
use crate::input::{Chunk, Identity, Origin, Position, Text};

use framer::Framer;
pub use multiline::Multiline;

/// What becomes one event, or none.
#[derive(Debug)]
pub struct Record {
    /// The input.
    pub origin: Arc<Origin>,
    /// Where it starts.
    pub start: Position,
    /// Bytes of a byte order mark before its text.
    pub mark: u64,
    /// Its lines, without the last line end.
    pub text: Vec<u8>,
    /// The bytes of its first line, which stand in the file as they are here.
    pub first_line: usize,
    /// The names of its columns.
    pub header: Option<Arc<Header>>,
    /// What is to be done with it.
    pub content: Content,
    /// The position of the input when it is done.
    pub reached: Position,
}

/// What is to be done with a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// It is an event, if its format finds one in it.
    Event,
    /// Nothing: it is blank, or names columns.
    Nothing,
    /// It cannot be an event, for this reason.
    Broken(String),
}

/// What is made of some lines.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The records that have ended, in the order in which they did.
    pub records: Vec<Record>,
    /// The position of the input behind them.
    pub reached: Option<(Arc<Origin>, Position)>,
    /// The offset in a file at which records ended only because nothing came.
    pub rest: Option<(Arc<Origin>, u64)>,
    /// NUL bytes that were skipped.
    pub nuls: u64,
}

/// How the inputs are read.
#[derive(Clone, Debug)]
pub struct Settings {
    format: Format,
    delimiter: u8,
    multiline: Option<Multiline>,
    timeout: Duration,
}

impl Settings {
    /// The settings of these arguments; `None` if each line is a record.
    pub fn of(cli: &Cli) -> Option<Self> {
        let format = cli.format();
        let is_lines = matches!(format, Format::Lines | Format::Json | Format::Events | Format::Syslog);
        (!is_lines || cli.multiline.is_some()).then(|| Self {
            format,
            delimiter: cli.delimiter,
            multiline: cli.multiline.clone(),
            timeout: cli.multiline_timeout,
        })
    }

    /// The time without further lines after which a record ends by itself; `None` if it does not.
    pub fn rest(&self) -> Option<Duration> {
        let is_ended_by_itself = matches!(self.format, Format::Csv | Format::Journald);
        (!is_ended_by_itself).then_some(self.timeout)
    }

    /// True if NUL bytes are data.
    pub fn is_binary(&self) -> bool {
        self.format == Format::Journald
    }

    /// True if the beginning of a file says how the rest is read.
    pub fn has_header(&self) -> bool {
        self.format == Format::Csv
    }

    fn framing(&self) -> Box<dyn Framing> {
        match self.format {
            Format::Docker => Box::new(Docker),
            Format::Cri => Box::new(Cri),
            Format::Csv => Box::new(csv::Csv::new(self.delimiter)),
            Format::Journald => Box::<Journald>::default(),
            Format::Lines | Format::Json | Format::Events | Format::Syslog => Box::new(Lines),
        }
    }
}

/// The records of all inputs.
pub struct Framers {
    settings: Settings,
    inputs: HashMap<Identity, Framer>,
}

impl Framers {
    /// No records yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, inputs: HashMap::new() }
    }

    /// Takes what was read of an input. The records that are open stay open, unless it says that they end.
    pub fn take(&mut self, chunk: &Chunk) -> Gathered {
        let mut gathered = Gathered::default();
        let (origin, settings) = (&chunk.origin, &self.settings);
        if origin.is_file && !self.inputs.contains_key(&origin.identity) {
            // What was truncated does not go on.
            let others = self.inputs.extract_if(|_, framer| framer.origin.file == origin.file);
            others.for_each(|(_, mut framer)| framer.end(&mut gathered));
        }
        match &chunk.text {
            Text::Lines(lines) => {
                let framer = self.inputs.entry(origin.identity);
                let framer = framer.or_insert_with(|| Framer::new(origin, settings));
                framer.resume(origin, chunk.start);
                framer.take(lines, &mut gathered);
                framer.due = settings.rest().filter(|_| !origin.is_file).map(|rest| Instant::now() + rest);
                gathered.reached = Some((Arc::clone(origin), framer.reached()));
            }
            Text::TooLong { bytes, .. } => {
                let framer = self.inputs.entry(origin.identity);
                let framer = framer.or_insert_with(|| Framer::new(origin, settings));
                framer.resume(origin, chunk.start);
                framer.skip(*bytes, chunk.end, &mut gathered);
                gathered.reached = Some((Arc::clone(origin), framer.reached()));
            }
            Text::Rest => {
                if let Some(mut framer) = self.inputs.remove(&origin.identity) {
                    framer.rest(&mut gathered);
                }
            }
            Text::Drained | Text::End => {
                if let Some(mut framer) = self.inputs.remove(&origin.identity) {
                    framer.end(&mut gathered);
                }
            }
            Text::Nuls(_) => {
                if let Some(framer) = self.inputs.get_mut(&origin.identity) {
                    framer.pass(chunk.end);
                }
            }
            Text::Rows(_) | Text::News(_) | Text::Found => {}
        }
        gathered
    }

    /// The time at which a record of a stream ends because no line came.
    pub fn due(&self) -> Option<Instant> {
        self.inputs.values().filter(|framer| framer.is_open()).filter_map(|framer| framer.due).min()
    }

    /// Ends the records for which it is time.
    pub fn expire(&mut self) -> Gathered {
        let (mut gathered, now) = (Gathered::default(), Instant::now());
        let due = self.inputs.values_mut().filter(|framer| framer.due.is_some_and(|due| due <= now));
        due.for_each(|framer| framer.rest(&mut gathered));
        gathered
    }

    /// Ends the records of streams: nothing more is read. Those of files are read again by the next run.
    pub fn end(&mut self) -> Gathered {
        let mut gathered = Gathered::default();
        let streams = self.inputs.values_mut().filter(|framer| !framer.origin.is_file);
        streams.for_each(|framer| framer.end(&mut gathered));
        gathered
    }
}
