//! `GET /events/{topic}/{event_id}`: one event.

use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;

use crate::event::{EventId, Topic};
use crate::http::access::Grant;
use crate::http::app::{App, Platform};
use crate::http::negotiate::{JSON, negotiate};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::store::Found;

/// One event, 404, or 410 if it is gone.
///
/// # Errors
/// [`Problem::NoSuchEvent`] also for names that no event can have; [`Problem::Gone`]; [`Problem::ForbiddenTopic`].
pub async fn one<P: Platform>(
    app: &App<P>,
    grant: Grant<'_>,
    topic: &str,
    event_id: &str,
    headers: &HeaderMap,
) -> Result<Reply, Problem> {
    negotiate(headers, &[JSON])?;
    let (topic, event_id) = identity(topic, event_id)?;
    grant.check_topic(&topic)?;
    match app.reader.event(&topic, &event_id).await?.ok_or(Problem::NoSuchEvent)? {
        Found::Event(event) => Ok(Reply::new(StatusCode::OK, JSON, event)),
        Found::Gone => Err(Problem::Gone),
    }
}

/// The identity that two percent-encoded names mean.
pub fn identity(topic: &str, event_id: &str) -> Result<(Topic, EventId), Problem> {
    let name = |encoded: &str| percent_decode_str(encoded).decode_utf8().ok().map(|name| name.into_owned());
    let topic = name(topic).and_then(|name| Topic::of_stored(name).ok()).ok_or(Problem::NoSuchEvent)?;
    let event_id = name(event_id).and_then(|name| EventId::parse(name).ok()).ok_or(Problem::NoSuchEvent)?;
    Ok((topic, event_id))
}
