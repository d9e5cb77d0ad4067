//! The clients of a consumer: workers, each of whom is followed by another when it vanishes, and a person.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use sekali_common::api::{Stats, StoredEvent};
use sekali_model::account_of;
use sekali_model::consumer::{Ask, Call, Moment, Place, Told};
use serde::Deserialize;

use super::client::{Client, Failure};
use super::reader::recognise;
use super::record::{Claimed, End, History, Span};
use super::stage::{PAUSE, Stage};
use crate::consumers::{self, DEAD, Habits, NAME, Person, Worker};
use crate::requests::identities::topic;

/// The longest life of a worker that vanishes.
const LIFE: Duration = Duration::from_secs(2);

/// The longest time for which a worker stands still with a claim, which mostly runs out meanwhile.
const STALL: Duration = Duration::from_secs(4);

/// The longest rest of a person.
const LEISURE: Duration = Duration::from_secs(2);

/// The rest of a worker that has nothing to do.
const IDLE: Duration = Duration::from_millis(10);

/// The time in which all that is left can be done.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most events that fail whatever the last worker does.
const POISONOUS: usize = 3;

/// What the clients of a consumer share.
pub struct Consumer {
    person: Mutex<Person>,
    is_made: AtomicBool,
}

/// The events of a claim.
#[derive(Deserialize)]
struct Events<'a> {
    #[serde(borrow)]
    events: Vec<StoredEvent<'a>>,
}

impl Consumer {
    /// A consumer that is not made yet.
    pub fn new(seed: u64) -> Self {
        let person = Mutex::new(Person::new(&mut Rng::with_seed(seed)));
        Self { person, is_made: AtomicBool::new(false) }
    }

    fn person(&self) -> MutexGuard<'_, Person> {
        self.person.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is made; false if the round is over before.
    fn wait(&self, stage: &Stage) -> bool {
        while !self.is_made.load(Ordering::SeqCst) && !stage.is_over() {
            thread::sleep(PAUSE);
        }
        self.is_made.load(Ordering::SeqCst)
    }
}

/// Claims and commits until the stage ends. A worker that vanishes leaves its claim to others, or to the next of its name.
pub fn work(stage: &Stage, seed: u64, number: u64) -> History {
    let (mut history, mut rng) = (History::default(), Rng::with_seed(seed ^ (number << 52)));
    let client = Client::new(&stage.addresses);
    if !stage.consumer.wait(stage) {
        return history;
    }
    let restlessness = rng.choice([0.0, 0.3, 1.0]).unwrap_or_default();
    while !stage.is_over() {
        let mut worker = Worker::new(format!("worker {number}"), habits(stage, &mut rng));
        let slowest = Duration::from_millis(rng.choice([0, 0, 10, 100]).unwrap_or_default());
        let vanishes = (rng.f64() < restlessness).then(|| Instant::now() + LIFE.mul_f64(rng.f64()));
        while !stage.is_over() && vanishes.is_none_or(|vanishes| Instant::now() < vanishes) {
            let asked = worker.next(&mut rng);
            let told = ask(stage, &client, &asked, &mut history);
            worker.take(asked, &told);
            let rest = if worker.is_busy() { slowest } else { slowest.max(IDLE) };
            let stalls = worker.is_busy() && rng.u8(..25) == 0;
            stage.rest(if stalls { STALL } else { rest }.mul_f64(rng.f64()));
        }
    }
    history
}

fn habits(stage: &Stage, rng: &mut Rng) -> Habits {
    // What tells of dead events takes the place of others where only so many are kept.
    let failing = if stage.has_floods { Some(0.02) } else { rng.choice([0.0, 0.1, 0.5]) };
    Habits {
        limits: vec![1, 2, 5, 30],
        leases: vec![1, 1, 2],
        waits: vec![0, 0, 1],
        failing: failing.unwrap_or_default(),
        pauses: vec![None, Some(0), Some(1), Some(600)],
    }
}

/// Makes the consumer, and in every second round intervenes now and then until the stage ends.
pub fn be_a_person(stage: &Stage, seed: u64) -> History {
    let (mut history, mut rng) = (History::default(), Rng::with_seed(seed ^ (1 << 56)));
    let (client, consumer) = (Client::new(&stage.addresses), &stage.consumer);
    let from = rng.choice([Place::Start, Place::Start, Place::Now]).unwrap_or(Place::Start);
    let make = consumer.person().make(from);
    while ask(stage, &client, &make, &mut history) == Told::Nothing {
        thread::sleep(PAUSE);
    }
    consumer.is_made.store(true, Ordering::SeqCst);
    if rng.bool() {
        stage.rest(LEISURE.mul_f64(rng.f64()));
        while !stage.is_over() {
            intervene(stage, &client, &mut rng, &mut history);
            stage.rest(LEISURE.mul_f64(rng.f64()));
        }
    }
    history
}

fn intervene(stage: &Stage, client: &Client, rng: &mut Rng, history: &mut History) {
    let mut person = stage.consumer.person();
    let asked = person.next(rng);
    let told = ask(stage, client, &asked, history);
    person.take(asked, &told);
}

