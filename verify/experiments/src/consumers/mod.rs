//! Clients of a consumer, the same for all experiments: workers claim and commit, people intervene, and in the end one
//! thorough worker takes what is left. What they ask for and are told is held against the model.

mod people;
mod worker;

pub use self::people::Person;
pub use self::worker::{Habits, Worker};

use std::collections::BTreeMap;

use sekali::event::Timestamp;
use sekali_common::api::StoredEvent;
use sekali_model::consumer::{Ask, Call, Dead, Told, check};
use serde_json::Value;

/// The name of the consumer.
pub const NAME: &str = "shop.till";

/// The topic of what tells of its dead events.
pub const DEAD: &str = "dead.shop.till";

/// Problems that a client which does what it should may be told of.
const EXPECTED: [&str; 3] = ["claimed", "claim-lost", "cursor-ahead"];

/// What an answer tells a client.
pub fn read(ask: &Ask, status: u16, body: &str) -> Told {
    ask.read(status, body, |time| Some(Timestamp::parse(time).ok()?.as_micros().0 / 1000))
}

/// The promises that were broken, by all calls and by all events as they are read in the end.
///
/// # Errors
/// When those are no events.
pub fn broken(calls: &[Call], events: &str) -> anyhow::Result<Vec<String>> {
    let (mut topics, mut dead, mut broken) = (BTreeMap::new(), Vec::new(), Vec::new());
    for event in serde_json::from_str::<Vec<StoredEvent<'_>>>(events)? {
        if event.topic == DEAD {
            match dead_event(&event) {
                Some(found) => dead.push(found),
                None => broken.push(format!("seq {} tells of no dead event: {}", event.seq, event.payload)),
            }
        }
        topics.insert(event.seq, event.topic.to_string());
    }
    for call in calls {
        if let Told::Refused(problem) = &call.told
            && !EXPECTED.contains(&problem.as_str())
        {
            broken
                .push(format!("a client that does what it should is refused: {problem}, for {:?}", call.ask));
        }
    }
    let rules = check(calls, &topics, &dead);
    broken.extend(rules.rules().iter().flat_map(|(rule, wrong)| wrong.tell(rule)));
    Ok(broken)
}

/// The dead event that this one tells of.
fn dead_event(event: &StoredEvent<'_>) -> Option<Dead> {
    let payload: Value = serde_json::from_str(event.payload.get()).ok()?;
    let (generation, seq) = event.event_id.split_once('-')?;
    let dead = Dead { generation: generation.parse().ok()?, seq: seq.parse().ok()? };
    (payload["consumer"] == NAME && payload["seq"] == dead.seq).then_some(dead)
}
