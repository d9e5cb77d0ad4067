//! `GET /events`: what was stored, in the order of seq; `GET /events/{topic}/{event_id}`: one event of it.

use std::rc::Rc;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;

use super::{JSON, negotiate, parameters};
use crate::app::{App, Platform};
use crate::event::{EventId, Source, Timestamp, Topic};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::store::{Boundary, Direction, Filter, Format, Page, PageSize, Seq, Span, Store, StoreError};

const NDJSON: &str = "application/x-ndjson";
const EVENT_STREAM: &str = "text/event-stream";

/// The events that match: all of them, or the first `limit` and a link to the next; or live, as they come.
///
/// What is stored while the answer is sent is not part of it, unless it is live.
///
/// # Errors
/// When a parameter is invalid, no accepted form is known, or the store cannot be read.
pub async fn list<P: Platform>(app: &App<P>, uri: &Uri, headers: &HeaderMap) -> Result<Reply, Problem> {
    let query = uri.query().unwrap_or_default();
    let asked = Query::parse(query)?;
    let last_event_id = last_event_id(headers)?;
    match negotiate(headers, &[JSON, NDJSON, EVENT_STREAM])? {
        EVENT_STREAM => follow(app, asked, last_event_id).await,
        NDJSON => read(app, query, asked, &LINES).await,
        _ => read(app, query, asked, &ARRAY).await,
    }
}

/// One event, or 404.
///
/// # Errors
/// [`Problem::NotFound`] also for names that no event can have.
pub async fn one<P: Platform>(
    app: &App<P>,
    topic: &str,
    event_id: &str,
    headers: &HeaderMap,
) -> Result<Reply, Problem> {
    negotiate(headers, &[JSON])?;
    let name = |encoded: &str| percent_decode_str(encoded).decode_utf8().ok().map(|name| name.into_owned());
    let topic = name(topic).and_then(|name| Topic::parse(name).ok()).ok_or(Problem::NotFound)?;
    let event_id = name(event_id).and_then(|name| EventId::parse(name).ok()).ok_or(Problem::NotFound)?;
    let event = app.store.event(&topic, &event_id).await?.ok_or(Problem::NotFound)?;
    Ok(Reply::new(StatusCode::OK, JSON, event))
}

/// How a list is written: what stands before, between and behind its pages.
struct Form {
    content_type: &'static str,
    format: Format,
    open: &'static str,
    between: &'static str,
    close: &'static str,
    empty: &'static str,
}

const ARRAY: Form =
    Form { content_type: JSON, format: Format::Json, open: "[", between: ",", close: "]", empty: "[]" };
const LINES: Form =
    Form { content_type: NDJSON, format: Format::Lines, open: "", between: "\n", close: "\n", empty: "" };

async fn read<P: Platform>(
    app: &App<P>,
    query: &str,
    asked: Query,
    form: &'static Form,
) -> Result<Reply, Problem> {
    let Query { filter, after, limit, direction } = asked;
    let newest = app.store.last_seq().await?;
    let span = match direction {
        Direction::Ascending => Span { after: after.unwrap_or(0), through: newest },
        Direction::Descending => Span { after: 0, through: after.map_or(newest, |seq| newest.min(seq - 1)) },
    };
    let mut span = app.store.narrow(&filter, span).await?;
    let mut next = None;
    if let Some(limit) = limit
        && let Some(Boundary { last, has_more }) = app.store.boundary(&filter, span, direction, limit).await?
    {
        span = span.up_to(last, direction);
        next = has_more.then(|| link_to_next(query, last));
    }
    // The first page is read before the head is sent: a fault is a 5xx, and a short answer has a length.
    let first = app.store.page(&filter, span, direction, form.format, PageSize::LARGE).await?;
    let mut reply = match first {
        None => Reply::new(StatusCode::OK, form.content_type, form.empty),
        Some(Page { text, is_last: true, .. }) => {
            Reply::new(StatusCode::OK, form.content_type, [form.open, &text, form.close].concat())
        }
        Some(first) => {
            let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| Problem::Busy)?;
            let start = stream::iter([Ok([form.open, &first.text].concat().into_bytes())]);
            let rest = pages(
                Rc::clone(&app.store),
                filter,
                span.beyond(first.last, direction),
                direction,
                form.format,
            )
            .map(|page| page.map(|page| [form.between, &page.text].concat().into_bytes()));
            let close = stream::iter([Ok(form.close.into())]);
            let pieces = start.chain(rest).chain(close).inspect(move |_| _ = &permit); // held until the end
            Reply::stream(form.content_type, pieces)
        }
    };
    reply.headers.extend(next.map(|next| (header::LINK, next)));
    Ok(reply)
}

