//! An answer on its way out: from a [`Reply`] to the host.
//!
//! Spin leaves Nagle's algorithm on: a head that goes out alone makes the body wait for the client's delayed
//! acknowledgement, 44 ms. So a whole body has its length in the head, and its write begins before the head is
//! returned. The yield in between lets the host return the head when it has nothing else to do in this instance, so
//! that nothing comes between the head and the body.

use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use http::{HeaderMap, StatusCode, header};
use spin_sdk::time::sleep;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, HeaderError, Response};
use spin_sdk::wasip3::http_compat::BodyWriter;
use spin_sdk::wasip3::wit_bindgen::{StreamWriter, yield_async};

use super::task;
use crate::http::budget::Share;
use crate::http::reply::{Comments, Pieces, Reply, ReplyBody};
use crate::http::send_stream::{Broken, send_stream};
use crate::limits::LARGE_ANSWER_BYTES;

/// The longest time in which a client may take a piece of an answer. It must not hold the piece for ever.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Hands an answer to the host. A HEAD gets the head alone.
pub async fn send(reply: Reply, is_head: bool) -> Result<Response, ErrorCode> {
    let Reply { status, mut headers, body, share } = reply;
    if let ReplyBody::Full(bytes) = &body
        && status != StatusCode::NO_CONTENT
    {
        headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    }
    let (writer, contents, trailers) = BodyWriter::new();
    let contents = (!is_head).then_some(contents);
    let body = (!is_head).then_some(body);
    let (response, _sent) = Response::new(fields(&headers)?, contents, trailers);
    if status != StatusCode::OK {
        let _ = response.set_status_code(status.as_u16());
    }
    let mut write = Box::pin(write(writer, body, share));
    if futures::poll!(&mut write).is_pending() {
        task::spawn(write);
    }
    yield_async().await;
    Ok(response)
}

fn fields(headers: &HeaderMap) -> Result<Fields, ErrorCode> {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    let invalid = |error: HeaderError| ErrorCode::InternalError(Some(error.to_string()));
    Fields::from_list(&headers).map_err(invalid)
}

/// Writes a body, if there is one, and its end. Its share is held until then.
async fn write(mut writer: BodyWriter, body: Option<ReplyBody>, _share: Option<Share>) {
    let stream = &mut writer.stream_writer;
    let end = match body {
        None => Ok(()),
        // The host takes a small body at once, and a timer would be another call to it.
        Some(ReplyBody::Full(bytes)) if bytes.len() <= LARGE_ANSWER_BYTES => {
            stream.write_all(bytes).await;
            Ok(())
        }
        Some(ReplyBody::Full(bytes)) => write_large(stream, &bytes).await,
        Some(ReplyBody::Stream(pieces, comments)) => write_pieces(stream, pieces, comments).await,
    };
    drop(writer.stream_writer);
    let _ = writer.result_writer.write(end.map(|()| None)).await;
}

/// Writes a body piece by piece.
async fn write_pieces(
    writer: &mut StreamWriter<u8>,
    pieces: Pieces,
    comments: Comments,
) -> Result<(), ErrorCode> {
    send_stream(pieces, comments, async |piece| send_piece(writer, piece).await).await.map_err(|broken| {
        match broken {
            Broken::Unread => ErrorCode::ConnectionWriteTimeout,
            Broken::Unmade(error) => {
                sekali_common::log::error("broken-answer", format_args!("an answer was broken off: {error}"));
                ErrorCode::InternalError(None)
            }
        }
    })
}

/// Writes a large body that is whole.
async fn write_large(writer: &mut StreamWriter<u8>, bytes: &[u8]) -> Result<(), ErrorCode> {
    // In parts, each of which has its time: a client that reads slowly but steadily gets all of it.
    for part in bytes.chunks(LARGE_ANSWER_BYTES) {
        if !send_piece(writer, part.to_vec()).await {
            return Err(ErrorCode::ConnectionWriteTimeout);
        }
    }
    Ok(())
}

/// Returns true if the client took the piece in time.
async fn send_piece(writer: &mut StreamWriter<u8>, piece: Vec<u8>) -> bool {
    match select(pin!(writer.write_all(piece)), pin!(sleep(WRITE_TIMEOUT))).await {
        Either::Left((unsent, _)) => unsent.is_empty(),
        Either::Right(_) => false,
    }
}
