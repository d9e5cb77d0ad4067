//! `GET /hooks`: the receivers, without their secrets.

use http::StatusCode;
use serde::Serialize;

use crate::http::app::{App, Platform};
use crate::http::negotiate::JSON;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::receivers::Receiver;
use crate::receivers::template::Template;

#[derive(Serialize)]
struct Listed<'r> {
    name: &'r str,
    path: &'r str,
    kind: &'r str,
    topic: String,
    event_id: String,
    r#type: Option<String>,
    timestamp: Option<String>,
    source: Option<String>,
    signed: Option<String>,
    public_url: Option<&'r str>,
}

/// Lists the receivers in the order of their names.
///
/// # Errors
/// [`Problem::Internal`] if the list cannot be rendered.
pub fn list<P: Platform>(app: &App<P>) -> Result<Reply, Problem> {
    let listed: Vec<_> = app.receivers.values().map(Listed::of).collect();
    let body = serde_json::to_string(&listed).map_err(|error| Problem::Internal(error.to_string()))?;
    Ok(Reply::new(StatusCode::OK, JSON, body))
}

impl<'r> Listed<'r> {
    fn of(receiver: &'r Receiver) -> Self {
        let text = |template: &Option<Template>| template.as_ref().map(Template::to_string);
        let mapping = &receiver.mapping;
        Self {
            name: &receiver.name,
            path: receiver.path,
            kind: &receiver.kind,
            topic: mapping.topic.to_string(),
            event_id: mapping.event_id.to_string(),
            r#type: text(&mapping.r#type),
            timestamp: text(&mapping.timestamp),
            source: text(&mapping.source),
            signed: receiver.verification.as_ref().map(|verification| verification.signed.to_string()),
            public_url: receiver.public_url.as_deref(),
        }
    }
}
