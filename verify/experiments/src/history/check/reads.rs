//! Rules of reads and live streams: each shows the events of the end, from its cursor on, as far as it came.

use std::collections::HashSet;

use sekali_model::{Bounds, Stored, Wrong};

use super::model::{Known, Model};
use super::registers::tell;
use crate::history::record::{Follow, NEVER, Read, Selection, Turn};

/// A read shows exactly the events of its selection: events become visible in the order of seq, so those that it shows
/// are the first of those that it could. It shows all that were known before it began, but for those that are gone.
pub fn check_reads(model: &Model<'_>, wrong: &mut Wrong) {
    for read in &model.history.reads {
        let shown: HashSet<_> = read.events.iter().map(|(identity, _)| *identity).collect();
        let mut expected = expected(model, read);
        expected.retain(|(identity, _)| shown.contains(identity) || model.goes[*identity] >= read.span.ended);
        if let Some(difference) = difference(model, &read.events, &expected) {
            wrong.add(|| format!("{read}: {difference}"));
        }
    }
}

/// Of an identity that was known before, nobody says that it was never stored, also if its event is gone.
pub fn check_strangers(model: &Model<'_>, wrong: &mut Wrong) {
    let strangers = model.history.strangers.iter();
    for (span, identity) in strangers.filter(|(span, identity)| model.known[*identity] < span.began) {
        wrong.add(|| format!("{span} 404 for {}", tell(model, *identity)));
    }
}

/// What had become too old is gone at the end.
pub fn check_age(model: &Model<'_>, wrong: &mut Wrong) {
    let Turn::Aged(span) = model.history.turn else { return };
    let is_old = |identity: &usize| model.known[*identity] < span.began && model.last(*identity).is_some();
    for identity in (0..model.known.len()).filter(is_old) {
        wrong.add(|| format!("too old since {span}, and still there: {}", tell(model, identity)));
    }
}

/// What was erased is nowhere in the store.
pub fn check_payloads(model: &Model<'_>, wrong: &mut Wrong) {
    for identity in model.end.payloads.iter().filter(|identity| model.erased.contains(identity)) {
        wrong.add(|| format!("a payload is still there: {}", tell(model, *identity)));
    }
}

/// What is gone is never shown again.
pub fn check_gone(model: &Model<'_>, wrong: &mut Wrong) {
    let last = model.end.read.stored.keys().map(|identity| (*identity, NEVER));
    let reads = model.history.reads.iter().filter(|read| !read.is_late);
    let shown = reads.flat_map(|read| read.events.iter().map(|(identity, _)| (*identity, read.span.began)));
    let claims = model.history.claims.iter();
    let given = claims.flat_map(|claim| claim.events.iter().map(|event| (event.0, claim.span.began)));
    for (identity, tick) in
        shown.chain(given).chain(last).filter(|(identity, tick)| model.gone[*identity] < *tick)
    {
        wrong.add(|| {
            format!("gone at {}, and read from {tick} on: {}", model.gone[identity], tell(model, identity))
        });
    }
}

/// The counts of an event that was read lie between those answered before and those sent by then.
pub fn check_counts(model: &Model<'_>, wrong: &mut Wrong) {
    let reads = model.history.reads.iter().map(|read| (read.span, read.is_late, &read.events));
    let claims = model.history.claims.iter().map(|claim| (claim.span, false, &claim.events));
    for (span, is_late, events) in reads.chain(claims) {
        for (identity, seen) in events {
            let register = model.register(*identity, span);
            let (deliveries, conflicts) = (register.deliveries(), register.conflicts(seen.payload));
            let [deliveries, conflicts] = [deliveries, conflicts]
                .map(|counts| if is_late { Bounds { least: 0, ..counts } } else { counts });
            if !deliveries.contains(seen.deliveries) || !conflicts.contains(seen.conflicts) {
                wrong.add(|| {
                    format!(
                        "{span} found {} deliveries and {} conflicts instead of {deliveries} and {conflicts}: {}",
                        seen.deliveries,
                        seen.conflicts,
                        tell(model, *identity)
                    )
                });
            }
        }
    }
}

