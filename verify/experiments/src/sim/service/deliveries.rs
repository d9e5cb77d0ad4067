//! Deliveries to receivers, signed and forged, beside requests to publish; and the lists with which one looks for those
//! that never came.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use sekali_common::api::Published;
use sekali_harness::webhooks::{PROVIDERS, hooks};

use super::Stage;
use super::attempts::Message;
use super::clients::Clients;
use super::fakes::{Calls, Sqlite};
use super::pager::Pager;
use super::receipts::Books;
use crate::requests::{Draft, Request, deliveries};
use crate::sim::Report;
use crate::sim::executor::Doom;

/// Plays a scenario.
pub fn scenario(seed: u64) -> Result<Report> {
    let stage = Stage::new(seed);
    let sim = &stage.sim;
    let directory = tempfile::tempdir()?;
    let calls = Calls::draw(sim);
    let count = sim.draw(|random| random.u64(1..3));
    let hooks = hooks();
    let clients = stage.clients_on_sqlite(directory.path(), &calls, count, &[("hooks", &hooks)])?;
    let may_fail = calls.trouble.get() > 0.0;
    let has_drops = spawn(&clients);
    let pager = Pager::default();
    sim.spawn("pager", pager.clone().run(Rc::clone(&clients)));
    stage.run("deliveries");
    calls.trouble.set(0.0);
    for provider in 0..PROVIDERS.len() {
        if let Some(list) = sim.draw(|random| deliveries::list(random, provider)) {
            backfill(&stage, &clients, list)?;
        }
    }
    let reading = clients.spawn_reader(Duration::ZERO);
    sim.spawn("pager", pager.clone().run(Rc::clone(&clients)));
    stage.run("the reader of all");
    let books = stage.check(&clients, &reading, may_fail || has_drops)?;
    pager.check(&books, &stage.violations);
    Ok(stage.report(&clients, 0, 0))
}

/// Starts all requests of a scenario, and returns true if some are dropped.
fn spawn(clients: &Rc<Clients<Sqlite>>) -> bool {
    let sim = &clients.sim;
    let count = sim.draw(|random| random.usize(5..60));
    let spread = sim.draw(|random| random.choice([1, 30, 500])).unwrap_or_default();
    let (drops, mut has_drops) = (sim.draw(|random| random.choice([0.0, 0.2])).unwrap_or_default(), false);
    for _ in 0..count {
        let message = Rc::new(Message::of(sim.draw(request)));
        let task = clients.spawn((message, None), 3, sim.below_millis(spread));
        if sim.chance(drops) {
            has_drops = true;
            sim.doom(task, Doom::Polls(sim.draw(|random| random.u32(1..50))));
        }
    }
    has_drops
}

/// Draws a request. A third of the deliveries are forged.
fn request(random: &mut Rng) -> Request {
    match random.u32(..10) {
        0 => Draft::random(random, 0).write(),
        1..4 => deliveries::forged(random),
        _ => deliveries::signed(random),
    }
}

/// Sends a provider's list of all its events, while nobody else sends: it stores those that did not come, and no others.
fn backfill(stage: &Stage, clients: &Rc<Clients<Sqlite>>, list: Request) -> Result<()> {
    let reading = clients.spawn_reader(Duration::ZERO);
    stage.run("the reader before a list");
    let (events, stats) = reading.take().context("the events were not read before a list")?;
    let before = Books::read(&events, &stats)?.events.stored;
    let missing = list.events.iter().filter(|sent| !before.contains_key(&sent.identity)).count() as u64;
    let (sender, message) = (Rc::clone(clients), Rc::new(Message::of(list)));
    stage.sim.spawn("backfill", async move {
        sender.send(&message, None).await;
    });
    stage.run("a list");
    let attempts = clients.attempts.all();
    let receipt = attempts.last().and_then(|attempt| attempt.receipt()).map(|answer| answer.text.as_str());
    let stored = receipt.and_then(|text| serde_json::from_str::<Published>(text).ok()).map(|it| it.stored);
    stage.violations.check(stored == Some(missing), || {
        format!("{missing} events of a list had not come, and the answer was {:?}", attempts.last())
    });
    Ok(())
}
