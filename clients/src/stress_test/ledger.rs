//! The record of all deliveries and answers, with which the counts and events of the service have to agree.

use std::ops::Range;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sekali_clients::client::Failure;
use sekali_common::api::{EventResult, EventStatus, Published};
use sekali_model::Wrong;

use crate::workload::Workload;

/// The record of all deliveries and of the requests that carried them.
pub struct Ledger {
    /// The outcome of each delivery, in the order of the workload.
    pub outcomes: Vec<Outcome>,
    /// The `seq` of each event, as answered; 0 before an answer.
    pub seqs: Vec<u64>,
    /// The highest of them.
    highest_seq: u64,
    /// The highest answered `seq` when each event was first sent: its own must be higher. `None` before.
    pub floors: Vec<Option<u64>>,
    /// Answers that contradict the request, or each other.
    pub wrong_answers: Wrong,
    /// The latencies and failures of the requests.
    pub requests: Requests,
}

/// The outcome of a delivery.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// The answer; `None` before it arrives.
    pub answer: Option<EventStatus>,
    /// Failed attempts that may have been carried out.
    pub lost: u32,
}

/// Counts and latencies of requests.
pub struct Requests {
    /// Requests that were answered.
    pub answered: u64,
    /// Microseconds from the time when a request was due until its answer, retries included.
    pub latencies: Histogram<u64>,
    /// Attempts without a connection.
    pub unreachable: u64,
    /// Failed attempts that may have been carried out, such as those whose answer was lost.
    pub lost: u64,
    /// Attempts that were refused and not carried out.
    pub refused: u64,
    /// The time from the first request to the last answer.
    pub elapsed: Duration,
}

impl Ledger {
    /// An empty record.
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

    /// Makes room for all deliveries of the workload.
    pub fn extend(&mut self, workload: &Workload) {
        self.outcomes.resize(workload.deliveries.len(), Outcome::default());
        self.seqs.resize(workload.events as usize, 0);
        self.floors.resize(workload.events as usize, None);
    }

    /// Records that `deliveries`, as indices in the workload, are about to be sent.
    pub fn sent(&mut self, workload: &Workload, deliveries: Range<usize>) {
        for delivery in &workload.deliveries[deliveries] {
            self.floors[delivery.event as usize].get_or_insert(self.highest_seq);
        }
    }

    /// Records a failed attempt to send `deliveries`.
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

    /// Records the answer to a request with `deliveries` that was due at `due`.
    pub fn answered(
        &mut self,
        workload: &Workload,
        deliveries: Range<usize>,
        due: Instant,
        published: &Published,
    ) {
        self.requests.answered += 1;
        // Cannot fail: the histogram resizes itself.
        let _ = self.requests.latencies.record(due.elapsed().as_micros() as u64);
        self.check_counts(deliveries.len(), published);
        for ((index, delivery), result) in deliveries.enumerate().zip(&published.results) {
            if self.is_about(workload, delivery, index, result) {
                self.outcomes[delivery].answer = Some(result.status);
                self.record_seq(workload, workload.deliveries[delivery].event, result.seq);
            }
        }
    }

    /// Compares the counts of an answer with its own results and with the number of events sent.
    fn check_counts(&mut self, sent: usize, published: &Published) {
        let count = |status| published.results.iter().filter(|result| result.status == status).count() as u64;
        let conflicts = count(EventStatus::Conflict);
        let is_consistent = published.results.len() == sent
            && published.total_received == sent as u64
            && published.stored == count(EventStatus::Stored)
            && published.duplicates == count(EventStatus::Duplicate) + conflicts
            && published.conflicts == conflicts;
        if !is_consistent {
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
    }

    /// True if a result names the event of `delivery`, which was at `index` in its request.
    fn is_about(&mut self, workload: &Workload, delivery: usize, index: usize, result: &EventResult) -> bool {
        let event = workload.event(workload.deliveries[delivery]);
        let EventResult { topic, event_id, index: answered_index, .. } = result;
        let is_same = (&event.topic, &event.event_id, &index) == (topic, event_id, answered_index);
        if !is_same {
            self.wrong_answers.add(|| {
                format!(
                    "{}/{}, at {index} in its request, was answered as {topic}/{event_id} at {answered_index}",
                    event.topic, event.event_id
                )
            });
        }
        is_same
    }

    /// Compares the `seq` of an event with that of earlier answers.
    fn record_seq(&mut self, workload: &Workload, event: u32, seq: u64) {
        let known = std::mem::replace(&mut self.seqs[event as usize], seq);
        if known != 0 && known != seq {
            let name = workload.name(event);
            self.wrong_answers.add(|| format!("{name} has seq {known} in one answer and {seq} in another"));
        }
        self.highest_seq = self.highest_seq.max(seq);
    }
}
