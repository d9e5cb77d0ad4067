//! `GET /hooks`: the receivers, without their secrets.

use http::StatusCode;

use crate::http::access::Grant;
use crate::http::app::{App, Platform};
use crate::http::negotiate::JSON;
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// Lists the receivers in the order of their names.
///
/// # Errors
/// [`Problem::ForbiddenTopic`] unless all topics may be read.
pub fn list<P: Platform>(app: &App<P>, grant: Grant<'_>) -> Result<Reply, Problem> {
    grant.check_patterns(&[])?;
    let listed: Vec<_> = app.receivers.values().map(|receiver| receiver.described.as_str()).collect();
    Ok(Reply::new(StatusCode::OK, JSON, format!("[{}]", listed.join(","))))
}
