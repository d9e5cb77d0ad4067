//! Simulation: the service on a [seeded executor](executor), with a simulated clock and stores that have troubles.
//!
//! A scenario is one run of the executor. Everything in it, from the order of polls to the faults of the store, comes
//! from its seed, so a scenario that broke a promise can be repeated poll by poll.

pub mod clock;
pub mod executor;
pub mod service;

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Result;

use crate::Tally;

/// Scenarios of a run that are repeated, to see that their logs are the same.
const REPEATED: usize = 3;

/// The last lines of a log that belong to the account of a broken promise.
const LINES: usize = 60;

/// The promises that a scenario broke. Clones share one list.
#[derive(Clone, Default)]
pub struct Violations(Rc<RefCell<Vec<String>>>);

impl Violations {
    /// Notes a broken promise.
    pub fn note(&self, text: impl Into<String>) {
        self.0.borrow_mut().push(text.into());
    }

    /// Notes a broken promise unless `kept` is true.
    pub fn check(&self, kept: bool, text: impl FnOnce() -> String) {
        if !kept {
            self.note(text());
        }
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// The result of a scenario.
pub struct Report {
    /// Trials that were made.
    pub trials: u64,
    /// Deliveries that were acknowledged.
    pub acknowledged: u64,
    /// Promises that were broken.
    pub violations: Violations,
    /// All that happened, line by line.
    pub log: Vec<String>,
}

/// Runs so many scenarios of a kind, with seeds drawn from `seed`.
pub fn scenarios(
    kind: &str,
    seed: u64,
    count: usize,
    scenario: impl Fn(u64) -> Result<Report>,
) -> Result<Tally> {
    let mut seeds = fastrand::Rng::with_seed(seed);
    let mut tally = Tally::default();
    for number in 0..count {
        let seed = seeds.u64(..);
        let report = scenario(seed)?;
        tally.trials += report.trials;
        tally.acknowledged += report.acknowledged;
        let violations = report.violations.take();
        if !violations.is_empty() {
            let lines = report.log[report.log.len().saturating_sub(LINES)..].join("\n  ");
            let texts = violations.join("\n  ");
            tally.violated(format!(
                "{kind}, scenario {number} ({seed}):\n  {texts}\n its last steps:\n  {lines}"
            ));
        }
        if number < REPEATED {
            compare(&report.log, &scenario(seed)?.log, seed, &mut tally);
        }
    }
    Ok(tally)
}

/// Compares the logs of two runs of one seed.
fn compare(first: &[String], second: &[String], seed: u64, tally: &mut Tally) {
    if let Some(at) = (0..first.len().max(second.len())).find(|&at| first.get(at) != second.get(at)) {
        tally.violated(format!(
            "scenario {seed} went another way when it was repeated: line {at} was {:?} and became {:?}",
            first.get(at),
            second.get(at)
        ));
    }
}
