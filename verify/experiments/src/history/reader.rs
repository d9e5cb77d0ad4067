//! Clients that read events and `/stats`.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use sekali_common::api::StoredEvent;
use sekali_model::{Catalogue, Lines, Recognised, Stored};

use super::client::{Client, Failure, Response};
use super::record::{History, Read, Selection, Snapshot, Span};
use super::stage::{PAUSE, Stage};
use crate::requests::format::encoded;
use crate::requests::identities::{
    IDENTITIES, Identities, PREFIX, SOURCES, TOPICS, event_id, source, timestamp, topic,
};

/// Reads at random until the stage ends, or where what is read may be late.
pub fn run(stage: &Stage, seed: u64, late: Option<SocketAddr>) -> History {
    let client = Client::new(late.as_ref().map_or(&stage.addresses, std::slice::from_ref));
    let mut rng = Rng::with_seed(seed);
    let (mut history, mut newest) = (History::default(), 0);
    for moment in 0.. {
        if stage.is_over() {
            break;
        }
        let is_done = match rng.u8(..8) {
            0..4 if late.is_some() => Ok(()),
            0 | 1 => look(stage, &client, &mut history),
            choice if choice < 4 || !stage.cast.read_pages => {
                find(stage, &client, rng.usize(..=moment) % IDENTITIES, &mut history)
            }
            _ => read(stage, &client, &plan(&mut rng, newest), &mut history),
        };
        if let Some(read) = history.reads.last_mut() {
            read.is_late = late.is_some();
        }
        if let Err(fault) = is_done {
            history.faults.push(format!("{fault:#}"));
        }
        let last =
            history.reads.last().and_then(|read| read.events.iter().map(|(_, stored)| stored.seq).max());
        newest = newest.max(last.unwrap_or_default());
        thread::sleep(PAUSE);
    }
    history
}

/// The shape of a read.
struct Plan {
    selection: Selection,
    after: u64,
    limit: Option<usize>,
    /// The number of pages after which it stops.
    pages: usize,
    is_descending: bool,
    is_lines: bool,
}

fn plan(rng: &mut Rng, newest: u64) -> Plan {
    let is_descending = rng.u8(..3) == 0;
    let limit = rng.bool().then(|| rng.usize(1..200));
    Plan {
        selection: select(rng),
        // In descending order, `after` is a place among pages and not the oldest seq.
        after: if is_descending || rng.bool() { 0 } else { rng.u64(..=newest) },
        limit,
        pages: if limit.is_some() && rng.bool() { 3 } else { usize::MAX },
        is_descending,
        is_lines: rng.bool(),
    }
}

/// A random filter.
pub fn select(rng: &mut Rng) -> Selection {
    let mut selection = Selection::default();
    match rng.u8(..6) {
        0 => selection.topics.push(rng.usize(..TOPICS.len())),
        1 => selection.topics.extend([0, rng.usize(1..TOPICS.len())]),
        2 => selection.source = Some(rng.usize(..SOURCES.len())),
        3 => {
            let since = rng.usize(..500);
            selection.times = Some((since, since + rng.usize(1..500)));
        }
        _ => {}
    }
    selection
}

/// A filter as a query, to which other parameters can be added.
pub fn query(selection: &Selection) -> String {
    let names = match selection.topics.as_slice() {
        [0, 1] => vec![PREFIX],
        topics => topics.iter().map(|topic| TOPICS[*topic]).collect(),
    };
    let topics = names.into_iter().map(|topic| ("topic", topic.to_owned()));
    let source = selection.source.map(|source| ("source", SOURCES[source].to_owned()));
    let times =
        selection.times.map(|(since, until)| [("since", timestamp(since)), ("until", timestamp(until))]);
    let parameters = topics.chain(source).chain(times.into_iter().flatten());
    parameters.map(|(name, value)| format!("{name}={}&", encoded(&value))).collect()
}

/// Takes a snapshot of `/stats`.
fn look(stage: &Stage, client: &Client, history: &mut History) -> Result<()> {
    let began = stage.clock.tick();
    let Some(answer) = get(stage, client, history, ("/stats", "application/json"))? else { return Ok(()) };
    let span = Span { began, ended: stage.clock.tick() };
    let stats = serde_json::from_slice(&answer.body).with_context(|| answer.text())?;
    history.snapshots.push(Snapshot { span, stats });
    Ok(())
}

/// Reads one event.
fn find(stage: &Stage, client: &Client, identity: usize, history: &mut History) -> Result<()> {
    let path = format!("/events/{}/{}", encoded(topic(identity)), encoded(&event_id(identity)));
    let (began, start) = (stage.clock.tick(), Instant::now());
    let Some(answer) = get(stage, client, history, (&path, "application/json"))? else { return Ok(()) };
    let span = Span { began, ended: stage.clock.tick() };
    let mut events = Vec::new();
    match answer.status {
        200 => {
            let event = serde_json::from_slice(&answer.body).with_context(|| answer.text())?;
            events.extend(recognise(&event)?);
            let is_asked = events.iter().any(|(found, _)| *found == identity);
            ensure!(
                is_asked,
                "{} of {} was asked for: {}",
                event_id(identity),
                source(identity),
                answer.text()
            );
        }
        404 => history.strangers.push((span, identity)),
        _ => {}
    }
    let selection = Selection { identity: Some(identity), ..Selection::default() };
    history.reads.push(Read {
        span,
        selection,
        after: 0,
        is_descending: false,
        events,
        is_complete: true,
        is_late: false,
        took: start.elapsed(),
    });
    Ok(())
}

