//! The events that a request names: its query, and the header `Last-Event-ID`.

use http::{HeaderMap, HeaderValue};

use crate::event::{Source, Timestamp, TopicPattern};
use crate::http::problem::Problem;
use crate::http::query::{Known, Parameter};
use crate::reader::Selection;
use crate::store::{Order, Seq};

/// The largest `limit`.
const MAX_LIMIT: u32 = 10_000;

/// The parameters of a filter. A topic or source may repeat, up to a hundred times.
pub const FILTER: [Known; 4] = [
    Known { name: "topic", most: 100 },
    Known { name: "source", most: 100 },
    Known { name: "since", most: 1 },
    Known { name: "until", most: 1 },
];

/// The parameters of a query.
pub const PARAMETERS: [Known; 9] = {
    let [topic, source, since, until] = FILTER;
    [
        topic,
        source,
        since,
        until,
        Known { name: "after", most: 1 },
        Known { name: "limit", most: 1 },
        Known { name: "order", most: 1 },
        Known { name: LAST_EVENT_ID, most: 1 },
        Known { name: "conflicts", most: 1 },
    ]
};

/// Where a client resumes that can set no header, such as those that stand in for `EventSource`.
const LAST_EVENT_ID: &str = "lastEventId";

/// The seq of the header `Last-Event-ID`, or else of the parameter that stands in for it. Both may be empty.
pub fn last_event_id(headers: &HeaderMap, parameters: &[Parameter<'_>]) -> Result<Option<Seq>, Problem> {
    let seq = |id: &str| match id.trim() {
        "" => Ok(None),
        id => id.parse().ok().filter(|seq| *seq >= 0).map(Some).ok_or("must be a seq of this service"),
    };
    let header = headers.get("last-event-id").map_or(Ok(None), |id| seq(id.to_str().unwrap_or("?")));
    let of_header = header
        .map_err(|message| Problem::InvalidHeader { name: "last-event-id", message: message.into() })?;
    let parameter = parameters.iter().find(|(name, _)| name == LAST_EVENT_ID).map(|(_, value)| seq(value));
    let of_query = parameter.unwrap_or(Ok(None)).map_err(|message| Problem::InvalidParameter {
        name: LAST_EVENT_ID.into(),
        message: message.into(),
    })?;
    Ok(of_header.or(of_query))
}

/// The events that a query asks for.
pub fn selection(parameters: &[Parameter<'_>]) -> Result<Selection, Problem> {
    let mut selection = Selection::default();
    for (name, value) in parameters {
        add(&mut selection, name, value)
            .map_err(|message| Problem::InvalidParameter { name: name.to_string(), message })?;
    }
    Ok(selection)
}

/// The moment that a parameter names; a date alone is its beginning, in UTC.
fn moment(value: &str) -> Result<Timestamp, String> {
    let is_date = value.len() == "2026-11-21".len();
    let parsed = if is_date { Timestamp::parse(&format!("{value}T00:00Z")) } else { Timestamp::parse(value) };
    parsed.map_err(|error| match value.rsplit_once(' ') {
        Some((_, offset)) if value.contains('T') && offset.len() <= "05:30".len() => {
            format!("{error}; it has a blank where its offset begins: a + is written %2B in a query")
        }
        _ => error.to_string(),
    })
}

/// Adds a parameter to a selection. An error is a phrase that follows the name of the parameter.
fn add(selection: &mut Selection, name: &str, value: &str) -> Result<(), String> {
    let filter = &mut selection.filter;
    match name {
        "topic" => {
            TopicPattern::parse(value).map_err(|error| error.to_string())?.add_to(&mut filter.topics);
        }
        "source" => {
            let source = Source::parse(value).map_err(|error| error.to_string())?;
            if !filter.sources.contains(&source) {
                filter.sources.push(source); // two runs of one would return its events twice
            }
        }
        "since" => filter.since = Some(moment(value)?),
        "until" => filter.until = Some(moment(value)?),
        "conflicts" => {
            filter.has_conflicts = value.parse().map_err(|_| "must be true or false")?;
        }
        "after" => {
            let seq = value.parse().ok().filter(|seq| *seq >= 0);
            selection.after = Some(seq.ok_or("must be a seq, a whole number from 0")?);
        }
        "limit" => {
            let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
            let limit = limit.ok_or_else(|| format!("must be a whole number from 1 to {MAX_LIMIT}"))?;
            selection.limit = Some(limit);
        }
        "order" => {
            selection.order = match value {
                "asc" => Order::Ascending,
                "desc" => Order::Descending,
                _ => return Err("must be asc or desc".into()),
            }
        }
        _ => {} // refused before
    }
    Ok(())
}

/// The link to the events behind `after` (RFC 8288).
pub fn link_to_next(query: &str, after: Seq) -> HeaderValue {
    const START: &str = "</events?";
    let mut next = form_urlencoded::Serializer::for_suffix(String::from(START), START.len());
    next.extend_pairs(form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "after"));
    next.append_pair("after", &after.to_string());
    let link = format!("{}>; rel=\"next\"", next.finish());
    // Form encoding leaves nothing that a header cannot hold.
    HeaderValue::try_from(link).unwrap_or_else(|_| HeaderValue::from_static(""))
}
