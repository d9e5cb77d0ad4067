//! `GET /consumers` and `GET /consumers/{name}`: what consumers are, and where they stand.

use serde::Serialize;

use super::json;
use crate::consumers::{self, Kind, Specification};
use crate::http::access::Grant;
use crate::http::app::{App, Platform};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::store::Seq;

/// A consumer as clients see it.
#[derive(Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    specification: Specification,
    generation: i64,
    /// Up to this seq, every event was given out and is done, or has failed.
    pub position: Seq,
    /// Nothing at or below this seq comes again.
    pub settled: Seq,
    /// Events behind the position.
    pub lag: i64,
    /// Seconds since the oldest event was received that is not done.
    pub behind_seconds: i64,
    /// Failed events that come again.
    pub parked: i64,
    /// Events that wait for one which failed.
    pub waiting: i64,
    /// Events that come no more by themselves.
    pub dead: i64,
    /// Events that were given out the first time.
    pub delivered: i64,
    /// Events that were given out again.
    pub redelivered: i64,
    claims: Vec<Claim>,
    /// True if nothing new is given out, because too many events are parked or wait.
    pub blocked: bool,
}

#[derive(Serialize)]
struct Claim {
    holder: String,
    kind: Kind,
    from: Seq,
    to: Seq,
    expires_at: String,
    attempt: u32,
}

/// All consumers that a token is for, in the order of their names.
///
/// # Errors
/// When the store cannot be read, here and below.
pub async fn list<P: Platform>(app: &App<P>, grant: Grant<'_>) -> Result<Reply, Problem> {
    let listed = app.consumers.list(|name| grant.has_consumer(name)).await?;
    json(&listed.into_iter().map(Status::of).collect::<Vec<_>>())
}

/// One consumer.
///
/// # Errors
/// Also when there is none of this name, or the token is not for it.
pub async fn one<P: Platform>(app: &App<P>, grant: Grant<'_>, name: &str) -> Result<Reply, Problem> {
    grant.check_consumer(name)?;
    told(app, name).await
}

/// The status of a consumer as an answer.
///
/// # Errors
/// When there is none of this name.
pub async fn told<P: Platform>(app: &App<P>, name: &str) -> Result<Reply, Problem> {
    let status = app.consumers.status(name).await?.ok_or(Problem::UnknownConsumer)?;
    json(&Status::of(status))
}

impl Status {
    /// What is told of a consumer.
    pub fn of(status: consumers::Status) -> Self {
        let consumers::Status { name, parked, state, standing, behind_seconds, now } = status;
        let blocked = state.is_blocked();
        let live = state.live(now).map(|claim| Claim {
            holder: claim.holder.clone(),
            kind: claim.kind,
            from: claim.from,
            to: claim.to,
            expires_at: consumers::moment(claim.expires_at),
            attempt: claim.attempt,
        });
        let claims = live.collect();
        Self {
            name,
            specification: state.specification,
            generation: state.generation,
            position: standing.position,
            settled: standing.settled,
            lag: standing.lag,
            behind_seconds,
            parked,
            waiting: state.held - parked,
            dead: state.dead,
            delivered: state.delivered,
            redelivered: state.redelivered,
            claims,
            blocked,
        }
    }
}
