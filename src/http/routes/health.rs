//! `GET /healthz` and `GET /readyz`: the probes of an orchestrator or a load balancer.

use http::StatusCode;

use crate::http::app::{App, Platform};
use crate::http::negotiate::JSON;
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// The process answers.
pub fn alive() -> Reply {
    Reply::new(StatusCode::OK, JSON, r#"{"status":"ok"}"#)
}

/// The database takes reads.
///
/// # Errors
/// [`Problem::NotReady`] when it does not.
pub async fn ready<P: Platform>(app: &App<P>) -> Result<Reply, Problem> {
    match app.reader.readable().await {
        Ok(_) => Ok(Reply::new(StatusCode::OK, JSON, r#"{"status":"ready"}"#)),
        Err(error) => Err(Problem::NotReady(error.to_string())),
    }
}
