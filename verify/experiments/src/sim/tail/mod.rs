//! Following: many followers of one instance, over a store that grows, and is slow or fails.

mod follower;
mod store;

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use sekali::event::{Source, Topic};
use sekali::reader::Reader;
use sekali::store::Filter;
use sekali::tail::Tail;

use self::follower::{Follower, Watch};
use self::store::{Manner, SimStore, TOPICS};
use super::clock::SimClock;
use super::executor::{Doom, End, Executor, Handle};
use super::{Report, Violations, scenarios};
use crate::{Effort, Tally};

/// The time after the last event and the last trouble by which every follower has everything.
const GRACE: Duration = Duration::from_secs(90);

/// The time between two looks at the store.
const TICK: Duration = Duration::from_millis(150);

/// Runs the experiment.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    scenarios(seed, effort.pick(60, 800), scenario)
}

fn scenario(seed: u64) -> Result<Report> {
    let executor = Executor::new(seed);
    let sim = executor.handle();
    let violations = Violations::default();
    let manner = Manner::draw(&sim);
    sim.log(format!("the store is {manner:?}"));
    let end = Duration::from_secs(sim.draw(|random| random.u64(5..60)));
    let store = Rc::new(SimStore::new(sim.clone(), manner, end));
    let tail = Rc::new(Tail::new(Reader::new(Rc::clone(&store)), SimClock(sim.clone())));
    store.append(sim.draw(|random| random.choice([0, 0, 10, 2000])).unwrap_or_default());
    spawn_writer(&sim, &store, end);
    let filters = filters(&sim);
    let count = sim.draw(|random| random.choice([1, 5, 30, 30, 200])).unwrap_or_default();
    let followers: Vec<_> = (0..count)
        .map(|number| {
            let filter = sim.draw(|random| random.choice(&filters).cloned()).unwrap_or_default();
            let watch =
                Rc::new(Watch::new(number, filter, sim.clone(), Rc::clone(&store), violations.clone()));
            spawn_follower(&sim, &tail, &watch, end);
            watch
        })
        .collect();
    let ended = executor.run(end + GRACE);
    let are_gone = followers.iter().all(|watch| watch.is_gone());
    violations.check(ended == End::TimeUp || are_gone, || format!("followers ended: {ended:?}"));
    followers.iter().for_each(|watch| watch.check_end());
    if manner == Manner::Fast {
        check_reads(&store, &followers, filters.len() as u64, end + GRACE, &violations);
    }
    Ok(Report {
        trials: count,
        acknowledged: followers.iter().map(|watch| watch.received()).sum(),
        violations,
        log: sim.take_log(),
    })
}

/// Appends events until the end, in bursts, with silences that are longer than the time between heartbeats.
fn spawn_writer(sim: &Handle, store: &Rc<SimStore>, end: Duration) {
    let (writer, store) = (sim.clone(), Rc::clone(store));
    sim.spawn("writer", async move {
        loop {
            let most =
                writer.draw(|random| random.choice([100, 300, 300, 2_000, 40_000])).unwrap_or_default();
            writer.sleep(Duration::from_millis(40) + writer.below_millis(most)).await;
            if writer.now() >= end {
                break;
            }
            store.append(writer.draw(|random| random.usize(1..40)));
        }
    });
}

/// The filters of a scenario: some by topic, some by source, some without a condition.
fn filters(sim: &Handle) -> Vec<Filter> {
    let count = sim.draw(|random| random.usize(1..6));
    let topic = |random: &mut fastrand::Rng| Topic::parse(random.choice(TOPICS).unwrap_or_default()).ok();
    let filter = |_| {
        sim.draw(|random| match random.u32(..4) {
            0 => Filter::default(),
            1 => Filter { sources: Source::parse("odd").into_iter().collect(), ..Filter::default() },
            _ => Filter { topics: topic(random).into_iter().collect(), ..Filter::default() },
        })
    };
    (0..count).map(filter).collect()
}

fn spawn_follower(sim: &Handle, tail: &Rc<Tail<SimStore, SimClock>>, watch: &Rc<Watch>, end: Duration) {
    let start = sim.below_millis(sim.draw(|random| random.choice([0, 1_000, 20_000])).unwrap_or_default());
    let follower = Follower::new(sim.clone(), Rc::clone(tail), Rc::clone(watch));
    let id = sim.spawn(format!("follower {}", watch.number), follower.run(start));
    if sim.chance(0.2) {
        let doom = sim.draw(|random| match random.bool() {
            true => Doom::Polls(random.u32(1..200)),
            false => Doom::Time(end.mul_f64(random.f64())),
        });
        sim.doom(id, doom);
    }
}

/// Followers of one filter share what they read, apart from what they missed before they came.
fn check_reads(
    store: &SimStore,
    followers: &[Rc<Watch>],
    filters: u64,
    time: Duration,
    violations: &Violations,
) {
    let ticks = (time.as_millis() / TICK.as_millis()) as u64 + 1;
    let connections: u64 = followers.iter().map(|watch| watch.connections()).sum();
    let (looks, pages) = store.reads();
    violations.check(looks <= ticks + connections, || {
        format!("the newest seq was read {looks} times in {ticks} ticks for {connections} connections")
    });
    let missed: u64 = followers.iter().map(|watch| watch.pages_missed()).sum();
    violations.check(pages <= filters * ticks + missed, || {
        format!(
            "{pages} pages of {filters} filters were read in {ticks} ticks, and {missed} for late followers"
        )
    });
}
