//! `GET /healthz` and `GET /readyz`: the probes of an orchestrator or a load balancer.

use http::StatusCode;
use serde_json::json;

use crate::http::app::{App, Platform};
use crate::http::negotiate::JSON;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::settings::InvalidSettings;
use crate::store::StoreError;

/// The process answers.
pub fn alive() -> Reply {
    Reply::new(StatusCode::OK, JSON, r#"{"status":"ok"}"#)
}

/// The process answers, and its settings are invalid. A host that asks before it serves refuses to.
pub fn alive_without_settings(invalid: &InvalidSettings) -> Reply {
    let invalid: Vec<_> = invalid.0.iter().map(ToString::to_string).collect();
    let body = json!({"status": "ok", "invalid_settings": invalid});
    Reply::new(StatusCode::OK, JSON, body.to_string())
}

/// The database takes reads, and writes unless it is a replica, by design. It is said if it is one; and settings of it that
/// endanger what is stored are named.
///
/// # Errors
/// [`Problem::NotReady`] or [`Problem::NotWritable`] when it does not.
pub async fn ready<P: Platform>(app: &App<P>) -> Result<Reply, Problem> {
    let state = async {
        app.reader.readable().await?;
        app.reader.risks().await
    };
    let risks = state.await.map_err(|error: StoreError| Problem::NotReady(error.to_string()))?;
    let is_writable = app.reader.is_writable().await;
    let is_writable = is_writable.map_err(|error| Problem::NotWritable(error.to_string()))?;
    let mut body = json!({"status": "ready"});
    if !risks.is_empty() {
        body["risks"] = json!(risks);
    }
    if !is_writable {
        body["read_only"] = json!(true);
    }
    Ok(Reply::new(StatusCode::OK, JSON, body.to_string()))
}
