//! `GET /events`: what was stored, in the order of seq.

use std::rc::Rc;

use futures::stream::{self, StreamExt};
use http::StatusCode;

use super::JSON;
use crate::app::App;
use crate::event::Topic;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::store::{Clock, Filter, Page, Seq, Store, StoreError};

/// Every event that matches, as a JSON array.
///
/// What is stored while the answer is sent is not part of it.
///
/// # Errors
/// When a parameter is invalid or the store cannot be read.
pub async fn list<S: Store, C: Clock>(app: &App<S, C>, query: &str) -> Result<Reply, Problem> {
    let filter = parse_query(query)?;
    let end = app.store.last_seq().await?;
    // The first page is read before the head is sent: a fault is a 5xx, and a short answer has a length.
    match app.store.page(&filter, 0, end).await? {
        None => Ok(Reply::new(StatusCode::OK, JSON, "[]")),
        Some(Page { json, is_last: true, .. }) => Ok(Reply::new(StatusCode::OK, JSON, format!("[{json}]"))),
        Some(first) => {
            let start = stream::iter([Ok(format!("[{}", first.json).into_bytes())]);
            let rest = pages(Rc::clone(&app.store), filter, first.last, end)
                .map(|page| page.map(|page| format!(",{}", page.json).into_bytes()));
            let close = stream::iter([Ok(b"]".to_vec())]);
            Ok(Reply::stream(JSON, start.chain(rest).chain(close)))
        }
    }
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

fn parse_query(query: &str) -> Result<Filter, Problem> {
    let mut filter = Filter::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "topic" => filter.topics.push(Topic::parse(value).map_err(|error| {
                Problem::InvalidParameter { name: name.into_owned(), message: error.to_string() }
            })?),
            _ => {
                let message = "is not known here; known is: topic".into();
                return Err(Problem::InvalidParameter { name: name.into_owned(), message });
            }
        }
    }
    Ok(filter)
}
