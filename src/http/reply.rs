//! An answer to a request, before the host gets it.

use std::pin::Pin;

use futures::stream::{self, Stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::budget::Share;
use crate::store::StoreError;

/// The pieces of a body.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Vec<u8>, StoreError>>>>;

/// Comments of a live stream, for the time in which no piece is ready.
pub type Comments = Pin<Box<dyn Stream<Item = Vec<u8>>>>;

/// An answer to a request.
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without `content-length`.
    pub headers: HeaderMap,
    /// Its body.
    pub body: ReplyBody,
    /// The memory that it holds until it is sent.
    pub share: Option<Share>,
}

/// The body of an answer.
pub enum ReplyBody {
    /// The whole body.
    Full(Vec<u8>),
    /// A body of any size, made while it is sent. An error breaks the connection off, so that a client cannot take a
    /// part for the whole.
    Stream(Pieces, Comments),
}

impl Reply {
    /// An answer with a whole body.
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self::with_body(status, content_type, ReplyBody::Full(body.into()))
    }

    /// An answer with a body that is made while it is sent.
    pub fn stream(
        content_type: &'static str,
        pieces: impl Stream<Item = Result<Vec<u8>, StoreError>> + 'static,
    ) -> Self {
        Self::live(content_type, pieces, stream::pending())
    }

    /// An answer with a body that is made while it is sent, and comments for the time in which no piece is ready.
    pub fn live(
        content_type: &'static str,
        pieces: impl Stream<Item = Result<Vec<u8>, StoreError>> + 'static,
        comments: impl Stream<Item = Vec<u8>> + 'static,
    ) -> Self {
        let body = ReplyBody::Stream(Box::pin(pieces), Box::pin(comments));
        Self::with_body(StatusCode::OK, content_type, body)
    }

    /// An answer without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: ReplyBody::Full(Vec::new()), share: None }
    }

    fn with_body(status: StatusCode, content_type: &'static str, body: ReplyBody) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body, share: None }
    }
}
