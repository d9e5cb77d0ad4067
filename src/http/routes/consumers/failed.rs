//! `GET /consumers/{name}/failed`: what failed, and what waits for it; `POST .../retry` and `.../drop`: what people decide.

use http::Uri;
use serde::Serialize;

use super::json;
use crate::consumers::{self, Done, Selected, Step};
use crate::http::app::{App, Platform};
use crate::http::problem::Problem;
use crate::http::query::{Known, parameters};
use crate::http::reply::Reply;
use crate::store::Seq;
use crate::store::consume::{Failure, FailureState, Moment};

/// The parameters of a query.
const PARAMETERS: [Known; 3] =
    [Known { name: "state", most: 1 }, Known { name: "after", most: 1 }, Known { name: "limit", most: 1 }];

/// The largest `limit`.
const MOST_LISTED: u32 = 1000;

#[derive(Serialize)]
struct Listed {
    failed: Vec<Told>,
    /// The seq behind which more may follow.
    next_after: Option<Seq>,
}

#[derive(Serialize)]
struct Told {
    seq: Seq,
    topic: String,
    event_id: String,
    state: &'static str,
    attempts: u32,
    reason: Option<String>,
    first_failed_at: Option<String>,
    last_failed_at: Option<String>,
    due_at: Option<String>,
}

#[derive(Serialize)]
struct Changed {
    changed: usize,
}

/// Lists failures in the order of seq.
///
/// # Errors
/// When a parameter is invalid, there is no such consumer, or the store fails.
pub async fn list<P: Platform>(app: &App<P>, name: &str, uri: &Uri) -> Result<Reply, Problem> {
    let (mut state, mut after, mut limit) = (None, 0, 100);
    for (parameter, value) in parameters(uri.query().unwrap_or_default(), &PARAMETERS)? {
        let invalid = |message: String| Problem::InvalidParameter { name: parameter.to_string(), message };
        match parameter.as_ref() {
            "state" => {
                let named = [FailureState::Parked, FailureState::Waiting, FailureState::Dead];
                let named = named.into_iter().find(|state| state.as_str() == value);
                state = Some(named.ok_or_else(|| invalid("must be parked, waiting or dead".into()))?);
            }
            "after" => {
                let seq = value.parse().ok().filter(|seq| *seq >= 0);
                after = seq.ok_or_else(|| invalid("must be a seq, a whole number from 0".into()))?;
            }
            _ => {
                let number = value.parse().ok().filter(|limit| (1..=MOST_LISTED).contains(limit));
                limit = number
                    .ok_or_else(|| invalid(format!("must be a whole number from 1 to {MOST_LISTED}")))?;
            }
        }
    }
    let failures = app.consumers.failures(name, state, after, limit).await?;
    let failures = failures.ok_or(Problem::UnknownConsumer)?;
    let is_full = failures.len() == limit as usize;
    let next_after = failures.last().filter(|_| is_full).map(|failure| failure.seq);
    json(&Listed { failed: failures.into_iter().map(told).collect(), next_after })
}

/// Lets failures come again at once.
///
/// # Errors
/// When it is not said which, there is no such consumer, or the store fails.
pub async fn retry<P: Platform>(app: &App<P>, name: &str, selected: Selected) -> Result<Reply, Problem> {
    changed(app.consumers.step(name, Step::Retry(selected)).await?)
}

/// Takes failures off the list, as if they were done.
///
/// # Errors
/// When it is not said which, there is no such consumer, or the store fails.
pub async fn drop<P: Platform>(app: &App<P>, name: &str, selected: Selected) -> Result<Reply, Problem> {
    changed(app.consumers.step(name, Step::Drop(selected)).await?)
}

fn changed(done: Done) -> Result<Reply, Problem> {
    let Done::Changed(changed) = done else {
        return Err(Problem::Internal("a step on failures has changed none".into()));
    };
    json(&Changed { changed })
}

fn told(failure: Failure) -> Told {
    let moment = |moment: Moment| (moment > 0).then(|| consumers::moment(moment));
    Told {
        seq: failure.seq,
        topic: failure.topic,
        event_id: failure.event_id,
        state: failure.state.as_str(),
        attempts: failure.attempts,
        reason: Some(failure.reason).filter(|reason| !reason.is_empty()),
        first_failed_at: moment(failure.first_failed_at),
        last_failed_at: moment(failure.last_failed_at),
        due_at: moment(failure.due_at),
    }
}
