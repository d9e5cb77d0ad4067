//! `GET /healthz` and `GET /readyz`: for whoever restarts or routes to this service.

use http::StatusCode;

use super::JSON;
use crate::app::{App, Platform};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::store::Store;

/// The process answers.
pub fn live() -> Reply {
    Reply::new(StatusCode::OK, JSON, r#"{"status":"ok"}"#)
}

/// The database takes reads.
///
/// # Errors
/// [`Problem::NotReady`] when it does not.
pub async fn ready<P: Platform>(app: &App<P>) -> Result<Reply, Problem> {
    match app.store.last_seq().await {
        Ok(_) => Ok(Reply::new(StatusCode::OK, JSON, r#"{"status":"ready"}"#)),
        Err(error) => Err(Problem::NotReady(error.to_string())),
    }
}
