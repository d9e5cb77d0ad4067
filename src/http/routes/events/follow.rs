//! `GET /events` as a live stream.

use std::rc::Rc;
use std::sync::Arc;

use futures::stream::StreamExt;
use http::{HeaderValue, header};

use crate::http::app::{App, Platform};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::reader::Selection;
use crate::store::{Order, Seq};

/// The media type of a live stream.
pub const EVENT_STREAM: &str = "text/event-stream";

/// A live stream of server-sent events (HTML standard, section 9.2).
pub async fn follow<P: Platform>(
    app: &App<P>,
    selection: Selection,
    last_event_id: Option<Seq>,
) -> Result<Reply, Problem> {
    let meaningless = [
        ("limit", selection.limit.is_some()),
        ("order", selection.order == Order::Descending),
        ("conflicts", selection.filter.has_conflicts), // an event comes before its first
    ];
    if let Some((name, _)) = meaningless.into_iter().find(|(_, is_given)| *is_given) {
        let message = "has no meaning for a live stream".into();
        return Err(Problem::InvalidParameter { name: name.into(), message });
    }
    // A client that reconnects sends the same address, and where it stopped as Last-Event-ID.
    let cursor = last_event_id.or(selection.after);
    let newest = app.reader.readable_from(cursor).await?.through;
    let permit =
        Arc::clone(&app.followers).try_acquire_owned().map_err(|_| Problem::Overloaded("followers"))?;
    let (events, comments) = Rc::clone(&app.tail).follow(selection.filter, cursor.unwrap_or(newest));
    let mut reply = Reply::live(EVENT_STREAM, events.inspect(move |_| _ = &permit), comments); // held to the end of the stream
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Without it nginx keeps a live stream until it has four kilobytes, its head too.
    reply.headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(reply)
}
