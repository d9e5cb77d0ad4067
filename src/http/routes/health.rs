//! `GET /healthz` and `GET /readyz`: the probes of an orchestrator or a load balancer.

use http::StatusCode;
use serde_json::json;

use crate::http::app::{App, Platform};
use crate::http::negotiate::JSON;
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// The process answers.
pub fn alive() -> Reply {
    Reply::new(StatusCode::OK, JSON, r#"{"status":"ok"}"#)
}

/// The database takes reads. Settings of it that endanger what is stored are named.
///
/// # Errors
/// [`Problem::NotReady`] when it does not.
pub async fn ready<P: Platform>(app: &App<P>) -> Result<Reply, Problem> {
    let risks = async { app.reader.readable().await.and(app.reader.risks().await) }.await;
    let risks = risks.map_err(|error| Problem::NotReady(error.to_string()))?;
    let body = match risks.as_slice() {
        [] => json!({"status": "ready"}),
        risks => json!({"status": "ready", "risks": risks}),
    };
    Ok(Reply::new(StatusCode::OK, JSON, body.to_string()))
}
