//! `POST /publish`: stores events and reports the outcome of each.

#[cfg(test)]
mod fingerprint_tests;

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
use crate::http::idempotency::{self, Answer, Fingerprint, Running};
use crate::http::prefer::Preference;
use crate::http::problem::Problem;
use crate::http::query::{Known, parameters};
use crate::http::receipt::Receipt;
use crate::http::reply::Reply;
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
    let Some(key) = key else {
        let mut ingest = Ingest::of(app, &options, &head.headers, body).await?;
        let outcomes = ingest.commit(app, None).await?;
        let answer = ingest.answer(&outcomes, &options)?;
        return Ok(ingest.send(answer.into_reply()));
    };
    let mut request = app.saved_answers.begin(key, options.fingerprint(&head.headers, body.bytes()))?;
    if let Some(answer) = app.saved_answers.find(&request).await? {
        return Ok(answer.into_repeated_reply());
    }
    let ingest = match Ingest::of(app, &options, &head.headers, body).await {
        Ok(ingest) => ingest,
        // The key tells more than the body, if it belongs to another request.
        Err(problem) => {
            return Err(match app.saved_answers.committed(&mut request).await {
                Err(mismatch @ Problem::IdempotencyKeyMismatch) => mismatch,
                _ => problem, // whatever the store says, the request is at fault
            });
        }
    };
    ingest.commit_once(app, &options, request).await
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

    /// Stores the events of a request with a key, unless that was done before, and answers as it was then.
    async fn commit_once<P: Platform>(
        mut self,
        app: &App<P>,
        options: &PublishOptions,
        mut request: Running<'_>,
    ) -> Result<Reply, Problem> {
        for _ in 0..TRIES {
            match self.commit(app, request.request_key()).await {
                Err(StoreError::Repeated(_)) => {}
                outcomes => {
                    let answer = self.answer(&outcomes?, options)?;
                    app.retention.note_answer();
                    app.saved_answers.save(request, &answer).await;
                    return Ok(self.send(answer.into_reply()));
                }
            }
            match app.saved_answers.committed(&mut request).await? {
                Some(outcomes) if outcomes.len() == self.events.len() => {
                    let answer = self.answer(&outcomes, options)?;
                    return Ok(self.send(answer.into_repeated_reply()));
                }
                // `max_topics` has let in another part of the request than it does now: those events are duplicates.
                Some(_) => request.forgo_keeping(),
                None => {} // its day has ended meanwhile
            }
        }
        Err(Problem::Busy)
    }

    /// The answer, whose bytes take the place of the body's in the budget: once events are stored, there has to be room
    /// for their answer.
    fn answer(&mut self, outcomes: &[Outcome], options: &PublishOptions) -> Result<Answer, Problem> {
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
        Ok(Answer { status: status.as_u16(), preference, ignored, body })
    }

    /// The reply that sends an answer.
    fn send(self, reply: Reply) -> Reply {
        Reply { share: Some(self.share), ..reply }
    }
}

