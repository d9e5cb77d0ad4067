//! The record of the load: its deliveries, with which the counts and events of the service have to agree, and the
//! requests that carried them.

use std::ops::Range;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sekali_clients::client::Failure;
use sekali_common::api::Published;
use sekali_model::{Ledger, Wrong, check_results};

use crate::workload::Workload;

/// The record of a load.
pub struct Record {
    /// The deliveries by event; the payloads are the original and the altered one.
    pub ledger: Ledger<u32, 2>,
    /// Answers that contradict their request, or themselves.
    pub wrong_answers: Wrong,
    /// The latencies and failures of the requests.
    pub requests: Requests,
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

impl Record {
    /// An empty record.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            ledger: Ledger::default(),
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

    /// Records that `deliveries`, as indices in the workload, are about to be sent.
    pub fn sent(&mut self, workload: &Workload, deliveries: Range<usize>) {
        for delivery in &workload.deliveries[deliveries] {
            self.ledger.sent(delivery.event);
        }
    }

    /// Records a failed attempt to send `deliveries`.
    pub fn failed(&mut self, workload: &Workload, deliveries: Range<usize>, failure: &Failure) {
        let counter = match failure {
            _ if failure.may_be_done() => &mut self.requests.lost,
            Failure::Unreachable { .. } => &mut self.requests.unreachable,
            _ => &mut self.requests.refused,
        };
        *counter += 1;
        if failure.may_be_done() {
            for delivery in &workload.deliveries[deliveries] {
                self.ledger.lost(delivery.event, delivery.is_altered.into());
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
        let deliveries = &workload.deliveries[deliveries];
        let sent: Vec<_> =
            (0..).zip(deliveries).map(|(index, &delivery)| workload.named(index, delivery)).collect();
        let told = match check_results(&sent, published) {
            Ok(()) if published.total_received == sent.len() as u64 => Some(&published.results),
            Ok(()) => {
                self.wrong_answers
                    .add(|| format!("{} sent, {} received", sent.len(), published.total_received));
                None
            }
            Err(contradiction) => {
                self.wrong_answers.add(|| contradiction);
                None
            }
        };
        for (at, delivery) in deliveries.iter().enumerate() {
            let told = told.map(|results| &results[at]);
            let (status, seq) = (told.map(|told| told.status), told.map(|told| told.seq));
            self.ledger.answered(delivery.event, delivery.is_altered.into(), status, seq);
        }
    }
}
