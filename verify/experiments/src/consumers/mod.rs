//! Clients of a consumer, the same for all experiments: workers claim and commit, people intervene, and in the end one
//! thorough worker takes what is left. What they ask for and are told is held against the model.

mod people;
mod worker;

pub use self::people::Person;
pub use self::worker::{Habits, LIMITS, Worker};

use sekali::event::Timestamp;
use sekali_common::api::StoredEvent;
use sekali_model::consumer::{Ask, Call, Dead, Log, Told, check};
use serde_json::Value;

/// The name of the consumer.
pub const NAME: &str = "shop.till";

/// The topic of what tells of its dead events.
pub const DEAD: &str = "dead.shop.till";

/// Problems that a client which does what it should may be told of.
const EXPECTED: [&str; 3] = ["claimed", "claim-lost", "cursor-ahead"];

/// The problem of a consumer that is not there.
const UNKNOWN: &str = "unknown-consumer";

/// What an answer tells a client.
pub fn read(ask: &Ask, status: u16, body: &str) -> Told {
    ask.read(status, body, |time| Some(Timestamp::parse(time).ok()?.as_micros().0 / 1000))
}

/// The events of the log as they are found in the end.
#[derive(Debug, Default)]
pub struct Found {
    log: Log,
    broken: Vec<String>,
}

impl Found {
    /// Takes an event that is there.
    pub fn take(&mut self, event: &StoredEvent<'_>) {
        if event.topic == DEAD {
            match dead_event(event) {
                Some(dead) => self.log.dead.push(dead),
                None => {
                    self.broken.push(format!("seq {} tells of no dead event: {}", event.seq, event.payload))
                }
            }
        }
        self.log.topics.insert(event.seq, event.topic.clone());
    }

    /// Takes an event that was given out, and is gone if it was not found.
    pub fn take_given(&mut self, seq: u64, topic: &str) {
        self.log.topics.entry(seq).or_insert_with(|| {
            self.log.gone.insert(seq);
            topic.to_owned()
        });
    }

    /// Takes the number of all events that ever told of dead ones.
    pub fn take_deaths(&mut self, count: u64) {
        self.log.dead_gone = count.saturating_sub(self.log.dead.len() as u64);
    }

    /// The promises that were broken by these calls.
    pub fn broken_by(mut self, calls: &[Call]) -> Vec<String> {
        for call in calls {
            if let Told::Refused(problem) = &call.told
                && !EXPECTED.contains(&problem.as_str())
                && !(problem == UNKNOWN && calls.iter().any(|other| is_restoring(other, call)))
            {
                self.broken.push(format!(
                    "a client that does what it should is refused: {problem}, for {:?}",
                    call.ask
                ));
            }
        }
        let rules = check(calls, &self.log);
        self.broken.extend(rules.rules().iter().flat_map(|(rule, wrong)| wrong.tell(rule)));
        self.broken
    }
}

/// True if a copy that may lack the consumer took the place of the store during a call.
fn is_restoring(other: &Call, call: &Call) -> bool {
    matches!(other.ask, Ask::Restore(..))
        && other.began.place < call.ended.place
        && call.began.place < other.ended.place
}

/// The dead event that this one tells of.
fn dead_event(event: &StoredEvent<'_>) -> Option<Dead> {
    let payload: Value = serde_json::from_str(event.payload.get()).ok()?;
    let (generation, seq) = event.event_id.split_once('-')?;
    let dead = Dead { generation: generation.parse().ok()?, seq: seq.parse().ok()? };
    (payload["consumer"] == NAME && payload["seq"] == dead.seq).then_some(dead)
}
