//! The events that a store is filled with. Each is a function of its number, so that it can be sent again or looked for.

use std::fmt::Write as _;

use anyhow::{Result, ensure};

use super::build::Service;
use super::clients;
use super::scale::{BATCH, RARE};
use crate::http;
use crate::large::{moment, start};
use crate::load::Until;
use crate::workload::PAYLOAD;

/// Topics of the store.
pub const TOPICS: u64 = 20;

/// Milliseconds from one event to the next.
const SPACING: u64 = 1000;

/// Rare sources.
pub const RARE_SOURCES: u64 = 10;

/// The topic and the id of an event.
pub fn identity(n: u64) -> (String, String) {
    (format!("topic-{}", n % TOPICS), format!("event-{n:012}"))
}

/// The timestamp of an event.
pub fn timestamp(n: u64) -> String {
    moment(&start(), n * SPACING)
}

/// The distance of events with the same rare source, where so many events are filled in.
pub fn step(events: u64) -> u64 {
    (events / RARE).max(2 * RARE_SOURCES)
}

/// Writes an event. One of `step` has the first rare source, another the second, and so on; else every second has one of
/// five sources.
pub fn write(n: u64, step: u64, body: &mut String) {
    let (topic, id) = identity(n);
    let at = timestamp(n);
    let source = match (n % step, n % 2) {
        (rare, _) if rare < RARE_SOURCES => format!(r#""source":"rare-{rare}","#),
        (_, 0) => String::new(),
        _ => format!(r#""source":"source-{}","#, n / 2 % 5),
    };
    // Writing to a string does not fail.
    let _ = write!(
        body,
        r#"{{"topic":"{topic}","event_id":"{id}","timestamp":"{at}",{source}"payload":{PAYLOAD}}}"#
    );
}

/// Events of these numbers, as one body.
pub fn batch(numbers: impl Iterator<Item = u64>, step: u64) -> String {
    let mut body = String::new();
    for n in numbers {
        body.push(if body.is_empty() { '[' } else { ',' });
        write(n, step, &mut body);
    }
    body.push(']');
    body
}

/// Publishes so many events, in the order of their numbers.
pub fn fill(service: &Service<'_>, count: u64) -> Result<()> {
    let step = step(count);
    let filler = |_| {
        let mut first = 0;
        move |request: &mut Vec<u8>| {
            let body = batch(first..first + BATCH, step);
            http::write(request, "POST", "/publish", "", body.as_bytes());
            first += BATCH;
        }
    };
    let filled = clients::run(service.address(), 1, Until::Requests(count / BATCH), filler)?;
    ensure!(filled.failed == 0, "the store was not filled: {}", filled.failure);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_rare_source_has_one_event_of_a_step_and_half_of_the_others_have_none() {
        let events: Vec<Value> = serde_json::from_str(&batch(0..10_000, 100)).unwrap();
        let count = |source: &str| {
            events.iter().filter(|event| event["source"].as_str().unwrap_or_default() == source).count()
        };
        assert_eq!((count("rare-0"), count("rare-9")), (100, 100));
        assert_eq!(count(""), 4500);
        assert_eq!(events[7]["timestamp"], "2026-01-01T00:00:07Z");
        let (topic, id) = identity(7);
        assert_eq!((&events[7]["topic"], &events[7]["event_id"]), (&Value::from(topic), &Value::from(id)));
    }
}
