//! Tries to make Sekali lose an event, count one wrongly, or leave a client without an answer.
//!
//! An [`Experiment`] does what goes wrong in the field, many times, with choices drawn from a seed, and reports a
//! [`Tally`]: the number of its trials, and the promises that were broken. The same seed makes the same choices. Each
//! experiment has a short form, which `tests/short.rs` runs, and a long one, which `scripts/torture` repeats.

mod attacks;
mod cluster;
mod consumers;
mod crash;
mod faults;
mod history;
mod hostile;
mod relay;
mod requests;
mod shipping;
mod sim;

use anyhow::Result;

/// A way to make the service fail.
pub struct Experiment {
    /// The name by which `scripts/torture --only` selects it.
    pub name: &'static str,
    /// The trial of which a tally counts the number, in the plural: "power cuts".
    pub trials: &'static str,
    /// Runs it once.
    pub run: fn(seed: u64, effort: Effort) -> Result<Tally>,
}

/// The length of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// A few seconds: part of `scripts/test`.
    Short,
    /// About a minute, or five of `shipping`, or ten of `relay`: one of many rounds of `scripts/torture`.
    Long,
}

impl Effort {
    /// The first number for a short run, the second for a long one.
    pub fn pick<T>(self, short: T, long: T) -> T {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }
}

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Trials that were made.
    pub trials: u64,
    /// Deliveries that the service acknowledged.
    pub acknowledged: u64,
    /// Promises that were broken, each with all that is needed to understand it.
    pub violations: Vec<String>,
}

impl Tally {
    /// Adds the result of another run.
    pub fn add(&mut self, other: Self) {
        self.trials += other.trials;
        self.acknowledged += other.acknowledged;
        self.violations.extend(other.violations);
    }

    /// Notes a broken promise.
    pub fn violated(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }
}

/// All experiments, the quick ones first.
pub const EXPERIMENTS: &[Experiment] = &[
    Experiment { name: "service", trials: "requests and streams", run: sim::service::run },
    Experiment { name: "power-cut", trials: "power cuts", run: crash::power_cut::run },
    Experiment { name: "io-faults", trials: "failed calls", run: crash::io_faults::run },
    Experiment { name: "history", trials: "requests", run: history::restarts::run },
    Experiment { name: "cluster", trials: "requests", run: cluster::run },
    Experiment { name: "relay", trials: "deliveries to the endpoint", run: relay::run },
    Experiment { name: "shipping", trials: "lines", run: shipping::run },
    Experiment { name: "outside-faults", trials: "faults", run: faults::run },
    Experiment { name: "hostile-clients", trials: "abuses", run: hostile::run },
    Experiment { name: "overload", trials: "requests", run: history::overload::run },
    Experiment { name: "soak", trials: "requests", run: history::soak::run },
];
