//! Group commit: many requests whose clients go away midway, over a store that is slow, busy, failing or vanishes.

mod account;
mod store;

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use sekali::committer::Committer;
use sekali::event::{NewEvent, Source};
use sekali::testing::event_with;

use self::account::Account;
use self::store::{SimStore, Trouble};
use super::clock::SimClock;
use super::executor::{Doom, End, Executor, Handle};
use super::{Report, Violations, scenarios};
use crate::{Effort, Tally};

/// The time by which every request is answered or gone.
const LONG: Duration = Duration::from_secs(3600);

/// Runs the experiment.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    scenarios(seed, effort.pick(400, 6000), scenario)
}

type SimCommitter = Rc<Committer<SimStore, SimClock>>;

fn scenario(seed: u64) -> Result<Report> {
    let executor = Executor::new(seed);
    let sim = executor.handle();
    let violations = Violations::default();
    let account = Rc::new(Account::new(sim.clone(), violations.clone()));
    let trouble = Trouble::draw(&sim);
    let store = Rc::new(SimStore::new(sim.clone(), trouble, Rc::clone(&account)));
    let committer = Rc::new(Committer::new(Rc::clone(&store), SimClock(sim.clone()), seed));
    let requests = sim.draw(|random| random.usize(1..60));
    let spread = sim.draw(|random| random.choice([0, 1, 50, 2_000, 20_000])).unwrap_or_default();
    for _ in 0..requests {
        let start = sim.below_millis(spread);
        let id = spawn(&sim, &committer, &account, start);
        if sim.chance(0.2) {
            sim.doom(id, doom(&sim, start));
        }
    }
    report_end("requests", &executor.run(LONG), &violations);
    // All are answered or gone: the next request is led at once.
    store.recover();
    let now = sim.now();
    spawn(&sim, &committer, &account, Duration::ZERO);
    report_end("the request after all others", &executor.run(now + LONG), &violations);
    violations.check(account.is_last_stored(), || "the request after all others was not stored".into());
    violations.check(sim.now() - now <= store::SLOWEST, || "the request after all others waited".into());
    Ok(Report {
        trials: requests as u64 + 1,
        acknowledged: account.acknowledged(),
        violations,
        log: sim.take_log(),
    })
}

fn report_end(of: &str, end: &End, violations: &Violations) {
    violations.check(*end == End::Done, || format!("{of}: not all ended: {end:?}"));
}

/// A moment at which the client of a request goes away.
fn doom(sim: &Handle, start: Duration) -> Doom {
    sim.draw(|random| match random.u32(..3) {
        0 => Doom::Polls(random.u32(1..10)),
        1 => Doom::Time(start + Duration::from_micros(random.u64(..50_000))),
        _ => Doom::Time(start + Duration::from_millis(random.u64(..8_000))),
    })
}

/// A request that comes after a while.
fn spawn(sim: &Handle, committer: &SimCommitter, account: &Rc<Account>, start: Duration) -> u64 {
    let number = account.next();
    let events = events(sim, number);
    account.open(number, events.len());
    let name = format!("request {number}");
    let (sim_of_task, committer, account_of_task) = (sim.clone(), Rc::clone(committer), Rc::clone(account));
    let id = sim.spawn(name, async move {
        sim_of_task.sleep(start).await;
        let arrival = account_of_task.arrive(number);
        let committed = committer.commit(events).await;
        arrival.answer(committed);
    });
    account.set_task(number, id);
    id
}

/// The events of a request. The source names the request and the place in it.
fn events(sim: &Handle, number: usize) -> Rc<[NewEvent]> {
    let count = sim.draw(|random| match random.u32(..40) {
        0 => random.usize(300..1500),
        1..4 => random.usize(5..100),
        _ => random.usize(1..4),
    });
    let event = |place: usize| {
        let (id, payload) = sim.draw(|random| (random.u32(..400), random.u32(..2)));
        let poison = if sim.chance(store::POISON / count as f64) { "poison " } else { "" };
        let mut event = event_with("t", format!("{poison}{id}"), &payload.to_string());
        event.source = Source::parse(format!("{number}/{place}")).ok();
        event
    };
    (0..count).map(event).collect()
}
