//! The log format of Kubernetes' container runtimes (CRI): a line is a time, a stream, a tag and text. The tag is `P` for
//! a part of a message, and `F` for its last or only part.

use anyhow::{Context, Result};

use super::{Entry, Framing, Part, message, stream, trim_end};

/// Joins the parts of a message.
pub struct Cri;

struct Line<'a> {
    time: &'a str,
    stream: &'a str,
    is_last: bool,
    text: &'a [u8],
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = trim_end(line).splitn(4, |&byte| byte == b' ');
        let mut word = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
        let (time, stream, tags) = (word()?, word()?, word()?);
        let is_last = match tags.split(':').next() {
            Some("F") => true,
            Some("P") => false,
            _ => return None,
        };
        let is_time = time.starts_with(|digit: char| digit.is_ascii_digit()) && time.contains('T');
        (is_time && !stream.is_empty()).then_some(())?;
        Some(Self { time, stream, is_last, text: fields.next().unwrap_or_default() })
    }
}

impl Framing for Cri {
    fn part<'a>(&mut self, line: &'a [u8]) -> Part<'a> {
        match Line::parse(line) {
            Some(line) => {
                Part { stream: stream(line.stream.as_bytes()), text: line.text.into(), ends: line.is_last }
            }
            None => Part { stream: stream(b""), text: line.into(), ends: true },
        }
    }
}

/// The event of a record; `None` if it is blank.
pub fn read(record: &[u8]) -> Result<Option<Entry<'static>>> {
    let (mut text, mut first) = (Vec::new(), None);
    for line in record.split(|&byte| byte == b'\n') {
        let line =
            Line::parse(line).context("is not a line of a container runtime: time, stream, P or F, text")?;
        text.extend_from_slice(line.text);
        if line.is_last {
            text.push(b'\n'); // the next one is another line of the same event
        }
        first.get_or_insert((line.stream, line.time));
    }
    let (stream, time) = first.context("is empty")?;
    message(text.strip_suffix(b"\n").unwrap_or(&text), stream, time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_and_lines_are_kept_apart() {
        let record =
            b"2026-11-29T19:21:07.1+01:00 stderr P:x caf\xc3\n2026T2 stderr F \xa9 \n2026T3 stderr F  next";
        let entry = read(record).unwrap().unwrap();
        assert_eq!(entry.value.get(), r#"{"log":"café \n next","stream":"stderr"}"#);
        assert_eq!(entry.time.unwrap(), "2026-11-29T19:21:07.1+01:00");
    }

    #[test]
    fn a_blank_message_is_nothing_and_other_lines_are_errors() {
        for blank in ["2026T1 stdout F ", "2026T1 stdout F", "2026T1 stdout P  \t"] {
            assert!(read(blank.as_bytes()).unwrap().is_none());
        }
        for line in ["", "2026T1 stdout", "2026T1 stdout X text", "Nov 29 19:21:07 host F"] {
            assert!(read(line.as_bytes()).err().unwrap().to_string().starts_with("is not a line of"));
        }
    }
}
