//! `POST /publish`: takes events and says what became of each.

use std::rc::Rc;

use chrono::Utc;
use futures::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use serde::Serialize;

use super::{JSON, parameters};
use crate::app::{App, Platform};
use crate::body::RequestBody;
use crate::event::NewEvent;
use crate::ingest::inflate::{self, InflateError};
use crate::ingest::{Context, EventError, Ingested, cloudevents, json, ndjson};
use crate::problem::Problem;
use crate::replay::{Answer, Known};
use crate::reply::{Body, Reply};
use crate::store::{Outcome, Seq, Status};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Stores all events of the request, or none of them; with `partial=true`, the valid ones.
///
/// # Errors
/// When the request cannot be read, an event is invalid, or the store fails.
pub async fn post<P, B>(app: &App<P>, request: Request<B>) -> Result<Reply, Problem>
where
    P: Platform,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    let (head, body) = request.into_parts();
    let partial = parse_query(head.uri.query().unwrap_or_default())?;
    let order = Order {
        format: Format::of(&head.headers)?,
        is_gzip: is_gzip(&head.headers)?,
        preference: Preference::of(&head.headers),
        context: Context { limits: app.limits, partial },
    };
    let key = idempotency_key(&head.headers)?;
    let body = app.bodies.read(body, &head.headers, app.limits.max_body_bytes, &app.clock).await?;
    let Some(key) = key else {
        return carry_out(app, &order, &head.headers, body).await;
    };
    let request = order.fingerprint(&head.headers, body.bytes());
    match app.replays.find(key, &request, Utc::now().timestamp_millis()).await {
        Known::New(running) => {
            let reply = carry_out(app, &order, &head.headers, body).await?;
            if let Some(answer) = answer_of(&reply) {
                app.replays.save(running, answer, Utc::now().timestamp_millis()).await;
            }
            Ok(reply)
        }
        Known::Answered(answer) => Ok(reply_of(answer)),
        Known::Mismatch => Err(Problem::IdempotencyKeyMismatch),
        Known::InUse => Err(Problem::IdempotencyKeyInUse),
    }
}

/// What a request's headers and query say about its body.
struct Order {
    format: Format,
    is_gzip: bool,
    preference: Option<Preference>,
    context: Context,
}

impl Order {
    /// All that gives a request its meaning, as text: two requests with one key are the same if this is the same.
    /// Names and not numbers stand for the choices, so that a program of another version reads them alike.
    /// A header holds no line break, so nothing can be taken for something else.
    fn fingerprint(&self, headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
        let content_type = text(headers, &header::CONTENT_TYPE);
        let content_type = match self.format {
            // It is kept with the event, down to its parameters.
            Format::BinaryCloudEvent => content_type.unwrap_or_default().to_owned(),
            _ => media_type(content_type),
        };
        let mut fingerprint = format!(
            "content-type: {content_type}\ncontent-encoding: {}\npartial: {}\nprefer: {}\n",
            if self.is_gzip { "gzip" } else { "identity" },
            self.context.partial,
            self.preference.map_or("", Preference::name),
        )
        .into_bytes();
        let mut attributes: Vec<_> =
            headers.iter().filter(|(name, _)| name.as_str().starts_with("ce-")).collect();
        attributes.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in attributes {
            fingerprint.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        }
        fingerprint.push(b'\n');
        fingerprint.extend(body);
        fingerprint
    }
}

async fn carry_out<P: Platform>(
    app: &App<P>,
    order: &Order,
    headers: &HeaderMap,
    mut body: RequestBody,
) -> Result<Reply, Problem> {
    if order.is_gzip {
        let maximum = app.limits.max_body_bytes;
        let inflated = inflate::gunzip(body.bytes(), maximum).map_err(|error| match error {
            InflateError::TooLarge => {
                Problem::TooLarge { what: "the body, inflated,".into(), limit: "max_body_bytes", maximum }
            }
            InflateError::Malformed(message) => Problem::MalformedBody(format!("gzip: {message}")),
        })?;
        body.replace(inflated)?;
    }
    let Ingested { events, indexes, rejected } = match order.format {
        Format::Json => json::parse(body.bytes(), &order.context),
        Format::Ndjson => ndjson::parse(body.bytes(), &order.context),
        Format::CloudEvents => cloudevents::structured(body.bytes(), &order.context),
        Format::BinaryCloudEvent => cloudevents::binary(headers, body.bytes(), &order.context),
    }?;
    // The events take about as much, and may wait for a while.
    let _share = body.into_share();
    let events: Rc<[NewEvent]> = events.into();
    let outcomes = app.committer.commit(Rc::clone(&events)).await?;
    let mut receipt = Receipt::new(&events, &outcomes);
    match order.preference {
        None => {}
        Some(Preference::Minimal) => receipt.ids = None,
        Some(Preference::Representation) => receipt.add_results(&events, &indexes, &outcomes),
    }
    let mut status = StatusCode::OK;
    if rejected.events > 0 {
        status = StatusCode::MULTI_STATUS;
        receipt.total_received += rejected.events;
        receipt.rejected = Some(rejected.events);
        receipt.errors = Some(&rejected.listed);
        receipt.error_count = Some(rejected.errors);
    }
    let body = serde_json::to_vec(&receipt).map_err(|error| Problem::Internal(error.to_string()))?;
    let mut reply = Reply::new(status, JSON, body);
    if let Some(preference) = order.preference {
        reply.headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static(preference.name()));
    }
    Ok(reply)
}

