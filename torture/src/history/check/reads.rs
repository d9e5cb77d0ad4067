//! Rules of reads and live streams: each shows the events of the end, from its cursor on, as far as it came.

use sekali_clients::account::{Stored, Wrong};

use super::model::Model;
use super::registers::tell;
use crate::history::record::{Follow, Read, Selection};

/// A read shows exactly the events of its selection: events become visible in the order of seq, so those that it shows
/// are the first of those that it could. It shows all that were known before it began.
pub fn check_reads(model: &Model<'_>, wrong: &mut Wrong) {
    for read in &model.history.reads {
        let expected = expected(model, read);
        if let Some(difference) = difference(model, &read.events, &expected) {
            wrong.add(|| format!("{read}: {difference}"));
        }
    }
}

/// The counts of an event that was read lie between those answered before and those sent by then.
pub fn check_counts(model: &Model<'_>, wrong: &mut Wrong) {
    for read in &model.history.reads {
        for (identity, seen) in &read.events {
            let register = model.register(*identity, read.span);
            let (deliveries, conflicts) = (register.deliveries(), register.conflicts(seen.payload));
            if !deliveries.contains(seen.deliveries) || !conflicts.contains(seen.conflicts) {
                wrong.add(|| {
                    format!(
                        "{read} found {} deliveries and {} conflicts instead of {deliveries} and {conflicts}: {}",
                        seen.deliveries,
                        seen.conflicts,
                        tell(model, *identity)
                    )
                });
            }
        }
    }
}

/// A live stream shows each event of its selection once, in the order of seq, from its cursor on until the end.
pub fn check_follows(model: &Model<'_>, wrong: &mut Wrong) {
    for follow in &model.history.follows {
        let name =
            || format!("the stream {} of {:?} after {:?}", follow.start, follow.selection, follow.after);
        let seen: Vec<_> = follow.events.iter().map(|(_, identity, stored)| (*identity, *stored)).collect();
        let cursor = follow.after.unwrap_or_else(|| cursor_of(model, follow));
        let expected = select(model, &follow.selection, cursor, u64::MAX);
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
fn expected(model: &Model<'_>, read: &Read) -> Vec<(usize, Stored)> {
    let known = model.ordered.iter().rev().find(|(identity, stored)| {
        read.selection.matches(*identity)
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

fn select(model: &Model<'_>, selection: &Selection, after: u64, until: u64) -> Vec<(usize, Stored)> {
    let events = model.ordered.iter().filter(|(identity, stored)| {
        (after < stored.seq && stored.seq <= until) && selection.matches(*identity)
    });
    events.copied().collect()
}

/// The first place in which two sequences of events differ.
fn difference(model: &Model<'_>, seen: &[(usize, Stored)], expected: &[(usize, Stored)]) -> Option<String> {
    let event = |events: &[(usize, Stored)], at: usize| {
        events.get(at).map(|(identity, stored)| (*identity, stored.seq, stored.payload))
    };
    let at = (0..seen.len().max(expected.len())).find(|&at| event(seen, at) != event(expected, at))?;
    let tell = |events: &[(usize, Stored)]| match events.get(at) {
        Some((identity, stored)) => {
            format!("seq {} payload {} {}", stored.seq, stored.payload, tell(model, *identity))
        }
        None => "nothing".into(),
    };
    Some(format!("event {at} of {} is {}\n    instead of {}", seen.len(), tell(seen), tell(expected)))
}