/// Does all that is left, but for a few events that never can be done and have to die.
pub fn finish(stage: &Stage, seed: u64) -> History {
    let (mut history, mut rng) = (History::default(), Rng::with_seed(seed ^ (1 << 60)));
    let (client, began) = (Client::new(&stage.addresses), Instant::now());
    while stage.consumer.person().is_in_doubt() && began.elapsed() < PATIENCE {
        intervene(stage, &client, &mut rng, &mut history);
    }
    let (newest, can_die) = {
        let person = stage.consumer.person();
        (person.newest(), person.attempts() > 0)
    };
    let poison = (0..POISONOUS).filter(|_| can_die).map(|_| rng.u64(..=newest)).collect();
    let mut worker = Worker::thorough("the last", poison, true);
    while !worker.is_done() && began.elapsed() < PATIENCE {
        let asked = worker.next(&mut rng);
        let told = ask(stage, &client, &asked, &mut history);
        worker.take(asked, &told);
        if !worker.is_busy() {
            thread::sleep(IDLE);
        }
    }
    if !worker.is_done() {
        let last = history.calls.iter().rev().find(|call| call.ask == Ask::Look);
        history.faults.push(format!("the consumer is not done after {PATIENCE:?}: {last:?}"));
    }
    history
}

/// Notes that the store may lose, meanwhile, what it did not sync.
pub fn through_upheaval<T>(stage: &Stage, history: &mut History, upheaval: impl FnOnce() -> T) -> T {
    let began = moment(stage);
    let done = upheaval();
    history.calls.push(Call { began, ended: moment(stage), ask: Ask::Upheaval, told: Told::Nothing });
    done
}

/// Makes the consumer anew behind a copy that takes the place of the store meanwhile.
///
/// # Errors
/// When it cannot take its place, or is not served.
pub fn restore(stage: &Stage, history: &mut History, take_over: impl FnOnce() -> Result<()>) -> Result<()> {
    ensure!(stage.consumer.wait(stage), "the consumer is not made");
    let began = moment(stage);
    take_over()?;
    let client = Client::new(&stage.addresses);
    let person = stage.consumer.person();
    let restore = person.restore(newest(&client)?);
    let mut calls = History::default();
    let told = loop {
        match ask(stage, &client, &restore, &mut calls) {
            Told::Nothing => thread::sleep(PAUSE),
            told => break told,
        }
    };
    history.faults.extend(calls.faults);
    history.calls.push(Call { began, ended: moment(stage), ask: restore, told });
    Ok(())
}

/// The newest seq, as soon as anybody tells it.
fn newest(client: &Client) -> Result<u64> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Ok(answer) = client.send("GET", "/stats", &[], b"")
            && answer.status == 200
            && answer.is_complete
        {
            return Ok(serde_json::from_slice::<Stats>(&answer.body)?.last_seq);
        }
        thread::sleep(PAUSE);
    }
    bail!("GET /stats is not answered")
}

/// Asks, and notes what was told. Of what was not sent there is nothing to note.
fn ask(stage: &Stage, client: &Client, ask: &Ask, history: &mut History) -> Told {
    let (method, path, body) = ask.request(NAME);
    let headers = [("content-type", "application/json")];
    let began = moment(stage);
    let answer = client.send(method, &path, &headers, body.as_bytes());
    let ended = moment(stage);
    let mut told = Told::Nothing;
    match answer {
        Err(Failure::Unsent) => return Told::Nothing,
        Err(Failure::Lost(_)) => {}
        Err(Failure::Late(cause)) => history.faults.push(format!("no answer in time: {cause}")),
        Ok(answer) if !answer.is_complete => {}
        Ok(answer) => {
            let is_expected = match answer.status {
                503 => answer.header("retry-after").is_some(),
                500 => stage.losses.database || stage.losses.instances,
                _ => true,
            };
            if !is_expected {
                history.faults.push(format!("{method} {path} -> {} {}", answer.status, answer.text()));
            }
            told = consumers::read(ask, answer.status, &answer.text());
            if let (Told::Given(_), Err(fault)) =
                (&told, note_events(&answer.body, Span { began: began.place, ended: ended.place }, history))
            {
                history.faults.push(format!("a claim: {fault:#}"));
            }
        }
    }
    history.calls.push(Call { began, ended, ask: ask.clone(), told: told.clone() });
    told
}

/// Notes the events of a claim.
fn note_events(body: &[u8], span: Span, history: &mut History) -> Result<()> {
    let given: Events<'_> = serde_json::from_slice(body).context("its events")?;
    let events: Vec<_> = given.events.iter().map(recognise).collect::<Result<_>>()?;
    ensure!(events.iter().all(Option::is_some), "it has events of others");
    history.claims.push(Claimed { span, events: events.into_iter().flatten().collect() });
    Ok(())
}

fn moment(stage: &Stage) -> Moment {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Moment { place: stage.clock.tick(), clock: i64::try_from(clock).unwrap_or(i64::MAX) }
}

/// What the consumer broke.
pub fn check(history: &History, end: &mut End) -> Vec<String> {
    if history.calls.is_empty() {
        return Vec::new();
    }
    let mut found = std::mem::take(&mut end.found);
    for (identity, stored) in history.claims.iter().flat_map(|claim| &claim.events) {
        found.take_given(stored.seq, topic(*identity));
    }
    found.take_deaths(account_of(&end.stats, DEAD).unique_processed);
    found.broken_by(&history.calls)
}
