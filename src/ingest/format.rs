//! A format of request bodies.

use http::HeaderMap;

use super::collect::{Context, IngestError, Ingested};

/// A format: its media types and its parser.
pub struct Format {
    /// Its media types, in lower case. Empty if it is recognised by something else.
    pub media_types: &'static [&'static str],
    /// True if the content type, with its parameters, is kept with the event.
    pub keeps_content_type: bool,
    /// Reads the events of a body. Nothing of a body with an error is used.
    pub parse: Parse,
}

/// A parser of a whole request, with its headers and its body.
pub type Parse = fn(&HeaderMap, &[u8], &Context) -> Result<Ingested, IngestError>;

/// A content type or encoding that no format has, and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Unsupported {
    /// A content type.
    #[error("{0}")]
    MediaType(String),
    /// A content encoding.
    #[error("{0}")]
    Encoding(String),
}
