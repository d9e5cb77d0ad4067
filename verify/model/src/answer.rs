//! The answer to a request to publish, as far as it names its events.

use sekali_common::api::{EventStatus, Published};

/// An event of a request: its place, its topic and its id.
pub type Named = (usize, String, String);

/// Compares the results of an answer with the valid events of its request, and with its own counts.
///
/// # Errors
/// The contradiction between them.
pub fn check_results(sent: &[Named], published: &Published) -> Result<(), String> {
    let Published { stored, duplicates, conflicts, results, .. } = published;
    let count = |status| results.iter().filter(|result| result.status == status).count() as u64;
    let counted = [EventStatus::Stored, EventStatus::Duplicate, EventStatus::Conflict].map(count);
    if results.len() != sent.len() || counted != [*stored, duplicates.saturating_sub(*conflicts), *conflicts]
    {
        let (sent, results) = (sent.len(), results.len());
        return Err(format!(
            "{sent} sent, answered: {stored} stored, {duplicates} duplicates, {conflicts} conflicts, {results} results"
        ));
    }
    for ((index, topic, id), result) in sent.iter().zip(results) {
        if (*index, topic, id) != (result.index, &result.topic, &result.event_id) {
            let (answered_topic, answered_id) = (&result.topic, &result.event_id);
            return Err(format!(
                "{topic}/{id}, at {index} in its request, was answered as {answered_topic}/{answered_id} at {}",
                result.index
            ));
        }
    }
    Ok(())
}
