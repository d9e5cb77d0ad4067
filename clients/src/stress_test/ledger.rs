//! What was sent, and what was answered: the account that the service's own has to agree with.

use std::ops::Range;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sekali_clients::api::{EventResult, EventStatus, Published};
use sekali_clients::client::Failure;

use crate::workload::Workload;

/// How many examples of something wrong are kept.
pub const EXAMPLES: usize = 5;

/// The account of all deliveries and of the requests that carried them.
pub struct Ledger {
    /// What became of each delivery, in the order of the workload.
    pub outcomes: Vec<Outcome>,
    /// The `seq` of each event that an answer gave; 0 before.
    pub seqs: Vec<u64>,
    /// The highest of them.
    highest_seq: u64,
    /// What that was when each event was first sent: whatever is stored later comes behind it. `None` before.
    pub floors: Vec<Option<u64>>,
    /// Answers that contradict what was sent, or each other.
    pub wrong_answers: Wrong,
    /// What the requests took and how they failed.
    pub requests: Requests,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// What was answered at last, if it was.
    pub answer: Option<EventStatus>,
    /// How many attempts before may have been carried out, for their answers were lost.
    pub lost: u32,
}

/// Requests, as their senders saw them.
pub struct Requests {
    /// Those that were answered.
    pub answered: u64,
    /// From when a request was due until it was answered, retries included, in microseconds.
    pub latencies: Histogram<u64>,
    /// Attempts that found nobody.
    pub unreachable: u64,
    /// Attempts whose answer was lost, or that may have been carried out though they failed.
    pub lost: u64,
    /// Attempts that were refused for the moment.
    pub refused: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

/// Something that must not be: how often it was, and the first examples.
#[derive(Debug, Default)]
pub struct Wrong {
    pub count: u64,
    pub examples: Vec<String>,
}

impl Wrong {
    /// Counts one, and keeps it if it is among the first.
    pub fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

impl Ledger {
    /// An account of nothing.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            outcomes: Vec::new(),
            seqs: Vec::new(),
            highest_seq: 0,
            floors: Vec::new(),
            wrong_answers: Wrong::default(),
            requests: Requests {
                answered: 0,
                latencies: Histogram::new(3)?,
                unreachable: 0,
                lost: 0,
                refused: 0,
                elapsed: Duration::ZERO,
            },
        })
    }

    /// Makes room for what the workload has.
    pub fn extend(&mut self, workload: &Workload) {
        self.outcomes.resize(workload.deliveries.len(), Outcome::default());
        self.seqs.resize(workload.events as usize, 0);
        self.floors.resize(workload.events as usize, None);
    }

    /// `deliveries` (their places in the workload) are on their way.
    pub fn sent(&mut self, workload: &Workload, deliveries: Range<usize>) {
        for delivery in &workload.deliveries[deliveries] {
            self.floors[delivery.event as usize].get_or_insert(self.highest_seq);
        }
    }

    /// An attempt to send `deliveries` failed.
    pub fn failed(&mut self, deliveries: Range<usize>, failure: &Failure) {
        let counter = match failure {
            _ if failure.may_be_done() => &mut self.requests.lost,
            Failure::Unreachable { .. } => &mut self.requests.unreachable,
            _ => &mut self.requests.refused,
        };
        *counter += 1;
        if failure.may_be_done() {
            for outcome in &mut self.outcomes[deliveries] {
                outcome.lost = outcome.lost.saturating_add(1);
            }
        }
    }

    /// `deliveries` were answered by a request that was due at `due`.
    pub fn answered(
        &mut self,
        workload: &Workload,
        deliveries: Range<usize>,
        due: Instant,
        published: &Published,
    ) {
        self.requests.answered += 1;
        // It grows as it needs to, so it takes everything.
        let _ = self.requests.latencies.record(due.elapsed().as_micros() as u64);
        let count = |status| published.results.iter().filter(|result| result.status == status).count() as u64;
        let conflicts = count(EventStatus::Conflict);
        let is_consistent = published.results.len() == deliveries.len()
            && published.total_received == deliveries.len() as u64
            && published.stored == count(EventStatus::Stored)
            && published.duplicates == count(EventStatus::Duplicate) + conflicts
            && published.conflicts == conflicts;
        if !is_consistent {
            let sent = deliveries.len();
            self.wrong_answers.add(|| {
                format!(
                    "{sent} sent, answered: {} received, {} stored, {} duplicates, {} conflicts, {} results",
                    published.total_received,
                    published.stored,
                    published.duplicates,
                    published.conflicts,
                    published.results.len()
                )
            });
        }
        for ((index, at), result) in deliveries.enumerate().zip(&published.results) {
            let number = workload.deliveries[at].event;
            let event = workload.event(workload.deliveries[at]);
            if (&event.topic, &event.event_id, index) != (&result.topic, &result.event_id, result.index) {
                let EventResult { topic, event_id, index: other, .. } = result;
                self.wrong_answers.add(|| {
                    format!(
                        "{}/{}, at {index} in its request, was answered as {topic}/{event_id} at {other}",
                        event.topic, event.event_id
                    )
                });
                continue;
            }
            self.outcomes[at].answer = Some(result.status);
            let known = &mut self.seqs[number as usize];
            if *known != 0 && *known != result.seq {
                let known = *known;
                let name = || {
                    format!(
                        "{} has seq {known} in one answer and {} in another",
                        workload.name(number),
                        result.seq
                    )
                };
                self.wrong_answers.add(name);
            }
            *known = result.seq;
            self.highest_seq = self.highest_seq.max(result.seq);
        }
    }
}
