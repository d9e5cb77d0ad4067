//! `GET /events`: what was stored, in the order of seq.

use std::rc::Rc;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use http::{HeaderValue, StatusCode, header};

use super::JSON;
use crate::app::App;
use crate::event::Topic;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::store::{Boundary, Clock, Filter, Page, Seq, Store, StoreError};

/// The events that match, as a JSON array: all of them, or the first `limit` and a link to the next.
///
/// What is stored while the answer is sent is not part of it.
///
/// # Errors
/// When a parameter is invalid or the store cannot be read.
pub async fn list<S: Store, C: Clock>(app: &App<S, C>, query: &str) -> Result<Reply, Problem> {
    let Query { filter, after, limit } = Query::parse(query)?;
    let (end, next) = match limit {
        None => (app.store.last_seq().await?, None),
        Some(limit) => match app.store.boundary(&filter, after, limit).await? {
            None => (after, None),
            Some(Boundary { last, has_more }) => (last, has_more.then(|| link_to_next(query, last))),
        },
    };
    // The first page is read before the head is sent: a fault is a 5xx, and a short answer has a length.
    let mut reply = match app.store.page(&filter, after, end).await? {
        None => Reply::new(StatusCode::OK, JSON, "[]"),
        Some(Page { json, is_last: true, .. }) => Reply::new(StatusCode::OK, JSON, format!("[{json}]")),
        Some(first) => {
            let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| Problem::Busy)?;
            let start = stream::iter([Ok(format!("[{}", first.json).into_bytes())]);
            let rest = pages(Rc::clone(&app.store), filter, first.last, end)
                .map(|page| page.map(|page| format!(",{}", page.json).into_bytes()));
            let close = stream::iter([Ok(b"]".to_vec())]);
            let pieces = start.chain(rest).chain(close).inspect(move |_| _ = &permit); // held until the end
            Reply::stream(JSON, pieces)
        }
    };
    reply.headers.extend(next.map(|next| (header::LINK, next)));
    Ok(reply)
}

/// The pages after `after` and up to `end`, one at a time.
fn pages<S: Store>(
    store: Rc<S>,
    filter: Filter,
    after: Seq,
    end: Seq,
) -> impl stream::Stream<Item = Result<Page, StoreError>> {
    stream::try_unfold(Some(after), move |after| {
        let (store, filter) = (Rc::clone(&store), filter.clone());
        async move {
            let Some(after) = after else { return Ok(None) };
            let page = store.page(&filter, after, end).await?;
            Ok(page.map(|page| {
                let next = if page.is_last { None } else { Some(page.last) };
                (page, next)
            }))
        }
    })
}

/// What is asked for.
#[derive(Default)]
struct Query {
    filter: Filter,
    after: Seq,
    limit: Option<u32>,
}

/// The largest `limit`.
const MAX_LIMIT: u32 = 10_000;

impl Query {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            parsed
                .add(&name, &value)
                .map_err(|message| Problem::InvalidParameter { name: name.into_owned(), message })?;
        }
        Ok(parsed)
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "topic" => self.filter.topics.push(Topic::parse(value).map_err(|error| error.to_string())?),
            "after" => {
                let seq = value.parse().ok().filter(|seq| *seq >= 0);
                self.after = seq.ok_or("must be a seq, a whole number from 0")?;
            }
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                self.limit =
                    Some(limit.ok_or_else(|| format!("must be a whole number from 1 to {MAX_LIMIT}"))?);
            }
            _ => return Err("is not known here; known are: topic, after, limit".into()),
        }
        Ok(())
    }
}

/// The same question from `after` on (RFC 8288).
fn link_to_next(query: &str, after: Seq) -> HeaderValue {
    let mut next = form_urlencoded::Serializer::new(String::from("</events?"));
    next.extend_pairs(form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "after"));
    next.append_pair("after", &after.to_string());
    let link = format!("{}>; rel=\"next\"", next.finish());
    // Form encoding leaves nothing that a header cannot hold.
    HeaderValue::try_from(link).unwrap_or_else(|_| HeaderValue::from_static(""))
}
