//! `POST /hooks/{name}/backfill`: takes what the provider's own list of events answered, and stores it under the identities
//! of the deliveries. What it says was stored are the deliveries that never came.

use futures::Stream;
use http::{HeaderMap, Request};
use sekali_common::webhooks::pointer::Pointer;

use crate::http::access::Grant;
use crate::http::app::{App, Platform};
use crate::http::batch::Batch;
use crate::http::prefer::Preference;
use crate::http::problem::Problem;
use crate::http::query::{Known, parameters};
use crate::http::reply::Reply;
use crate::ingest::inflate::ContentEncoding;
use crate::ingest::{Context, UnknownFields};
use crate::receivers::Receiver;
use crate::receivers::delivery::Delivery;
use crate::receivers::events::{Each, Layout, events};

/// The parameters of a query: where the events are in the list, and where the payload is in each.
const PARAMETERS: [Known; 2] = [Known { name: "each", most: 1 }, Known { name: "payload", most: 1 }];

/// Stores the events of a list that were not delivered.
///
/// # Errors
/// When a parameter is unknown, an id is not where it should be, or the store fails.
pub async fn backfill<P, B>(
    app: &App<P>,
    grant: Grant<'_>,
    receiver: &Receiver,
    request: Request<B>,
) -> Result<Reply, Problem>
where
    P: Platform,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let layout = layout(query, &receiver.layout)?;
    let encoding = ContentEncoding::of(&head.headers)?;
    let preference = Preference::of(&head.headers).or(Some(Preference::Minimal));
    let body = app.bodies.read(body, &head.headers, app.limits.body(), &app.clock).await?;
    let body = body.decoded(encoding)?;
    let context = Context { limits: app.limits, partial: false, unknown_fields: UnknownFields::Ignored };
    // The headers are not the provider's: nothing of an event is in them, nor is what curl says of a body true of a list.
    let no_headers = HeaderMap::new();
    let delivery = Delivery::new(receiver, (&head.method, query), &no_headers, body.bytes());
    let ingested = events(&delivery, body.bytes(), &layout, &context)?;
    let batch = Batch::of(app, grant, ingested, &context, body.into_share()).await?;
    let outcomes = batch.commit(app, None).await?;
    let (answer, share) = batch.answer(&outcomes, preference)?;
    Ok(Reply { share: Some(share), ..answer.into_reply() })
}

fn layout(query: &str, usual: &Layout) -> Result<Layout, Problem> {
    let mut layout = usual.clone();
    for (name, value) in parameters(query, &PARAMETERS)? {
        let invalid =
            |message: &str| Problem::InvalidParameter { name: name.to_string(), message: message.into() };
        match name.as_ref() {
            "each" => layout.each = Some(Each::parse(&value).map_err(invalid)?),
            _ => layout.payload = Some(Pointer::parse(&value).map_err(invalid)?),
        }
    }
    Ok(layout)
}
