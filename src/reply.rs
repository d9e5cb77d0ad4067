//! How an answer leaves: what the routes make, and how it becomes an answer on the wire.

use std::pin::Pin;

use futures::Stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::store::StoreError;

/// An answer to a request.
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without `content-length`.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body,
}

/// The body of an answer.
pub enum Body {
    /// All of it.
    Full(Vec<u8>),
    /// Piece by piece, for an answer of any size. An error breaks the connection, so that nobody
    /// takes a part for the whole.
    Stream(Pin<Box<dyn Stream<Item = Result<Vec<u8>, StoreError>>>>),
}

impl Reply {
    /// An answer whose body is at hand.
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self::with_body(status, content_type, Body::Full(body.into()))
    }

    /// An answer whose body is made while it is sent.
    pub fn stream(
        content_type: &'static str,
        pieces: impl Stream<Item = Result<Vec<u8>, StoreError>> + 'static,
    ) -> Self {
        Self::with_body(StatusCode::OK, content_type, Body::Stream(Box::pin(pieces)))
    }

    /// An answer that says all by its status and headers.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Body::Full(Vec::new()) }
    }

    fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body }
    }
}

pub(crate) use wire::send;

mod wire {
    use std::pin::pin;
    use std::time::Duration;

    use futures::StreamExt;
    use futures::future::{Either, select};
    use http::{StatusCode, header};
    use spin_sdk::time::sleep;
    use spin_sdk::wasip3::http::types::{ErrorCode, Fields, HeaderError, Response};
    use spin_sdk::wasip3::http_compat::BodyWriter;
    use spin_sdk::wasip3::wit_bindgen::{StreamWriter, spawn, yield_async};

    use super::{Body, Reply};

    /// How long a client may take for a piece of an answer: who does not read must not hold it for ever.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Hands the answer to the host.
    ///
    /// Spin leaves Nagle's algorithm on: a head that goes out alone makes the body wait for the
    /// client's delayed acknowledgement, 44 ms. So a body that is at hand has its length in the head,
    /// and its write is begun before the head is returned. The yield has the head returned when the host has
    /// nothing else to do in this instance, so that nothing comes between its taking the head and the body.
    pub(crate) async fn send(reply: Reply, is_head: bool) -> Result<Response, ErrorCode> {
        let Reply { status, mut headers, body } = reply;
        if let Body::Full(bytes) = &body
            && status != StatusCode::NO_CONTENT
        {
            headers.insert(header::CONTENT_LENGTH, bytes.len().into());
        }
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect::<Vec<_>>();
        let headers = Fields::from_list(&headers).map_err(invalid_header)?;
        let (mut writer, contents, trailers) = BodyWriter::new();
        let contents = if is_head { None } else { Some(contents) };
        let has_body = contents.is_some();
        let (response, _sent) = Response::new(headers, contents, trailers);
        if status != StatusCode::OK {
            let _ = response.set_status_code(status.as_u16());
        }
        let mut write = Box::pin(async move {
            let end = match body {
                _ if !has_body => Ok(None),
                Body::Full(bytes) => {
                    writer.stream_writer.write_all(bytes).await;
                    Ok(None)
                }
                Body::Stream(mut pieces) => {
                    let mut next = pieces.next().await;
                    loop {
                        match next {
                            None => break Ok(None),
                            Some(Err(error)) => {
                                eprintln!("error: an answer was broken off: {error}");
                                break Err(ErrorCode::InternalError(None));
                            }
                            Some(Ok(piece)) => {
                                // The next piece is made while this one is sent.
                                let sending = pin!(send_piece(&mut writer.stream_writer, piece));
                                let (is_sent, following) = match select(sending, pieces.next()).await {
                                    Either::Left((false, _)) => (false, None),
                                    Either::Left((true, following)) => (true, following.await),
                                    Either::Right((following, sending)) => (sending.await, following),
                                };
                                if !is_sent {
                                    // The client went away or does not read, and must not take a part for the whole.
                                    break Err(ErrorCode::ConnectionWriteTimeout);
                                }
                                next = following;
                            }
                        }
                    }
                }
            };
            drop(writer.stream_writer);
            let _ = writer.result_writer.write(end).await;
        });
        if futures::poll!(&mut write).is_pending() {
            spawn(write);
        }
        yield_async().await;
        Ok(response)
    }

    /// Whether the client took a piece, for which it has a minute.
    async fn send_piece(writer: &mut StreamWriter<u8>, piece: Vec<u8>) -> bool {
        match select(pin!(writer.write_all(piece)), pin!(sleep(PATIENCE))).await {
            Either::Left((unsent, _)) => unsent.is_empty(),
            Either::Right(_) => false,
        }
    }

    fn invalid_header(error: HeaderError) -> ErrorCode {
        ErrorCode::InternalError(Some(error.to_string()))
    }
}
