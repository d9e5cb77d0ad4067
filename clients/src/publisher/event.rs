//! Turns a line into an event, as JSON for `POST /publish`.

use std::borrow::Cow;
use std::collections::HashMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};

use crate::cli::{Cli, Format, IdFrom};
use crate::input::Identity;

/// Turns lines into events.
pub struct Mapper {
    format: Format,
    topic: Option<String>,
    id: IdFrom,
    id_field: Option<Field>,
    time_field: Option<Field>,
    payload: Option<Field>,
}

/// A field of a JSON value: a name, or a pointer (RFC 6901).
struct Field {
    /// The argument, for errors.
    text: String,
    /// The names, or indices, that lead to it.
    steps: Vec<String>,
}

/// An event of the API. Its fields may hold any JSON value, because the service validates them.
#[derive(Default, Deserialize, Serialize)]
struct Event<'a> {
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    topic: Option<Cow<'a, RawValue>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    event_id: Option<Cow<'a, RawValue>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    timestamp: Option<Cow<'a, RawValue>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    source: Option<Cow<'a, RawValue>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    payload: Option<Cow<'a, RawValue>>,
}

impl<'a> Event<'a> {
    fn of_payload(payload: Cow<'a, RawValue>) -> Self {
        Self { payload: Some(payload), ..Self::default() }
    }
}

/// Keeps a field that is null, which `Option` alone would take for a missing one.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'a, RawValue>>, D::Error> {
    <&'a RawValue>::deserialize(from).map(|value| Some(Cow::Borrowed(value)))
}

impl Mapper {
    /// The mapper for these arguments.
    pub fn new(cli: &Cli) -> Self {
        let field = |text: &Option<String>| text.as_deref().map(Field::parse);
        Self {
            format: cli.format(),
            topic: cli.topic.clone(),
            id: cli.id,
            id_field: field(&cli.id_field),
            time_field: field(&cli.time_field),
            payload: field(&cli.payload),
        }
    }

    /// Appends the event of `line`, which is at `offset` of the input `identity`, to `body`, as one line of JSON. An
    /// error describes the line in a phrase that follows its place, and leaves `body` unchanged.
    pub fn append(
        &self,
        line: &[u8],
        (identity, offset): (Identity, u64),
        source: &str,
        body: &mut Vec<u8>,
    ) -> Result<()> {
        let (mut event, own) = match self.format {
            Format::Lines => (Event::of_payload(raw(&String::from_utf8_lossy(line))?), None),
            Format::Json => (self.map_fields(line)?, None),
            Format::Events => {
                let (fields, own) = parse_event(line)?;
                (fields, Some(own))
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
        Ok(())
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

    fn map_fields<'a>(&self, line: &'a [u8]) -> Result<Event<'a>> {
        let line: &RawValue = serde_json::from_slice(line)
            .map_err(|error| anyhow!("is not JSON: {error}{}", hint(line, &error, "json")))?;
        let get = |field: &Option<Field>| field.as_ref().map(|field| field.of(line)).transpose();
        let event_id = get(&self.id_field)?.map(|value| match value.get().as_bytes()[0] {
            b'"' => Ok(Cow::Borrowed(value)),
            b'-' | b'0'..=b'9' => raw(&value.get()),
            _ => bail!("has an id that is neither a string nor a number: {}", value.get()),
        });
        let timestamp = get(&self.time_field)?.map(|value| match value.get().as_bytes()[0] {
            b'-' | b'0'..=b'9' => raw(&since_epoch(value.get())?),
            _ => match number_in_quotes(value.get()) {
                Some(number) => raw(&since_epoch(number)?),
                None => Ok(Cow::Borrowed(value)),
            },
        });
        Ok(Event {
            topic: None,
            event_id: event_id.transpose()?,
            timestamp: timestamp.transpose()?,
            source: None,
            payload: Some(Cow::Borrowed(get(&self.payload)?.unwrap_or(line))),
        })
    }
}

/// The fields of a line that is an event, and the line behind its first brace.
fn parse_event(line: &[u8]) -> Result<(Event<'_>, &[u8])> {
    // serde would accept an array of the fields in their order.
    ensure!(
        line.trim_ascii_start().starts_with(b"{"),
        "is not an event: it is not a JSON object{}",
        if line.trim_ascii_start().starts_with(b"[") { "; for an array of events: jq -c '.[]'" } else { "" }
    );
    let fields = serde_json::from_slice(line)
        .map_err(|error| anyhow!("is not an event: {error}{}", hint(line, &error, "events")))?;
    let own = line.trim_ascii_start().get(1..).unwrap_or_default();
    Ok((fields, own))
}

/// The remedy for a line that ends too early, or is only an end: it is part of JSON over several lines.
fn hint(line: &[u8], error: &serde_json::Error, format: &str) -> String {
    let is_end = matches!(line.trim_ascii(), [b'}' | b']', ..]) || line.trim_ascii().ends_with(b",");
    match error.is_eof() || is_end {
        true => format!("; for JSON over several lines: jq -c . FILE | publisher --format {format} ..."),
        false => String::new(),
    }
}

/// The number of a string that is a time since 1970 in whole units, as `journalctl -o json` writes it. Other strings of
/// digits may be dates.
fn number_in_quotes(json: &str) -> Option<&str> {
    let number = json.strip_prefix('"')?.strip_suffix('"')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let are_digits = [whole, fraction].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let has_unit = matches!((whole.len(), fraction), (9 | 10, _) | (13 | 16 | 19, "0"));
    (are_digits && !fraction.is_empty() && has_unit).then_some(number)
}

impl Field {
    fn parse(text: &str) -> Self {
        let steps = match text.strip_prefix('/') {
            Some(pointer) => {
                pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
            }
            None => vec![text.into()],
        };
        Self { text: text.into(), steps }
    }

