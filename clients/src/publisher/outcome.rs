//! What an answer says of the events of its request.

use std::collections::{BTreeMap, HashSet};

use reqwest::StatusCode;
use sekali_clients::client::Refusal;
use sekali_common::api::{EventError, Published};

/// True if a request was refused because of its events, and not because of its sender or address. A proxy in front of
/// the service may also find a body too large.
pub fn is_about_events(refusal: &Refusal) -> bool {
    refusal.status == StatusCode::PAYLOAD_TOO_LARGE
        || matches!(refusal.problem.r#type.as_str(), "/problems/invalid-event" | "/problems/malformed-body")
}

/// The items of a part that a partial answer left out.
pub fn left_out(part: &[usize], published: &Published) -> Vec<usize> {
    if published.rejected == 0 {
        return Vec::new();
    }
    let taken: HashSet<_> = published.results.iter().map(|result| result.index).collect();
    part.iter().enumerate().filter(|(index, _)| !taken.contains(index)).map(|(_, item)| *item).collect()
}

/// The errors of each invalid item of a part, by the item's index in the batch.
pub fn errors_by_item(part: &[usize], listed: &[EventError]) -> BTreeMap<usize, String> {
    let mut errors: BTreeMap<usize, String> = BTreeMap::new();
    for error in listed {
        if let Some(&index) = part.get(error.index) {
            let text = errors.entry(index).or_default();
            let separator = if text.is_empty() { "" } else { "; " };
            // An error of the whole event has no field. The lines of a request are not those of the input.
            let message =
                error.message.split_once(" is malformed: ").map(|(_, what)| format!("is malformed: {what}"));
            let message = message.as_deref().unwrap_or(&error.message);
            *text += format!("{separator}{} {message}", error.field).trim_start();
        }
    }
    errors
}
