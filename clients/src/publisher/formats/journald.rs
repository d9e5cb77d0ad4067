//! Entries of systemd's journal, as `journalctl -o json` and `journalctl -o export` write them. An entry of JSON is a
//! line; one of the export format is a line `NAME=value` for each field, and ends with an empty line. A field with other
//! bytes than text has its name alone in a line, then its length as 64 bits, little-endian, and then its bytes.
//! (<https://systemd.io/JOURNAL_EXPORT_FORMATS/>)

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Entry, Framing, Part, raw};
use crate::time::since_epoch;

/// The fields that each entry has.
const CURSOR: &str = "__CURSOR";
const TIME: &str = "__REALTIME_TIMESTAMP";

/// Joins the lines of an entry.
#[derive(Default)]
pub struct Journald {
    state: State,
}

#[derive(Default)]
enum State {
    /// Between entries.
    #[default]
    Between,
    /// At the start of a field.
    Field,
    /// Within the length of a field, of which these bytes were read.
    Length(Vec<u8>),
    /// Within a field of bytes, of which so many are to come, with its line end.
    Bytes(u64),
}

impl Framing for Journald {
    fn part<'a>(&mut self, line: &'a [u8]) -> Part<'a> {
        let is_json = matches!(self.state, State::Between) && line.starts_with(b"{");
        if !is_json {
            self.take(line);
        }
        Part { stream: 0, text: line.into(), ends: matches!(self.state, State::Between) }
    }

    fn skip(&mut self, bytes: u64) -> bool {
        match self.state {
            State::Between => {} // it was JSON
            State::Bytes(_) => self.take_bytes(bytes),
            State::Field | State::Length(_) => self.state = State::Field,
        }
        matches!(self.state, State::Between)
    }

    fn unended(&self) -> Option<&'static str> {
        Some("is cut off: an entry ends with an empty line")
    }

    fn keeps_line_ends(&self) -> bool {
        true
    }
}

impl Journald {
    fn take(&mut self, line: &[u8]) {
        match &mut self.state {
            State::Between | State::Field if line.trim_ascii().is_empty() => self.state = State::Between,
            State::Between | State::Field if line.contains(&b'=') => self.state = State::Field,
            State::Between | State::Field => self.state = State::Length(Vec::new()),
            State::Length(bytes) => {
                let (length, data) = line.split_at(line.len().min(8 - bytes.len()));
                bytes.extend_from_slice(length);
                if let Ok(length) = <[u8; 8]>::try_from(bytes.as_slice()) {
                    self.state = State::Bytes(u64::from_le_bytes(length).saturating_add(1));
                    self.take_bytes(data.len() as u64);
                }
            }
            State::Bytes(_) => self.take_bytes(line.len() as u64),
        }
    }

    fn take_bytes(&mut self, bytes: u64) {
        if let State::Bytes(left) = &mut self.state {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                self.state = State::Field;
            }
        }
    }
}

/// The event of an entry.
pub fn read(record: &[u8]) -> Result<Entry<'_>> {
    if !record.starts_with(b"{") {
        let fields = parse_export(record)?;
        let text = |name| fields.get(name).and_then(Value::as_str);
        let (cursor, time) = (text(CURSOR).map(str::to_owned), text(TIME).map(str::to_owned));
        return entry(raw(&fields)?, cursor, time);
    }
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, rename = "__CURSOR")]
        cursor: Option<Cow<'a, str>>,
        #[serde(borrow, rename = "__REALTIME_TIMESTAMP")]
        time: Option<Cow<'a, str>>,
    }
    let not_json = |error| anyhow!("is not an entry as journalctl -o json writes it: {error}");
    let value: &RawValue = serde_json::from_slice(record).map_err(not_json)?;
    let Fields { cursor, time } = serde_json::from_str(value.get()).map_err(not_json)?;
    entry(Cow::Borrowed(value), cursor.map(Cow::into_owned), time.map(Cow::into_owned))
}

fn entry(value: Cow<'_, RawValue>, cursor: Option<String>, time: Option<String>) -> Result<Entry<'_>> {
    let id = cursor.context("is not an entry of a journal: it has no __CURSOR")?;
    let time = time.context("is not an entry of a journal: it has no __REALTIME_TIMESTAMP")?;
    Ok(Entry { value, id: Some(id), time: Some(since_epoch(&time)?) })
}

/// The fields of an entry, as `journalctl -o json` writes them: bytes that are not text are a list of numbers, and so are
/// several values of one field.
fn parse_export(mut record: &[u8]) -> Result<BTreeMap<String, Value>> {
    let mut fields = BTreeMap::<_, Vec<Value>>::new();
    while !record.trim_ascii().is_empty() {
        let (line, rest) = split_line(record);
        let (name, value) = match line.iter().position(|&byte| byte == b'=') {
            Some(at) => {
                record = rest;
                (&line[..at], &line[at + 1..])
            }
            None => {
                let (value, rest) =
                    split_bytes(rest).context("is not an entry of a journal: a field is not whole")?;
                record = rest;
                (line, value)
            }
        };
        let is_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
        ensure!(
            !name.is_empty() && name.iter().all(is_name),
            "is not an entry of a journal: {:?} is no field",
            String::from_utf8_lossy(&name[..name.len().min(80)])
        );
        let value = match std::str::from_utf8(value) {
            Ok(text) => Value::from(text),
            Err(_) => Value::from(value),
        };
        fields.entry(String::from_utf8_lossy(name).into_owned()).or_default().push(value);
    }
    let one =
        |mut values: Vec<Value>| if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
    Ok(fields.into_iter().map(|(name, values)| (name, one(values))).collect())
}

fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[]),
    }
}

/// The bytes behind their length, and what is behind their line end.
fn split_bytes(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = text.split_first_chunk()?;
    let (bytes, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    // The line end of the last field may not be held.
    if rest.is_empty() { Some((bytes, rest)) } else { Some((bytes, rest.strip_prefix(b"\n")?)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(fields: &[(&str, &[u8])]) -> Vec<u8> {
        let mut entry = b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1763686800123456\n".to_vec();
        for (name, value) in fields {
            entry.extend_from_slice(name.as_bytes());
            entry.push(b'\n');
            entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
            entry.extend_from_slice(value);
            entry.push(b'\n');
        }
        entry
    }

    #[test]
    fn both_formats_say_the_same() {
        let entry =
            export(&[("MESSAGE", b"two\nlines = 2"), ("BYTES", b"\xff\0"), ("TAG", b"a"), ("TAG", b"")]);
        let json = r#"{"BYTES":[255,0],"MESSAGE":"two\nlines = 2","TAG":["a",""],"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1763686800123456"}"#;
        for record in [&entry[..], json.as_bytes()] {
            let entry = read(record).unwrap();
            assert_eq!(entry.value.get(), json);
            assert_eq!(entry.id.unwrap(), "s=1;i=2");
            assert_eq!(entry.time.unwrap(), "2025-11-21T01:00:00.123456Z");
        }
    }

    #[test]
    fn what_is_cut_off_or_forged_is_no_entry() {
        let whole = export(&[("MESSAGE", b"text")]);
        for length in [whole.len() - 3, whole.len() - 9, 20] {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
        let huge = [b"MESSAGE\n".as_slice(), &u64::MAX.to_le_bytes(), b"x\n"].concat();
        for record in
            [&huge[..], b"a=b", b"=", b"__CURSOR=1", b"{", b"{\"__CURSOR\":1}", b"{}", b"\xff\xff", b""]
        {
            assert!(read(record).is_err(), "{:?}", String::from_utf8_lossy(record));
        }
    }
}
