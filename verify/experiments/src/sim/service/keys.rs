//! Requests of all formats that share idempotency keys, on SQLite, and the promises about keys.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;

use super::Stage;
use super::attempts::{Answered, Attempt, Message};
use super::clients::Clients;
use super::fakes::{Calls, Sqlite};
use super::pager::Pager;
use crate::requests::Draft;
use crate::sim::executor::Doom;
use crate::sim::{Report, Violations};

/// Idempotency keys. They are few, so that many requests have the same.
const KEYS: [&str; 9] = ["1", "2", "3", "4", "5", "a", "b", "c", "d"];

/// The events of a request that is larger than one statement.
const BEYOND_A_STATEMENT: usize = 4200;

/// Requests that share idempotency keys, on SQLite.
pub fn scenario(seed: u64) -> Result<Report> {
    let stage = Stage::new(seed);
    let sim = &stage.sim;
    let directory = tempfile::tempdir()?;
    let calls = Calls::draw(sim);
    let trouble = Rc::clone(&calls.trouble);
    let count = sim.draw(|random| random.u64(1..3));
    // Two instances may run one key at the same time if its answer is in key-value: there it promises less.
    let places = if count == 1 { ["store", "key-value"] } else { ["store", "store"] };
    let place = sim.draw(|random| random.choice(places)).unwrap_or_default();
    let clients = stage.clients_on_sqlite(directory.path(), &calls, count, &[("answers", place)])?;
    let may_fail = trouble.get() > 0.0;
    let has_drops = spawn_keyed(&clients);
    let pager = Pager::default();
    sim.spawn("pager", pager.clone().run(Rc::clone(&clients)));
    stage.run("requests");
    // Without troubles, everything that was answered is answered the same once more.
    trouble.set(0.0);
    clients.spawn_repetitions();
    let reading = clients.spawn_reader(Duration::from_secs(600));
    stage.run("repetitions");
    check(&clients.attempts.all(), &stage.violations);
    let books = stage.check(&clients, &reading, may_fail || has_drops)?;
    pager.check(&books, &stage.violations);
    Ok(stage.report(&clients, 0, 0))
}

/// Starts all requests of a scenario of keys, and returns true if some are dropped.
fn spawn_keyed(clients: &Rc<Clients<Sqlite>>) -> bool {
    let sim = &clients.sim;
    let count = sim.draw(|random| random.usize(5..50));
    let spread = sim.draw(|random| random.choice([1, 30, 500])).unwrap_or_default();
    let (drops, mut has_drops) = (sim.draw(|random| random.choice([0.0, 0.3])).unwrap_or_default(), false);
    let mut known = Vec::new();
    for _ in 0..count {
        let (draft, is_malformed, key) = sim.draw(|random| keyed(random, &known));
        known.push((draft.clone(), is_malformed, key));
        let request = draft.write();
        let message = if is_malformed { Message::malformed(request) } else { Message::of(request) };
        let task = clients.spawn((Rc::new(message), key), 3, sim.below_millis(spread));
        if sim.chance(drops) {
            has_drops = true;
            sim.doom(task, Doom::Polls(sim.draw(|random| random.u32(1..50))));
        }
    }
    has_drops
}

/// A request, whether it is malformed, and its idempotency key.
type Keyed = (Draft, bool, Option<&'static str>);

/// Draws a request: a new one, an earlier one, or one that differs from an earlier one in a single thing.
fn keyed(random: &mut Rng, known: &[Keyed]) -> Keyed {
    match (random.u32(..10), random.choice(known)) {
        (0..3, Some(earlier)) => earlier.clone(),
        (3, Some((draft, is_malformed, key))) if random.u32(..5) == 0 => (draft.clone(), !is_malformed, *key),
        (3..5, Some((draft, is_malformed, key))) => (draft.changed(random), *is_malformed, *key),
        _ => {
            let is_keyed = random.u32(..4) != 0;
            let key = random.choice(KEYS).filter(|_| is_keyed);
            let draft = match random.u32(..100) {
                0 => Draft::many(random, 0, BEYOND_A_STATEMENT),
                _ => Draft::random(random, 0),
            };
            (draft, random.u32(..30) == 0, key)
        }
    }
}

/// Checks every attempt that has a key.
fn check(attempts: &[Attempt], violations: &Violations) {
    for attempt in attempts.iter().filter(|attempt| attempt.key.is_some()) {
        let of_key: Vec<_> = attempts
            .iter()
            .filter(|other| other.key == attempt.key && other.began != attempt.began)
            .collect();
        if let Some(answer) = &attempt.answer
            && let Err(reason) = judge(attempt, answer, &of_key)
        {
            violations.note(format!("{reason}: {attempt:?}; the other attempts under its key: {of_key:#?}"));
        }
    }
}

/// Judges an answer by the other attempts under its key.
fn judge(attempt: &Attempt, answer: &Answered, others: &[&Attempt]) -> Result<(), &'static str> {
    let answered_before =
        others.iter().find(|other| other.receipt().is_some() && other.ended < attempt.began);
    let maybe_saved = |other: &&&Attempt| other.receipt().is_some() || other.may_be_saved();
    if answer.is_success() && answer.is_replayed {
        return match answered_before {
            Some(first) if first.message != attempt.message => Err("another request's answer was sent again"),
            Some(first) if !first.receipt().is_some_and(|receipt| receipt.says(answer)) => {
                Err("an answer was sent again in another form")
            }
            Some(_) => Ok(()),
            None if others.iter().filter(maybe_saved).any(|other| other.message == attempt.message) => Ok(()),
            None => Err("an answer was sent again that nobody got before"),
        };
    }
    match answer.problem().as_str() {
        "idempotency-key-in-use" => {
            let overlaps = |other: &&&Attempt| other.began < attempt.ended && attempt.began < other.ended;
            others.iter().any(|other| overlaps(&other)).then_some(()).ok_or("the key was not in use")
        }
        "idempotency-key-mismatch" => others
            .iter()
            .filter(maybe_saved)
            .any(|other| other.message != attempt.message && other.began < attempt.ended)
            .then_some(())
            .ok_or("no other request had the key"),
        // A fault on the way to what was saved: it did not run. Whether faults are possible is judged with the receipts.
        _ if answer.status >= 500 => Ok(()),
        // Refused for what it is, which is judged with the receipts: it did not run. Where a fault keeps the service from
        // looking for the key, that is all it can say.
        "malformed-body" | "invalid-event" => Ok(()),
        _ if answered_before.is_some() => Err("a request ran although its key had a saved answer"),
        _ => Ok(()),
    }
}
