//! Consumers beside the load, each with a place of its own in the log: they are killed, too, and start again.
//!
//! A killed one forgets what it was doing. It starts again by another name, waits until its claim has run out, and gets what
//! was not committed. What each was given is held against what it has committed before.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::HumanCount;
use sekali_clients::client::{Client, Failure};
use sekali_clients::retry::{Patience, persist};
use sekali_common::consumers::{Claim, ClaimRequest, Commit, Specification};
use sekali_model::Wrong;
use tokio::time::sleep;

use crate::verify::Check;

/// Seconds of a claim. A consumer that was killed keeps its events from the next for as long.
const LEASE: u32 = 2;
/// Seconds for which a claim waits for events.
const WAIT: u32 = 1;
/// The share of claims at which a consumer is killed.
const DEATHS: f64 = 0.05;
/// The most topics that a consumer names. Of more, all topics are read.
const NAMED_TOPICS: usize = 100;

/// What consumers need.
#[derive(Clone)]
pub struct Consumers {
    /// The name of this run.
    pub run: String,
    /// Its topics.
    pub topics: Rc<BTreeSet<String>>,
    /// The service.
    pub client: Client,
    /// How long each request is repeated.
    pub patience: Patience,
    /// True once nothing more is published: each ends when nothing is left.
    pub is_over: Rc<Cell<bool>>,
}

/// What a consumer was given.
#[derive(Default)]
pub struct Consumed {
    /// The seqs of this run's events.
    pub seqs: BTreeSet<u64>,
    /// Events that came again, because they were not committed.
    pub again: u64,
    /// How often it was killed.
    pub deaths: u64,
    /// Events that came again after they were committed.
    pub repeated: Wrong,
    /// Events that came behind a later one.
    pub disordered: Wrong,
}

impl Consumers {
    /// Makes a consumer, before anything is published.
    pub async fn make(&self, number: u32) -> Result<()> {
        let topics = self.topics.iter().take(NAMED_TOPICS + 1).cloned().collect::<Vec<_>>();
        let topics = if topics.len() > NAMED_TOPICS { Vec::new() } else { topics };
        let specification =
            Specification { topics: Some(topics), from: Some("now".into()), ..Specification::default() };
        let name = self.name(number);
        self.repeat(|| self.client.put_consumer(&name, &specification)).await?;
        Ok(())
    }

    /// Consumes everything that this run publishes, and returns when nothing is left.
    pub async fn run(self, number: u32) -> Result<Consumed> {
        let name = self.name(number);
        let mut consumer = Consumer { consumers: &self, name: &name, committed: 0, newest: 0, life: 0 };
        let mut consumed = Consumed::default();
        while consumer.step(&mut consumed).await? {}
        self.repeat(|| self.client.delete_consumer(&name)).await?;
        Ok(consumed)
    }

    fn name(&self, number: u32) -> String {
        format!("stress-{}-{number}", self.run)
    }

    /// Sends a request until it is answered. Each of them may be repeated.
    async fn repeat<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        request: impl FnMut() -> F,
    ) -> Result<T, Failure> {
        persist(self.patience, |_| (), request).await
    }
}

/// A consumer at work.
struct Consumer<'c> {
    consumers: &'c Consumers,
    name: &'c str,
    /// The last seq of an answered commit.
    committed: u64,
    /// The last seq that was given out.
    newest: u64,
    /// How often it has started.
    life: u64,
}

impl Consumer<'_> {
    /// Claims and commits once; false if nothing is left.
    async fn step(&mut self, consumed: &mut Consumed) -> Result<bool> {
        let Consumers { client, is_over, .. } = self.consumers;
        let was_over = is_over.get();
        let wanted = ClaimRequest {
            holder: format!("life {}", self.life),
            limit: Some(fastrand::u32(1..=1000)),
            lease: Some(LEASE),
            wait: Some(WAIT),
        };
        let claim = match self.consumers.repeat(|| client.claim(self.name, &wanted)).await {
            Ok(Some(claim)) => claim,
            Ok(None) => return Ok(!was_over),
            Err(failure) if failure.is_of("claimed") => {
                sleep(Duration::from_millis(200)).await;
                return Ok(true);
            }
            Err(failure) => return Err(failure).context("a claim"),
        };
        self.note(&claim, consumed);
        if fastrand::f64() < DEATHS {
            self.life += 1;
            consumed.deaths += 1;
            return Ok(true);
        }
        // A part of it, or all.
        let upto = match claim.events.get(fastrand::usize(..=claim.events.len())) {
            Some(event) => event.seq,
            None => claim.to,
        };
        let commit = Commit { claim: claim.claim, upto: Some(upto), ..Commit::default() };
        match self.consumers.repeat(|| client.commit(self.name, &commit)).await {
            Ok(_) => self.committed = upto,
            Err(failure) if failure.is_of("claim-lost") => {} // the service was away for longer than the lease
            Err(failure) => return Err(failure).context("a commit"),
        }
        Ok(true)
    }

    /// Holds a claim against what was committed, and what was given before.
    fn note(&mut self, claim: &Claim, consumed: &mut Consumed) {
        let mut last = self.committed;
        for event in &claim.events {
            if event.seq <= self.committed {
                consumed.repeated.add(|| format!("{} got seq {} again", self.name, event.seq));
            } else if event.seq <= last {
                consumed.disordered.add(|| format!("{} got seq {} behind {last}", self.name, event.seq));
            }
            last = last.max(event.seq);
            if !self.consumers.topics.contains(&event.topic) {
                continue; // others publish, too
            }
            if !consumed.seqs.insert(event.seq) {
                consumed.again += 1;
            } else if event.seq <= self.newest {
                consumed.disordered.add(|| format!("{} skipped seq {} at first", self.name, event.seq));
            }
        }
        self.newest = self.newest.max(last);
    }
}

/// The checks of what all consumers were given, beside the number of events that were stored.
pub fn checks(consumed: &[Consumed], stored: u64) -> Vec<Check> {
    let mut missing = Wrong::default();
    for (number, of) in consumed.iter().enumerate() {
        if of.seqs.len() as u64 != stored {
            missing.add(|| format!("consumer {number} got {} of {stored} events", of.seqs.len()));
        }
    }
    let sum = |get: fn(&Consumed) -> u64| HumanCount(consumed.iter().map(get).sum());
    let events = format!("{} events", sum(|of| of.seqs.len() as u64));
    let again = format!("{} came again, {} kills", sum(|of| of.again), sum(|of| of.deaths));
    vec![
        Check::new("each consumer gets each event", events, [&missing]),
        Check::new(
            "what a consumer committed does not come again",
            again,
            consumed.iter().map(|of| &of.repeated),
        ),
        Check::new(
            "consumers get events in their order",
            String::new(),
            consumed.iter().map(|of| &of.disordered),
        ),
    ]
}
