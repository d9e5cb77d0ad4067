//! `POST /publish`: takes events and says what became of each.

use std::rc::Rc;

use futures::Stream;
use http::{HeaderMap, HeaderName, Request, StatusCode, header};
use serde::Serialize;

use super::JSON;
use crate::app::App;
use crate::event::{NewEvent, Timestamp};
use crate::ingest::{self, Context};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::store::{Clock, Outcome, Status, Store};

/// What became of a request's events. The lists hold event ids in the order of the request.
#[derive(Serialize)]
struct Receipt<'a> {
    status: &'static str,
    total_received: usize,
    stored: usize,
    duplicates: usize,
    conflicts: usize,
    processed: Vec<&'a str>,
    duplicate_ids: Vec<&'a str>,
    conflict_ids: Vec<&'a str>,
}

/// Stores all events of the request, or none of them.
///
/// # Errors
/// When the request cannot be read, an event is invalid, or the store fails.
pub async fn post<S, C, B>(app: &App<S, C>, request: Request<B>) -> Result<Reply, Problem>
where
    S: Store,
    C: Clock,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    let (head, body) = request.into_parts();
    check_media_type(&head.headers)?;
    let body = app.bodies.read(body, &head.headers, app.limits.max_body_bytes, &app.clock).await?;
    let context = Context { limits: app.limits, received_at: Timestamp::now() };
    let events: Rc<[NewEvent]> = ingest::json::parse(body.bytes(), &context)?.into();
    let outcomes = app.committer.commit(Rc::clone(&events)).await?;
    let receipt = Receipt::new(&events, &outcomes);
    let body = serde_json::to_vec(&receipt).map_err(|error| Problem::Internal(error.to_string()))?;
    Ok(Reply::new(StatusCode::OK, JSON, body))
}

impl<'a> Receipt<'a> {
    fn new(events: &'a [NewEvent], outcomes: &[Outcome]) -> Self {
        let ids_of = |wanted: &[Status]| -> Vec<&'a str> {
            let with_outcome = events.iter().zip(outcomes);
            with_outcome
                .filter(|(_, outcome)| wanted.contains(&outcome.status))
                .map(|(event, _)| event.event_id.as_str())
                .collect()
        };
        let processed = ids_of(&[Status::Stored]);
        let duplicate_ids = ids_of(&[Status::Duplicate, Status::Conflict]);
        let conflict_ids = ids_of(&[Status::Conflict]);
        Self {
            status: "ok",
            total_received: events.len(),
            stored: processed.len(),
            duplicates: duplicate_ids.len(),
            conflicts: conflict_ids.len(),
            processed,
            duplicate_ids,
            conflict_ids,
        }
    }
}

/// No content type means JSON, for whoever forgets it; another one is taken at its word.
fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?").trim());
    let content_type = text(header::CONTENT_TYPE).unwrap_or(JSON);
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(JSON) {
        return Err(Problem::UnsupportedMediaType(format!(
            "content-type '{media_type}' is not read here; send application/json"
        )));
    }
    match text(header::CONTENT_ENCODING) {
        None => Ok(()),
        Some(encoding) if encoding.eq_ignore_ascii_case("identity") => Ok(()),
        Some(encoding) => Err(Problem::UnsupportedMediaType(format!(
            "content-encoding '{encoding}' is not read here; send the body as it is"
        ))),
    }
}
