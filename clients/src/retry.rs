//! Retries of a request: the pauses between its attempts, and the time to give up.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio::time::{Instant, sleep};

use crate::client::Failure;

/// The limits of retrying a request.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The longest pause, before jitter and unless the service asks for more. The first pause is a tenth of a second,
    /// and each is up to twice the one before.
    pub longest_pause: Duration,
    /// The time after the first attempt at which to give up; `None` is never.
    pub give_up_after: Option<Duration>,
}

impl Patience {
    /// The pauses between the attempts of one request. They grow exponentially, with jitter, so that many producers do not
    /// retry at the same moment.
    fn pauses(self) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100).min(self.longest_pause))
            .with_max_delay(self.longest_pause)
            .with_jitter()
            .without_max_times()
    }
}

/// Repeats `attempt` until it succeeds, its failure is not transient, or patience ends. A pause is never shorter than the
/// service asks for. Calls `on_retry` with each failure that is retried, before the pause.
///
/// # Errors
/// The last failure.
pub async fn persist<T, F: Future<Output = Result<T, Failure>>>(
    patience: Patience,
    mut on_retry: impl FnMut(&Failure),
    attempt: impl FnMut() -> F,
) -> Result<T, Failure> {
    let give_up_at = patience.give_up_after.and_then(|time| Instant::now().checked_add(time));
    let pause_after = |failure: &Failure, pause: Option<Duration>| {
        let pause = pause?.max(failure.retry_after().unwrap_or_default());
        let is_in_time = |end: Instant| Instant::now().checked_add(pause).is_some_and(|next| next <= end);
        give_up_at.is_none_or(is_in_time).then_some(pause)
    };
    attempt
        .retry(patience.pauses())
        .when(Failure::is_transient)
        .adjust(pause_after)
        .notify(|failure, _| on_retry(failure))
        .sleep(sleep)
        .await
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use reqwest::StatusCode;
    use sekali_common::api::Problem;

    use super::*;
    use crate::client::Refusal;

    fn refused(status: u16, retry_after: Option<Duration>) -> Failure {
        let status = StatusCode::from_u16(status).unwrap();
        Failure::Refused(Refusal { status, problem: Problem::default(), retry_after })
    }

    /// The pauses between at most 21 attempts, all of which fail in the same way.
    async fn pauses(give_up_after: Option<Duration>, failure: Failure) -> Vec<Duration> {
        let patience = Patience { longest_pause: Duration::from_secs(10), give_up_after };
        let mut times = Vec::new();
        let attempt = || {
            times.push(Instant::now());
            ready(if times.len() > 20 { Ok(()) } else { Err(failure.clone()) })
        };
        let mut retried = 0;
        let _ = persist(patience, |_| retried += 1, attempt).await;
        assert_eq!(retried, times.len() - 1);
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    const TICK: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_limit_and_differ() {
        let one = pauses(None, refused(503, None)).await;
        assert_eq!(one.len(), 20);
        assert!(one[0] >= Duration::from_millis(100) && one[0] <= Duration::from_millis(200) + TICK);
        assert!(one[19] >= Duration::from_secs(10) && one[19] <= Duration::from_secs(20) + TICK);
        assert_ne!(one, pauses(None, refused(503, None)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_never_shorter_than_retry_after() {
        let asked = Duration::from_secs(7);
        assert!(pauses(None, refused(429, Some(asked))).await[0] >= asked);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_retried_and_patience_ends() {
        assert_eq!(pauses(None, refused(422, None)).await, []);
        let patience = Duration::from_secs(5);
        let short = pauses(Some(patience), refused(503, None)).await;
        assert!(!short.is_empty() && short.iter().sum::<Duration>() <= patience + TICK * 20, "{short:?}");
        for asked in [Duration::from_secs(6), Duration::MAX] {
            assert_eq!(pauses(Some(patience), refused(503, Some(asked))).await, []);
        }
    }
}
