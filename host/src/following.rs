//! Live streams, and whether their clients keep up.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};

use crate::metrics::{Counted, METRICS};

/// The body of a live stream. It counts as blocked from when it has given a part until it is asked for the next one: the
/// connection asks at once while it has room, and not before its client reads when it has none.
pub struct Following<B> {
    body: B,
    blocked: Option<Counted>,
    _following: Counted,
}

impl<B> Following<B> {
    /// Counts a stream from now until it ends.
    pub fn new(body: B) -> Self {
        Self { body, blocked: None, _following: Counted::new(&METRICS.following) }
    }
}

impl<B: Body + Unpin> Body for Following<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.blocked = None;
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(_)) = polled {
            self.blocked = Some(Counted::new(&METRICS.blocked));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt;
    use futures::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    #[test]
    fn a_stream_is_blocked_while_nobody_asks_for_its_next_part() {
        let parts = stream::iter([Ok::<_, ()>(Frame::data(Bytes::from_static(b"part")))]);
        let mut stream = Following::new(StreamBody::new(parts));
        let counts = || (METRICS.following.get(), METRICS.blocked.get());
        assert_eq!(counts(), (1, 0));
        assert!(stream.frame().now_or_never().unwrap().is_some());
        assert_eq!(counts(), (1, 1));
        assert!(stream.frame().now_or_never().unwrap().is_none(), "it has ended");
        assert_eq!(counts(), (1, 0));
        drop(stream);
        assert_eq!(counts(), (0, 0));
    }
}
