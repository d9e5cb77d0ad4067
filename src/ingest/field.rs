//! The fields of an event, from JSON or from headers, checked by the rules of their types.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::collect::FieldErrors;
use crate::event::{InvalidField, Timestamp};
use crate::payload;

/// The text of a field, or the name of the JSON type that stands in its place; `None` if the field is absent.
pub type Text<'a> = Option<Result<Cow<'a, str>, &'static str>>;

/// The text of a JSON field that stands inside `depth` arrays and objects.
pub fn text(raw: Option<&RawValue>, depth: usize) -> Result<Text<'_>, payload::Malformed> {
    let Some(raw) = raw else { return Ok(None) };
    let json = raw.get();
    let kind = match json.as_bytes()[0] {
        b'"' if !json.contains('\\') => return Ok(Some(Ok(Cow::Borrowed(&json[1..json.len() - 1])))),
        // The grammar holds already, so only a lone surrogate can be wrong.
        b'"' => {
            let text = serde_json::from_str(json).map_err(|_| payload::Malformed::LoneSurrogate)?;
            return Ok(Some(Ok(Cow::Owned(text))));
        }
        b'{' => "an object",
        b'[' => "an array",
        b't' | b'f' => "a boolean",
        b'n' => NULL,
        _ => NUMBER,
    };
    payload::check(raw, depth)?;
    Ok(Some(Err(kind)))
}

const NULL: &str = "null";
const NUMBER: &str = "a number";

/// The value of a field that every event has.
pub fn required<'a, T>(
    field: &'static str,
    text: Text<'a>,
    parse: impl Fn(Cow<'a, str>) -> Result<T, InvalidField>,
    errors: &mut FieldErrors,
) -> Option<T> {
    let parsed = match text {
        Some(Ok(text)) => parse(text).map_err(|error| error.to_string()),
        Some(Err(kind)) => Err(format!("must be a string, not {kind}")),
        None => Err("is required".into()),
    };
    parsed.map_err(|message| errors.push((field.into(), message))).ok()
}

/// The value of a field that may be absent or null.
pub fn optional<'a, T>(
    field: &'static str,
    text: Text<'a>,
    parse: impl Fn(Cow<'a, str>) -> Result<T, InvalidField>,
    errors: &mut FieldErrors,
) -> Option<T> {
    match text {
        None | Some(Err(NULL)) => None,
        text => required(field, text, parse, errors),
    }
}

/// The moment of a field that may be absent or null. Many send it as a number, whose unit nobody can know.
pub fn moment(field: &'static str, text: Text<'_>, errors: &mut FieldErrors) -> Option<Timestamp> {
    if let Some(Err(NUMBER)) = text {
        let message = "must be a string by RFC 3339 such as \"2026-11-21T01:00:00Z\", not a number";
        errors.push((field.into(), message.into()));
        return None;
    }
    optional(field, text, |text| Timestamp::parse(&text), errors)
}