/// The pages of a span, one at a time.
fn pages<S: Store>(
    store: Rc<S>,
    filter: Filter,
    span: Span,
    direction: Direction,
    format: Format,
) -> impl stream::Stream<Item = Result<Page, StoreError>> {
    stream::try_unfold(Some(span), move |span| {
        let (store, filter) = (Rc::clone(&store), filter.clone());
        async move {
            let Some(span) = span else { return Ok(None) };
            let page = store.page(&filter, span, direction, format, PageSize::LARGE).await?;
            Ok(page.map(|page| {
                let next = if page.is_last { None } else { Some(span.beyond(page.last, direction)) };
                (page, next)
            }))
        }
    })
}

/// Server-sent events (HTML standard, section 9.2): what is stored after a seq, and what is to come.
async fn follow<P: Platform>(
    app: &App<P>,
    asked: Query,
    last_event_id: Option<Seq>,
) -> Result<Reply, Problem> {
    for (name, is_given) in
        [("limit", asked.limit.is_some()), ("order", asked.direction == Direction::Descending)]
    {
        if is_given {
            let message = "has no meaning for a live stream".into();
            return Err(Problem::InvalidParameter { name: name.into(), message });
        }
    }
    // Whoever reconnects knows better than the address where to go on.
    let after = match last_event_id.or(asked.after) {
        Some(after) => after,
        None => app.store.last_seq().await?,
    };
    let permit = Arc::clone(&app.followers).try_acquire_owned().map_err(|_| Problem::Busy)?;
    let events = Rc::clone(&app.tail).follow(asked.filter, after).inspect(move |_| _ = &permit); // held until the end
    let mut reply = Reply::stream(EVENT_STREAM, events);
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Seq>, Problem> {
    let Some(id) = headers.get("last-event-id").filter(|id| !id.is_empty()) else { return Ok(None) };
    match id.to_str().ok().and_then(|id| id.trim().parse().ok()).filter(|seq| *seq >= 0) {
        Some(seq) => Ok(Some(seq)),
        None => Err(Problem::InvalidHeader {
            name: "last-event-id",
            message: "must be a seq of this service".into(),
        }),
    }
}

/// What is asked for.
#[derive(Default)]
struct Query {
    filter: Filter,
    after: Option<Seq>,
    limit: Option<u32>,
    direction: Direction,
}

/// The largest `limit`.
const MAX_LIMIT: u32 = 10_000;

/// How often a parameter may repeat.
const MAX_REPEATS: usize = 100;

impl Query {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut parsed = Self::default();
        for (name, value) in parameters(query, &["topic", "source"])? {
            parsed
                .add(&name, &value)
                .map_err(|message| Problem::InvalidParameter { name: name.into_owned(), message })?;
        }
        Ok(parsed)
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "topic" => add_once(&mut self.filter.topics, Topic::parse(value).map_err(|e| e.to_string())?)?,
            "source" => add_once(&mut self.filter.sources, Source::parse(value).map_err(|e| e.to_string())?)?,
            "since" => self.filter.since = Some(Timestamp::parse(value).map_err(|error| error.to_string())?),
            "until" => self.filter.until = Some(Timestamp::parse(value).map_err(|error| error.to_string())?),
            "after" => {
                let seq = value.parse().ok().filter(|seq| *seq >= 0);
                self.after = Some(seq.ok_or("must be a seq, a whole number from 0")?);
            }
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                self.limit =
                    Some(limit.ok_or_else(|| format!("must be a whole number from 1 to {MAX_LIMIT}"))?);
            }
            "order" => {
                self.direction = match value {
                    "asc" => Direction::Ascending,
                    "desc" => Direction::Descending,
                    _ => return Err("must be asc or desc".into()),
                }
            }
            _ => {
                return Err(
                    "is not known here; known are: topic, source, since, until, after, limit, order".into()
                );
            }
        }
        Ok(())
    }
}

/// A name that repeats means the same as once: runs of events must not overlap.
fn add_once<T: PartialEq>(names: &mut Vec<T>, name: T) -> Result<(), String> {
    if !names.contains(&name) {
        names.push(name);
    }
    if names.len() > MAX_REPEATS {
        return Err(format!("may have {MAX_REPEATS} values"));
    }
    Ok(())
}

/// The same question from `after` on (RFC 8288).
fn link_to_next(query: &str, after: Seq) -> HeaderValue {
    const START: &str = "</events?";
    let mut next = form_urlencoded::Serializer::for_suffix(String::from(START), START.len());
    next.extend_pairs(form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "after"));
    next.append_pair("after", &after.to_string());
    let link = format!("{}>; rel=\"next\"", next.finish());
    // Form encoding leaves nothing that a header cannot hold.
    HeaderValue::try_from(link).unwrap_or_else(|_| HeaderValue::from_static(""))
}
