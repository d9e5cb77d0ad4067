//! `POST /hooks/{name}`: verifies a delivery and stores it once. `GET` answers the challenge of Meta and WebSub.

use std::borrow::Cow;
use std::time::Duration;

use futures::Stream;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};

use crate::event::Timestamp;
use crate::http::access::Grant;
use crate::http::app::{App, Platform};
use crate::http::batch::Batch;
use crate::http::body::too_large;
use crate::http::negotiate::JSON;
use crate::http::prefer::Preference;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::ingest::inflate::{self, ContentEncoding, InflateError};
use crate::ingest::{Context, UnknownFields};
use crate::receivers::Receiver;
use crate::receivers::delivery::Delivery;
use crate::receivers::events::events;
use crate::receivers::handshake::HandshakeAnswer;
use crate::receivers::signature::Refusal;

/// Stores the events of a delivery whose signature holds, or answers it if it is a handshake. The router has asked for the
/// token of one that is not signed.
///
/// # Errors
/// When the delivery is not the provider's, an id is not where it should be, or the store fails.
pub async fn deliver<P, B>(
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
    let body = app.bodies.read(body, &head.headers, app.limits.body(), &app.clock).await?;
    let query = head.uri.query().unwrap_or_default();
    let delivery = Delivery::new(receiver, (&head.method, query), &head.headers, body.bytes());
    let verified = receiver.verification.as_ref().map(|by| by.verify(&delivery, since_1970())).transpose();
    let key = verified.map_err(|refusal| refused(receiver, refusal))?;
    if let Some(answer) = receiver.handshake.as_ref().and_then(|by| by.answer(&delivery, key)) {
        return Ok(reply(answer));
    }
    let context = Context { limits: app.limits, partial: false, unknown_fields: UnknownFields::Ignored };
    let content = content(&head.headers, body.bytes(), &context)?;
    let mut inflated = app.bodies.share();
    if matches!(content, Cow::Owned(_)) && !inflated.grow(content.len()) {
        return Err(Problem::Overloaded("bodies"));
    }
    let ingested = events(&delivery, &content, &receiver.layout, &context)?;
    let share = match content {
        Cow::Owned(_) => inflated,
        Cow::Borrowed(_) => body.into_share(),
    };
    let batch = Batch::of(app, grant, ingested, &context, share).await?;
    let outcomes = batch.commit(app, None).await?;
    if receiver.answers_empty && Preference::of(&head.headers).is_none() {
        return Ok(Reply::empty(StatusCode::NO_CONTENT));
    }
    let (answer, share) = batch.answer(&outcomes, Some(Preference::Minimal))?;
    Ok(Reply { share: Some(share), ..answer.into_reply() })
}

/// The present moment, which the signed time is compared with.
fn since_1970() -> Duration {
    let (micros, _) = Timestamp::now().as_micros();
    Duration::from_micros(micros.unsigned_abs())
}

/// The body of a delivery without its encoding. One that cannot be undone is the provider's fault, and is kept as it came.
fn content<'b>(headers: &HeaderMap, body: &'b [u8], context: &Context) -> Result<Cow<'b, [u8]>, Problem> {
    if !matches!(ContentEncoding::of(headers), Ok(ContentEncoding::Gzip)) {
        return Ok(body.into());
    }
    match inflate::gunzip(body, context.limits.max_body_bytes) {
        Ok(inflated) => Ok(inflated.into()),
        Err(InflateError::Malformed(_)) => Ok(body.into()),
        Err(InflateError::TooLarge { .. }) => Err(too_large("the body, inflated,", context.limits.body())),
    }
}

/// Answers a challenge that comes before the first delivery.
///
/// # Errors
/// When the receiver expects none, or the token of the challenge is not the receiver's.
pub fn challenge(receiver: &Receiver, uri: &Uri) -> Result<Reply, Problem> {
    let expected = receiver.handshake.as_ref().filter(|handshake| handshake.begins_with_get());
    let Some(handshake) = expected else {
        return Err(Problem::MethodNotAllowed { method: "GET".into(), allow: "POST, OPTIONS" });
    };
    let answer = handshake.answer_get(uri.query().unwrap_or_default());
    answer.map(reply).ok_or_else(|| refused(receiver, Refusal::NoMatch))
}

fn refused(receiver: &Receiver, refusal: Refusal) -> Problem {
    let place = receiver.verification.as_ref().and_then(|verification| verification.place_of(refusal));
    Problem::InvalidSignature { receiver: receiver.path, refusal, place: place.map(ToString::to_string) }
}

fn reply(answer: HandshakeAnswer) -> Reply {
    match answer {
        HandshakeAnswer::Empty => Reply::empty(StatusCode::NO_CONTENT),
        HandshakeAnswer::Json(text) => Reply::new(StatusCode::OK, JSON, text),
        HandshakeAnswer::Text(text) => {
            // The text is the client's: no browser is to take it for a page.
            let mut reply = Reply::new(StatusCode::OK, "text/plain; charset=utf-8", text);
            reply.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            reply
        }
    }
}
