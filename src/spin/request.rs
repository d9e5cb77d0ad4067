//! A request on its way in: from the host's handle to a head and a body that is not read yet.
//!
//! The SDK's own conversion makes twice as many calls to the host, and each call costs as much as parsing an event.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use anyhow::{Context as _, Result};
use futures::{Stream, StreamExt, stream};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Method, Uri, header};
use sekali_common::drain::drain;
use spin_sdk::time::sleep;
use spin_sdk::wasip3::http::types::{ErrorCode, Method as WasiMethod, Request, Trailers};
use spin_sdk::wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult};
use spin_sdk::wasip3::wit_future;

use crate::http::origin;

/// The most bytes of a body that are read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Takes a request over from the host: its head, and its body, which is not read yet.
///
/// # Errors
/// When its method, target or a header is invalid, which hosts do not let through.
pub fn receive(request: Request) -> Result<(Parts, Incoming)> {
    let target = request.get_path_with_query();
    let mut head = http::Request::builder()
        .method(method(request.get_method())?)
        .uri(target.as_deref().unwrap_or("/"))
        .body(())
        .context("the target of the request")?
        .into_parts()
        .0;
    for (name, value) in request.get_headers().copy_all() {
        let name = HeaderName::from_bytes(name.as_bytes()).context("the name of a header")?;
        head.headers.append(name, HeaderValue::from_maybe_shared(value).context("the value of a header")?);
    }
    if origin::is_from_browser(&head.headers) {
        // Only then does anybody ask for it, and it costs another call to the host.
        // Hosts tell it as the authority, or leave it in the header (RFC 9112, section 3.2).
        let host = head.headers.get(header::HOST).and_then(|host| Some(host.to_str().ok()?.to_owned()));
        head.uri = with_authority(head.uri, request.get_authority().or(host));
    }
    let body = Incoming::new(&head, request);
    Ok((head, body))
}

/// The body of a request, piece by piece. Nothing is taken from the host before it is polled.
pub struct Incoming {
    chunks: Pin<Box<dyn Stream<Item = Chunk>>>,
    /// The bytes that may still come; `None` if their number is unknown.
    rest: Option<u64>,
    /// True if the client sends the body only when it is told to.
    awaits_continue: bool,
}

type Chunk = Result<Vec<u8>, String>;

impl Incoming {
    fn new(head: &Parts, request: Request) -> Self {
        let header = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let announced = header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        // Methods without a body could have one in chunks. Nobody does that, and to ask costs a call to the host.
        let has_body = !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        Self {
            chunks: Box::pin(chunks(request, chunk_bytes(announced))),
            rest: if has_body { announced } else { announced.or(Some(0)) },
            awaits_continue: header(header::EXPECT).is_some(),
        }
    }

    /// Reads the rest of a body after the answer and throws it away, within bounds: a client that still sends does not
    /// read, and would see a broken connection instead of the answer. The rest of a body that was read to its end is
    /// nothing, and costs nothing.
    pub fn drain(self) -> Option<impl Future<Output = ()>> {
        let is_done = self.rest == Some(0) || self.awaits_continue;
        (!is_done).then(|| drain(self.map(|chunk| Some(chunk.ok()?.len())), sleep))
    }
}

impl Stream for Incoming {
    type Item = Chunk;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let chunk = ready!(self.chunks.as_mut().poll_next(context));
        self.awaits_continue = false;
        match &chunk {
            Some(Ok(bytes)) => self.rest = self.rest.map(|rest| rest.saturating_sub(bytes.len() as u64)),
            _ => self.rest = Some(0),
        }
        Poll::Ready(chunk)
    }
}

/// The target in absolute form, if the authority is one. The scheme means nothing.
fn with_authority(target: Uri, authority: Option<String>) -> Uri {
    let mut parts = target.clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = authority.and_then(|authority| authority.parse().ok());
    Uri::from_parts(parts).unwrap_or(target)
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
fn chunk_bytes(announced: Option<u64>) -> usize {
    let announced = announced.and_then(|length| usize::try_from(length).ok());
    announced.unwrap_or(CHUNK_BYTES).clamp(1, CHUNK_BYTES)
}

/// The error of a host about a body that broke off, without the names of its interface.
fn told(error: ErrorCode) -> String {
    match error {
        ErrorCode::InternalError(Some(told)) => told,
        ErrorCode::HttpRequestBodySize(_) => "its length is another than was announced".into(),
        _ => "the connection failed, or a chunk is malformed".into(),
    }
}

fn chunks(request: Request, size: usize) -> impl Stream<Item = Chunk> {
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
                Err(error) => Some((Err(told(error)), State::Ended)),
            },
        }
    })
}
