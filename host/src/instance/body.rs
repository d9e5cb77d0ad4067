//! The body of a request, the rest of which the host reads when it answers the request itself.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use http::header;
use http_body_util::BodyStream;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use sekali_common::drain::drain;

/// The body of a request, of which the host keeps a handle while a component reads it.
#[derive(Clone)]
pub struct SharedBody {
    /// `None` if there is none.
    body: Option<Arc<Mutex<Incoming>>>,
    /// True if the client sends the body only when it is told to.
    awaits_continue: bool,
}

impl SharedBody {
    /// Makes the body of a request one that is shared.
    pub fn of(request: http::Request<Incoming>) -> http::Request<Self> {
        let awaits_continue = request.headers().contains_key(header::EXPECT);
        request.map(|body| Self { body: Some(Arc::new(Mutex::new(body))), awaits_continue })
    }

    /// No body, of a request that the host makes itself.
    pub fn none() -> Self {
        Self { body: None, awaits_continue: false }
    }

    /// Reads the rest after the answer and throws it away, within bounds, as a task of this thread.
    pub fn drain(self) {
        if !self.awaits_continue && !self.is_end_stream() {
            let lengths =
                BodyStream::new(self).map(|frame| Some(frame.ok()?.data_ref().map_or(0, Bytes::len)));
            tokio::task::spawn_local(drain(lengths, tokio::time::sleep));
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, Incoming>> {
        Some(self.body.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Body for SharedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.lock() {
            Some(mut body) => Pin::new(&mut *body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lock().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().map_or(SizeHint::with_exact(0), |body| body.size_hint())
    }
}
