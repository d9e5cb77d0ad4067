//! Live streams: many followers of one instance, over a store that grows, and whose reads are slow or fail.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;

use super::Stage;
use super::attempts::Message;
use super::clients::Clients;
use super::follower::{Follower, Query, Watch};
use super::store::SimStore;
use super::trouble::{Manner, Trouble};
use super::writes::Writes;
use crate::requests::Draft;
use crate::sim::executor::{Doom, End};
use crate::sim::{Report, Violations};

/// The time after the last event and the last trouble by which every follower has everything.
const GRACE: Duration = Duration::from_secs(90);

/// The time between two looks at the store.
const TICK: Duration = Duration::from_millis(150);

/// Plays a scenario.
pub fn scenario(seed: u64) -> Result<Report> {
    let stage = Stage::new(seed);
    let sim = &stage.sim;
    let manner = Manner::draw(sim);
    sim.log(format!("the store is {manner:?}"));
    let end = Duration::from_secs(sim.draw(|random| random.u64(5..60)));
    let writes = Rc::new(Writes::new(sim.clone(), stage.violations.clone()));
    let store = SimStore::new(sim.clone(), Trouble::default(), (manner, end), Rc::clone(&writes));
    let clients = stage.clients_of(&store, writes)?;
    spawn_producer(&clients, end);
    let queries: Vec<_> = sim.draw(|random| (0..random.usize(1..6)).map(|_| Query::draw(random)).collect());
    let count = sim.draw(|random| random.choice([1, 5, 30, 30, 200])).unwrap_or_default();
    let watches: Vec<_> = (0..count)
        .map(|number| {
            let query = sim.draw(|random| random.choice(&queries).cloned()).unwrap_or_default();
            let watch = Watch::new(number, query, sim.clone(), store.clone(), stage.violations.clone());
            let watch = Rc::new(watch);
            spawn_follower(&clients, &watch, end);
            watch
        })
        .collect();
    let reading = clients.spawn_reader(end + GRACE / 2);
    let ended = stage.executor.run(end + GRACE);
    let are_gone = watches.iter().all(|watch| watch.is_gone.get());
    stage.violations.check(ended == End::TimeUp || are_gone, || format!("followers ended: {ended:?}"));
    watches.iter().for_each(|watch| watch.check_end());
    if manner == Manner::Fast {
        check_reads(&store, &watches, queries.len() as u64, end + GRACE, &stage.violations);
    }
    stage.check(&clients, &reading, false)?;
    let received = watches.iter().map(|watch| watch.received.get()).sum();
    Ok(stage.report(&clients, count, received))
}

/// Publishes until the end, in bursts, with silences that are longer than the time between heartbeats.
fn spawn_producer(clients: &Rc<Clients<SimStore>>, end: Duration) {
    let producer = Rc::clone(clients);
    clients.sim.spawn("producer", async move {
        let sim = &producer.sim;
        let mut next = sim.draw(|random| random.choice([0, 0, 10, 2000])).unwrap_or_default();
        let mut draft = sim.draw(|random| Draft::many(random, 0, next));
        loop {
            producer.send(&Rc::new(Message::of(draft.write())), None).await;
            let most = sim.draw(|random| random.choice([100, 300, 300, 2_000, 40_000])).unwrap_or_default();
            sim.sleep(Duration::from_millis(40) + sim.below_millis(most)).await;
            if sim.now() >= end {
                break;
            }
            let count = sim.draw(|random| random.usize(1..40));
            draft = sim.draw(|random| match random.bool() {
                true => Draft::many(random, next, count),
                false => Draft::random(random, next),
            });
            next += count;
        }
    });
}

fn spawn_follower(clients: &Rc<Clients<SimStore>>, watch: &Rc<Watch>, end: Duration) {
    let sim = &clients.sim;
    let start = sim.below_millis(sim.draw(|random| random.choice([0, 1_000, 20_000])).unwrap_or_default());
    let follower = Follower::new(Rc::clone(clients), Rc::clone(watch));
    let task = sim.spawn(format!("follower {}", watch.number), follower.run(start));
    if sim.chance(0.2) {
        let doom = sim.draw(|random| match random.bool() {
            true => Doom::Polls(random.u32(1..200)),
            false => Doom::Time(end.mul_f64(random.f64())),
        });
        sim.doom(task, doom);
    }
}

/// Followers of one query share what they read, apart from what they missed before they came.
fn check_reads(
    store: &SimStore,
    watches: &[Rc<Watch>],
    queries: u64,
    time: Duration,
    violations: &Violations,
) {
    let ticks = (time.as_millis() / TICK.as_millis()) as u64 + 1;
    let connections: u64 = watches.iter().map(|watch| watch.connections()).sum();
    let (looks, pages) = (store.looks.get(), store.pages.get());
    // A stream begins with a look of its own, and so does the answer to the reader.
    let most = ticks + 2 * connections + 1;
    violations.check(looks <= most, || {
        format!("the newest seq was read {looks} times in {ticks} ticks for {connections} connections")
    });
    let missed: u64 = watches.iter().map(|watch| watch.pages_missed()).sum();
    violations.check(pages <= queries * ticks + missed, || {
        format!(
            "{pages} pages of {queries} queries were read in {ticks} ticks, and {missed} for late followers"
        )
    });
}
