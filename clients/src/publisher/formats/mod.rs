//! The formats, a file each: where a record ends, if it is not simply a line, and what event it is.

pub mod cri;
pub mod csv;
pub mod docker;
pub mod events;
pub mod journald;
pub mod json;
pub mod syslog;

use std::borrow::Cow;

use anyhow::Result;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// Streams of one input whose records may interleave.
pub const STREAMS: usize = 3;

/// A line, as a part of a record.
#[derive(Debug)]
pub struct Part<'a> {
    /// The stream of the record, below [`STREAMS`].
    pub stream: usize,
    /// The text of the line, without what the format puts around it.
    pub text: Cow<'a, [u8]>,
    /// True if the record ends with this line.
    pub ends: bool,
}

/// Says which lines are one record.
pub trait Framing: Send {
    /// The next line of the input, with its line end.
    fn part<'a>(&mut self, line: &'a [u8]) -> Part<'a>;

    /// Passes over a line of so many bytes, with its line end, that was too long to be held. Returns true if a record may
    /// start behind it.
    fn skip(&mut self, _bytes: u64) -> bool {
        true
    }

    /// Gives up the record that has not ended, because it is too long.
    fn cut(&mut self) {}

    /// The error of a record that does not end; `None` if what there is of it is an event.
    fn unended(&self) -> Option<&'static str> {
        None
    }

    /// True if line ends within a record are part of its data.
    fn keeps_line_ends(&self) -> bool {
        false
    }
}

/// Each line is a record.
pub struct Lines;

impl Framing for Lines {
    fn part<'a>(&mut self, line: &'a [u8]) -> Part<'a> {
        Part { stream: 0, text: line.into(), ends: true }
    }
}

/// What a record says.
pub struct Entry<'a> {
    /// Its fields, or its only value.
    pub value: Cow<'a, RawValue>,
    /// Its own id.
    pub id: Option<String>,
    /// Its time.
    pub time: Option<String>,
}

impl<'a> Entry<'a> {
    /// A record that says no more than this value.
    pub fn of(value: &'a RawValue) -> Self {
        Self { value: Cow::Borrowed(value), id: None, time: None }
    }
}

/// A value as JSON.
pub fn raw<T: Serialize>(value: &T) -> Result<Cow<'static, RawValue>> {
    Ok(Cow::Owned(to_raw_value(value)?))
}

/// The line without its line end.
pub fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The number of a stream of a container: those that Docker and Kubernetes know, and all others.
fn stream(name: &[u8]) -> usize {
    match name {
        b"stdout" => 0,
        b"stderr" => 1,
        _ => 2,
    }
}

/// The event of a container's message, or `None` if it is blank.
fn message(text: &[u8], stream: &str, time: String) -> Result<Option<Entry<'static>>> {
    #[derive(Serialize)]
    struct Message<'a> {
        log: &'a str,
        stream: &'a str,
    }
    let text = String::from_utf8_lossy(text);
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let value = raw(&Message { log: &text, stream })?;
    Ok(Some(Entry { value, id: None, time: Some(time) }))
}
