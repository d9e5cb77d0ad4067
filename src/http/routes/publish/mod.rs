//! `POST /publish`: stores events and reports the outcome of each.

use futures::Stream;
use http::request::Parts;
use http::{HeaderMap, Request};

use crate::http::access::Grant;
use crate::http::app::{App, Platform};
use crate::http::batch::Batch;
use crate::http::body::RequestBody;
use crate::http::idempotency::{self, Fingerprint};
use crate::http::prefer::Preference;
use crate::http::problem::Problem;
use crate::http::query::{Known, parameters};
use crate::http::reply::Reply;
use crate::http::saved_answers::Running;
use crate::ingest::inflate::ContentEncoding;
use crate::ingest::{Context, Format};
use crate::store::{Outcome, StoreError};

/// Stores all events of the request, or none of them; with `partial=true`, the valid ones.
///
/// # Errors
/// When the request cannot be read, an event is invalid or of a topic that is not granted, or the store fails.
pub async fn post<P, B>(app: &App<P>, grant: Grant<'_>, request: Request<B>) -> Result<Reply, Problem>
where
    P: Platform,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    let (head, body) = request.into_parts();
    let options = PublishOptions::of(&head, app)?;
    let key = idempotency::key(&head.headers)?.map(|key| grant.own_key(key));
    let body = app.bodies.read(body, &head.headers, app.limits.body(), &app.clock).await?;
    let body = body.decoded(options.encoding)?;
    let mut request = match key {
        Some(key) => Some(app.saved_answers.begin(&key, options.fingerprint(&head.headers, body.bytes()))?),
        None => None,
    };
    if let Some(request) = &request
        && let Some(answer) = app.saved_answers.find(request).await?
    {
        return Ok(answer.into_repeated_reply());
    }
    let batch = match options.batch(app, grant, &head.headers, body).await {
        Ok(batch) => batch,
        Err(problem) => return Err(mismatch_or(problem, app, request).await),
    };
    let (outcomes, is_repeated) = match &mut request {
        Some(request) => commit_once(app, &batch, request).await?,
        None => (batch.commit(app, None).await?, false),
    };
    let (answer, share) = batch.answer(&outcomes, options.preference)?;
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

    /// The events of a body.
    async fn batch<P: Platform>(
        &self,
        app: &App<P>,
        grant: Grant<'_>,
        headers: &HeaderMap,
        body: RequestBody,
    ) -> Result<Batch, Problem> {
        let ingested = (self.format.parse)(headers, body.bytes(), &self.context)?;
        Batch::of(app, grant, ingested, &self.context, body.into_share()).await
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

/// Stores the events of a request with a key, unless that was done before. Returns the outcomes, and whether they are
/// those of then.
async fn commit_once<P: Platform>(
    app: &App<P>,
    batch: &Batch,
    request: &mut Running<'_>,
) -> Result<(Vec<Outcome>, bool), Problem> {
    for _ in 0..TRIES {
        match batch.commit(app, request.request_key()).await {
            Err(StoreError::Repeated(_)) => {}
            outcomes => return Ok((outcomes?, false)),
        }
        match app.saved_answers.committed(request).await? {
            Some(outcomes) if outcomes.len() == batch.events.len() => return Ok((outcomes, true)),
            // `max_topics` has let in another part of the request than it does now: those events are duplicates.
            Some(_) => request.forgo_keeping(),
            None => {} // its day has ended meanwhile
        }
    }
    Err(Problem::Busy)
}

#[cfg(test)]
mod fingerprint_tests;
#[cfg(test)]
mod tests;
