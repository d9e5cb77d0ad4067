//! `GET /events`: stored events in the order of seq, or a live stream.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use http::{HeaderMap, StatusCode, Uri, header};

use super::follow::{EVENT_STREAM, follow};
use super::query::{PARAMETERS, last_event_id, link_to_next, selection};
use crate::clock::Clock;
use crate::http::access::Grant;
use crate::http::app::{App, Platform};
use crate::http::negotiate::{JSON, negotiate};
use crate::http::problem::Problem;
use crate::http::query::parameters;
use crate::http::reply::Reply;
use crate::reader::{Listing, Pages, Selection};
use crate::store::{Layout, Page, ReadStore, StoreError};
use crate::yield_to_writers::YieldToWriters;

const NDJSON: &str = "application/x-ndjson";

/// The rest after a page while producers write, in tenths of the time that the page took.
const REST: u32 = 20;

/// The events that match: all of them, or the first `limit` and a link to the next; or a live stream.
///
/// Events that are stored while the answer is sent are not part of it, unless it is live. Where a search for the first
/// `limit` passes over very many events, the answer has those found so far, maybe none, and a link that goes on.
///
/// # Errors
/// When a parameter is invalid, a topic is not granted, no representation is acceptable, or the store cannot be read.
pub async fn list<P: Platform>(
    app: &App<P>,
    grant: Grant<'_>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Reply, Problem> {
    let query = uri.query().unwrap_or_default();
    let parameters = parameters(query, &PARAMETERS)?;
    let selection = selection(&parameters)?;
    grant.check_patterns(&selection.filter.topics)?;
    let last_event_id = last_event_id(headers, &parameters)?;
    match negotiate(headers, &[JSON, NDJSON, EVENT_STREAM])? {
        EVENT_STREAM => follow(app, selection, last_event_id).await,
        NDJSON => read(app, query, selection, &LINES).await,
        _ => read(app, query, selection, &ARRAY).await,
    }
}

/// A representation of a list: the layout of its pages, and the text before, between and behind them.
struct Representation {
    content_type: &'static str,
    layout: Layout,
    open: &'static str,
    between: &'static str,
    close: &'static str,
    empty: &'static str,
}

const ARRAY: Representation = Representation {
    content_type: JSON,
    layout: Layout::Array,
    open: "[",
    between: ",",
    close: "]",
    empty: "[]",
};
const LINES: Representation = Representation {
    content_type: NDJSON,
    layout: Layout::Lines,
    open: "",
    between: "\n",
    close: "\n",
    empty: "",
};

async fn read<P: Platform>(
    app: &App<P>,
    query: &str,
    selection: Selection,
    representation: &'static Representation,
) -> Result<Reply, Problem> {
    let Representation { content_type, layout, open, close, empty, .. } = *representation;
    // The first page is read before the head is sent: a fault becomes a 5xx, and a short answer has a length.
    let Listing { first, rest, next_after } = app.reader.list(selection, layout).await?;
    let mut reply = match (first, rest) {
        (None, _) => Reply::new(StatusCode::OK, content_type, empty),
        (Some(page), None) => Reply::new(StatusCode::OK, content_type, [open, &page.text, close].concat()),
        (Some(page), Some(rest)) => stream_pages(app, page, rest, representation)?,
    };
    reply.headers.extend(next_after.map(|after| (header::LINK, link_to_next(query, after))));
    Ok(reply)
}

/// An answer of more than one page, each of which is read while the one before it is sent.
fn stream_pages<P: Platform>(
    app: &App<P>,
    first: Page,
    rest: Pages<P::Store>,
    representation: &'static Representation,
) -> Result<Reply, Problem> {
    let Representation { content_type, layout, open, between, close, .. } = *representation;
    let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| Problem::Overloaded("answers"))?;
    let has_events = Rc::new(Cell::new(!first.text.is_empty()));
    let start = stream::iter([Ok([open, &first.text].concat().into_bytes())]);
    let yielding = YieldToWriters::new(app.clock.clone(), app.committer.writes());
    let had_events = Rc::clone(&has_events);
    let rest = page_stream(rest, yielding).map(move |page| {
        page.map(|page| match page.text.as_str() {
            // A line of white space is no value.
            "" if layout == Layout::Lines && !had_events.get() => vec![],
            // White space between two values changes nothing, and shows whether the client is still there.
            "" => b" ".to_vec(),
            text => [if had_events.replace(true) { between } else { "" }, text].concat().into_bytes(),
        })
    });
    let end = stream::once(async move {
        Ok(if layout == Layout::Lines && !has_events.get() { vec![] } else { close.into() })
    });
    let pieces = start.chain(rest).chain(end).inspect(move |_| _ = &permit); // held to the end of the stream
    Ok(Reply::stream(content_type, pieces))
}

fn page_stream<S: ReadStore, C: Clock>(
    pages: Pages<S>,
    yielding: YieldToWriters<C>,
) -> impl stream::Stream<Item = Result<Page, StoreError>> {
    stream::try_unfold((pages, yielding), async |(mut pages, yielding)| {
        let work = yielding.begin();
        let page = pages.next().await?;
        work.rest(REST, 0).await;
        Ok(page.map(|page| (page, (pages, yielding))))
    })
}
