//! Makes an event of a row.

use serde_json::value::RawValue;

use crate::time::since_epoch;

/// A value of a column.
pub enum Value<'a> {
    /// None.
    Null,
    /// A whole number.
    Integer(i64),
    /// Another number.
    Real(f64),
    /// Text, which may not be UTF-8.
    Text(&'a [u8]),
    /// Bytes.
    Blob,
}

/// The event of a row as JSON.
///
/// # Errors
/// The column that cannot be taken, and why.
pub fn event<'a>(values: impl Iterator<Item = (&'a str, Value<'a>)>) -> Result<Vec<u8>, String> {
    let mut fields = Vec::new();
    for (name, value) in values {
        let json = match name {
            "payload" => payload(value),
            "timestamp" => timestamp(value),
            _ => string(value),
        };
        match json {
            Ok(Some(json)) => fields.push(format!("\"{name}\":{json}")),
            Ok(None) => {}
            Err(reason) => return Err(format!("column {name} {reason}")),
        }
    }
    Ok(format!("{{{}}}", fields.join(",")).into_bytes())
}

/// A value as JSON; `None` if there is none.
type Json = Result<Option<String>, String>;

fn payload(value: Value) -> Json {
    match value {
        Value::Null => Ok(None),
        Value::Integer(number) => Ok(Some(number.to_string())),
        Value::Real(number) if number.is_finite() => Ok(Some(serde_json::json!(number).to_string())),
        Value::Real(number) => Err(format!("is no number of JSON: {number}")),
        Value::Text(text) => match serde_json::from_str::<&RawValue>(utf8(text)?) {
            Ok(json) => Ok(Some(json.get().into())),
            Err(error) => Err(format!("is not JSON: {error}: {}", shortened(utf8(text)?))),
        },
        Value::Blob => Err("holds bytes, and not JSON as text".into()),
    }
}

fn timestamp(value: Value) -> Json {
    let since = |number: String| since_epoch(&number).map_err(|error| error.to_string());
    match value {
        Value::Integer(number) => Ok(Some(quoted(&since(number.to_string())?))),
        Value::Real(number) => Ok(Some(quoted(&since(format!("{number:.6}"))?))),
        other => string(other),
    }
}

fn string(value: Value) -> Json {
    match value {
        Value::Null => Ok(None),
        Value::Integer(number) => Ok(Some(quoted(&number.to_string()))),
        Value::Text(text) => Ok(Some(quoted(utf8(text)?))),
        Value::Real(number) => Err(format!("is not text: {number}")),
        Value::Blob => Err("holds bytes, and not text".into()),
    }
}

fn utf8(text: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(text).map_err(|error| format!("is not UTF-8 at byte {}", error.valid_up_to()))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    shown.extend((shown.len() < text.len()).then_some('…'));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: Value) -> Result<String, String> {
        event([(name, value)].into_iter()).map(|event| String::from_utf8(event).unwrap())
    }

    #[test]
    fn columns_become_fields() {
        assert_eq!(of("event_id", Value::Integer(7)).unwrap(), r#"{"event_id":"7"}"#);
        assert_eq!(of("source", Value::Text(b"it's \"old\"")).unwrap(), r#"{"source":"it's \"old\""}"#);
        assert_eq!(of("payload", Value::Text(b" {\"n\": 1.50} ")).unwrap(), r#"{"payload":{"n": 1.50}}"#);
        assert_eq!(of("payload", Value::Real(0.5)).unwrap(), r#"{"payload":0.5}"#);
        assert_eq!(of("payload", Value::Null).unwrap(), "{}");
        let time = r#"{"timestamp":"2025-11-21T01:00:00Z"}"#;
        assert_eq!(of("timestamp", Value::Integer(1_763_686_800)).unwrap(), time);
        assert_eq!(
            of("timestamp", Value::Text(b"2026-01-01 00:00")).unwrap(),
            r#"{"timestamp":"2026-01-01 00:00"}"#
        );
    }

    #[test]
    fn what_cannot_be_taken_names_the_column_and_the_reason() {
        for (name, value, reason) in [
            ("payload", Value::Text(b"{'a': 1}"), "column payload is not JSON: key must be a string"),
            ("payload", Value::Text(b""), "column payload is not JSON: EOF"),
            ("payload", Value::Blob, "column payload holds bytes"),
            ("payload", Value::Real(f64::INFINITY), "column payload is no number of JSON: inf"),
            ("topic", Value::Text(b"caf\xe9"), "column topic is not UTF-8 at byte 3"),
            ("event_id", Value::Real(1.5), "column event_id is not text: 1.5"),
        ] {
            let told = of(name, value).unwrap_err();
            assert!(told.starts_with(reason), "{told}");
        }
    }
}
