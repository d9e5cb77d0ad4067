//! One write: a call of a function of the database, which stores, counts and marks conflicts in one transaction.

use std::collections::HashMap;

use crate::event::{NewEvent, Timestamp};
use crate::store::database::{Row, Value};
use crate::store::{Keyed, Outcome, Seq, Status, StoreError};

/// The parameters of the call.
pub fn parameters(events: &[&NewEvent], keys: &[Keyed<'_>]) -> Vec<Value> {
    let place = |index: usize| index as i64 + 1;
    let moments: Vec<_> =
        events.iter().map(|event| event.timestamp.as_ref().map(Timestamp::as_micros)).collect();
    let sources = |event: &&NewEvent| event.source.as_ref().map(|source| stored_source(source.as_str()));
    vec![
        events.iter().map(|event| event.topic.as_str()).collect(),
        events.iter().map(|event| event.event_id.as_str()).collect(),
        moments.iter().map(|moment| moment.map(|(micros, _)| micros)).collect(),
        moments.iter().map(|moment| moment.map(|(_, nanos)| nanos)).collect(),
        Value::Texts(events.iter().map(sources).collect()),
        events.iter().map(|event| event.payload.as_json()).collect(),
        events.iter().map(|event| event.attributes.as_deref()).collect(),
        events.iter().map(|event| event.payload.digest()).collect(),
        firsts(events).into_iter().map(place).collect(),
        keys.iter().map(|keyed| keyed.key.key.as_str()).collect(),
        keys.iter().map(|keyed| keyed.key.fingerprint.as_str()).collect(),
        keys.iter().map(|keyed| place(keyed.events.start)).collect(),
        keys.iter().map(|keyed| place(keyed.events.end)).collect(),
    ]
}

/// A source as it is stored: the inside of a JSON string.
pub fn stored_source(source: &str) -> String {
    let quoted = serde_json::Value::from(source).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// For each event, the index of the first of the same identity.
fn firsts(events: &[&NewEvent]) -> Vec<usize> {
    let mut firsts = HashMap::with_capacity(events.len());
    events
        .iter()
        .enumerate()
        .map(|(index, event)| *firsts.entry((event.topic.as_str(), event.event_id.as_str())).or_insert(index))
        .collect()
}

/// The outcomes of so many events, from the row that the call returned.
///
/// # Errors
/// [`StoreError::Repeated`] when some requests were answered before, and nothing was done.
pub fn outcomes(row: &Row, events: usize) -> Result<Vec<Outcome>, StoreError> {
    if row.text(0).is_ok() {
        return Err(StoreError::Repeated(row.json(0)?));
    }
    let stored_from = row.integer(1)?;
    let dropped: Vec<(usize, Seq, u8)> = match row.text(2) {
        Ok(_) => row.json(2)?,
        Err(_) => vec![],
    };
    let mut dropped = dropped.into_iter().peekable();
    let mut stored = stored_from..;
    let outcome = |place: usize| match dropped.next_if(|(dropped, ..)| *dropped == place) {
        Some((_, seq, status)) => Some(Outcome { seq, status: Status::of_stored(status) }),
        None => stored.next().map(|seq| Outcome { seq, status: Status::Stored }),
    };
    (1..=events)
        .map(outcome)
        .collect::<Option<_>>()
        .ok_or_else(|| StoreError::Failed("there is no seq left".into()))
}
