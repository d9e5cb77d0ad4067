//! From the bytes of a request to valid events, or to all errors in them.
//!
//! Each format is a file with its media types and its parser, and a line in `FORMATS`. All of them hand their events
//! to the collector in `collect`, which knows the limits. [`otlp`] and [`bulk`] are what shippers of logs send, by routes of
//! their own.

pub mod bulk;
mod canonical;
mod cloudevents;
mod collect;
mod content_id;
mod field;
mod format;
pub mod inflate;
mod json;
mod ndjson;
pub mod otlp;

use std::borrow::Cow;

use http::{HeaderMap, header};

pub use self::collect::{
    Collector, Context, EventError, FieldErrors, IngestError, Ingested, Invalid, UnknownFields,
};
pub use self::format::{Format, Unsupported};

/// The formats that are recognised by their media type. The first is the default.
const FORMATS: [&Format; 3] = [&json::FORMAT, &ndjson::FORMAT, &cloudevents::STRUCTURED];

impl Format {
    /// The format of a request. A missing content type means JSON; any other is taken at its word.
    ///
    /// # Errors
    /// [`Unsupported`] names the content type, and those that are supported.
    pub fn of(headers: &HeaderMap) -> Result<&'static Self, Unsupported> {
        if headers.contains_key(cloudevents::BINARY_MARK) {
            return Ok(&cloudevents::BINARY);
        }
        let media_type = media_type(headers);
        let format = FORMATS.iter().find(|format| format.media_types.contains(&media_type.as_str()));
        format.copied().ok_or_else(|| {
            let supported: Vec<_> = FORMATS.iter().flat_map(|format| format.media_types).copied().collect();
            let supported = supported.join(", ");
            Unsupported::MediaType(format!(
                "content-type '{media_type}' is not supported; supported are {supported}"
            ))
        })
    }

    /// The part of the content type that matters to this format. None if it is missing and that matters, too.
    pub fn content_type<'h>(&self, headers: &'h HeaderMap) -> Option<Cow<'h, [u8]>> {
        match self.keeps_content_type {
            true => headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes().into()),
            false => Some(media_type(headers).into_bytes().into()),
        }
    }
}

/// The media type of a body, in lower case and without parameters.
fn media_type(headers: &HeaderMap) -> String {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let content_type = content_type.unwrap_or(FORMATS[0].media_types[0]);
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
