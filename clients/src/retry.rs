//! Retries of a request: the pauses between its attempts, and the time to give up.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

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

/// The pauses between the attempts of one request. They grow exponentially, with jitter, so that many producers do not
/// retry at the same moment.
pub struct Retries {
    pauses: ExponentialBackoff,
    give_up_at: Option<Instant>,
}

impl Retries {
    /// The retries of a request whose first attempt begins now.
    pub fn new(patience: Patience) -> Self {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100).min(patience.longest_pause))
            .with_max_delay(patience.longest_pause)
            .with_jitter()
            .without_max_times()
            .build();
        Self { pauses, give_up_at: patience.give_up_after.and_then(|time| Instant::now().checked_add(time)) }
    }

    /// The pause after this failure, never shorter than the service asks for; `None` to give up.
    pub fn pause_after(&mut self, failure: &Failure) -> Option<Duration> {
        if !failure.is_transient() {
            return None;
        }
        let pause = self.pauses.next()?.max(failure.retry_after().unwrap_or_default());
        match self.give_up_at {
            Some(time) => Instant::now().checked_add(pause).filter(|end| *end <= time).map(|_| pause),
            None => Some(pause),
        }
    }
}

/// Repeats `attempt` until it succeeds, its failure is not transient, or patience ends. Calls `on_first_retry` with the
/// first failure that is retried.
pub async fn persist<T, F: Future<Output = Result<T, Failure>>>(
    patience: Patience,
    on_first_retry: impl FnOnce(&Failure),
    mut attempt: impl FnMut() -> F,
) -> Result<T, Failure> {
    let mut retries = Retries::new(patience);
    let mut on_first_retry = Some(on_first_retry);
    loop {
        let failure = match attempt().await {
            Err(failure) => failure,
            success => return success,
        };
        let Some(pause) = retries.pause_after(&failure) else { return Err(failure) };
        if let Some(on_first_retry) = on_first_retry.take() {
            on_first_retry(&failure);
        }
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::client::Refusal;
    use sekali_common::api::Problem;

    fn patience(give_up_after: Option<Duration>) -> Patience {
        Patience { longest_pause: Duration::from_secs(10), give_up_after }
    }

    fn refused(status: u16, retry_after: Option<Duration>) -> Failure {
        let status = StatusCode::from_u16(status).unwrap();
        Failure::Refused(Refusal { status, problem: Problem::default(), retry_after })
    }

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let pauses = || -> Vec<_> {
            let mut retries = Retries::new(patience(None));
            (0..20).filter_map(|_| retries.pause_after(&refused(503, None))).collect()
        };
        let (one, other) = (pauses(), pauses());
        assert_eq!(one.len(), 20);
        assert!(one[0] >= Duration::from_millis(100) && one[0] <= Duration::from_millis(200));
        assert!(one[19] >= Duration::from_secs(10) && one[19] <= Duration::from_secs(20));
        assert_ne!(one, other);
    }

    #[test]
    fn a_pause_is_never_shorter_than_retry_after() {
        let mut retries = Retries::new(patience(None));
        let asked = Duration::from_secs(7);
        assert!(retries.pause_after(&refused(429, Some(asked))) >= Some(asked));
    }

    #[test]
    fn a_refusal_is_not_retried_and_patience_ends() {
        assert_eq!(Retries::new(patience(None)).pause_after(&refused(422, None)), None);
        let mut impatient = Retries::new(patience(Some(Duration::from_secs(5))));
        assert!(impatient.pause_after(&refused(503, None)).is_some());
        assert_eq!(impatient.pause_after(&refused(503, Some(Duration::from_secs(6)))), None);
        assert_eq!(impatient.pause_after(&refused(503, Some(Duration::MAX))), None);
    }
}
