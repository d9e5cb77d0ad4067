//! `POST /publish`: stores events and reports the outcome of each.

use std::rc::Rc;
use std::time::Duration;

use futures::Stream;
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::clock::Clock;
use crate::event::NewEvent;
use crate::http::app::{App, Platform};
use crate::http::body::RequestBody;
use crate::http::budget::Share;
use crate::http::idempotency::{self, Fingerprint};
use crate::http::prefer::Preference;
use crate::http::problem::Problem;
use crate::http::query::{Known, parameters};
use crate::http::receipt::Receipt;
use crate::http::reply::Reply;
use crate::http::saved_answers::{Running, SavedAnswer};
use crate::ingest::inflate::{self, ContentEncoding};
use crate::ingest::{Context, Format, Ingested, Invalid};
use crate::store::{Outcome, RequestKey, StoreError};

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
    let options = PublishOptions::of(&head, app)?;
    let key = idempotency::key(&head.headers)?;
    let body = app.bodies.read(body, &head.headers, app.limits.max_body_bytes, &app.clock).await?;
    let body = options.inflated(body)?;
    let mut request = match key {
        Some(key) => Some(app.saved_answers.begin(key, options.fingerprint(&head.headers, body.bytes()))?),
        None => None,
    };
    if let Some(request) = &request
        && let Some(answer) = app.saved_answers.find(request).await?
    {
        return Ok(answer.into_repeated_reply());
    }
    let ingest = match Ingest::of(app, &options, &head.headers, body).await {
        Ok(ingest) => ingest,
        Err(problem) => return Err(mismatch_or(problem, app, request).await),
    };
    let (outcomes, is_repeated) = match &mut request {
        Some(request) => ingest.commit_once(app, request).await?,
        None => (ingest.commit(app, None).await?, false),
    };
    let (answer, share) = ingest.answer(&outcomes, &options)?;
    if let Some(request) = request
        && !is_repeated
    {
        app.retention.note_answer();
        app.saved_answers.save(request, &answer).await;
    }
    let reply = if is_repeated { answer.into_repeated_reply() } else { answer.into_reply() };
    Ok(Reply { share: Some(share), ..reply })
}

/// The problem of a body; or of its key, which tells more, if that belongs to another request.
async fn mismatch_or<P: Platform>(problem: Problem, app: &App<P>, request: Option<Running<'_>>) -> Problem {
    let Some(mut request) = request else { return problem };
    match app.saved_answers.committed(&mut request).await {
        Err(mismatch @ Problem::IdempotencyKeyMismatch) => mismatch,
        _ => problem, // whatever the store says, the request is at fault
    }
}

/// The options of a request: the way in which its body is to be read and answered.
struct PublishOptions {
    format: &'static Format,
    encoding: ContentEncoding,
    preference: Option<Preference>,
    context: Context,
}

impl PublishOptions {
    fn of<P: Platform>(head: &Parts, app: &App<P>) -> Result<Self, Problem> {
        let partial = partial(head.uri.query().unwrap_or_default())?;
        Ok(Self {
            format: Format::of(&head.headers)?,
            encoding: ContentEncoding::of(&head.headers)?,
            preference: Preference::of(&head.headers),
            context: Context { limits: app.limits, partial, unknown_fields: app.unknown_fields },
        })
    }

    /// The body without its encoding.
    fn inflated(&self, mut body: RequestBody) -> Result<RequestBody, Problem> {
        if self.encoding == ContentEncoding::Gzip {
            let inflated = inflate::gunzip(body.bytes(), self.context.limits.max_body_bytes)?;
            body.replace(inflated)?;
        }
        Ok(body)
    }

    /// The fingerprint of everything that gives the request its meaning. `body` is the inflated one: what compresses it
    /// may write its own time into it.
    fn fingerprint(&self, headers: &HeaderMap, body: &[u8]) -> Fingerprint {
        let content_type = self.format.content_type(headers);
        let partial = self.context.partial.to_string();
        let options = [
            ("content-encoding", self.encoding.name().as_bytes()),
            ("partial", partial.as_bytes()),
            ("prefer", self.preference.map_or("", Preference::name).as_bytes()),
        ];
        // Without a content type there is no such term: an empty one means something else.
        let content_type = content_type.as_ref().map(|content_type| ("content-type", content_type.as_ref()));
        let attributes = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let attributes = attributes.filter(|(name, _)| name.starts_with("ce-"));
        Fingerprint::of(options.into_iter().chain(content_type).chain(attributes), body)
    }
}