/// What became of a request's events.
#[derive(Serialize)]
struct Receipt<'a> {
    status: &'static str,
    total_received: usize,
    stored: usize,
    duplicates: usize,
    conflicts: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<usize>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    ids: Option<Ids<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<EventResult<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [EventError]>,
    /// How many errors there were, for `errors` is bounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_count: Option<usize>,
}

/// Event ids in the order of the request.
#[derive(Serialize)]
struct Ids<'a> {
    processed: Vec<&'a str>,
    duplicate_ids: Vec<&'a str>,
    conflict_ids: Vec<&'a str>,
}

#[derive(Serialize)]
struct EventResult<'a> {
    index: usize,
    topic: &'a str,
    event_id: &'a str,
    status: &'static str,
    seq: Seq,
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
            rejected: None,
            ids: Some(Ids { processed, duplicate_ids, conflict_ids }),
            results: None,
            errors: None,
            error_count: None,
        }
    }

    fn add_results(&mut self, events: &'a [NewEvent], indexes: &[usize], outcomes: &[Outcome]) {
        let result = |((event, index), outcome): ((&'a NewEvent, &usize), &Outcome)| EventResult {
            index: *index,
            topic: event.topic.as_str(),
            event_id: event.event_id.as_str(),
            status: match outcome.status {
                Status::Stored => "stored",
                Status::Duplicate => "duplicate",
                Status::Conflict => "conflict",
            },
            seq: outcome.seq,
        };
        self.results = Some(events.iter().zip(indexes).zip(outcomes).map(result).collect());
    }
}

/// How a body holds events.
#[derive(Clone, Copy)]
enum Format {
    Json,
    Ndjson,
    CloudEvents,
    BinaryCloudEvent,
}

impl Format {
    /// No content type means JSON, for whoever forgets it; another one is taken at its word.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        if headers.contains_key(cloudevents::BINARY_MARK) {
            return Ok(Self::BinaryCloudEvent);
        }
        let media_type = media_type(text(headers, &header::CONTENT_TYPE));
        match media_type.as_str() {
            JSON => Ok(Self::Json),
            "application/x-ndjson" | "application/jsonl" => Ok(Self::Ndjson),
            "application/cloudevents+json" | "application/cloudevents-batch+json" => Ok(Self::CloudEvents),
            _ => Err(Problem::UnsupportedMediaType(format!(
                "content-type '{media_type}' is not read here; send application/json, application/x-ndjson, \
                 application/cloudevents+json or application/cloudevents-batch+json"
            ))),
        }
    }
}

/// The media type of a body, in lower case and without parameters.
fn media_type(content_type: Option<&str>) -> String {
    content_type.unwrap_or(JSON).split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter().map(|line| line.to_str().unwrap_or("?"));
    let encodings: Vec<_> = lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity"))
        .collect();
    match encodings.as_slice() {
        [] => Ok(false),
        [encoding] if encoding.eq_ignore_ascii_case("gzip") => Ok(true),
        [encoding, ..] => Err(Problem::UnsupportedMediaType(format!(
            "content-encoding '{encoding}' is not read here; send gzip, or the body as it is"
        ))),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?").trim())
}

/// What the client would like to hear (RFC 7240, section 4.2).
#[derive(Clone, Copy)]
enum Preference {
    Minimal,
    Representation,
}

impl Preference {
    /// The first that is known here; others are no error.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).find_map(|preference| {
            let preference = preference.split(';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=')?;
            if !name.trim().eq_ignore_ascii_case("return") {
                return None;
            }
            match value.trim().trim_matches('"') {
                "minimal" => Some(Self::Minimal),
                "representation" => Some(Self::Representation),
                _ => None,
            }
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Minimal => "return=minimal",
            Self::Representation => "return=representation",
        }
    }
}

/// Whether the request may be taken in part.
fn parse_query(query: &str) -> Result<bool, Problem> {
    let mut partial = false;
    for (name, value) in parameters(query, &[])? {
        let message = match (name.as_ref(), value.as_ref()) {
            ("partial", "true" | "false") => {
                partial = value == "true";
                continue;
            }
            ("partial", _) => "must be true or false",
            _ => "is not known here; known is: partial",
        };
        return Err(Problem::InvalidParameter { name: name.into_owned(), message: message.into() });
    }
    Ok(partial)
}

fn idempotency_key<'h>(headers: &'h HeaderMap) -> Result<Option<&'h str>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    // The draft has it as a string in quotes; many send it without.
    let bare = |key: &'h str| key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
    let printable = key.to_str().ok().map(str::trim).map(bare).filter(|key| {
        (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    });
    match (printable, keys.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Problem::InvalidHeader {
            name: "idempotency-key",
            message: "must be one value of 1 to 255 printable characters".into(),
        }),
    }
}

/// The part of an answer that is given again.
fn answer_of(reply: &Reply) -> Option<Answer> {
    let Body::Full(body) = &reply.body else { return None };
    let preference = reply.headers.get(PREFERENCE_APPLIED);
    Some(Answer {
        status: reply.status.as_u16(),
        preference: preference.and_then(|value| Some(value.to_str().ok()?.to_owned())),
        body: String::from_utf8(body.clone()).ok()?,
    })
}

fn reply_of(answer: Answer) -> Reply {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut reply = Reply::new(status, JSON, answer.body);
    reply.headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    if let Some(preference) = answer.preference.and_then(|value| HeaderValue::try_from(value).ok()) {
        reply.headers.insert(PREFERENCE_APPLIED, preference);
    }
    reply
}
