//! The whole service: concurrent requests of all formats with idempotency keys, of which some are dropped midway.

mod fakes;
mod history;
mod keys;
mod pager;
mod receipts;
mod request;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use sekali::event::Timestamp;
use sekali::http::app::App;
use sekali::store::sql::SqlStore;
use sekali::store::sqlite::SqliteBackend;
use sekali::testing::service::{read, reply, settings};
use sekali_harness::Answer;
use serde_json::Value;

use self::fakes::{Calls, SimDatabase, SimKeyValue, SimPlatform};
use self::history::{Answered, History};
use self::pager::Pager;
use self::receipts::{Register, Stored};
use self::request::{KEYS, Request};
use super::clock::SimClock;
use super::executor::{Doom, End, Executor, Handle};
use super::{Report, Violations, scenarios};
use crate::{Effort, Tally};

/// The time by which every request is answered or gone.
const LONG: Duration = Duration::from_secs(3600);

/// Runs the experiment.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    scenarios(seed, effort.pick(80, 1500), scenario)
}

/// The clients of a scenario.
#[derive(Clone)]
struct Clients {
    sim: Handle,
    /// The instances of the service, which share a database.
    instances: Rc<[App<SimPlatform>]>,
    history: Rc<History>,
}

/// A request and its idempotency key.
type Keyed = (Request, Option<&'static str>);

fn scenario(seed: u64) -> Result<Report> {
    let executor = Executor::new(seed);
    let sim = executor.handle();
    let violations = Violations::default();
    let directory = tempfile::tempdir()?;
    let calls = Calls::draw(&sim);
    let trouble = Rc::clone(&calls.trouble);
    let values = Rc::<RefCell<BTreeMap<String, Vec<u8>>>>::default();
    let started_at = Timestamp::parse("2026-11-21T01:00:00Z")?;
    let count = sim.draw(|random| random.u64(1..3));
    // Two instances may run one key at the same time if its answer is in key-value: there it promises less.
    let places = if count == 1 { ["store", "key-value"] } else { ["store", "store"] };
    let place = sim.draw(|random| random.choice(places)).unwrap_or_default();
    let instance = |number| {
        let database = SimDatabase::new(directory.path().join("events.db"), calls.clone());
        let (clock, seed) = (SimClock(sim.clone()), seed ^ number);
        let store = SqlStore::on(SqliteBackend::new(database, clock.clone(), seed));
        let key_value = SimKeyValue::new(calls.clone(), Rc::clone(&values));
        App::new(settings(&[("answers", place)]), started_at.clone(), store, key_value, clock, seed)
    };
    let instances = (0..count).map(instance).collect();
    let clients = Clients { sim: sim.clone(), instances, history: Rc::default() };
    let may_fail = trouble.get() > 0.0;
    let has_drops = clients.spawn_all();
    let pager = Pager::default();
    sim.spawn("pager", pager.clone().run(clients.clone()));
    let ended = executor.run(LONG);
    violations.check(ended == End::Done, || format!("not all requests ended: {ended:?}"));
    // Without troubles, everything that was answered is answered the same once more.
    trouble.set(0.0);
    clients.spawn_repetitions();
    let register = clients.spawn_reader();
    let ended = executor.run(sim.now() + LONG);
    violations.check(ended == End::Done, || format!("not all requests ended: {ended:?}"));
    let attempts = clients.history.attempts();
    keys::check(&attempts, &violations);
    let (register, stats) = register.take().context("the events were not read")?;
    receipts::check(&attempts, &register, may_fail || has_drops, &violations);
    pager.check(&register, &violations);
    check_stats(&stats, &register, &violations);
    let acknowledged = attempts.iter().filter(|attempt| attempt.receipt().is_some());
    Ok(Report {
        trials: attempts.len() as u64,
        acknowledged: acknowledged.map(|attempt| attempt.request.events.len() as u64).sum(),
        violations,
        log: sim.take_log(),
    })
}

impl Clients {
    /// Starts all requests, and returns true if some are dropped.
    fn spawn_all(&self) -> bool {
        let sim = &self.sim;
        let count = sim.draw(|random| random.usize(5..50));
        let spread = sim.draw(|random| random.choice([1, 30, 500])).unwrap_or_default();
        let (drops, mut has_drops) =
            (sim.draw(|random| random.choice([0.0, 0.3])).unwrap_or_default(), false);
        let mut known = Vec::<Keyed>::new();
        for number in 0..count {
            let (request, key) = self.draw(number, &known);
            known.push((request.clone(), key));
            let id = self.spawn(request, key, sim.below_millis(spread));
            if sim.chance(drops) {
                has_drops = true;
                sim.doom(id, Doom::Polls(sim.draw(|random| random.u32(1..50))));
            }
        }
        has_drops
    }

    /// Draws a request: a new one, an earlier one, or one that differs from an earlier one in a single thing.
    fn draw(&self, number: usize, known: &[Keyed]) -> Keyed {
        self.sim.draw(|random| match (random.u32(..10), random.choice(known)) {
            (0..3, Some(earlier)) => earlier.clone(),
            (3..5, Some((earlier, key))) => (earlier.changed(random), *key),
            _ => {
                let request = Request::draw(random, number);
                let is_keyed = random.u32(..4) != 0;
                (request, random.choice(KEYS).filter(|_| is_keyed))
            }
        })
    }

    /// A client that sends a request, and often sends it again: the more so if it was not carried out.
    fn spawn(&self, request: Request, key: Option<&'static str>, start: Duration) -> u64 {
        let clients = self.clone();
        self.sim.spawn("client", async move {
            clients.sim.sleep(start).await;
            for _ in 0..3 {
                let status = clients.send(&request, key).await.status;
                if status < 500 && status != 409 && clients.sim.chance(0.5) {
                    break;
                }
                clients.sim.sleep(clients.sim.below_millis(300)).await;
            }
        })
    }

    /// Sends every request with a key that was answered once more.
    fn spawn_repetitions(&self) {
        for attempt in self.history.attempts().into_iter().filter(|attempt| attempt.receipt().is_some()) {
            if attempt.key.is_some() {
                let clients = self.clone();
                self.sim.spawn("repetition", async move {
                    clients.send(&attempt.request, attempt.key).await;
                });
            }
        }
    }

    /// Reads everything when all others have ended.
    fn spawn_reader(&self) -> Rc<RefCell<Option<(Register, Value)>>> {
        let (clients, found) = (self.clone(), Rc::<RefCell<_>>::default());
        let result = Rc::clone(&found);
        self.sim.spawn("reader", async move {
            clients.sim.sleep(Duration::from_secs(600)).await;
            let events = clients.exchange("GET", "/events", &[], String::new()).await;
            let stats = clients.exchange("GET", "/stats", &[], String::new()).await;
            *result.borrow_mut() = Some((register(&events.json()), stats.json()));
        });
        found
    }

    async fn send(&self, request: &Request, key: Option<&'static str>) -> Answered {
        let begun = self.history.begin(request, key);
        self.sim.log(format!("attempt {} under {key:?}: {:?}", begun.number, request.format));
        let target = self.sim.draw(|random| request.target(random));
        let headers = request.headers(key);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = Answered::of(&self.exchange("POST", target, &headers, request.body()).await);
        let (status, is_replayed) = (answer.status, answer.is_replayed);
        self.sim.log(format!("attempt {}: {status}, replayed: {is_replayed}", begun.number));
        begun.answer(answer.clone());
        answer
    }

    async fn exchange(&self, method: &str, target: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let instance = &self.instances[self.sim.draw(|random| random.usize(..self.instances.len()))];
        read(reply(instance, method, target, headers, body).await).await
    }
}

/// The events of an answer by their identities.
fn register(events: &Value) -> Register {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entry = |event: &Value| {
        let stored = Stored {
            seq: event["seq"].as_i64().unwrap_or_default(),
            payload: event["payload"].clone(),
            deliveries: event["deliveries"].as_u64().unwrap_or_default(),
            conflicts: event["conflicts"].as_u64().unwrap_or_default(),
        };
        ((text(&event["topic"]), text(&event["event_id"])), stored)
    };
    events.as_array().into_iter().flatten().map(entry).collect()
}

/// The books balance.
fn check_stats(stats: &Value, register: &Register, violations: &Violations) {
    let (unique, deliveries, conflicts) =
        register.values().fold((0, 0, 0), |(unique, all, conflicts), event| {
            (unique + 1, all + event.deliveries, conflicts + event.conflicts)
        });
    let expected = [
        ("received", deliveries),
        ("unique_processed", unique),
        ("duplicate_dropped", deliveries - unique),
        ("conflicts", conflicts),
        ("last_seq", unique),
    ];
    for (name, expected) in expected {
        violations.check(stats[name] == expected, || format!("{name} must be {expected} in {stats}"));
    }
    let seqs: std::collections::BTreeSet<_> = register.values().map(|event| event.seq).collect();
    violations.check(seqs.len() as u64 == unique, || "two events have one seq".into());
}
