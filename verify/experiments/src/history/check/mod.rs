//! Checks a history against the model: a register that is set once for each identity, and the counts and the order of
//! all of them. Whatever has an unknown outcome may have happened at any time from its beginning on, or never.

mod executions;
mod keys;
mod model;
mod reads;
mod registers;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use sekali_model::Wrong;

use self::model::Model;
use super::record::{End, History};
use crate::requests::identities::name;

/// The rules, with their names.
type Rule = (&'static str, fn(&Model<'_>, &mut Wrong));

const RULES: [Rule; 21] = [
    ("an acknowledged event is stored", registers::check_acknowledged),
    ("an event is stored by its first delivery", registers::check_real_time),
    ("answers agree with what is stored", registers::check_agreement),
    ("conflicts are counted", registers::check_conflicts),
    ("a request is carried out as a whole", registers::check_atomicity),
    ("reads show the events of their selection", reads::check_reads),
    ("reads show the counts of their time", reads::check_counts),
    ("live streams show each event once", reads::check_follows),
    ("what is gone is not read", reads::check_gone),
    ("what is gone is known", reads::check_strangers),
    ("what is too old expires", reads::check_age),
    ("what was erased is nowhere", reads::check_payloads),
    ("/stats balances", stats::check_balances),
    ("/stats counts each delivery", stats::check_growth),
    ("/stats is one moment", stats::check_snapshots),
    ("/stats never shrinks", stats::check_monotony),
    ("/stats is the sum of its events", stats::check_sums),
    ("a replayed answer belongs to its request", keys::check_replays),
    ("a key is carried out once", keys::check_repetitions),
    ("a request is answered in time", keys::check_patience),
    ("a request is refused for a reason", keys::check_refusals),
];

/// Seqs that were shown with several events, also if a copy took the place of the store in between.
pub fn check_seqs(history: &History, end: &End) -> Vec<String> {
    let last = end.read.stored.iter().map(|(identity, stored)| (*identity, stored.seq));
    let reads = history.reads.iter().flat_map(|read| &read.events);
    let reads = reads.map(|(identity, stored)| (*identity, stored.seq));
    let follows = history.follows.iter().flat_map(|follow| &follow.events);
    let follows = follows.map(|(_, identity, stored)| (*identity, stored.seq));
    let claims = history.claims.iter().flat_map(|claim| &claim.events);
    let claims = claims.map(|(identity, stored)| (*identity, stored.seq));
    let mut owners = HashMap::new();
    let mut wrong = Wrong::default();
    for (identity, seq) in reads.chain(follows).chain(claims).chain(last) {
        let owner = *owners.entry(seq).or_insert(identity);
        if owner != identity {
            wrong.add(|| format!("a seq is given once: {seq} to {} and {}", name(owner), name(identity)));
        }
    }
    wrong.examples
}

/// The broken rules of a history, each with what happened.
pub fn check(history: &History, end: &End) -> Vec<String> {
    let model = Model::new(history, end);
    let mut broken: Vec<_> =
        history.faults.iter().map(|fault| format!("unexpected answer: {fault}")).collect();
    for (name, rule) in RULES {
        let mut wrong = Wrong::default();
        rule(&model, &mut wrong);
        broken.extend(wrong.tell(name));
    }
    let events = registers::compare(&model);
    let answers = [("answers account for each event", &model.wrong_answers)];
    for (name, wrong) in answers.into_iter().chain(events.rules()).chain(end.read.rules()) {
        broken.extend(wrong.tell(name));
    }
    broken
}
