//! Binary mode: headers hold the attributes, and the body is the data.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use super::attributes::{Attributes, COLUMNS, check_name, invalid_value, may_be_empty};
use crate::ingest::collect::{Collector, Context, FieldErrors, IngestError, Ingested, utf8, without_mark};
use crate::payload::{self, Payload};

/// Reads an event whose attributes are headers and whose data is the body.
pub fn binary(headers: &HeaderMap, body: &[u8], context: &Context) -> Result<Ingested, IngestError> {
    let attributes = header_attributes(headers)?;
    let payload = binary_data(attributes.get("datacontenttype").map(String::as_str), body)?;
    let mut collector = Collector::new(context);
    collector.take(|_| {
        let text = |name: &str| Ok(attributes.get(name).map(|value| Ok(Cow::Borrowed(value.as_str()))));
        let (mut kept, mut errors) = (Vec::new(), FieldErrors::new());
        for (name, value) in attributes.iter().filter(|(name, _)| !COLUMNS.contains(&name.as_str())) {
            match check_name(name) {
                Err(message) => errors.push(("".into(), message)),
                Ok(()) if value.is_empty() && !may_be_empty(name) => {
                    errors.push(("".into(), invalid_value(name)))
                }
                Ok(()) => kept.push(format!("\"{name}\":{}", quoted(value))),
            }
        }
        Ok(Attributes::of(text)?.into_event(payload?, &kept, errors))
    })?;
    collector.finish()
}

/// The attributes in the headers: those with the prefix `ce-`, and the content type as `datacontenttype`.
fn header_attributes(headers: &HeaderMap) -> Result<BTreeMap<String, String>, IngestError> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        // HTTP protocol binding, section 3.1.3.2: older senders quote, and characters that a header cannot hold are
        // percent-encoded.
        let value = std::str::from_utf8(value.as_bytes()).ok().map(unquoted);
        let value = value.and_then(|value| Some(percent_decode_str(&value).decode_utf8().ok()?.into_owned()));
        let Some(value) = value else {
            return Err(IngestError::Malformed(format!(
                "header ce-{name} is not UTF-8: percent-encode its value"
            )));
        };
        if ["data", "data_base64"].contains(&name) {
            let message = format!("header ce-{name}: in binary mode the body is the data");
            return Err(IngestError::Malformed(message));
        }
        if attributes.insert(name.to_owned(), value).is_some() {
            return Err(IngestError::Malformed(format!("header ce-{name} is given twice")));
        }
    }
    if let Some(content_type) = headers.get(header::CONTENT_TYPE) {
        let content_type = std::str::from_utf8(content_type.as_bytes())
            .map_err(|_| IngestError::Malformed("header content-type is not UTF-8".into()))?;
        attributes.insert("datacontenttype".into(), content_type.to_owned());
    }
    Ok(attributes)
}

/// The content of a quoted string (RFC 9110, section 5.6.4), or the value as it is.
pub fn unquoted(value: &str) -> Cow<'_, str> {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.into();
    };
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    text.into()
}

/// The data of binary mode: JSON as it is, text as a string, anything else as a string of base64. Without a content type
/// it is text, if it is UTF-8.
fn binary_data(
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Result<Payload, payload::Malformed>, IngestError> {
    if body.is_empty() {
        return Ok(Ok(Payload::empty()));
    }
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let media_type = media_type.to_ascii_lowercase();
    if media_type.ends_with("/json") || media_type.ends_with("+json") {
        return Ok(Payload::new(serde_json::from_str(utf8(without_mark(body))?)?, 0));
    }
    let text = if media_type.starts_with("text/") || media_type.is_empty() {
        std::str::from_utf8(body).ok()
    } else {
        None
    };
    let string = match text {
        Some(text) => quoted(text),
        None => quoted(&BASE64_STANDARD.encode(body)),
    };
    Ok(Payload::new(serde_json::from_str(&string)?, 0))
}

/// A text as a JSON string.
fn quoted(text: &str) -> String {
    // A string cannot fail to become JSON.
    serde_json::to_string(text).unwrap_or_default()
}
