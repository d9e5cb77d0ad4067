//! The promises about idempotency keys, checked against a history.

use super::history::{Answered, Attempt};
use crate::sim::Violations;

/// Checks every attempt that has a key.
pub fn check(attempts: &[Attempt], violations: &Violations) {
    for attempt in attempts.iter().filter(|attempt| attempt.key.is_some()) {
        let of_key: Vec<_> = attempts
            .iter()
            .filter(|other| other.key == attempt.key && other.began != attempt.began)
            .collect();
        if let Some(answer) = &attempt.answer
            && let Err(reason) = judge(attempt, answer, &of_key)
        {
            violations.note(format!("{reason}: {attempt:?}; the other attempts under its key: {of_key:#?}"));
        }
    }
}

/// Judges an answer by the other attempts under its key.
fn judge(attempt: &Attempt, answer: &Answered, others: &[&Attempt]) -> Result<(), &'static str> {
    let answered_before =
        others.iter().find(|other| other.receipt().is_some() && other.ended < attempt.began);
    let maybe_saved = |other: &&&Attempt| other.receipt().is_some() || other.may_be_saved();
    if answer.is_success() && answer.is_replayed {
        return match answered_before {
            Some(first) if first.request != attempt.request => Err("another request's answer was sent again"),
            Some(first) if !first.receipt().is_some_and(|receipt| receipt.says(answer)) => {
                Err("an answer was sent again in another form")
            }
            Some(_) => Ok(()),
            None if others.iter().filter(maybe_saved).any(|other| other.request == attempt.request) => Ok(()),
            None => Err("an answer was sent again that nobody got before"),
        };
    }
    match answer.problem().as_str() {
        "idempotency-key-in-use" => {
            let overlaps = |other: &&&Attempt| other.began < attempt.ended && attempt.began < other.ended;
            others.iter().any(|other| overlaps(&other)).then_some(()).ok_or("the key was not in use")
        }
        "idempotency-key-mismatch" => others
            .iter()
            .filter(maybe_saved)
            .any(|other| other.request != attempt.request && other.began < attempt.ended)
            .then_some(())
            .ok_or("no other request had the key"),
        // A fault on the way to what was saved: it did not run. Whether faults are possible is judged with the receipts.
        _ if answer.status >= 500 => Ok(()),
        // Refused for what it is, which is judged with the receipts: it did not run. Where a fault keeps the service from
        // looking for the key, that is all it can say.
        "malformed-body" | "invalid-event" => Ok(()),
        _ if answered_before.is_some() => Err("a request ran although its key had a saved answer"),
        _ => Ok(()),
    }
}
