//! Random histories of a service.

use fastrand::Rng;
use sekali::retention::Policy;
use sekali::store::Kept;
use serde_json::{Value, json};

use super::model::{Delivery, Group, Selection};

/// More events than one statement of the store carries.
const LARGE: usize = 4097;

/// Days that pass before retention works. An event expires on the second of such days, is forgotten on the third at the
/// earliest, and so never both at once.
const DAYS: u32 = 10;

/// The topics.
const TOPICS: [&str; 3] = ["orders", "payments", "shipping"];

/// A service with a retention, and what its clients do.
pub struct History {
    /// Its retention.
    pub policy: Policy,
    /// The steps.
    pub steps: Vec<Step>,
}

/// A step of a history.
#[derive(Clone, Debug)]
pub enum Step {
    /// Publishes a group in one request.
    Publish(Group),
    /// Reads everything back.
    Read,
    /// Erases events in one request.
    Erase(Selection),
    /// Lets days pass. Nothing goes wrong meanwhile.
    Pass(u32),
    /// Lets retention do all that is due.
    Retain,
    /// Copies the log into the database, in a mode of SQLite's.
    Checkpoint(&'static str),
    /// Ends the service and starts it again.
    Restart,
    /// Begins to read beside the service, in a transaction that lasts until the next such step, which ends it.
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

    /// True if it changes what the service holds, so that it is taken again when it fails.
    pub fn is_write(&self) -> bool {
        matches!(self, Self::Publish(_) | Self::Erase(_) | Self::Retain)
    }

    /// The step in a few words.
    pub fn name(&self) -> String {
        match self {
            Self::Publish(group) => {
                let first = group.first().map_or("", |delivery| &delivery.id);
                format!("publish of {} from {first:?} on", group.len())
            }
            Self::Read => "read".into(),
            Self::Erase(selection) => format!("DELETE {}", selection.target()),
            Self::Pass(days) => format!("{days} days"),
            Self::Retain => "retention".into(),
            Self::Checkpoint(mode) => format!("checkpoint ({mode})"),
            Self::Restart => "restart".into(),
            Self::Hold => "hold".into(),
        }
    }
}

/// A short history: small groups.
pub fn short(rng: &mut Rng) -> History {
    History { policy: policy(rng, 12), steps: random(rng, 8, 12, 24) }
}

/// A long history: groups of hundreds, and some that one statement does not carry.
pub fn long(rng: &mut Rng) -> History {
    let mut steps = random(rng, 15, 300, 2000);
    for _ in 0..2 {
        steps.insert(rng.usize(1..=steps.len()), Step::Publish(large(rng)));
    }
    History { policy: policy(rng, 3000), steps }
}

/// A group that one statement does not carry, and the end of most of it.
pub fn of_one_large(rng: &mut Rng) -> History {
    let erase = Step::Erase(Selection::Topic(rng.choice(TOPICS).unwrap_or_default().into()));
    let policy = Policy { kept: Kept { days: 0, events: 1000 }, forget_days: 0 };
    History { policy, steps: vec![Step::Read, Step::Publish(large(rng)), erase, Step::Retain] }
}

/// A group that one statement does not carry, some of it twice.
pub fn large(rng: &mut Rng) -> Group {
    group(rng, LARGE, 3 * LARGE)
}

/// A retention by age, which may keep so many events at most, and may forget.
fn policy(rng: &mut Rng, most: u32) -> Policy {
    let events = if rng.bool() { 0 } else { rng.u32(1..=most) };
    let forget_days = if rng.bool() { 0 } else { 5 * DAYS / 2 };
    Policy { kept: Kept { days: 3 * DAYS / 2, events }, forget_days }
}

/// Steps with groups of up to `most` of `ids` events a topic. The first publishes: it also creates the database.
fn random(rng: &mut Rng, steps: usize, most: usize, ids: usize) -> Vec<Step> {
    let publish = |rng: &mut Rng| {
        let count = if rng.bool() { 1 } else { rng.usize(1..=most) };
        Step::Publish(group(rng, count, ids))
    };
    let mut history = vec![publish(rng)];
    for _ in 1..steps {
        match rng.u8(..16) {
            0 => history.push(Step::Read),
            1 | 2 => {
                history.push(Step::Checkpoint(["passive", "full", "restart", "truncate"][rng.usize(..4)]));
            }
            3 => history.push(Step::Restart),
            4 => history.push(Step::Hold),
            5 | 6 => history.push(Step::Erase(selection(rng, ids))),
            7..10 => history.extend([Step::Pass(DAYS), Step::Retain]),
            _ => history.push(publish(rng)),
        }
    }
    history
}

/// Often one event, which may not be stored, sometimes all of a topic or of a source.
fn selection(rng: &mut Rng, ids: usize) -> Selection {
    let topic = rng.choice(TOPICS).unwrap_or_default().to_owned();
    match rng.u8(..4) {
        0 => Selection::Topic(topic),
        1 => Selection::Source(if rng.bool() { "shop" } else { "app" }),
        _ => Selection::Event((topic, format!("id-{}", rng.usize(..ids)))),
    }
}

/// A group of random deliveries of the first `ids` events of each topic. Some are deliveries of the same event, with
/// the same payload or with another.
pub fn group(rng: &mut Rng, count: usize, ids: usize) -> Group {
    let delivery = |rng: &mut Rng| {
        let topic = rng.choice(TOPICS).unwrap_or_default().to_owned();
        let id = format!("id-{}", rng.usize(..ids));
        let payload = payload(rng, &topic, &id);
        Delivery { topic, id, payload }
    };
    (0..count).map(|_| delivery(rng)).collect()
}

/// Often the same payload of an identity, sometimes one that fills more than a page.
fn payload(rng: &mut Rng, topic: &str, id: &str) -> Value {
    let event = format!("{topic}/{id}");
    match rng.u8(..40) {
        0 => json!({"event": event, "n": rng.u8(..), "filling": "x".repeat(rng.usize(..6000))}),
        n => json!({"event": event, "n": n % 2}),
    }
}
