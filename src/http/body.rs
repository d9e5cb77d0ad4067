//! The body of a request, read within limits of size, memory and time.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures::future::{Either, select};
use futures::{Stream, StreamExt};
use http::{HeaderMap, header};

use super::budget::{Budget, Share};
use super::problem::Problem;
use crate::clock::Clock;
use crate::ingest::inflate::{ContentEncoding, InflateError, gunzip};
use crate::limits::BodyLimit;

/// The longest time in which a body may arrive.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// The body of a request. Dropping it returns its bytes to the budget of all bodies.
pub struct RequestBody {
    bytes: Vec<u8>,
    limit: BodyLimit,
    share: Share,
}

impl RequestBody {
    /// The bytes as they were sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same body without its encoding.
    ///
    /// # Errors
    /// [`Problem::MalformedBody`] when it cannot be undone, [`Problem::TooLarge`] when it becomes more than the body may
    /// have, [`Problem::Overloaded`] when the budget is used up.
    pub fn decoded(mut self, encoding: ContentEncoding) -> Result<Self, Problem> {
        if encoding == ContentEncoding::Gzip {
            let bytes = gunzip(&self.bytes, self.limit.bytes).map_err(|error| match error {
                InflateError::TooLarge { .. } => too_large("the body, inflated,", self.limit),
                InflateError::Malformed(message) => Problem::MalformedBody(format!("gzip: {message}")),
            })?;
            self.share.clear();
            self.bytes = Vec::new();
            self.push(bytes)?;
        }
        Ok(self)
    }

    /// Frees the bytes, but keeps their share of the budget for what is made from them.
    pub fn into_share(self) -> Share {
        self.share
    }

    fn push(&mut self, chunk: Vec<u8>) -> Result<(), Problem> {
        if !self.share.grow(chunk.len()) {
            return Err(Problem::Overloaded("bodies"));
        }
        if self.bytes.is_empty() {
            self.bytes = chunk;
        } else {
            self.bytes.extend(chunk);
        }
        Ok(())
    }
}

/// The problem of a body, or of what it becomes, that exceeds its limit.
pub fn too_large(what: &str, limit: BodyLimit) -> Problem {
    Problem::TooLarge { what: what.into(), limit: limit.variable, maximum: limit.bytes }
}

impl Budget {
    /// Reads a body to its end, but not beyond its limit.
    ///
    /// # Errors
    /// [`Problem::TooLarge`] as soon as that is known, [`Problem::IncompleteBody`] when the
    /// connection ends before the body does, [`Problem::Overloaded`] when the budget is used up.
    /// [`Problem::SlowBody`] when it takes longer than half a minute.
    pub async fn read<B>(
        &self,
        body: B,
        headers: &HeaderMap,
        limit: BodyLimit,
        clock: &impl Clock,
    ) -> Result<RequestBody, Problem>
    where
        B: Stream<Item = Result<Vec<u8>, String>>,
    {
        let mut read = pin!(self.read_to_end(body, headers, limit));
        // Most bodies are here already, and need no timer.
        if let Poll::Ready(result) = futures::poll!(&mut read) {
            return result;
        }
        match select(read, pin!(clock.sleep(SILENCE_TIMEOUT))).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(Problem::SlowBody),
        }
    }

    async fn read_to_end<B>(
        &self,
        body: B,
        headers: &HeaderMap,
        limit: BodyLimit,
    ) -> Result<RequestBody, Problem>
    where
        B: Stream<Item = Result<Vec<u8>, String>>,
    {
        // 64 bits: a usize of WebAssembly has 32, and a longer body may be announced.
        let announced: Option<u64> =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced > Some(limit.bytes as u64) {
            return Err(too_large("the body", limit));
        }
        let mut read = RequestBody { bytes: Vec::new(), limit, share: self.share() };
        let mut body = pin!(body);
        // With a known length, waiting for the end of the stream can be left out.
        while announced != Some(read.bytes.len() as u64)
            && let Some(chunk) = body.next().await
        {
            let chunk = chunk.map_err(Problem::IncompleteBody)?;
            if read.bytes.len() + chunk.len() > limit.bytes {
                return Err(too_large("the body", limit));
            }
            read.push(chunk)?;
        }
        if announced.is_some_and(|length| length != read.bytes.len() as u64) {
            return Err(Problem::IncompleteBody("fewer bytes came than announced".into()));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::limits::BODIES_BYTES;
    use crate::testing::TokioClock;

    fn at_most(bytes: usize) -> BodyLimit {
        BodyLimit { variable: "max_body_bytes", bytes }
    }

    fn full(text: &str) -> impl Stream<Item = Result<Vec<u8>, String>> {
        stream::iter([Ok(text.into())])
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit_and_no_further() {
        let budget = Budget::new(BODIES_BYTES);
        let exact =
            budget.read(full("12345"), &HeaderMap::new(), at_most(5), &TokioClock::start()).await.unwrap();
        assert_eq!(exact.bytes(), b"12345");
        let mut polled = 0;
        let endless = stream::repeat_with(|| {
            polled += 1;
            Ok(b"12".to_vec())
        });
        let result = budget.read(endless, &HeaderMap::new(), at_most(5), &TokioClock::start()).await;
        assert!(matches!(result, Err(Problem::TooLarge { limit: "max_body_bytes", maximum: 5, .. })));
        assert_eq!(polled, 3);
    }

    #[tokio::test]
    async fn an_announced_length_beyond_the_limit_is_enough() {
        let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, 6.into())]);
        let never = stream::pending();
        assert!(matches!(
            Budget::new(BODIES_BYTES).read(never, &headers, at_most(5), &TokioClock::start()).await,
            Err(Problem::TooLarge { .. })
        ));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_incomplete() {
        let broken = stream::iter([Ok(b"{".to_vec()), Err("reset".to_owned())]);
        let result =
            Budget::new(BODIES_BYTES).read(broken, &HeaderMap::new(), at_most(5), &TokioClock::start()).await;
        assert!(matches!(result, Err(Problem::IncompleteBody(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up_and_its_bytes_are_free_again() {
        let budget = Budget::new(BODIES_BYTES);
        let start = stream::iter([Ok(b"{".to_vec())]);
        let endless = start.chain(stream::pending());
        let result = budget.read(endless, &HeaderMap::new(), at_most(5), &TokioClock::start()).await;
        assert!(matches!(result, Err(Problem::SlowBody)));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn bodies_share_one_budget_and_return_their_bytes() {
        let budget = Budget::new(BODIES_BYTES);
        let large = || stream::iter([Ok(vec![b'x'; BODIES_BYTES / 2])]);
        let first = budget
            .read(large(), &HeaderMap::new(), at_most(BODIES_BYTES), &TokioClock::start())
            .await
            .unwrap();
        let second = budget
            .read(large(), &HeaderMap::new(), at_most(BODIES_BYTES), &TokioClock::start())
            .await
            .unwrap();
        assert!(matches!(
            budget.read(full("x"), &HeaderMap::new(), at_most(5), &TokioClock::start()).await,
            Err(Problem::Overloaded(_))
        ));
        drop((first, second));
        assert!(budget.read(full("x"), &HeaderMap::new(), at_most(5), &TokioClock::start()).await.is_ok());
    }
}
