//! Group commit: requests whose clients go away midway, over a store that is slow, busy, full or failing, or never returns.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;

use super::Stage;
use super::attempts::Message;
use super::store::SimStore;
use super::trouble::{Manner, SLOWEST, Trouble};
use super::writes::Writes;
use crate::requests::{Draft, Request};
use crate::sim::Report;
use crate::sim::executor::{Doom, Handle};

/// Plays a scenario.
pub fn scenario(seed: u64) -> Result<Report> {
    let stage = Stage::new(seed);
    let sim = &stage.sim;
    let writes = Rc::new(Writes::new(sim.clone(), stage.violations.clone()));
    let manner = (Manner::Fast, Duration::ZERO);
    let store = SimStore::new(sim.clone(), Trouble::draw(sim), manner, Rc::clone(&writes));
    let clients = stage.clients_of(&store, Rc::clone(&writes))?;
    let requests = sim.draw(|random| random.usize(1..60));
    let spread = sim.draw(|random| random.choice([0, 1, 50, 2_000, 20_000])).unwrap_or_default();
    // Whoever tries again wakes those who were forgotten.
    let tries = sim.draw(|random| random.choice([1, 1, 1, 3])).unwrap_or_default();
    for _ in 0..requests {
        let start = sim.below_millis(spread);
        let message = Rc::new(Message::of(sim.draw(of_any_size)));
        let task = clients.spawn((message, None), tries, start);
        if sim.chance(0.2) {
            sim.doom(task, doom(sim, start));
        }
    }
    stage.run("requests");
    // All are answered or gone: the next request is led at once.
    store.trouble.take();
    let now = sim.now();
    let last = Rc::new(Message::of(sim.draw(|random| Draft::many(random, 0, 3)).write()));
    let sent = Rc::clone(&clients);
    sim.spawn("the last client", async move {
        sent.send(&last, None).await;
    });
    stage.run("the request after all others");
    let attempts = clients.attempts.all();
    let is_stored = attempts.last().is_some_and(|last| last.receipt().is_some());
    stage.violations.check(is_stored, || "the request after all others was not stored".into());
    stage.violations.check(sim.now() - now <= SLOWEST, || "the request after all others waited".into());
    writes.check(&attempts);
    let reading = clients.spawn_reader(Duration::ZERO);
    stage.run("the reader");
    stage.check(&clients, &reading, true)?;
    Ok(stage.report(&clients, 0, 0))
}

/// A request, of which few are large.
fn of_any_size(random: &mut Rng) -> Request {
    let first = random.usize(..400);
    match random.u32(..100) {
        0 => {
            let count = random.usize(300..1500);
            Draft::many(random, first, count)
        }
        1..8 => {
            let count = random.usize(5..100);
            Draft::many(random, first, count)
        }
        _ => Draft::random(random, first / 10),
    }
    .write()
}

/// A moment at which the client of a request goes away.
fn doom(sim: &Handle, start: Duration) -> Doom {
    sim.draw(|random| match random.u32(..3) {
        0 => Doom::Polls(random.u32(1..10)),
        1 => Doom::Time(start + Duration::from_micros(random.u64(..50_000))),
        _ => Doom::Time(start + Duration::from_millis(random.u64(..8_000))),
    })
}
