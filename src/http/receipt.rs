//! The receipt of `POST /publish`: the outcome of each event.

use serde::Serialize;

use super::prefer::Preference;
use crate::event::NewEvent;
use crate::ingest::{EventError, Invalid};
use crate::store::{Outcome, Seq, Status};

/// The outcome of a request, as it is rendered.
#[derive(Serialize)]
pub struct Receipt<'a> {
    status: &'static str,
    total_received: usize,
    stored: usize,
    duplicates: usize,
    conflicts: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<usize>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    ids: Option<Ids<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<EventResult<'a>>>,
    /// The names of fields that were ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [EventError]>,
    /// The number of errors, of which `errors` lists the first hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_count: Option<usize>,
}

/// Event ids in the order of the request.
#[derive(Serialize)]
struct Ids<'a> {
    processed: Vec<&'a str>,
    duplicate_ids: Vec<&'a str>,
    conflict_ids: Vec<&'a str>,
}

#[derive(Serialize)]
struct EventResult<'a> {
    index: usize,
    topic: &'a str,
    event_id: &'a str,
    status: &'static str,
    seq: Seq,
}

impl<'a> Receipt<'a> {
    /// The receipt of stored events, with the level of detail that the client prefers.
    pub fn new(
        events: &'a [NewEvent],
        indexes: &[usize],
        outcomes: &[Outcome],
        preference: Option<Preference>,
    ) -> Self {
        let mut receipt = Self::with_ids(events, outcomes);
        match preference {
            None => {}
            Some(Preference::Minimal) => receipt.ids = None,
            Some(Preference::Representation) => receipt.add_results(events, indexes, outcomes),
        }
        receipt
    }

    /// Adds the events that were rejected.
    pub fn add_rejected(&mut self, rejected: &'a Invalid) {
        self.total_received += rejected.events;
        self.rejected = Some(rejected.events);
        self.errors = Some(&rejected.listed);
        self.error_count = Some(rejected.errors);
    }

    fn with_ids(events: &'a [NewEvent], outcomes: &[Outcome]) -> Self {
        let ids_of = |wanted: &[Status]| -> Vec<&'a str> {
            let with_outcome = events.iter().zip(outcomes);
            with_outcome
                .filter(|(_, outcome)| wanted.contains(&outcome.status))
                .map(|(event, _)| event.event_id.as_str())
                .collect()
        };
        let processed = ids_of(&[Status::Stored]);
        let duplicate_ids = ids_of(&[Status::Duplicate, Status::Conflict]);
        let conflict_ids = ids_of(&[Status::Conflict]);
        Self {
            status: "ok",
            total_received: events.len(),
            stored: processed.len(),
            duplicates: duplicate_ids.len(),
            conflicts: conflict_ids.len(),
            rejected: None,
            ids: Some(Ids { processed, duplicate_ids, conflict_ids }),
            results: None,
            ignored: None,
            errors: None,
            error_count: None,
        }
    }

    fn add_results(&mut self, events: &'a [NewEvent], indexes: &[usize], outcomes: &[Outcome]) {
        let result = |((event, index), outcome): ((&'a NewEvent, &usize), &Outcome)| EventResult {
            index: *index,
            topic: event.topic.as_str(),
            event_id: event.event_id.as_str(),
            status: match outcome.status {
                Status::Stored => "stored",
                Status::Duplicate => "duplicate",
                Status::Conflict => "conflict",
            },
            seq: outcome.seq,
        };
        self.results = Some(events.iter().zip(indexes).zip(outcomes).map(result).collect());
    }
}
