//! `GET /healthz` and `GET /readyz`: the probes of an orchestrator or a load balancer.

use http::StatusCode;
use serde_json::json;

use crate::http::app::{App, Platform};
use crate::http::negotiate::JSON;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::store::StoreError;

/// The process answers.
pub fn alive() -> Reply {
    Reply::new(StatusCode::OK, JSON, r#"{"status":"ok"}"#)
}

/// The database takes reads. It is said if it takes no writes, as a replica does not; and settings of it that endanger
/// what is stored are named.
///
/// # Errors
/// [`Problem::NotReady`] when it does not.
pub async fn ready<P: Platform>(app: &App<P>) -> Result<Reply, Problem> {
    let state = async {
        app.reader.readable().await?;
        Ok((app.reader.risks().await?, app.reader.is_writable().await?))
    };
    let (risks, is_writable) =
        state.await.map_err(|error: StoreError| Problem::NotReady(error.to_string()))?;
    let mut body = json!({"status": "ready"});
    if !risks.is_empty() {
        body["risks"] = json!(risks);
    }
    if !is_writable {
        body["read_only"] = json!(true);
    }
    Ok(Reply::new(StatusCode::OK, JSON, body.to_string()))
}