/// Reads events, page by page.
fn read(stage: &Stage, client: &Client, plan: &Plan, history: &mut History) -> Result<()> {
    let mut path = format!("/events?{}", query(&plan.selection));
    let mut add = |name: &str, value: &dyn std::fmt::Display| path.push_str(&format!("{name}={value}&"));
    if plan.after > 0 {
        add("after", &plan.after);
    }
    if let Some(limit) = plan.limit {
        add("limit", &limit);
    }
    add("order", &if plan.is_descending { "desc" } else { "asc" });
    let mut path = path.trim_end_matches('&').to_owned();
    let accept = if plan.is_lines { "application/x-ndjson" } else { "application/json" };
    let (mut events, mut pages, mut is_complete) = (Vec::new(), 0, false);
    let (began, start) = (stage.clock.tick(), Instant::now());
    while pages < plan.pages && !is_complete {
        let Some(answer) = get(stage, client, history, (&path, accept))? else { break };
        let page = parse(&answer, plan.is_lines)?;
        if let Some(limit) = plan.limit {
            ensure!(page.len() <= limit, "{} events on a page of {limit}: {path}", page.len());
        }
        events.extend(page);
        if !answer.is_complete {
            break;
        }
        pages += 1;
        match next(&answer) {
            Some(next) => path = next,
            None => is_complete = true,
        }
    }
    if pages > 0 || !events.is_empty() {
        let (selection, span) = (plan.selection.clone(), Span { began, ended: stage.clock.tick() });
        let Plan { after, is_descending, .. } = *plan;
        history.reads.push(Read {
            span,
            selection,
            after,
            is_descending,
            events,
            is_complete,
            is_late: false,
            took: start.elapsed(),
        });
    }
    Ok(())
}

/// The events of an answer. Of one that broke off, those whose lines have ended.
fn parse(answer: &Response, is_lines: bool) -> Result<Vec<(usize, Stored)>> {
    let mut events = Vec::new();
    if is_lines {
        let mut lines = Lines::default();
        lines.push(&answer.body, |event| events.push(recognise(event)))?;
        if answer.is_complete {
            lines.end()?;
        }
    } else if answer.is_complete {
        let array: Vec<StoredEvent> = serde_json::from_slice(&answer.body).with_context(|| answer.text())?;
        events.extend(array.iter().map(recognise));
    }
    events.into_iter().filter_map(Result::transpose).collect()
}

/// The identity of an event that was read, and the event; `None` if it belongs to others.
pub fn recognise(event: &StoredEvent<'_>) -> Result<Option<(usize, Stored)>> {
    let StoredEvent { seq, deliveries, conflicts, .. } = *event;
    match Identities.recognise(event) {
        Recognised::Foreign => Ok(None),
        Recognised::Sent { event: identity, payload, difference: None } => {
            Ok(Some((identity, Stored { seq, payload, deliveries, conflicts })))
        }
        other => anyhow::bail!("{} {} (seq {seq}) was read: {other:?}", event.topic, event.event_id),
    }
}

/// The path of the next page.
fn next(answer: &Response) -> Option<String> {
    let (path, _) = answer.header("link")?.strip_prefix('<')?.split_once(">; rel=\"next\"")?;
    Some(path.to_owned())
}

/// The answer to a GET; `None` if it was lost or refused for the moment. One of a single event may be that there is none.
fn get(
    stage: &Stage,
    client: &Client,
    history: &mut History,
    (path, accept): (&str, &str),
) -> Result<Option<Response>> {
    let cause = match client.send("GET", path, &[("accept", accept)], b"") {
        Ok(answer) if answer.status == 503 => {
            ensure!(answer.header("retry-after").is_some(), "GET {path} -> 503 without Retry-After");
            return Ok(None);
        }
        Ok(answer) if answer.status == 500 && stage.losses.instances => answer.text(),
        Ok(answer) => {
            let is_known =
                answer.status == 200 || ([404, 410].contains(&answer.status) && path.starts_with("/events/"));
            ensure!(is_known, "GET {path} -> {} {}", answer.status, answer.text());
            if answer.is_complete || accept == "application/x-ndjson" {
                return Ok(Some(answer));
            }
            "the answer broke off".into()
        }
        Err(Failure::Unsent) => "no connection".into(),
        Err(Failure::Lost(cause)) => cause,
        Err(Failure::Late(cause)) => anyhow::bail!("no answer in time: {cause}"),
    };
    history.lost_reads.push((stage.clock.tick(), format!("GET {path}: {cause}")));
    Ok(None)
}
