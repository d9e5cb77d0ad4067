//! The whole service: concurrent requests and live streams, of which some are dropped midway.
//!
//! There are six kinds of scenarios. `keys` runs on SQLite, whose statements fail before or after they took effect, with
//! requests of all formats that share idempotency keys, on one or two instances; so does `deliveries`, with what providers
//! and others send to receivers. `groups` and `followers` run on a store
//! in memory that has what SQLite has not at will: it is slow, busy or full, it fails, and its calls never return. It knows
//! the moment of each commit, and counts the reads. `groups` is about the requests of a group commit, `followers` about
//! many live streams of one instance. `consumers` are on both stores, for seconds or for days.

mod attempts;
mod clients;
mod consumers;
mod deliveries;
mod fakes;
mod follower;
mod followers;
mod groups;
mod keys;
mod pager;
mod receipts;
mod store;
mod trouble;
mod writes;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use sekali::event::Timestamp;
use sekali::http::app::App;
use sekali::store::Store;
use sekali::store::sql::SqlStore;
use sekali::store::sqlite::SqliteBackend;
use sekali::testing::service::settings;

use self::attempts::Attempts;
use self::clients::{Clients, Reading};
use self::fakes::{Calls, SimDatabase, SimKeyValue, SimPlatform, Sqlite};
use self::receipts::Books;
use self::store::SimStore;
use self::writes::Writes;
use super::clock::SimClock;
use super::executor::{End, Executor, Handle};
use super::{Report, Violations, scenarios};
use crate::{Effort, Tally};

/// The time by which every request is answered or gone.
const LONG: Duration = Duration::from_secs(3600);

/// Runs the experiment.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    let mut tally = scenarios("keys", seed, effort.pick(80, 1500), keys::scenario)?;
    tally.add(scenarios("deliveries", seed, effort.pick(80, 1500), deliveries::scenario)?);
    tally.add(scenarios("consumers in memory", seed, effort.pick(40, 600), consumers::in_memory)?);
    tally.add(scenarios("consumers on sqlite", seed, effort.pick(20, 200), consumers::on_sqlite)?);
    tally.add(scenarios("groups", seed, effort.pick(400, 6000), groups::scenario)?);
    tally.add(scenarios("followers", seed, effort.pick(60, 800), followers::scenario)?);
    Ok(tally)
}

/// The parts that every scenario has.
struct Stage {
    executor: Executor,
    sim: Handle,
    seed: u64,
    violations: Violations,
}

impl Stage {
    fn new(seed: u64) -> Self {
        let executor = Executor::new(seed);
        Self { sim: executor.handle(), executor, seed, violations: Violations::default() }
    }

    /// An instance of the service.
    fn instance<S: Store>(
        &self,
        number: u64,
        store: S,
        key_value: SimKeyValue,
        variables: &[(&str, &str)],
    ) -> Result<App<SimPlatform<S>>> {
        let started_at = Timestamp::parse("2026-11-21T01:00:00Z")?;
        let (clock, seed) = (SimClock(self.sim.clone()), self.seed ^ number);
        Ok(App::new(settings(variables), started_at, store, key_value, clock, seed))
    }

    /// The clients of one instance on a store in memory.
    fn clients_of(&self, store: &SimStore, writes: Rc<Writes>) -> Result<Rc<Clients<SimStore>>> {
        let key_value = SimKeyValue::new(Calls::draw(&self.sim), Rc::default());
        let instances = vec![self.instance(0, store.clone(), key_value, &[])?];
        Ok(self.clients(instances, Some(writes)))
    }

    /// So many instances on one file of SQLite.
    fn instances_on_sqlite(
        &self,
        directory: &Path,
        calls: &Calls,
        count: u64,
        variables: &[(&str, &str)],
    ) -> Result<Vec<App<SimPlatform<Sqlite>>>> {
        let values = Rc::<RefCell<BTreeMap<String, Vec<u8>>>>::default();
        let instance = |number| {
            let database = SimDatabase::new(directory.join("events.db"), calls.clone());
            let backend = SqliteBackend::new(database, SimClock(self.sim.clone()), self.seed ^ number);
            let key_value = SimKeyValue::new(calls.clone(), Rc::clone(&values));
            self.instance(number, SqlStore::on(backend), key_value, variables)
        };
        (0..count).map(instance).collect()
    }

    /// The clients of such instances.
    fn clients_on_sqlite(
        &self,
        directory: &Path,
        calls: &Calls,
        count: u64,
        variables: &[(&str, &str)],
    ) -> Result<Rc<Clients<Sqlite>>> {
        Ok(self.clients(self.instances_on_sqlite(directory, calls, count, variables)?, None))
    }

    fn clients<S: Store>(
        &self,
        instances: Vec<App<SimPlatform<S>>>,
        writes: Option<Rc<Writes>>,
    ) -> Rc<Clients<S>> {
        let attempts = Rc::new(Attempts::new(self.sim.clone()));
        Rc::new(Clients { sim: self.sim.clone(), instances, attempts, writes })
    }

    /// Runs until all tasks have ended.
    fn run(&self, tasks: &str) {
        let end = self.executor.run(self.sim.now() + LONG);
        self.violations.check(end == End::Done, || format!("{tasks}: not all ended: {end:?}"));
    }

    /// Checks all answers by what was read in the end.
    fn check<S: Store>(&self, clients: &Clients<S>, reading: &Reading, may_fail: bool) -> Result<Books> {
        let (events, stats) = reading.take().context("the events were not read")?;
        let books = Books::read(&events, &stats)?;
        receipts::check(&clients.attempts.all(), &books, may_fail, &self.violations);
        Ok(books)
    }

    fn report<S: Store>(self, clients: &Clients<S>, streams: u64, received: u64) -> Report {
        let attempts = clients.attempts.all();
        Report {
            trials: attempts.len() as u64 + streams,
            acknowledged: attempts.iter().map(|attempt| attempt.acknowledged()).sum::<u64>() + received,
            violations: self.violations,
            log: self.sim.take_log(),
        }
    }
}