/// Names of fields as a list in a header; what a header cannot hold is percent-encoded.
fn header_of_names(names: &[String]) -> String {
    const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b',').add(b'%').add(b'"');
    let names: Vec<_> = names.iter().map(|name| utf8_percent_encode(name, ENCODED).to_string()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use sekali_harness::Answer;
    use serde_json::json;

    use crate::testing::service::Service;

    async fn send(service: &Service, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        service.send("POST", target, headers, body).await
    }

    #[tokio::test]
    async fn the_receipt_tells_the_outcome_of_each_event_in_the_detail_that_is_preferred() {
        let service = Service::start();
        let event = |id: &str, payload: i64| json!({"topic": "t", "event_id": id, "payload": payload});
        let body = json!([event("a", 1), event("b", 1), event("a", 2), event("b", 1)]).to_string();
        let ids = send(&service, "/publish", &[], &body).await;
        assert_eq!(
            ids.text,
            r#"{"status":"ok","total_received":4,"stored":2,"duplicates":2,"conflicts":1,"processed":["a","b"],"duplicate_ids":["a","b"],"conflict_ids":["a"]}"#
        );
        let minimal = send(&service, "/publish", &[("prefer", "return=minimal")], &body).await;
        assert_eq!(
            minimal.text,
            r#"{"status":"ok","total_received":4,"stored":0,"duplicates":4,"conflicts":1}"#
        );
        assert_eq!(minimal.header("preference-applied"), Some("return=minimal"));
        let full = send(&service, "/publish", &[("prefer", "return=representation")], &body).await.json();
        assert_eq!(
            full["results"][2],
            json!({"index": 2, "topic": "t", "event_id": "a", "status": "conflict", "seq": 1})
        );
    }

    #[tokio::test]
    async fn a_partial_request_stores_the_valid_events_and_lists_the_others() {
        let service = Service::start();
        let body = r#"[{"topic":"t","event_id":"a"},{"topic":"t"},5]"#;
        send(&service, "/publish", &[], body).await.problem(422, "invalid-event");
        let answer = send(&service, "/publish?partial=true", &[], body).await;
        assert_eq!(answer.status, 207);
        let receipt = answer.json();
        assert_eq!((&receipt["total_received"], &receipt["rejected"]), (&json!(3), &json!(2)));
        assert_eq!(receipt["errors"][0]["field"], "event_id");
        send(&service, "/publish?partial=maybe", &[], body).await.problem(400, "invalid-parameter");
        send(&service, "/publish?x=1", &[], body).await.problem(400, "invalid-parameter");
    }

    #[tokio::test]
    async fn fields_that_are_ignored_are_told_by_a_header_or_in_the_receipt_and_may_be_refused() {
        let service = Service::start();
        let body = r#"{"topic":"t","event_id":"1","payloads":1,"Ev\u00e9nt, 2":3}"#;
        let told = send(&service, "/publish", &[("idempotency-key", "k")], body).await;
        assert_eq!((told.status, told.header("sekali-ignored")), (200, Some("payloads, Ev%C3%A9nt%2C%202")));
        let again = send(&service, "/publish", &[("idempotency-key", "k")], body).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.header("sekali-ignored"), told.header("sekali-ignored"));
        let full = send(&service, "/publish", &[("prefer", "return=representation")], body).await;
        assert_eq!(full.json()["ignored"], json!(["payloads", "Ev\u{e9}nt, 2"]));
        assert_eq!(full.header("sekali-ignored"), None);
        let exact = send(&service, "/publish", &[], r#"{"topic":"t","event_id":"2"}"#).await;
        assert_eq!(exact.header("sekali-ignored"), None);
        let strict = Service::with_variables(&[("unknown_fields", "refuse")]);
        let problem = send(&strict, "/publish", &[], body).await.problem(422, "invalid-event");
        assert_eq!(problem["errors"][0]["field"], "payloads");
        assert_eq!(strict.get("/stats").await.json()["received"], 0);
    }

    #[tokio::test]
    async fn a_key_is_for_what_the_body_inflates_to() {
        let service = Service::start();
        let event = r#"{"topic":"t","event_id":"1"}"#;
        let headers = [("idempotency-key", "k"), ("content-encoding", "x-gzip")];
        let mut answers = Vec::new();
        for level in [0, 9] {
            let mut gzip =
                flate2::GzBuilder::new().mtime(level).write(Vec::new(), flate2::Compression::new(level));
            std::io::Write::write_all(&mut gzip, event.as_bytes()).unwrap();
            answers.push(service.send("POST", "/publish", &headers, gzip.finish().unwrap()).await);
        }
        assert_eq!(answers[1].header("idempotent-replayed"), Some("true"), "{}", answers[1].text);
        let unknown = send(&service, "/publish", &[("content-encoding", "br")], event).await;
        unknown.problem(415, "unsupported-media-type");
        assert_eq!(unknown.header("accept-encoding"), Some("gzip"));
    }

    #[tokio::test]
    async fn a_repeated_key_gets_the_saved_answer_and_another_request_is_refused() {
        let service = Service::start();
        let one = r#"{"topic":"t","event_id":"1"}"#;
        let key = [("idempotency-key", "k")];
        let first = send(&service, "/publish", &key, one).await;
        let again = send(&service, "/publish?partial=false", &key, one).await;
        assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &first.text));
        assert_eq!(first.header("idempotent-replayed"), None);
        for (target, headers, body) in [
            ("/publish", vec![], "[]"),
            ("/publish?partial=true", vec![], one),
            ("/publish", vec![("prefer", "return=minimal")], one),
            ("/publish", vec![("content-type", "application/jsonl")], one),
            ("/publish", vec![("ce-specversion", "1.0"), ("ce-id", "1")], one),
        ] {
            let headers = [&key[..], &headers].concat();
            let answer = send(&service, target, &headers, body).await;
            answer.problem(422, "idempotency-key-mismatch");
        }
        assert_eq!(service.get("/stats").await.json()["received"], 1);
    }

    #[tokio::test]
    async fn a_failed_request_leaves_its_key_free() {
        let service = Service::start();
        let (key, one) = ([("idempotency-key", "k")], r#"{"topic":"t","event_id":"1"}"#);
        send(&service, "/publish", &key, "{").await.problem(400, "malformed-body");
        service.faults.statements_left.set(0);
        send(&service, "/publish", &key, one).await.problem(500, "internal");
        service.faults.statements_left.set(u32::MAX);
        assert_eq!(send(&service, "/publish", &key, one).await.json()["stored"], 1);
    }

    #[tokio::test]
    async fn limits_are_named() {
        let limits = [("max_body_bytes", "100"), ("max_batch_events", "1"), ("max_event_bytes", "10")];
        let service = Service::with_variables(&limits);
        for (body, limit) in [
            (" ".repeat(101), "max_body_bytes"),
            ("[{},{}]".into(), "max_batch_events"),
            (r#"{"topic":"t","event_id":"0123456789"}"#.into(), "max_event_bytes"),
        ] {
            let problem = send(&service, "/publish", &[], &body).await.problem(413, "too-large");
            assert!(problem["detail"].as_str().unwrap().contains(limit), "{problem}");
        }
    }
}
