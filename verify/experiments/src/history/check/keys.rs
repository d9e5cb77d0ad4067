//! Rules of requests that were refused or replayed.

use std::collections::HashMap;

use sekali_model::Wrong;
use serde_json::Value;

use super::executions::Execution;
use super::model::Model;
use crate::history::record::{Answer, NEVER, Outcome, Publish};

/// A replayed answer is that of an earlier request with the same key and the same meaning.
pub fn check_replays(model: &Model<'_>, wrong: &mut Wrong) {
    for publish in &model.strays {
        wrong.add(|| format!("no request with this key and meaning had this answer: {publish}"));
    }
}

/// Of all requests with one key, whatever host they go to, one is carried out. The model counts none whose answer was
/// lost beside one that was answered, so such a one is found by what it counted.
pub fn check_repetitions(model: &Model<'_>, wrong: &mut Wrong) {
    for executions in by_key(model).values() {
        let mut answered = executions.iter().filter(|execution| execution.answer.is_some());
        let Some(first) = answered.next() else { continue };
        for other in answered {
            wrong.add(|| format!("{} was carried out beside {}", other.publish, first.publish));
        }
    }
}

/// Nobody waits without an end.
pub fn check_patience(model: &Model<'_>, wrong: &mut Wrong) {
    for publish in
        model.history.publishes.iter().filter(|publish| matches!(publish.outcome, Outcome::Late(_)))
    {
        wrong.add(|| format!("no answer in time: {publish}"));
    }
}

/// A request is refused only for a reason that the contract has.
pub fn check_refusals(model: &Model<'_>, wrong: &mut Wrong) {
    let executions = by_key(model);
    let mut users: HashMap<&str, Vec<&Publish>> = HashMap::new();
    for publish in model.history.publishes.iter().filter(|publish| publish.outcome != Outcome::Unsent) {
        if let Some(key) = &publish.key {
            users.entry(key).or_default().push(publish);
        }
    }
    for publish in &model.history.publishes {
        let Outcome::Answered(answer) = &publish.outcome else { continue };
        let is_invalid = publish.request.invalid > 0 && !publish.request.is_partial();
        let key = publish.key.as_deref().unwrap_or_default();
        let is_right = match (answer.status, problem(answer).as_deref()) {
            (200..300, _) => !is_invalid || answer.is_replayed,
            (422, Some("/problems/invalid-event")) => is_invalid,
            (422, Some("/problems/idempotency-key-mismatch")) => {
                let executions = executions.get(key).into_iter().flatten();
                executions.into_iter().any(|other| {
                    other.publish.request != publish.request && other.span.began < publish.span.ended
                })
            }
            (409, Some("/problems/idempotency-key-in-use")) => {
                let users = users.get(key).into_iter().flatten();
                users.into_iter().any(|other| !std::ptr::eq(*other, publish) && overlap(other, publish))
            }
            (503, Some(_)) => answer.names_retry,
            // Nobody knows whether the last write before the loss was done.
            (500, Some("/problems/internal")) => {
                model.history.losses.database || model.history.losses.instances
            }
            _ => false,
        };
        if !is_right {
            wrong.add(|| format!("nothing explains the answer: {publish}"));
        }
    }
}

/// Requests that were carried out, or may have been, by their keys.
fn by_key<'m, 'h>(model: &'m Model<'h>) -> HashMap<&'h str, Vec<&'m Execution<'h>>> {
    let mut by_key: HashMap<_, Vec<_>> = HashMap::new();
    for execution in &model.executions {
        if let Some(key) = &execution.publish.key {
            by_key.entry(key.as_str()).or_default().push(execution);
        }
    }
    by_key
}

/// The type of a problem.
fn problem(answer: &Answer) -> Option<String> {
    let problem: Value = serde_json::from_str(&answer.body).ok()?;
    Some(problem["type"].as_str()?.to_owned())
}

fn overlap(one: &Publish, other: &Publish) -> bool {
    let end = |publish: &Publish| match publish.outcome {
        Outcome::Answered(_) => publish.span.ended,
        _ => NEVER,
    };
    one.span.began < end(other) && other.span.began < end(one)
}
