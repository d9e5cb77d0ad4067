//! A request on its way in: from the host's handle to an [`http::Request`] whose body is not read yet.
//!
//! The SDK's own conversion makes twice as many calls to the host, and each call costs as much as parsing an event.

use anyhow::{Context, Result};
use futures::{Stream, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use spin_sdk::wasip3::http::types::{ErrorCode, Method as WasiMethod, Request, Trailers};
use spin_sdk::wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult};
use spin_sdk::wasip3::wit_future;

/// The most bytes of a body that are read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Takes a request over from the host.
///
/// # Errors
/// When its method, target or a header is invalid, which hosts do not let through.
pub fn receive(request: Request) -> Result<http::Request<impl Stream<Item = Result<Vec<u8>, String>>>> {
    let target = request.get_path_with_query();
    let mut parts = http::Request::builder()
        .method(method(request.get_method())?)
        .uri(target.as_deref().unwrap_or("/"))
        .body(())
        .context("the target of the request")?
        .into_parts()
        .0;
    for (name, value) in request.get_headers().copy_all() {
        let name = HeaderName::from_bytes(name.as_bytes()).context("the name of a header")?;
        parts.headers.append(name, HeaderValue::from_maybe_shared(value).context("the value of a header")?);
    }
    let body = chunks(request, chunk_bytes(&parts.headers));
    Ok(http::Request::from_parts(parts, body))
}

fn method(method: WasiMethod) -> Result<Method> {
    Ok(match method {
        WasiMethod::Get => Method::GET,
        WasiMethod::Head => Method::HEAD,
        WasiMethod::Post => Method::POST,
        WasiMethod::Put => Method::PUT,
        WasiMethod::Delete => Method::DELETE,
        WasiMethod::Connect => Method::CONNECT,
        WasiMethod::Options => Method::OPTIONS,
        WasiMethod::Trace => Method::TRACE,
        WasiMethod::Patch => Method::PATCH,
        WasiMethod::Other(name) => {
            Method::from_bytes(name.as_bytes()).context("the method of the request")?
        }
    })
}

/// The announced length, so that most bodies come in one piece.
fn chunk_bytes(headers: &HeaderMap) -> usize {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    announced.unwrap_or(CHUNK_BYTES).clamp(1, CHUNK_BYTES)
}

/// The body, piece by piece. Nothing is taken from the host before it is polled.
fn chunks(request: Request, size: usize) -> impl Stream<Item = Result<Vec<u8>, String>> {
    enum State {
        Unread(Request),
        Reading(StreamReader<u8>, FutureReader<Result<Option<Trailers>, ErrorCode>>),
        Ended,
    }
    stream::unfold(State::Unread(request), move |state| async move {
        let (mut bytes, end) = match state {
            State::Unread(request) => {
                // The future would tell the host only that the request was taken.
                let (_taken, taking) = wit_future::new(|| Ok(()));
                Request::consume_body(request, taking)
            }
            State::Reading(bytes, end) => (bytes, end),
            State::Ended => return None,
        };
        match bytes.read(Vec::with_capacity(size)).await {
            (StreamResult::Complete(_), chunk) => Some((Ok(chunk), State::Reading(bytes, end))),
            (StreamResult::Dropped | StreamResult::Cancelled, _) => match end.await {
                Ok(_trailers) => None,
                Err(error) => Some((Err(error.to_string()), State::Ended)),
            },
        }
    })
}
