//! What a shipper of logs sends: read within limits of its own, and stored at once, but for what is invalid in itself.

use futures::Stream;
use http::HeaderMap;

use super::access::Grant;
use super::app::{App, Platform};
use super::batch::Batch;
use super::body::RequestBody;
use super::budget::Share;
use super::problem::Problem;
use crate::ingest::inflate::ContentEncoding;
use crate::ingest::{Context, EventError, Ingested, Invalid, UnknownFields};
use crate::limits::{EVENT_BYTES, Limits};
use crate::store::Outcome;

/// The conditions under which its body is read: a shipper repeats all of a request or nothing, so the valid part is taken.
/// It makes its requests as large as they come; their bytes are the bound of their events.
pub fn context<P: Platform>(app: &App<P>) -> Context {
    let limits = Limits { max_batch_events: usize::MAX, ..app.limits };
    Context { limits, partial: true, unknown_fields: UnknownFields::Ignored }
}

/// Reads its body.
///
/// # Errors
/// When it is incomplete, too large or not what its encoding says.
pub async fn read<P, B>(app: &App<P>, headers: &HeaderMap, body: B) -> Result<RequestBody, Problem>
where
    P: Platform,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    let encoding = ContentEncoding::of(headers)?;
    app.bodies.read(body, headers, app.limits.shipment(), &app.clock).await?.decoded(encoding)
}

/// Stores its events. `share` is that of its body, which is gone: the events hold more, because each has all of its
/// origin.
///
/// # Errors
/// When a topic is not granted, there is no room, or the store fails.
pub async fn store<P: Platform>(
    app: &App<P>,
    grant: Grant<'_>,
    ingested: Ingested,
    mut share: Share,
) -> Result<(Batch, Vec<Outcome>), Problem> {
    share.clear();
    if !share.grow(ingested.events.iter().map(|event| event.stored_bytes() + EVENT_BYTES).sum()) {
        return Err(Problem::Overloaded("bodies"));
    }
    let batch = Batch::of(app, grant, ingested, &context(app), share).await?;
    let outcomes = batch.commit(app, None).await?;
    Ok((batch, outcomes))
}

/// The reason for which an event was rejected, if it is among those that are listed.
pub fn reason(rejected: &Invalid, index: usize) -> Option<String> {
    let error = rejected.listed.iter().find(|error| error.index == index)?;
    Some(told(error))
}

/// An error as a sentence.
pub fn told(error: &EventError) -> String {
    format!("{} {}", error.field, error.message).trim_start().to_owned()
}
