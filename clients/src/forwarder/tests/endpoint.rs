//! An endpoint that notes what it gets, and answers as a test says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::forward::Target;
use crate::ledger::Parcel;
use crate::outcome::Outcome;

/// The time that it takes to answer.
const LATENCY: Duration = Duration::from_millis(10);

type Answer = dyn Fn(u64, Instant) -> Outcome + Send + Sync;

/// The endpoint. Clones are the same.
#[derive(Clone)]
pub struct Endpoint {
    answer: Arc<Answer>,
    noted: Arc<Mutex<Noted>>,
}

#[derive(Default)]
struct Noted {
    tries: usize,
    parcels: usize,
    delivered: Vec<(u64, Instant)>,
    /// The last seq that was delivered of each topic.
    last: HashMap<String, u64>,
    /// Topics that have something on its way.
    busy: HashMap<String, u64>,
    faults: Vec<String>,
}

impl Endpoint {
    /// It answers for each seq at a time.
    pub fn new(answer: impl Fn(u64, Instant) -> Outcome + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), noted: Arc::default() }
    }

    pub fn delivered(&self) -> Vec<(u64, Instant)> {
        self.noted.lock().unwrap().delivered.clone()
    }

    pub fn tries(&self) -> usize {
        self.noted.lock().unwrap().tries
    }

    pub fn parcels(&self) -> usize {
        self.noted.lock().unwrap().parcels
    }

    pub fn first(&self) -> Instant {
        self.delivered()[0].1
    }

    pub fn last(&self) -> Instant {
        self.delivered().last().unwrap().1
    }

    /// Of each topic, one was on its way at a time, and each later than the one before or again.
    #[track_caller]
    pub fn assert_in_order(&self) {
        let faults = &self.noted.lock().unwrap().faults;
        assert!(faults.is_empty(), "{faults:?}");
    }

    /// Every event up to `count` came.
    #[track_caller]
    pub fn assert_all(&self, count: u64) {
        let mut seqs: Vec<_> = self.delivered().iter().map(|(seq, _)| *seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        assert_eq!(seqs.len() as u64, count);
        self.assert_in_order();
    }

    /// Every event up to `count` came, and none twice.
    #[track_caller]
    pub fn assert_each_once(&self, count: u64) {
        self.assert_all(count);
        assert_eq!(self.delivered().len() as u64, count);
    }
}

impl Target for Endpoint {
    async fn deliver(&self, parcel: &Parcel) -> Outcome {
        let topic = parcel.events[0].topic.clone();
        {
            let mut noted = self.noted.lock().unwrap();
            noted.tries += parcel.events.len();
            noted.parcels += 1;
            if let Some(other) = noted.busy.insert(topic.clone(), parcel.events[0].seq) {
                noted.faults.push(format!("{} was sent beside {other}", parcel.events[0].seq));
            }
        }
        sleep(LATENCY).await;
        let now = Instant::now();
        let answers = parcel.events.iter().map(|event| (self.answer)(event.seq, now));
        let outcome = answers.into_iter().find(|outcome| *outcome != Outcome::Delivered);
        let mut noted = self.noted.lock().unwrap();
        noted.busy.remove(&topic);
        if let Some(outcome) = outcome {
            return outcome;
        }
        for event in &parcel.events {
            noted.delivered.push((event.seq, now));
            if let Some(last) = noted.last.insert(event.topic.clone(), event.seq)
                && last > event.seq
                && !noted.delivered.iter().any(|(seq, at)| *seq == event.seq && *at < now)
            {
                noted.faults.push(format!("{} came behind {last}", event.seq));
            }
        }
        Outcome::Delivered
    }

    async fn sync(&self) -> Result<(), String> {
        Ok(())
    }
}
