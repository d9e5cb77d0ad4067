//! Docker's log driver json-file: a line is a JSON object with the fields `log`, `stream` and `time`. A message ends with
//! a line end in `log`; Docker writes one of more than 16 KiB in several lines.

use std::borrow::Cow;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use super::{Entry, Framing, Part, message, stream, trim_end};

/// Joins the lines of a message.
pub struct Docker;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

impl Framing for Docker {
    fn part<'a>(&mut self, line: &'a [u8]) -> Part<'a> {
        match serde_json::from_slice::<Line>(line) {
            Ok(Line { log, stream: name, .. }) => {
                let ends = log.ends_with('\n');
                Part { stream: stream(name.as_bytes()), text: log.into_owned().into_bytes().into(), ends }
            }
            Err(_) => Part { stream: stream(b""), text: line.into(), ends: true },
        }
    }
}

/// The event of a record; `None` if it is blank.
pub fn read(record: &[u8]) -> Result<Option<Entry<'static>>> {
    let (mut text, mut first) = (String::new(), None);
    for line in record.split(|&byte| byte == b'\n') {
        let line: Line = serde_json::from_slice(line)
            .map_err(|error| anyhow!("is not a line of Docker's json-file driver: {error}"))?;
        text += &line.log;
        first.get_or_insert((line.stream, line.time));
    }
    let (stream, time) = first.context("is empty")?;
    message(trim_end(text.as_bytes()), &stream, time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_joined_and_keeps_its_first_time() {
        let record = br#"{"log":"a \u00e9","stream":"stderr","time":"2026-11-29T19:21:07.123456789Z"}
{"log":"b\n","stream":"stderr","attrs":{"tag":"x"},"time":"2026-11-29T19:21:08Z"}"#;
        let entry = read(record).unwrap().unwrap();
        assert_eq!(entry.value.get(), r#"{"log":"a éb","stream":"stderr"}"#);
        assert_eq!(entry.time.unwrap(), "2026-11-29T19:21:07.123456789Z");
    }

    #[test]
    fn a_blank_message_is_nothing_and_other_lines_are_errors() {
        assert!(read(br#"{"log":"\r\n","stream":"stdout","time":"t"}"#).unwrap().is_none());
        for line in [
            &b"text"[..],
            b"{\"log\":\"a",
            b"[]",
            b"{\"log\":1,\"time\":\"t\"}",
            b"{\"log\":\"\xff\",\"time\":\"t\"}",
            b"",
        ] {
            let error = read(line).err().unwrap().to_string();
            assert!(error.starts_with("is not a line of Docker's json-file driver"), "{error}");
        }
    }
}
