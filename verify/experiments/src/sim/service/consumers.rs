//! Consumers: workers that claim, commit, fail and vanish, people who intervene, and publishers, on several instances that
//! share a store, for seconds or for days.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use sekali::http::app::App;
use sekali::store::Store;
use sekali::testing::service::{read, reply};
use sekali_common::api::StoredEvent;
use sekali_model::consumer::{Ask, Call, Moment, Place, Told};

use super::Stage;
use super::fakes::{Calls, SimKeyValue, SimPlatform};
use super::store::SimStore;
use super::trouble::{Manner, Trouble};
use super::writes::Writes;
use crate::consumers::{self, Found, Habits, LIMITS, NAME, Person, Worker};
use crate::requests::Draft;
use crate::sim::Report;
use crate::sim::executor::{Doom, End, Handle, TaskId};

/// The time after which everything is done that can be, and all that cannot is dead.
const ALL_TIME: Duration = Duration::from_secs(400 * 24 * 3600);

/// The instances of the service, and all that their clients did.
struct Crowd<S: Store> {
    sim: Handle,
    instances: Vec<App<SimPlatform<S>>>,
    calls: RefCell<Vec<Call>>,
    places: Cell<u64>,
    person: RefCell<Person>,
    /// The time at which workers and people go.
    end: Duration,
}

/// On a store in memory, whose clock is that of the simulation.
pub fn in_memory(seed: u64) -> Result<Report> {
    let stage = Stage::new(seed);
    let sim = &stage.sim;
    let end = sim.draw(|random| random.choice([5, 60, 3600, 3 * 24 * 3600])).unwrap_or_default();
    let end = Duration::from_secs(end);
    let writes = Rc::new(Writes::new(sim.clone(), stage.violations.clone()));
    let store = SimStore::new(sim.clone(), Trouble::default(), (Manner::draw(sim), end), writes);
    let count = sim.draw(|random| random.u64(1..4));
    let instances = (0..count).map(|number| {
        let key_value = SimKeyValue::new(Calls::draw(sim), Rc::default());
        stage.instance(number, store.clone(), key_value, &[])
    });
    let instances = instances.collect::<Result<_>>()?;
    play(stage, instances, end, || ())
}

/// On SQLite, whose statements fail before or after they took effect.
pub fn on_sqlite(seed: u64) -> Result<Report> {
    let stage = Stage::new(seed);
    let sim = &stage.sim;
    let directory = tempfile::tempdir()?;
    let calls = Calls::draw(sim);
    let (end, count) = sim.draw(|random| (Duration::from_secs(random.u64(1..60)), random.u64(1..4)));
    let instances = stage.instances_on_sqlite(directory.path(), &calls, count, &[])?;
    play(stage, instances, end, || calls.trouble.set(0.0))
}

/// Plays a scenario. `calm` ends the troubles of the store.
fn play<S: Store>(
    stage: Stage,
    instances: Vec<App<SimPlatform<S>>>,
    end: Duration,
    calm: impl Fn(),
) -> Result<Report> {
    let sim = &stage.sim;
    let person = RefCell::new(sim.draw(Person::new));
    let (calls, places) = Default::default();
    let crowd = Rc::new(Crowd { sim: sim.clone(), instances, calls, places, person, end });
    crowd.spawn_publisher();
    let made = Rc::clone(&crowd);
    sim.spawn("maker", async move { made.make().await });
    let workers = sim.draw(|random| random.usize(1..6));
    for number in 0..workers {
        crowd.spawn_keeper(format!("worker {number}"));
    }
    if sim.draw(fastrand::Rng::bool) {
        crowd.spawn_keeper("person".into());
    }
    let run = |tasks: &str| {
        let ended = stage.executor.run(sim.now() + ALL_TIME);
        stage.violations.check(ended == End::Done, || format!("{tasks}: not all ended: {ended:?}"));
    };
    run("workers and people");
    calm();
    let finisher = Rc::clone(&crowd);
    sim.spawn("the last worker", async move { finisher.finish().await });
    run("the last worker");
    let events = Rc::new(RefCell::new(None));
    let (reader, found) = (Rc::clone(&crowd), Rc::clone(&events));
    sim.spawn("reader", async move {
        *found.borrow_mut() = Some(reader.exchange("GET", "/events", vec![]).await.1)
    });
    run("the reader");
    let events = events.take().context("the events were not read")?;
    let calls = crowd.calls.take();
    let mut found = Found::default();
    serde_json::from_str::<Vec<StoredEvent<'_>>>(&events)?.iter().for_each(|event| found.take(event));
    found.broken_by(&calls).into_iter().for_each(|broken| stage.violations.note(broken));
    let taken = calls.iter().filter(|call| matches!(call.told, Told::Given(_) | Told::Stands { .. })).count();
    Ok(Report {
        trials: calls.len() as u64,
        acknowledged: taken as u64,
        log: stage.sim.take_log(),
        violations: stage.violations,
    })
}

