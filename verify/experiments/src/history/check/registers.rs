//! Rules of the register of each identity: it is set once, and all answers agree with it.

use sekali_common::api::EventStatus;
use sekali_model::{Bounds, Comparison, Seen, Wrong};

use super::model::{Delivery, Model};
use crate::history::record::NEVER;
use crate::requests::identities::name;
use crate::requests::receipt;

/// Each event that a client was told is stored, is stored; also if the answer was that of another request.
pub fn check_acknowledged(model: &Model<'_>, wrong: &mut Wrong) {
    for publish in model.history.publishes.iter().filter(|publish| publish.is_acknowledged()) {
        if let Some(lost) = publish.request.events.iter().find(|sent| model.is_lost(sent.identity)) {
            wrong.add(|| format!("{} is lost: {publish}", name(lost.identity)));
        }
    }
    for (identity, seen) in model.ordered.iter().filter(|(identity, _)| model.is_lost(*identity)) {
        wrong.add(|| format!("{seen:?} was seen, and is lost: {}", tell(model, *identity)));
    }
}

/// The delivery that stores an event is the first: none was acknowledged before it was sent, and each that was dropped
/// came after another, or was in progress together with it.
pub fn check_real_time(model: &Model<'_>, wrong: &mut Wrong) {
    for (identity, deliveries) in model.deliveries.iter().enumerate() {
        for delivery in deliveries {
            let is_possible = match delivery.status {
                Some(EventStatus::Stored) => model.known[identity] >= delivery.span.began,
                Some(_) => deliveries
                    .iter()
                    .any(|other| !std::ptr::eq(other, delivery) && other.span.began < delivery.span.ended),
                None => true,
            };
            if !is_possible {
                wrong.add(|| {
                    let (status, span) = (delivery.status, delivery.span);
                    format!("{status:?} {span} is too early or too late: {}", tell(model, identity))
                });
            }
        }
    }
}

/// Each answer tells the one payload and the one seq. A duplicate of what is gone is never a conflict.
pub fn check_agreement(model: &Model<'_>, wrong: &mut Wrong) {
    for (identity, deliveries) in model.deliveries.iter().enumerate() {
        let Some(stored) = model.stored(identity) else { continue };
        for delivery in deliveries {
            let is_same = stored.payload.is_none_or(|payload| delivery.payload == payload);
            let (may_be_gone, is_gone) =
                [model.goes[identity] < delivery.span.ended, model.gone[identity] < delivery.span.began]
                    .into();
            let agrees = match delivery.status {
                Some(EventStatus::Stored) => is_same,
                Some(EventStatus::Duplicate) => is_same || may_be_gone,
                Some(EventStatus::Conflict) => stored.payload != Some(delivery.payload) && !is_gone,
                None => true,
            };
            if !agrees || delivery.seq.is_some_and(|seq| seq != stored.seq) {
                wrong.add(|| {
                    format!("{delivery:?} does not agree with {stored:?}: {}", tell(model, identity))
                });
            }
        }
    }
}

/// The number of conflicts in each answer is that of the events with another payload than the stored one.
pub fn check_conflicts(model: &Model<'_>, wrong: &mut Wrong) {
    for execution in &model.executions {
        let request = &execution.publish.request;
        let Some(Ok(receipt)) =
            execution.answer.map(|answer| receipt::read(request, answer.status, &answer.body))
        else {
            continue;
        };
        let mut conflicts = Bounds::default();
        for sent in &request.events {
            let payload = model.stored(sent.identity).map(|stored| stored.payload);
            let may_differ = payload.is_some_and(|payload| payload != Some(sent.payload));
            let is_sure = payload.flatten().is_some() && model.goes[sent.identity] >= execution.span.ended;
            conflicts.add(Bounds { least: (may_differ && is_sure).into(), most: may_differ.into() });
        }
        if !conflicts.contains(receipt.conflicts) {
            wrong.add(|| {
                format!("{conflicts} of these events differ from the stored ones: {}", execution.publish)
            });
        }
    }
}

/// A request is carried out as a whole, also if nobody heard of it.
pub fn check_atomicity(model: &Model<'_>, wrong: &mut Wrong) {
    for (number, execution) in model.executions.iter().enumerate() {
        let events = &execution.publish.request.events;
        let is_only_one =
            |identity: usize| model.deliveries[identity].iter().all(|other| other.execution == number);
        let is_carried_out =
            events.iter().any(|sent| model.stored(sent.identity).is_some() && is_only_one(sent.identity));
        let missing = events.iter().find(|sent| model.is_lost(sent.identity));
        if let (true, Some(missing)) = (is_carried_out, missing) {
            wrong.add(|| {
                format!("{} was not stored, but others were: {}", name(missing.identity), execution.publish)
            });
        }
    }
}

/// Compares the answers, and the events at the end but for those that are gone, with their registers.
pub fn compare(model: &Model<'_>) -> Comparison {
    let mut comparison = Comparison::default();
    for (identity, deliveries) in model.deliveries.iter().enumerate() {
        let storer = deliveries.iter().find(|delivery| delivery.status == Some(EventStatus::Stored));
        let began = |delivery: &Delivery| delivery.span.began;
        let sent = storer.map(began).or_else(|| deliveries.iter().map(began).min());
        let seen = Seen {
            own: model.answered_seqs(identity),
            floor: sent.and_then(|sent| model.highest_before(sent)),
        };
        let register = model.last_register(identity);
        comparison.compare_answers(&register, || tell(model, identity));
        if model.last(identity).is_some() || model.is_lost(identity) {
            comparison.compare(&register, model.last(identity), seen, || tell(model, identity));
        }
    }
    comparison
}

/// The name of an identity and its deliveries, in the order in which they were sent.
pub fn tell(model: &Model<'_>, identity: usize) -> String {
    let mut text = name(identity);
    if model.known[identity] != NEVER {
        text.push_str(&format!(", known from {}", model.known[identity]));
    }
    let mut deliveries: Vec<_> = model.deliveries[identity].iter().collect();
    deliveries.sort_by_key(|delivery| delivery.span.began);
    for Delivery { execution, span, payload, status, seq } in deliveries {
        let request = &model.executions[*execution].publish.request;
        let (told, seq) = (status.map(|status| format!("{status:?}")), seq.map(|seq| seq.to_string()));
        let [told, seq] = [told, seq].map(|told| told.unwrap_or_else(|| "?".into()));
        text.push_str(&format!(
            "\n        {span} payload {payload} -> {told}, seq {seq}: {}",
            request.head()
        ));
    }
    text
}
