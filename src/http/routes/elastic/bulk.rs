//! `POST /elastic/_bulk`: stores documents by the ids that their shipper gave them.

use futures::Stream;
use http::{Request, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::Value as Json;

use super::with_product;
use crate::clock::Clock;
use crate::event::NewEvent;
use crate::http::access::Grant;
use crate::http::app::{App, Platform};
use crate::http::negotiate::JSON;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::shipment;
use crate::ingest::bulk::{self, Action, Operation};
use crate::store::{Outcome, Status};

/// Stores the documents of a request, and answers for each action.
///
/// # Errors
/// When the request cannot be read, or the store fails.
pub async fn post<P, B>(
    app: &App<P>,
    grant: Grant<'_>,
    index: Option<&str>,
    request: Request<B>,
) -> Result<Reply, Problem>
where
    P: Platform,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    let began = app.clock.now();
    let index = index.map(|index| percent_decode_str(index).decode_utf8_lossy());
    let (head, body) = request.into_parts();
    let body = shipment::read(app, &head.headers, body).await?;
    let (actions, ingested) = bulk::actions(body.bytes(), index.as_deref(), &shipment::context(app))?;
    let (batch, outcomes) = shipment::store(app, grant, ingested, body.into_share()).await?;
    let mut stored = batch.indexes.iter().zip(batch.events.iter().zip(&outcomes)).peekable();
    let (mut items, mut has_errors) = (String::new(), false);
    for (place, action) in actions.iter().enumerate() {
        let item = match stored.next_if(|(index, _)| **index == place) {
            Some((_, (event, outcome))) => Item::stored(action, event, *outcome),
            None => Item::refused(shipment::reason(&batch.rejected, place)),
        };
        has_errors |= item.status >= 400;
        items += if place > 0 { "," } else { "" };
        item.write(action, &mut items);
    }
    let took = app.clock.now().saturating_sub(began).as_millis();
    let body = format!(r#"{{"took":{took},"errors":{has_errors},"items":[{items}]}}"#);
    let share = batch.into_share(body.len());
    Ok(with_product(Reply { share: Some(share), ..Reply::new(StatusCode::OK, JSON, body) }))
}

/// The answer for an action.
struct Item<'e> {
    status: u16,
    /// The id of the event.
    id: Option<&'e str>,
    /// The other members.
    members: String,
}

impl<'e> Item<'e> {
    /// The answer for a document that is stored, by now or before.
    ///
    /// To `create` what is there is a conflict that clients know and count. To put it there by `index`, or without an id
    /// of the client's, has come true: an error would only make clients send it again, or complain.
    fn stored(action: &Action, event: &'e NewEvent, outcome: Outcome) -> Self {
        let id = event.event_id.as_str();
        let is_create = action.operation == Operation::Create && action.id.is_some();
        let (status, result) = match outcome.status {
            Status::Stored => (201, "created"),
            Status::Duplicate if !is_create => (200, "noop"),
            _ => {
                let reason =
                    format!("[{id}]: version conflict, document already exists (current version [1])");
                return Self::failed(409, Some(id), "version_conflict_engine_exception", &reason);
            }
        };
        let seq = outcome.seq;
        let members = format!(r#""_version":1,"result":"{result}","_seq_no":{seq},"_primary_term":1"#);
        Self { status, id: Some(id), members }
    }

    fn refused(reason: Option<String>) -> Self {
        let reason = reason.unwrap_or_else(|| "is invalid, like the first hundred of this request".into());
        Self::failed(400, None, "illegal_argument_exception", &reason)
    }

    fn failed(status: u16, id: Option<&'e str>, kind: &str, reason: &str) -> Self {
        let members = format!(r#""error":{{"type":"{kind}","reason":{}}}"#, Json::from(reason));
        Self { status, id, members }
    }

    fn write(&self, action: &Action, out: &mut String) {
        let Self { status, id, members } = self;
        let text = |text: Option<&str>| Json::from(text).to_string();
        let (name, index) = (action.operation.name(), text(action.index.as_deref()));
        let id = text(id.or(action.id.as_deref()));
        *out += &format!(r#"{{"{name}":{{"_index":{index},"_id":{id},{members},"status":{status}}}}}"#);
    }
}
