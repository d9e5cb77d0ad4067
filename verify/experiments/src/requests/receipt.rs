//! The answer to a request to publish, as far as it tells the outcome of each event.

use std::collections::HashMap;

use sekali_common::api::{EventResult, EventStatus, Published};
use sekali_model::check_results;
use serde::Deserialize;

use super::identities::{event_id, topic};
use super::{Request, Sent};

/// The outcomes that an answer tells.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Those of the valid events, in their order.
    pub told: Vec<Told>,
    /// The number of conflicts.
    pub conflicts: u64,
}

/// The outcome of an event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Its status, if the answer tells it.
    pub status: Option<EventStatus>,
    /// Its seq, if the answer tells it.
    pub seq: Option<u64>,
}

/// The parts of an answer that the clients' own type leaves out.
#[derive(Deserialize)]
struct Lists {
    processed: Option<Vec<String>>,
    duplicate_ids: Option<Vec<String>>,
    #[serde(default)]
    rejected: u64,
}

/// Reads the answer to a request that was carried out.
///
/// # Errors
/// The contradiction between request and answer, if there is one.
pub fn read(request: &Request, status: u16, body: &str) -> Result<Receipt, String> {
    let published: Published = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let lists: Lists = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let (valid, rejected) = (request.events.len() as u64, request.invalid as u64);
    let expected = if rejected > 0 { 207 } else { 200 };
    let is_consistent = status == expected
        && published.total_received == valid + rejected
        && lists.rejected == rejected
        && published.stored + published.duplicates == valid
        && published.conflicts <= published.duplicates;
    if !is_consistent {
        return Err(format!("{valid} valid and {rejected} invalid events were sent"));
    }
    let told = match (request.preference(), &lists.processed, &lists.duplicate_ids) {
        (Some("return=minimal"), None, None) => Some(from_counts(request, &published)),
        (preference, Some(processed), Some(duplicates)) if preference != Some("return=minimal") => {
            let told = from_lists(request, &published, processed, duplicates);
            if preference.is_some() { told.and_then(|_| from_results(request, &published)) } else { told }
        }
        _ => None,
    };
    let told = told.ok_or("the lists do not agree with the request")?;
    Ok(Receipt { told, conflicts: published.conflicts })
}

fn from_counts(request: &Request, published: &Published) -> Vec<Told> {
    let Published { stored, duplicates, conflicts, .. } = *published;
    let status = match (stored, duplicates) {
        (_, 0) => Some(EventStatus::Stored),
        (0, _) if conflicts == duplicates => Some(EventStatus::Conflict),
        (0, _) if conflicts == 0 => Some(EventStatus::Duplicate),
        _ => None,
    };
    vec![Told { status, seq: None }; request.events.len()]
}

/// The outcomes by the lists of ids; `None` if the lists are not made of the ids of the request, in their order.
fn from_lists(
    request: &Request,
    published: &Published,
    processed: &[String],
    duplicates: &[String],
) -> Option<Vec<Told>> {
    let ids: Vec<_> = request.events.iter().map(|sent| event_id(sent.identity)).collect();
    let conflicts = &published.conflict_ids;
    let are_so_many = (processed.len() as u64, duplicates.len() as u64, conflicts.len() as u64)
        == (published.stored, published.duplicates, published.conflicts);
    let are_in_order = [processed, duplicates, conflicts].iter().all(|list| is_part(list, &ids));
    if !are_so_many || !are_in_order {
        return None;
    }
    let [all, stored, dropped, differing] = [&ids, processed, duplicates, conflicts].map(|list| count(list));
    let of = |counts: &HashMap<&str, usize>, id: &str| counts.get(id).copied().unwrap_or_default();
    if all.iter().any(|(id, count)| of(&stored, id) + of(&dropped, id) != *count) {
        return None;
    }
    let status = |id: &str| match (of(&stored, id), of(&dropped, id), of(&differing, id)) {
        (_, 0, 0) => Some(EventStatus::Stored),
        (0, _, 0) => Some(EventStatus::Duplicate),
        (0, dropped, differing) if dropped == differing => Some(EventStatus::Conflict),
        _ => None, // the id occurs several times, with several outcomes
    };
    Some(ids.iter().map(|id| Told { status: status(id), seq: None }).collect())
}

/// The outcomes by the results; `None` if they do not name the events of the request, or disagree with the counts.
fn from_results(request: &Request, published: &Published) -> Option<Vec<Told>> {
    let named = |sent: &Sent| (sent.index, topic(sent.identity).to_owned(), event_id(sent.identity));
    let sent: Vec<_> = request.events.iter().map(named).collect();
    check_results(&sent, published).ok()?;
    let told = |result: &EventResult| Told { status: Some(result.status), seq: Some(result.seq) };
    Some(published.results.iter().map(told).collect())
}

/// True if a list is made of some of the ids, in their order.
fn is_part(list: &[String], ids: &[String]) -> bool {
    let mut ids = ids.iter();
    list.iter().all(|wanted| ids.any(|id| id == wanted))
}

fn count(list: &[String]) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for id in list {
        *counts.entry(id.as_str()).or_default() += 1;
    }
    counts
}
