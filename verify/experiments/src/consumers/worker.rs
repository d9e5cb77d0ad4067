//! Workers: they claim and commit, and do it badly.

use fastrand::Rng;
use sekali_model::consumer::{Ask, Failed, Given, Selected, Told};

/// Limits of claims, from one event to all.
pub const LIMITS: [u32; 5] = [1, 2, 5, 30, 1000];

/// What a worker is likely to do.
#[derive(Clone, Debug)]
pub struct Habits {
    /// The most events of its claims.
    pub limits: Vec<u32>,
    /// Seconds of its claims.
    pub leases: Vec<u32>,
    /// Seconds for which it waits.
    pub waits: Vec<u32>,
    /// The probability that an event fails.
    pub failing: f64,
    /// Seconds until it comes again, if not by the schedule.
    pub pauses: Vec<Option<u32>>,
}

/// A worker.
#[derive(Clone, Debug)]
pub struct Worker {
    holder: String,
    habits: Habits,
    /// The claim that it has, less what it committed.
    held: Option<Given>,
    /// A commit that was not answered.
    again: Option<Ask>,
    thorough: Option<Thorough>,
}

/// A worker that does all that is left.
#[derive(Clone, Debug, Default)]
struct Thorough {
    /// Events of these seqs fail whatever it does.
    poison: Vec<u64>,
    /// True if it does not wait for what failed.
    hastens: bool,
    looks: bool,
    retries: bool,
    is_done: bool,
}

impl Worker {
    /// A worker that does this and that.
    pub fn new(holder: impl Into<String>, habits: Habits) -> Self {
        Self { holder: holder.into(), habits, held: None, again: None, thorough: None }
    }

    /// A worker that does all that is left, but for these events, which always fail. One that `hastens` lets others that
    /// failed come again at once.
    pub fn thorough(holder: impl Into<String>, poison: Vec<u64>, hastens: bool) -> Self {
        let limits = if hastens { vec![1000] } else { LIMITS.to_vec() };
        let habits = Habits { limits, leases: vec![30], waits: vec![0], failing: 0.0, pauses: vec![None] };
        let thorough = Some(Thorough { poison, hastens, ..Thorough::default() });
        Self { thorough, ..Self::new(holder, habits) }
    }

    /// True if nothing is left for a thorough worker.
    pub fn is_done(&self) -> bool {
        self.thorough.as_ref().is_some_and(|thorough| thorough.is_done)
    }

    /// True if it has something to do at once.
    pub fn is_busy(&self) -> bool {
        self.held.is_some()
            || self.thorough.as_ref().is_some_and(|thorough| thorough.looks || thorough.retries)
    }

    /// What it asks for next.
    pub fn next(&mut self, random: &mut Rng) -> Ask {
        if let Some(again) = self.again.take() {
            if self.thorough.is_some() || random.u8(..5) > 0 {
                return again;
            }
            self.held = None; // it does not know what is left of its claim
        }
        if let Some(thorough) = &mut self.thorough {
            if std::mem::take(&mut thorough.looks) {
                return Ask::Look;
            }
            if std::mem::take(&mut thorough.retries) {
                return Ask::Retry(Selected::Parked);
            }
            if let Some(held) = &self.held {
                let is_poison = |seq: &&u64| thorough.poison.contains(seq);
                let failed = held.seqs.iter().filter(is_poison);
                let failed = failed.map(|seq| Failed { seq: *seq, retry_in: None, dead: false }).collect();
                return commit(held, Some(held.to), failed, false);
            }
        }
        match &self.held {
            Some(held) if random.u8(..10) > 0 => self.work(held, random),
            _ => Ask::Claim {
                holder: self.holder.clone(),
                limit: *random.choice(&self.habits.limits).unwrap_or(&1),
                lease: *random.choice(&self.habits.leases).unwrap_or(&1),
                wait: *random.choice(&self.habits.waits).unwrap_or(&0),
            },
        }
    }

    fn work(&self, held: &Given, random: &mut Rng) -> Ask {
        let part = random.choice(&held.seqs).copied().unwrap_or(held.to);
        let upto = match random.u8(..10) {
            0 => None,
            1..4 => Some(part),
            _ => Some(held.to),
        };
        let mut failed = Vec::new();
        for &seq in held.seqs.iter().filter(|seq| upto.is_some_and(|upto| **seq <= upto)) {
            if random.f64() < self.habits.failing {
                let retry_in = random.choice(&self.habits.pauses).copied().flatten();
                failed.push(Failed { seq, retry_in, dead: random.u8(..8) == 0 });
            }
        }
        commit(held, upto, failed, random.u8(..8) == 0)
    }

    /// Takes what it is told.
    pub fn take(&mut self, ask: Ask, told: &Told) {
        if let (Some(thorough), Told::Stands { left, .. }) = (&mut self.thorough, told) {
            thorough.is_done = *left == Some(0);
            thorough.retries = thorough.hastens && ask == Ask::Look && !thorough.is_done;
        }
        match (&ask, told) {
            (Ask::Commit { .. }, Told::Nothing) => self.again = Some(ask),
            (Ask::Commit { upto, release, .. }, Told::Stands { .. }) => {
                let upto = upto.unwrap_or_default();
                self.held = self.held.take().filter(|held| upto < held.to && !release);
                if let Some(held) = &mut self.held {
                    held.seqs.retain(|seq| *seq > upto);
                }
            }
            (Ask::Commit { .. }, _) => self.held = None,
            (Ask::Claim { .. }, Told::Given(given)) => self.held = Some(given.clone()),
            (Ask::Claim { .. }, Told::None) => {
                self.held = None;
                if let Some(thorough) = &mut self.thorough {
                    thorough.looks = true;
                }
            }
            _ => {}
        }
    }
}

fn commit(held: &Given, upto: Option<u64>, failed: Vec<Failed>, release: bool) -> Ask {
    Ask::Commit { token: held.token.clone(), upto, failed, release }
}
