//! `DELETE /events/{topic}/{event_id}` and `DELETE /events` erase what GET reads.

use http::{StatusCode, Uri};

use super::one::identity;
use super::query::{FILTER, selection};
use crate::eraser::Erased;
use crate::http::app::{App, Platform};
use crate::http::negotiate::JSON;
use crate::http::problem::Problem;
use crate::http::query::parameters;
use crate::http::reply::Reply;

/// Erases one event: 204, also if it was gone before.
///
/// # Errors
/// [`Problem::NoSuchEvent`] when it was never stored; [`Problem::Busy`] when its bytes are still in the files of the store,
/// because somebody reads an old state of it.
pub async fn erase_one<P: Platform>(app: &App<P>, topic: &str, event_id: &str) -> Result<Reply, Problem> {
    let (topic, event_id) = identity(topic, event_id)?;
    match app.eraser.erase_event(&topic, &event_id).await? {
        true => Ok(Reply::empty(StatusCode::NO_CONTENT)),
        false => Err(Problem::NoSuchEvent),
    }
}

/// Erases the oldest events that match, up to a thousand.
///
/// # Errors
/// When a parameter is invalid, or neither a topic nor a source is given; otherwise as [`erase_one`].
pub async fn erase<P: Platform>(app: &App<P>, uri: &Uri) -> Result<Reply, Problem> {
    let filter = selection(&parameters(uri.query().unwrap_or_default(), &FILTER)?)?.filter;
    if filter.topics.is_empty() && filter.sources.is_empty() {
        let message = "or 'source' must be given: all events cannot be erased at once".into();
        return Err(Problem::InvalidParameter { name: "topic".into(), message });
    }
    let Erased { erased, has_more } = app.eraser.erase(&filter).await?;
    let body = format!(r#"{{"erased":{erased},"has_more":{has_more}}}"#);
    Ok(Reply::new(StatusCode::OK, JSON, body))
}