    /// The value of this field in `json`.
    fn of<'a>(&self, json: &'a RawValue) -> Result<&'a RawValue> {
        self.steps
            .iter()
            .try_fold(json, |value, step| match value.get().as_bytes()[0] {
                b'{' => serde_json::from_str::<HashMap<Cow<str>, &RawValue>>(value.get())
                    .ok()?
                    .remove(step.as_str()),
                b'[' => serde_json::from_str::<Vec<&RawValue>>(value.get())
                    .ok()?
                    .get(step.parse::<usize>().ok()?)
                    .copied(),
                _ => None,
            })
            .with_context(|| format!("has no field {:?}", self.text))
    }
}

fn raw<T: Serialize>(value: &T) -> Result<Cow<'static, RawValue>> {
    Ok(Cow::Owned(to_raw_value(value)?))
}

/// A time since 1970 as RFC 3339. The unit follows from the size, unambiguously for all times from 1973 to 5138.
pub fn since_epoch(number: &str) -> Result<String> {
    let unreadable = || format!("has a time that is not a decimal number in range: {number}");
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    ensure!(fraction.bytes().all(|digit| digit.is_ascii_digit()), unreadable());
    let whole: i64 = whole.parse().ok().with_context(unreadable)?;
    let units_in_second: i64 = match whole.unsigned_abs() {
        0..100_000_000_000 => 1,
        100_000_000_000..100_000_000_000_000 => 1_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000_000,
        _ => 1_000_000_000,
    };
    // The fraction of smaller units, and digits beyond the nanosecond, are dropped.
    let digits = if units_in_second == 1 { fraction } else { "" };
    let fraction: i64 = format!("{digits:0<9.9}").parse().ok().with_context(unreadable)?;
    let fraction = if number.starts_with('-') { -fraction } else { fraction };
    let nanoseconds = i128::from(whole) * i128::from(1_000_000_000 / units_in_second) + i128::from(fraction);
    let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000))?;
    let nanoseconds = u32::try_from(nanoseconds.rem_euclid(1_000_000_000))?;
    let time = DateTime::from_timestamp(seconds, nanoseconds).with_context(unreadable)?;
    Ok(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;

    fn event(arguments: &[&str], line: &str) -> Result<Value> {
        let cli = Cli::parse_from([&["publisher"], arguments].concat());
        let mut body = Vec::new();
        Mapper::new(&cli).append(line.as_bytes(), (Identity(0xabc), 256), "app.log", &mut body)?;
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
        Mapper::new(&cli).append(line, (Identity(1), 0), "s", &mut body).unwrap();
        assert!(
            String::from_utf8(body)
                .unwrap()
                .contains(r#""payload":{"n":1.50,"big":12345678901234567890123}"#)
        );
    }

    #[test]
    fn a_pointer_escapes_slashes_and_a_name_is_a_name() {
        let line = r#"{"a/b":{"~":"x"},"c.d":"y"}"#;
        assert_eq!(event(&["--topic", "t", "--id-field", "/a~1b/~0"], line).unwrap()["event_id"], "x");
        assert_eq!(event(&["--topic", "t", "--id-field", "c.d"], line).unwrap()["event_id"], "y");
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
    fn a_number_in_quotes_is_a_time_and_a_date_is_none() {
        let time = |value: &str| {
            let line = format!(r#"{{"at":{value}}}"#);
            event(&["--topic", "t", "--time-field", "at"], &line).unwrap()["timestamp"].clone()
        };
        assert_eq!(time(r#""1763686800123456""#), "2025-11-21T01:00:00.123456Z");
        assert_eq!(time(r#""1763686800""#), "2025-11-21T01:00:00Z");
        assert_eq!(time(r#""1763686800.25""#), "2025-11-21T01:00:00.250Z");
        for other in [
            "20261128",
            "20261128010203",
            "202611280102",
            "2026-11-28T01:00:00Z",
            "1763686800.",
            "17636868x0",
        ] {
            assert_eq!(time(&format!("\"{other}\"")), other);
        }
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

    #[test]
    fn times_since_1970_come_in_four_units() {
        for (number, time) in [
            ("0", "1970-01-01T00:00:00Z"),
            ("-1.5", "1969-12-31T23:59:58.500Z"),
            ("-0.5", "1969-12-31T23:59:59.500Z"),
            ("1763686800", "2025-11-21T01:00:00Z"),
            ("1763686800.123456789012", "2025-11-21T01:00:00.123456789Z"),
            ("1763686800123", "2025-11-21T01:00:00.123Z"),
            ("1763686800123456", "2025-11-21T01:00:00.123456Z"),
            ("1763686800123456789", "2025-11-21T01:00:00.123456789Z"),
        ] {
            assert_eq!(since_epoch(number).unwrap(), time, "{number}");
        }
    }
}