impl<S: Store> Crowd<S> {
    fn moment(&self) -> Moment {
        self.places.update(|place| place + 1);
        let clock = i64::try_from(self.sim.now().as_millis()).unwrap_or(i64::MAX);
        Moment { place: self.places.get(), clock }
    }

    async fn exchange(&self, method: &str, target: &str, body: Vec<u8>) -> (u16, String) {
        let instance = self.sim.draw(|random| random.usize(..self.instances.len()));
        let headers = [("content-type", "application/json")];
        let answer = read(reply(&self.instances[instance], method, target, &headers, body).await).await;
        (answer.status, answer.text)
    }

    /// Asks, and notes what is told; nothing, if the client goes away.
    async fn ask(self: &Rc<Self>, ask: Ask) -> Told {
        let mut asked =
            Asked { crowd: Rc::clone(self), ask: ask.clone(), began: self.moment(), told: Told::Nothing };
        self.sim.log(format!("{} asks {ask:?}", asked.began.place));
        let (method, path, body) = ask.request(NAME);
        let (status, text) = self.exchange(method, &path, body.into_bytes()).await;
        let told = consumers::read(&ask, status, &text);
        self.sim.log(format!("{} is told {told:?}", asked.began.place));
        asked.told = told.clone();
        told
    }

    fn spawn_publisher(self: &Rc<Self>) {
        let crowd = Rc::clone(self);
        self.sim.spawn("publisher", async move {
            let sim = &crowd.sim;
            let mut next = 0;
            while sim.now() < crowd.end {
                let count = sim.draw(|random| random.choice([1, 1, 3, 20])).unwrap_or(1);
                let request = sim.draw(|random| Draft::many(random, next, count)).write();
                next += count;
                while crowd.exchange("POST", "/publish", request.body.clone()).await.0 != 200 {
                    sim.sleep(sim.below_millis(1000)).await;
                }
                sim.sleep(sim.below_millis(crowd.end.as_millis() as u64 / 20)).await;
            }
        });
    }

    async fn make(self: &Rc<Self>) {
        let sim = &self.sim;
        sim.sleep(sim.below_millis(self.end.as_millis() as u64 / 10)).await;
        let from = sim
            .draw(|random| random.choice([Place::Start, Place::Start, Place::Now]))
            .unwrap_or(Place::Start);
        let make = self.person.borrow().make(from);
        while self.ask(make.clone()).await == Told::Nothing {
            sim.sleep(sim.below_millis(1000)).await;
        }
    }

    fn is_made(&self) -> bool {
        self.calls.borrow().iter().any(|call| matches!(call.ask, Ask::Make(..)) && call.told != Told::Nothing)
    }

