//! `application/x-ndjson` and `application/jsonl` (<https://jsonlines.org>): one event a line, blank lines skipped.

use super::collect::{Collector, Context, IngestError, Ingested, utf8, without_mark};
use super::format::Format;
use super::json::{self, Item};

/// The format.
pub const FORMAT: Format = Format {
    media_types: &["application/x-ndjson", "application/jsonl"],
    keeps_content_type: false,
    parse: |_, body, context| parse(body, context),
};

/// Reads the lines. A malformed line ends the parsing, unless the request may be taken in part.
fn parse(body: &[u8], context: &Context) -> Result<Ingested, IngestError> {
    let mut collector = Collector::new(context);
    for (number, line) in (1..).zip(without_mark(body).split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let seen = collector.seen();
        let read = utf8(line).and_then(|line| json::one::<Item>(line, &mut collector));
        match read {
            Err(IngestError::Malformed(message)) if context.partial => {
                let index = if collector.seen() == seen { collector.next_index()? } else { seen };
                collector.reject(index, vec![("".into(), format!("line {number} is malformed: {message}"))]);
            }
            Err(IngestError::Malformed(message)) => {
                return Err(IngestError::Malformed(format!("line {number}: {message}")));
            }
            other => other?,
        }
    }
    collector.finish()
}

#[cfg(test)]
mod tests {
    use super::super::collect::UnknownFields;
    use super::*;
    use crate::limits::Limits;

    fn read(body: &str, partial: bool) -> Result<Ingested, IngestError> {
        let limits = Limits {
            max_body_bytes: 1 << 20,
            max_otlp_bytes: 1 << 20,
            max_batch_events: 4,
            max_event_bytes: 100,
        };
        let context = Context { limits, partial, unknown_fields: UnknownFields::Ignored };
        parse(body.as_bytes(), &context)
    }

    const GOOD: &str = r#"{"topic":"t","event_id":"e"}"#;

    #[test]
    fn each_line_is_an_event_and_blank_lines_are_none() {
        assert_eq!(read(&format!("{GOOD}\r\n\n  \n{GOOD}"), false).unwrap().events.len(), 2);
        assert_eq!(read(&format!("\u{feff}{GOOD}\n{GOOD}"), false).unwrap().events.len(), 2);
        assert_eq!(read("", false).unwrap().events.len(), 0);
        assert_eq!(read(&format!("[{GOOD}]"), false).unwrap_err().to_string(), "1 of the events are invalid");
    }

    #[test]
    fn a_malformed_line_is_named() {
        let Err(IngestError::Malformed(message)) = read(&format!("{GOOD}\n{{\"topic\""), false) else {
            panic!()
        };
        assert!(message.starts_with("line 2: "), "{message}");
    }

    #[test]
    fn in_part_every_valid_line_is_taken() {
        let deep =
            format!(r#"{{"topic":"t","event_id":"e","payload":{}{}}}"#, "[".repeat(130), "]".repeat(130));
        let large = format!(r#"{{"topic":"t","event_id":"e","payload":"{}"}}"#, "x".repeat(99));
        let ingested = read(&format!("{{\n{deep}\n{GOOD}\n{large}"), true).unwrap();
        assert_eq!((ingested.indexes, ingested.rejected.events), (vec![2], 3));
        let wrong: Vec<_> = ingested.rejected.listed.iter().map(|error| error.index).collect();
        assert_eq!(wrong, [0, 1, 3]);
        assert!(matches!(read(&"{}\n".repeat(5), true), Err(IngestError::TooManyEvents { limit: 4 })));
    }
}
