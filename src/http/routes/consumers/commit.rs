//! `POST /consumers/{name}/commit`: the events of a claim were done, or have failed.

use serde::Serialize;

use super::json;
use crate::consumers::{Commit, Done, Step};
use crate::http::app::{App, Platform};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::store::Seq;

#[derive(Serialize)]
struct Answer {
    position: Seq,
    settled: Seq,
    lag: i64,
}

/// Takes what a holder tells of its claim.
///
/// # Errors
/// When a field is invalid, the claim is not live, or the store fails.
pub async fn commit<P: Platform>(app: &App<P>, name: &str, commit: Commit) -> Result<Reply, Problem> {
    match app.consumers.step(name, Step::Commit(commit)).await? {
        Done::Stands(standing) => {
            json(&Answer { position: standing.position, settled: standing.settled, lag: standing.lag })
        }
        _ => Err(Problem::Internal("a commit has no standing".into())),
    }
}
