//! Random histories of a service.

use fastrand::Rng;
use serde_json::json;

use super::model::{Delivery, Group};

/// More events than one statement of the store carries.
const LARGE: usize = 4097;

/// A step of a history.
#[derive(Clone, Debug)]
pub enum Step {
    /// Publishes a group in one request.
    Publish(Group),
    /// Reads everything back.
    Read,
    /// Copies the log into the database, in a mode of SQLite's.
    Checkpoint(&'static str),
    /// Ends the service and starts it again.
    Restart,
    /// Begins to read beside the service, in a transaction that lasts until the next such step.
    Hold,
}

impl Step {
    /// The deliveries that it publishes.
    pub fn group(&self) -> &[Delivery] {
        match self {
            Self::Publish(group) => group,
            _ => &[],
        }
    }

    /// The step in a few words.
    pub fn name(&self) -> String {
        match self {
            Self::Publish(group) => {
                let first = group.first().map_or("", |delivery| &delivery.id);
                format!("publish of {} from {first:?} on", group.len())
            }
            Self::Read => "read".into(),
            Self::Checkpoint(mode) => format!("checkpoint ({mode})"),
            Self::Restart => "restart".into(),
            Self::Hold => "hold".into(),
        }
    }
}

/// A short history: small groups.
pub fn short(rng: &mut Rng) -> Vec<Step> {
    random(rng, 8, 12, 24)
}

/// A long history: groups of hundreds, and some that one statement does not carry.
pub fn long(rng: &mut Rng) -> Vec<Step> {
    let mut steps = random(rng, 30, 300, 2000);
    for _ in 0..2 {
        steps.insert(rng.usize(..=steps.len()), Step::Publish(large(rng)));
    }
    steps
}

/// A group that one statement does not carry, some of it twice.
pub fn large(rng: &mut Rng) -> Group {
    group(rng, LARGE, 3 * LARGE)
}

/// Steps with groups of up to `most` of `ids` events a topic. The first publishes: it also creates the database.
fn random(rng: &mut Rng, steps: usize, most: usize, ids: usize) -> Vec<Step> {
    let publish = |rng: &mut Rng| {
        let count = if rng.bool() { 1 } else { rng.usize(1..=most) };
        Step::Publish(group(rng, count, ids))
    };
    let mut history = vec![publish(rng)];
    for _ in 1..steps {
        history.push(match rng.u8(..12) {
            0 => Step::Read,
            1 | 2 => Step::Checkpoint(["passive", "full", "restart", "truncate"][rng.usize(..4)]),
            3 => Step::Restart,
            4 => Step::Hold,
            _ => publish(rng),
        });
    }
    history
}

/// A group of random deliveries of the first `ids` events of each topic. Some are deliveries of the same event, with
/// the same payload or with another.
pub fn group(rng: &mut Rng, count: usize, ids: usize) -> Group {
    let delivery = |rng: &mut Rng| Delivery {
        topic: ["orders", "payments", "shipping"][rng.usize(..3)].into(),
        id: format!("id-{}", rng.usize(..ids)),
        payload: payload(rng),
    };
    (0..count).map(|_| delivery(rng)).collect()
}

/// Often the same payload, sometimes one that fills more than a page.
fn payload(rng: &mut Rng) -> serde_json::Value {
    match rng.u8(..40) {
        0 => json!({"n": rng.u8(..), "filling": "x".repeat(rng.usize(..6000))}),
        n => json!({"n": n % 2}),
    }
}
