//! How clients were served, whatever the answers say.

use std::time::Duration;

use super::record::{History, Span};

/// How clients were served.
#[derive(Debug, Default)]
pub struct Served {
    /// The time that each of their requests took.
    pub times: Vec<Duration>,
    /// Requests to publish that were acknowledged.
    pub acknowledged: usize,
    /// Those that were refused for the moment.
    pub refused: usize,
    /// Requests that got no answer, or 500.
    pub failed: Vec<String>,
}

impl Served {
    /// How the clients of a history were served that asked in a time.
    pub fn of(history: &History, time: Span) -> Self {
        let during = |began: u64| (time.began..time.ended).contains(&began);
        let mut served = Self::default();
        for publish in history.publishes.iter().filter(|publish| during(publish.span.began)) {
            served.times.push(publish.took);
            served.acknowledged += usize::from(publish.is_acknowledged());
            served.refused += usize::from(publish.status() == Some(503));
            if publish.status().is_none_or(|status| status == 500) {
                served.failed.push(publish.to_string());
            }
        }
        let reads = history.reads.iter().filter(|read| during(read.span.began));
        served.times.extend(reads.map(|read| read.took));
        let lost = history.lost_reads.iter().filter(|(tick, _)| during(*tick));
        served.failed.extend(lost.map(|(_, lost)| lost.clone()));
        served
    }
}

/// A percentile of times.
pub fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}
