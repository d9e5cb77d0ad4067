//! Turns a line, or a record of several, into an event, as JSON for `POST /publish`.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::cli::{Cli, Format, IdFrom};
use crate::field::Field;
use crate::formats::csv::{self, Header};
use crate::formats::events::{self, Event};
use crate::formats::{Entry, cri, docker, journald, json, raw, syslog};
use crate::input::Identity;
use crate::time::{number_in_quotes, since_epoch};

/// Turns lines into events.
pub struct Mapper {
    format: Format,
    delimiter: u8,
    topic: Option<String>,
    id: IdFrom,
    id_field: Option<Field>,
    time_field: Option<Field>,
    payload: Option<Field>,
}

impl Mapper {
    /// The mapper for these arguments.
    pub fn new(cli: &Cli) -> Self {
        let field = |text: &Option<String>| text.as_deref().map(Field::parse);
        Self {
            format: cli.format(),
            delimiter: cli.delimiter,
            topic: cli.topic.clone(),
            id: cli.id,
            id_field: field(&cli.id_field),
            time_field: field(&cli.time_field),
            payload: field(&cli.payload),
        }
    }

    /// Appends the event of `line`, which is at `offset` of the input `identity` and has these columns, to `body`, as one
    /// line of JSON; false if there is none in it. An error describes the line in a phrase that follows its place, and
    /// leaves `body` unchanged.
    pub fn append(
        &self,
        (line, header): (&[u8], &Header),
        (identity, offset): (Identity, u64),
        source: &str,
        body: &mut Vec<u8>,
    ) -> Result<bool> {
        let entry;
        let (mut event, own) = match self.format {
            Format::Lines => (Event::of_payload(raw(&String::from_utf8_lossy(line))?), None),
            Format::Events => {
                let (fields, own) = events::read(line)?;
                (fields, Some(own))
            }
            format => {
                entry = self.read(format, line, header)?;
                match &entry {
                    Some(entry) => (self.map_fields(entry)?, None),
                    None => return Ok(false),
                }
            }
        };
        let mut added = Event::default();
        if event.topic.is_none() {
            let topic = self.topic.as_ref().context("has no topic, and no --topic was given")?;
            added.topic = Some(raw(topic)?);
        }
        if event.event_id.is_none() {
            added.event_id = Some(raw(&self.event_id(line, identity, offset))?);
        }
        if event.source.is_none() {
            added.source = Some(raw(&source)?);
        }
        let start = body.len();
        match own {
            // The line goes as it is, so that the service also sees fields that are not known here.
            Some(own) => {
                serde_json::to_writer(&mut *body, &added)?;
                body.pop();
                let is_alone = body.len() - start == 1 || own.trim_ascii_start().starts_with(b"}");
                body.extend_from_slice(if is_alone { b"" } else { b"," });
                body.extend_from_slice(own);
            }
            None => {
                event.topic = added.topic.or(event.topic);
                event.event_id = added.event_id.or(event.event_id);
                event.source = added.source.or(event.source);
                serde_json::to_writer(&mut *body, &event)?;
            }
        }
        // Raw JSON values may contain line ends as white space, but the event must be one line.
        body[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        body.push(b'\n');
        Ok(true)
    }

    /// What a record with fields says; `None` if there is nothing in it.
    fn read<'a>(&self, format: Format, record: &'a [u8], header: &Header) -> Result<Option<Entry<'a>>> {
        match format {
            Format::Docker => docker::read(record),
            Format::Cri => cri::read(record),
            Format::Csv => csv::read(record, header, self.delimiter).map(Some),
            Format::Journald => journald::read(record).map(Some),
            Format::Syslog => syslog::read(record).map(Some),
            Format::Lines | Format::Json | Format::Events => json::read(record).map(Entry::of).map(Some),
        }
    }

    /// The id of a line without one. The content is always part of it, so that no line is lost after a file was
    /// overwritten.
    fn event_id(&self, line: &[u8], identity: Identity, offset: u64) -> String {
        let hash = Sha256::digest(line);
        let hash = u128::from_be_bytes(std::array::from_fn(|index| hash[index]));
        match self.id {
            IdFrom::Content => format!("{hash:032x}"),
            IdFrom::Offset => format!("{:016x}-{offset:012x}-{:016x}", identity.0, hash >> 64),
        }
    }

    fn map_fields<'a>(&self, entry: &'a Entry<'_>) -> Result<Event<'a>> {
        let value: &RawValue = &entry.value;
        let get = |field: &Option<Field>| field.as_ref().map(|field| field.of(value)).transpose();
        let event_id = match get(&self.id_field)? {
            None => entry.id.as_ref().map(raw).transpose()?,
            Some(value) => Some(match value.get().as_bytes()[0] {
                b'"' => Cow::Borrowed(value),
                b'-' | b'0'..=b'9' => raw(&value.get())?,
                _ => bail!("has an id that is neither a string nor a number: {}", value.get()),
            }),
        };
        let timestamp = match get(&self.time_field)? {
            None => entry.time.as_ref().map(raw).transpose()?,
            Some(value) => Some(match value.get().as_bytes()[0] {
                b'-' | b'0'..=b'9' => raw(&since_epoch(value.get())?)?,
                _ => match number_in_quotes(value.get()) {
                    Some(number) => raw(&since_epoch(number)?)?,
                    None => Cow::Borrowed(value),
                },
            }),
        };
        let payload = get(&self.payload)?.unwrap_or(value);
        Ok(Event { event_id, timestamp, ..Event::of_payload(Cow::Borrowed(payload)) })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;

    fn event(arguments: &[&str], line: &str) -> Result<Value> {
        let cli = Cli::parse_from([&["publisher"], arguments].concat());
        let mut body = Vec::new();
        Mapper::new(&cli).append((line.as_bytes(), &vec![]), (Identity(0xabc), 256), "app.log", &mut body)?;
        assert_eq!(body.iter().filter(|&&byte| byte == b'\n').count(), 1);
        Ok(serde_json::from_slice(&body)?)
    }

    #[test]
    fn a_line_of_text_is_a_string() {
        let event = event(&["--topic", "log"], r#"GET "/" 200"#).unwrap();
        assert_eq!(event["topic"], "log");
        assert_eq!(event["payload"], r#"GET "/" 200"#);
        assert_eq!(event["source"], "app.log");
        assert!(event.get("timestamp").is_none());
    }

    #[test]
    fn the_id_is_made_of_file_offset_and_content() {
        let id = |cli: &[&str], line: &[u8], identity, offset| {
            let cli = Cli::parse_from([&["publisher", "--topic", "log"], cli].concat());
            Mapper::new(&cli).event_id(line, Identity(identity), offset)
        };
        let one = id(&[], b"line", 0xabc, 256);
        assert_eq!(one, "0000000000000abc-000000000100-38a9c1e721584da2");
        for other in [id(&[], b"Line", 0xabc, 256), id(&[], b"line", 0xabd, 256), id(&[], b"line", 0xabc, 0)]
        {
            assert_ne!(one, other);
        }
        let content = ["--id", "content"];
        assert_eq!(id(&content, b"line", 1, 2), id(&content, b"line", 3, 4));
        assert_ne!(id(&content, b"line", 1, 2), id(&content, b"Line", 1, 2));
    }

    #[test]
    fn fields_of_json_become_id_time_and_payload() {
        let line = r#"{"id":7,"at":1763686800.25,"request":{"items":[{"n":1.50}]}}"#;
        let arguments =
            ["--topic", "t", "--id-field", "id", "--time-field", "at", "--payload", "/request/items/0"];
        let event = event(&arguments, line).unwrap();
        assert_eq!(event["event_id"], "7");
        assert_eq!(event["timestamp"], "2025-11-21T01:00:00.250Z");
        assert_eq!(event["payload"], json!({"n": 1.5}));
    }

    #[test]
    fn numbers_stay_as_they_are_written() {
        let cli = Cli::parse_from(["publisher", "--topic", "t", "--format", "json"]);
        let mut body = Vec::new();
        let line = br#"{"n":1.50,"big":12345678901234567890123}"#;
        Mapper::new(&cli).append((line, &vec![]), (Identity(1), 0), "s", &mut body).unwrap();
        assert!(
            String::from_utf8(body)
                .unwrap()
                .contains(r#""payload":{"n":1.50,"big":12345678901234567890123}"#)
        );
    }

    #[test]
    fn an_event_keeps_its_fields_and_gets_missing_ones() {
        let whole =
            r#"{"topic":"a","event_id":"1","timestamp":"2026-11-21T01:00:00Z","source":"s","payload":null}"#;
        assert_eq!(
            event(&["--format", "events", "--topic", "b"], whole).unwrap().to_string().len(),
            whole.len()
        );
        let partial = event(&["--format", "events", "--topic", "b"], r#"{"payload":null}"#).unwrap();
        assert_eq!((&partial["topic"], &partial["payload"]), (&json!("b"), &Value::Null));
        assert_eq!(partial["event_id"].as_str().unwrap().len(), 46);
        // The service validates the fields.
        assert_eq!(event(&["--format", "events"], r#"{"topic":7}"#).unwrap()["topic"], 7);
    }

    #[test]
    fn an_error_describes_the_line() {
        let message = |arguments: &[&str], line: &str| event(arguments, line).unwrap_err().to_string();
        assert!(message(&["--format", "json", "--topic", "t"], "{").starts_with("is not JSON"));
        assert!(message(&["--format", "events"], "[1]").starts_with("is not an event"));
        assert!(message(&["--format", "events"], "{}").starts_with("has no topic"));
        assert_eq!(message(&["--topic", "t", "--id-field", "id"], "{}"), "has no field \"id\"");
        assert!(
            message(&["--topic", "t", "--id-field", "id"], r#"{"id":[1]}"#).starts_with("has an id that is")
        );
        assert!(
            message(&["--topic", "t", "--time-field", "t"], r#"{"t":1e9}"#).starts_with("has a time that")
        );
    }

    #[test]
    fn json_over_several_lines_is_told_what_helps() {
        for line in ["{", "  \"a\": 1,", "}", "]"] {
            let told = event(&["--topic", "t", "--format", "json"], line).unwrap_err().to_string();
            assert!(
                told.contains("for JSON over several lines: jq -c . FILE | publisher --format json"),
                "{told}"
            );
        }
        let told = event(&["--topic", "t", "--format", "json"], "{x}").unwrap_err().to_string();
        assert!(!told.contains("jq"), "{told}");
        let told = event(&["--format", "events"], "[{}]").unwrap_err().to_string();
        assert!(told.contains("jq -c '.[]'"), "{told}");
    }
}