/// A live stream shows each event of its selection once, in the order of seq, from its cursor on until the end, but for
/// those that were gone before the next.
pub fn check_follows(model: &Model<'_>, wrong: &mut Wrong) {
    for follow in &model.history.follows {
        let late = if follow.is_late { "late " } else { "" };
        let name = || {
            format!("the {late}stream {} of {:?} after {:?}", follow.start, follow.selection, follow.after)
        };
        let seen: Vec<_> = follow.events.iter().map(|(_, identity, stored)| (*identity, *stored)).collect();
        let cursor = follow.after.unwrap_or_else(|| cursor_of(model, follow));
        let mut expected = select(model, &follow.selection, cursor, u64::MAX);
        expected.retain(|(identity, known)| {
            let at = follow.events.partition_point(|(_, _, stored)| stored.seq < known.seq);
            let next = follow.events.get(at);
            let is_shown = next.is_some_and(|(_, _, stored)| stored.seq == known.seq);
            let moment = next.map_or(NEVER, |(tick, _, _)| *tick);
            is_shown || model.last(*identity).is_some() || model.goes[*identity] >= moment
        });
        if let Some(difference) = difference(model, &seen, &expected) {
            wrong.add(|| format!("{}: {difference}", name()));
        }
        let known = model.highest_before(follow.start.began);
        if let (None, Some((_, first)), Some(known)) = (follow.after, seen.first(), known)
            && first.seq <= known
        {
            wrong.add(|| format!("{} began with seq {}, but {known} was known before", name(), first.seq));
        }
    }
}

/// The cursor of a stream that began at its moment: before the first event that it showed, or that was sent after it
/// was confirmed.
fn cursor_of(model: &Model<'_>, follow: &Follow) -> u64 {
    let first_seen = follow.events.first().map(|(_, _, stored)| stored.seq);
    let is_later = |identity: usize| {
        model.deliveries[identity].iter().all(|delivery| delivery.span.began > follow.start.ended)
    };
    let matching = model.ordered.iter().filter(|(identity, _)| follow.selection.matches(*identity));
    let first_sent =
        matching.filter(|(identity, _)| is_later(*identity)).map(|(_, stored)| stored.seq).next();
    first_seen.into_iter().chain(first_sent).min().map_or(u64::MAX, |first| first - 1)
}

/// The events that a read should have shown, in its order.
fn expected(model: &Model<'_>, read: &Read) -> Vec<(usize, Known)> {
    let known = model.ordered.iter().rev().find(|(identity, stored)| {
        !read.is_late
            && read.selection.matches(*identity)
            && stored.seq > read.after
            && model.known[*identity] < read.span.began
    });
    let known = known.map_or(0, |(_, stored)| stored.seq);
    let seqs = || read.events.iter().map(|(_, stored)| stored.seq);
    let (lowest, highest) = (seqs().min().unwrap_or(u64::MAX), seqs().max().unwrap_or(0));
    let (after, until) = match (read.is_complete, read.is_descending) {
        (true, _) => (read.after, highest.max(known)),
        (false, false) => (read.after, highest),
        (false, true) => (lowest - 1, if read.events.is_empty() { 0 } else { highest.max(known) }),
    };
    let mut expected = select(model, &read.selection, after, until);
    if read.is_descending {
        expected.reverse();
    }
    expected
}

fn select(model: &Model<'_>, selection: &Selection, after: u64, until: u64) -> Vec<(usize, Known)> {
    let events = model.ordered.iter().filter(|(identity, stored)| {
        (after < stored.seq && stored.seq <= until) && selection.matches(*identity)
    });
    events.copied().collect()
}

/// The first place in which two sequences of events differ.
fn difference(model: &Model<'_>, seen: &[(usize, Stored)], expected: &[(usize, Known)]) -> Option<String> {
    let known = |stored: &Stored| Known { seq: stored.seq, payload: Some(stored.payload) };
    let seen: Vec<_> = seen.iter().map(|(identity, stored)| (*identity, known(stored))).collect();
    let at = (0..seen.len().max(expected.len())).find(|&at| seen.get(at) != expected.get(at))?;
    let tell = |events: &[(usize, Known)]| match events.get(at) {
        Some((identity, known)) => format!("{known:?} {}", tell(model, *identity)),
        None => "nothing".into(),
    };
    Some(format!("event {at} of {} is {}\n    instead of {}", seen.len(), tell(&seen), tell(expected)))
}
