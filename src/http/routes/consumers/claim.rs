//! `POST /consumers/{name}/claim`: events are given out, or waited for.

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::consumers::{self, Claimed, Done, Kind, LEASES, Skipped, Step, Wanted};
use crate::http::app::{App, Platform};
use crate::http::negotiate::JSON;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::store::Seq;

/// The longest wait for events, in seconds.
const LONGEST_WAIT: u32 = 20;
/// The most events of a claim.
const MOST_EVENTS: u32 = 1000;
/// Bytes of the longest name of a holder.
const HOLDER_BYTES: usize = 128;

/// The longest time between two looks at a consumer: another host may have changed it.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The longest time for which events are looked for that need not wait.
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// The fields of a body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    holder: String,
    limit: Option<u32>,
    lease: Option<u32>,
    wait: Option<u32>,
}

/// What the answer has before its events.
#[derive(Serialize)]
struct Head<'a> {
    claim: &'a str,
    kind: Kind,
    from: Seq,
    to: Seq,
    expires_at: String,
    attempt: u32,
    skipped: Missing,
}

#[derive(Serialize)]
struct Missing {
    expired: i64,
    erased: i64,
}

/// Gives events out.
///
/// # Errors
/// When a field is invalid, there is no such consumer, others have all claims, or the store fails.
pub async fn claim<P: Platform>(app: &App<P>, name: &str, body: Body) -> Result<Reply, Problem> {
    let (wanted, wait) = wanted(body)?;
    let began = app.clock.now();
    let until = began + wait;
    let _waits = match wait {
        Duration::ZERO => None,
        _ => Some(app.followers.try_acquire().map_err(|_| Problem::Overloaded("followers"))?),
    };
    loop {
        let seen = app.tail.newest().await?;
        let (next, filter) = match app.consumers.step(name, Step::Claim(wanted.clone())).await? {
            Done::Claimed(claimed) => return answer(&claimed),
            Done::Nothing(next, filter) => (next.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN), filter),
            _ => return Err(Problem::Internal("a claim has no events".into())),
        };
        // Many events may have to wait, of which a look sees some.
        if next.is_zero() && app.clock.now() < until.max(began + LONGEST_LOOK) {
            continue;
        }
        let Some(rest) = until.checked_sub(app.clock.now()).filter(|rest| !rest.is_zero()) else {
            return Ok(Reply::empty(StatusCode::NO_CONTENT));
        };
        app.tail.moves_beyond(&filter, seen, next.min(rest)).await;
    }
}

fn wanted(body: Body) -> Result<(Wanted, Duration), Problem> {
    let Body { holder, limit, lease, wait } = body;
    let invalid = |rule: String| Err(Problem::InvalidField(rule));
    if holder.trim().is_empty() || holder.len() > HOLDER_BYTES || holder.contains(char::is_control) {
        return invalid(format!("holder: must be 1 to {HOLDER_BYTES} bytes, without control characters"));
    }
    let limit = limit.unwrap_or(100);
    if !(1..=MOST_EVENTS).contains(&limit) {
        return invalid(format!("limit: must be 1 to {MOST_EVENTS} events"));
    }
    if lease.is_some_and(|lease| !LEASES.contains(&lease)) {
        return invalid(format!("lease: must be {} to {} seconds", LEASES.start(), LEASES.end()));
    }
    let wait = wait.unwrap_or(0);
    if wait > LONGEST_WAIT {
        return invalid(format!("wait: must be up to {LONGEST_WAIT} seconds"));
    }
    Ok((Wanted { holder, limit, lease }, Duration::from_secs(wait.into())))
}

/// The claim as JSON. Its events are JSON already.
fn answer(claimed: &Claimed) -> Result<Reply, Problem> {
    let Claimed { claim, skipped: Skipped { expired, erased }, events } = claimed;
    let head = Head {
        claim: &claim.token,
        kind: claim.kind,
        from: claim.from,
        to: claim.to,
        expires_at: consumers::moment(claim.expires_at),
        attempt: claim.attempt,
        skipped: Missing { expired: *expired, erased: *erased },
    };
    let mut body = serde_json::to_string(&head).map_err(|error| Problem::Internal(error.to_string()))?;
    body.pop();
    body.reserve(events.iter().map(|event| event.len() + 1).sum::<usize>() + 16);
    body.push_str(",\"events\":[");
    for (place, event) in events.iter().enumerate() {
        if place > 0 {
            body.push(',');
        }
        body.push_str(event);
    }
    body.push_str("]}");
    Ok(Reply::new(StatusCode::OK, JSON, body))
}