/// True if valid events are to be stored although others are invalid.
fn partial(query: &str) -> Result<bool, Problem> {
    let mut partial = false;
    for (name, value) in parameters(query, &[Known { name: "partial", most: 1 }])? {
        partial = value.parse().map_err(|_| Problem::InvalidParameter {
            name: name.into_owned(),
            message: "must be true or false".into(),
        })?;
    }
    Ok(partial)
}

/// Tries to carry out a request whose key is known and unknown by turns.
const TRIES: usize = 5;

/// The events of a request, before and after they are stored.
struct Ingest {
    events: Rc<[NewEvent]>,
    /// The time at which the store was asked for their topics, if it was.
    asked_at: Option<Duration>,
    /// Their places in the request.
    indexes: Vec<usize>,
    rejected: Invalid,
    /// The names of fields that were ignored.
    ignored: Vec<String>,
    /// The share of the budget of bodies that they hold.
    share: Share,
}

impl Ingest {
    /// Reads the events of a body.
    async fn of<P: Platform>(
        app: &App<P>,
        options: &PublishOptions,
        headers: &HeaderMap,
        body: RequestBody,
    ) -> Result<Self, Problem> {
        let mut ingested = (options.format.parse)(headers, body.bytes(), &options.context)?;
        let asked_at = (!app.topics.are_known(&ingested.events)).then(|| app.clock.now());
        let refused = app.topics.refused(&ingested.events).await?;
        if !refused.is_empty() {
            let message =
                format!("is new, and the store has the {} topics that max_topics allows", app.topics.most());
            ingested = ingested.refuse(
                &options.context,
                |event| refused.contains(&event.topic),
                "topic",
                &message,
            )?;
        }
        let Ingested { events, indexes, rejected, ignored } = ingested;
        // The events take about as much memory as the body, and may wait for a while.
        let share = body.into_share();
        Ok(Self { events: events.into(), asked_at, indexes, rejected, ignored, share })
    }

    /// Stores the events.
    async fn commit<P: Platform>(
        &self,
        app: &App<P>,
        key: Option<RequestKey>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let outcomes = app.committer.commit_request(Rc::clone(&self.events), key, self.asked_at).await?;
        if self.asked_at.is_some() {
            app.topics.remember(&self.events);
        }
        Ok(outcomes)
    }

    /// Stores the events of a request with a key, unless that was done before. Returns the outcomes, and whether they are
    /// those of then.
    async fn commit_once<P: Platform>(
        &self,
        app: &App<P>,
        request: &mut Running<'_>,
    ) -> Result<(Vec<Outcome>, bool), Problem> {
        for _ in 0..TRIES {
            match self.commit(app, request.request_key()).await {
                Err(StoreError::Repeated(_)) => {}
                outcomes => return Ok((outcomes?, false)),
            }
            match app.saved_answers.committed(request).await? {
                Some(outcomes) if outcomes.len() == self.events.len() => return Ok((outcomes, true)),
                // `max_topics` has let in another part of the request than it does now: those events are duplicates.
                Some(_) => request.forgo_keeping(),
                None => {} // its day has ended meanwhile
            }
        }
        Err(Problem::Busy)
    }

    /// The answer, and the share of the budget that it holds. Its bytes take the place of the body's: once events are
    /// stored, there has to be room for their answer.
    fn answer(
        mut self,
        outcomes: &[Outcome],
        options: &PublishOptions,
    ) -> Result<(SavedAnswer, Share), Problem> {
        let mut receipt = Receipt::new(&self.events, &self.indexes, outcomes, options.preference);
        let is_listed = options.preference == Some(Preference::Representation);
        let ignored = (!self.ignored.is_empty()).then_some(self.ignored.as_slice());
        if is_listed {
            receipt.ignored = ignored;
        }
        let mut status = StatusCode::OK;
        if self.rejected.events > 0 {
            status = StatusCode::MULTI_STATUS;
            receipt.add_rejected(&self.rejected);
        }
        let body = serde_json::to_string(&receipt).map_err(|error| Problem::Internal(error.to_string()))?;
        let preference = options.preference.map(|preference| preference.name().to_owned());
        self.share.replace(body.len());
        let ignored = ignored.filter(|_| !is_listed).map(header_of_names);
        Ok((SavedAnswer { status: status.as_u16(), preference, ignored, body }, self.share))
    }
}

/// Names of fields as a list in a header; what a header cannot hold is percent-encoded.
fn header_of_names(names: &[String]) -> String {
    const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b',').add(b'%').add(b'"');
    let names: Vec<_> = names.iter().map(|name| utf8_percent_encode(name, ENCODED).to_string()).collect();
    names.join(", ")
}

#[cfg(test)]
mod fingerprint_tests;
#[cfg(test)]
mod tests;