    /// Keeps a worker or a person at work: whoever vanishes is followed by another of the same name.
    fn spawn_keeper(self: &Rc<Self>, name: String) {
        let crowd = Rc::clone(self);
        self.sim.clone().spawn(format!("keeper of {name}"), async move {
            let sim = &crowd.sim;
            while !crowd.is_made() {
                sim.sleep(Duration::from_millis(100)).await;
            }
            let restlessness = sim.draw(|random| random.choice([0.0, 0.3, 1.0])).unwrap_or_default();
            while sim.now() < crowd.end {
                let present = Rc::new(());
                let task = if name == "person" {
                    crowd.spawn_person(&present)
                } else {
                    crowd.spawn_worker(&name, &present)
                };
                if sim.chance(restlessness) {
                    let time = sim.now() + sim.below_millis(crowd.end.as_millis() as u64 / 2);
                    let polls = sim.draw(|random| random.bool().then(|| random.u32(1..300)));
                    sim.doom(task, polls.map_or(Doom::Time(time), Doom::Polls));
                }
                while Rc::strong_count(&present) > 1 {
                    sim.sleep(Duration::from_millis(1) + crowd.end / 100).await;
                }
            }
        });
    }

    fn spawn_worker(self: &Rc<Self>, name: &str, present: &Rc<()>) -> TaskId {
        let (crowd, present, holder) = (Rc::clone(self), Rc::clone(present), name.to_owned());
        self.sim.spawn(name, async move {
            let _present = present;
            let sim = &crowd.sim;
            let habits = Habits {
                limits: LIMITS.to_vec(),
                leases: vec![1, 5, 30],
                waits: vec![0, 0, 3, 20],
                failing: sim.draw(|random| random.choice([0.0, 0.1, 0.5])).unwrap_or_default(),
                pauses: vec![None, Some(0), Some(1), Some(600)],
            };
            let slowest = sim.draw(|random| random.choice([0, 100, 3_000, 40_000])).unwrap_or_default();
            let mut worker = Worker::new(holder, habits);
            while sim.now() < crowd.end {
                let ask = sim.draw(|random| worker.next(random));
                let told = crowd.ask(ask.clone()).await;
                worker.take(ask, &told);
                let rest =
                    if worker.is_busy() { slowest } else { slowest.max(crowd.end.as_millis() as u64 / 200) };
                sim.sleep(sim.below_millis(rest) + Duration::from_micros(10)).await;
            }
        })
    }

    fn spawn_person(self: &Rc<Self>, present: &Rc<()>) -> TaskId {
        let (crowd, present) = (Rc::clone(self), Rc::clone(present));
        self.sim.spawn("person", async move {
            let _present = present;
            let sim = &crowd.sim;
            while sim.now() < crowd.end || crowd.person.borrow().is_in_doubt() {
                let ask = sim.draw(|random| crowd.person.borrow_mut().next(random));
                crowd.person.borrow_mut().take(ask.clone(), &Told::Nothing);
                let told = crowd.ask(ask.clone()).await;
                crowd.person.borrow_mut().take(ask, &told);
                sim.sleep(sim.below_millis(crowd.end.as_millis() as u64 / 5)).await;
            }
        })
    }

    /// Does all that is left, but for a few events that never can be done and have to die.
    async fn finish(self: &Rc<Self>) {
        let sim = &self.sim;
        while self.person.borrow().is_in_doubt() {
            let ask = sim.draw(|random| self.person.borrow_mut().next(random));
            let told = self.ask(ask.clone()).await;
            self.person.borrow_mut().take(ask, &told);
        }
        let can_die = self.person.borrow().attempts() > 0;
        let poison = sim.draw(|random| (0..3).map(|_| random.u64(1..60)).collect());
        let mut worker = Worker::thorough("the last", if can_die { poison } else { vec![] }, false);
        while !worker.is_done() {
            let ask = sim.draw(|random| worker.next(random));
            let told = self.ask(ask.clone()).await;
            worker.take(ask, &told);
            if !worker.is_busy() {
                sim.sleep(sim.below_millis(3_600_000)).await;
            }
        }
    }
}

/// A call under way. Dropping it means that its client went away.
struct Asked<S: Store> {
    crowd: Rc<Crowd<S>>,
    ask: Ask,
    began: Moment,
    told: Told,
}

impl<S: Store> Drop for Asked<S> {
    fn drop(&mut self) {
        let (ask, told) = (self.ask.clone(), std::mem::replace(&mut self.told, Told::Nothing));
        let ended = self.crowd.moment();
        self.crowd.calls.borrow_mut().push(Call { began: self.began, ended, ask, told });
    }
}
