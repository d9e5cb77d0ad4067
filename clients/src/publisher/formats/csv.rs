//! Comma-separated values (RFC 4180). The first record of a file names the columns, and each other one is an event whose
//! fields are strings. A quoted field may hold line ends.

use std::collections::HashMap;

use anyhow::{Result, bail, ensure};
use csv_core::{Reader, ReaderBuilder, Terminator};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Entry, Framing, Part, raw};

/// The names of the columns.
pub type Header = Vec<String>;

/// Joins the lines of a record.
pub struct Csv {
    delimiter: u8,
    state: State,
}

/// Where the text of a record stands, between two bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a field.
    Start,
    /// In a field without quotes, or behind the quotes of another.
    Plain,
    /// In quotes.
    Quoted,
    /// Behind a quote that ends the field, or is the first of two that stand for one.
    Quote,
}

impl Csv {
    /// Records whose fields are separated by this byte.
    pub fn new(delimiter: u8) -> Self {
        Self { delimiter, state: State::Start }
    }
}

impl Framing for Csv {
    fn part<'a>(&mut self, line: &'a [u8]) -> Part<'a> {
        for &byte in line {
            self.state = match (self.state, byte) {
                (State::Start, b'"') | (State::Quote, b'"') => State::Quoted,
                (State::Quoted, b'"') => State::Quote,
                (State::Quoted, _) => State::Quoted,
                (_, byte) if byte == self.delimiter => State::Start,
                (_, _) => State::Plain,
            };
        }
        let ends = self.state != State::Quoted;
        if ends {
            self.state = State::Start;
        }
        Part { stream: 0, text: line.into(), ends }
    }

    fn skip(&mut self, _: u64) -> bool {
        self.cut(); // nobody knows about its quotes
        true
    }

    fn cut(&mut self) {
        self.state = State::Start;
    }

    fn unended(&self) -> Option<&'static str> {
        Some("ends within quotes")
    }

    fn keeps_line_ends(&self) -> bool {
        true
    }
}

/// The fields of a record.
pub fn fields(record: &[u8], delimiter: u8) -> Vec<String> {
    let mut reader: Reader =
        ReaderBuilder::new().delimiter(delimiter).terminator(Terminator::Any(b'\n')).build();
    // No record has more bytes than its text, or more fields than it has delimiters, and one. There is room to spare, so
    // that nothing is full before the end.
    let mut output = vec![0; record.len() + 1];
    let mut ends = vec![0; record.iter().filter(|&&byte| byte == delimiter).count() + 2];
    let (_, _, written, before) = reader.read_record(record, &mut output, &mut ends);
    // An empty input is the end.
    let (_, _, _, behind) = reader.read_record(&[], &mut output[written..], &mut ends[before..]);
    let count = before + behind;
    let mut start = 0;
    let ends = ends[..count].iter();
    ends.map(|&end| String::from_utf8_lossy(&output[std::mem::replace(&mut start, end)..end]).into_owned())
        .collect()
}

/// The event of a record.
pub fn read(record: &[u8], header: &Header, delimiter: u8) -> Result<Entry<'static>> {
    let fields = fields(record, delimiter);
    ensure!(!header.is_empty(), "has no header: the first record of its file names no columns");
    if fields.len() != header.len() {
        bail!("has {} fields, and the header {}", fields.len(), header.len());
    }
    Ok(Entry { value: raw(&Row { header, fields: &fields })?, id: None, time: None })
}

/// A header that can name columns.
///
/// # Errors
/// Two columns have the same name.
pub fn header(record: &[u8], delimiter: u8) -> Result<Header> {
    let names = fields(record, delimiter);
    let mut seen = HashMap::new();
    for (index, name) in names.iter().enumerate() {
        if let Some(before) = seen.insert(name, index) {
            bail!("names two columns {name:?}: the {}. and the {}.", before + 1, index + 1);
        }
    }
    Ok(names)
}

/// A record as an object, in the order of its columns.
struct Row<'a> {
    header: &'a [String],
    fields: &'a [String],
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.fields.len()))?;
        for (name, field) in self.header.iter().zip(self.fields) {
            map.serialize_entry(name, field)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    fn row(header: &str, record: &str) -> Result<String> {
        let header = super::header(header.as_bytes(), b',').unwrap();
        read(record.as_bytes(), &header, b',').map(|entry| entry.value.get().to_owned())
    }

    #[test]
    fn a_record_is_an_object_in_the_order_of_its_columns() {
        let found = row("z,\"a \"\"b\"\"\",c", "1,\"two\r\nlines, and \"\"quotes\"\"\",").unwrap();
        assert_eq!(found, r#"{"z":"1","a \"b\"":"two\r\nlines, and \"quotes\"","c":""}"#);
        assert_eq!(row("a", "x\ry").unwrap(), r#"{"a":"x\ry"}"#);
    }

    #[test]
    fn a_record_of_another_width_is_named() {
        for (record, told) in
            [("1", "has 1 fields, and the header 2"), ("1,2,3", "has 3 fields, and the header 2")]
        {
            assert_eq!(row("a,b", record).unwrap_err().to_string(), told);
        }
        assert!(read(b"1", &vec![], b',').err().unwrap().to_string().starts_with("has no header"));
        assert!(
            super::header(b"a,b,a", b',')
                .unwrap_err()
                .to_string()
                .contains("two columns \"a\": the 1. and the 3.")
        );
    }

    /// csv-core reads the whole file, and so knows where its records end.
    #[test]
    fn records_end_where_a_parser_of_the_whole_file_says() {
        let mut random = Rng::with_seed(1);
        for _ in 0..20_000 {
            let length = random.usize(0..30);
            let text: Vec<u8> = (0..length).map(|_| b"a,\"\n"[random.usize(0..4)]).collect();
            let mut framing = Csv::new(b',');
            let (mut found, mut start, mut end) = (Vec::new(), 0, 0);
            for line in text.split_inclusive(|&byte| byte == b'\n') {
                end += line.len();
                if framing.part(line).ends {
                    let record = text[start..end].strip_suffix(b"\n").unwrap_or(&text[start..end]);
                    found.extend((!record.is_empty()).then(|| fields(record, b',')));
                    start = end;
                }
            }
            let mut expected = parse(&text);
            expected.truncate(if start == end { expected.len() } else { found.len() });
            assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(&text));
        }
    }

    fn parse(mut text: &[u8]) -> Vec<Vec<String>> {
        let mut reader: Reader = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        let (mut output, mut ends, mut records) = ([0; 64], [0; 64], Vec::new());
        let (mut written, mut count) = (0, 0);
        loop {
            let (result, read, out, fields) =
                reader.read_record(text, &mut output[written..], &mut ends[count..]);
            (text, written, count) = (&text[read..], written + out, count + fields);
            match result {
                csv_core::ReadRecordResult::Record => {
                    let mut start = 0;
                    let field = |end| {
                        String::from_utf8_lossy(&output[std::mem::replace(&mut start, end)..end]).into_owned()
                    };
                    records.push(ends[..count].iter().copied().map(field).collect());
                    (written, count) = (0, 0);
                }
                csv_core::ReadRecordResult::End => return records,
                _ => {}
            }
        }
    }
}
