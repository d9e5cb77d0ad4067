//! The service on the executor: a SQLite database and a key-value store whose calls take time, fail and are dropped.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use sekali::http::saved_answers::KeyValue;
use sekali::store::StoreError;
use sekali::store::database::{Connection, Database, Row, Value};
use sekali::store::sqlite::SqliteStore;
use sekali::testing::NativePlatform;
use sekali::testing::database::{Native, NativeConnection};

use crate::sim::clock::SimClock;
use crate::sim::executor::Handle;

/// The simulation as a platform of a store.
pub type SimPlatform<S> = NativePlatform<S, SimKeyValue, SimClock>;

/// The store on SQLite.
pub type Sqlite = SqliteStore<SimDatabase, SimClock>;

/// No power is cut here, and syncs of the disk would take most of the time.
const UNSYNCED: &str = "pragma synchronous = off";

/// Whoever has the lock is another task of this thread: to wait for it by the clock of the machine is in vain.
const UNWAITING: &str = "pragma busy_timeout = 0";

/// The milliseconds by SQLite's clock, in whose place that of the simulation stands.
const MILLIS: &str = "unixepoch('subsec') * 1000";

/// The pace and the troubles of all calls.
#[derive(Clone)]
pub struct Calls {
    sim: Handle,
    /// The most milliseconds of a half of a call.
    most: u64,
    /// The probability that a statement fails.
    pub trouble: Rc<Cell<f64>>,
}

impl Calls {
    /// Draws the pace and the troubles of a scenario.
    pub fn draw(sim: &Handle) -> Self {
        let most = sim.draw(|random| random.choice([0, 2, 50])).unwrap_or_default();
        let trouble = sim.draw(|random| random.choice([0.0, 0.0, 0.02])).unwrap_or_default();
        Self { sim: sim.clone(), most, trouble: Rc::new(Cell::new(trouble)) }
    }

    async fn pause(&self) {
        match self.sim.draw(|random| random.u32(..4)) {
            0 => {}
            1 => self.sim.sleep(self.sim.below_millis(self.most)).await,
            _ => self.sim.yield_now().await,
        }
    }

    fn fail(&self, error: StoreError) -> Result<(), StoreError> {
        if self.sim.chance(self.trouble.get()) { Err(error) } else { Ok(()) }
    }
}

/// A database file.
pub struct SimDatabase {
    native: Native,
    calls: Calls,
}

impl SimDatabase {
    /// The database in a file.
    pub fn new(path: PathBuf, calls: Calls) -> Self {
        Self { native: Native { path, faults: Rc::default() }, calls }
    }
}

/// A connection to it.
pub struct SimConnection {
    native: NativeConnection,
    calls: Calls,
}

impl Database for SimDatabase {
    type Connection = SimConnection;

    async fn open(&self) -> Result<SimConnection, StoreError> {
        self.calls.pause().await;
        let native = self.native.open().await?;
        native.execute(UNSYNCED, vec![]).await?;
        native.execute(UNWAITING, vec![]).await?;
        Ok(SimConnection { native, calls: self.calls.clone() })
    }
}

impl Connection for SimConnection {
    async fn execute(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let statement = match statement {
            pragma if pragma.starts_with("pragma synchronous") => UNSYNCED,
            pragma if pragma.starts_with("pragma busy_timeout") => UNWAITING,
            statement => statement,
        };
        self.calls.pause().await;
        self.calls.fail(StoreError::Busy)?;
        self.calls.fail(StoreError::Failed("the connection broke before the statement".into()))?;
        let statement = statement.replace(MILLIS, &self.calls.sim.now().as_millis().to_string());
        let rows = self.native.execute(&statement, parameters).await?;
        self.calls.pause().await;
        self.calls.fail(StoreError::Failed("the connection broke after the statement".into()))?;
        Ok(rows)
    }
}

/// A key-value store. Other tasks run before and after each call takes effect.
pub struct SimKeyValue {
    calls: Calls,
    values: Rc<RefCell<BTreeMap<String, Vec<u8>>>>,
}

impl SimKeyValue {
    /// A store of these values.
    pub fn new(calls: Calls, values: Rc<RefCell<BTreeMap<String, Vec<u8>>>>) -> Self {
        Self { calls, values }
    }
}

impl KeyValue for SimKeyValue {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        self.calls.pause().await;
        let value = self.values.borrow().get(key).cloned();
        self.calls.pause().await;
        Ok(value)
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), String> {
        self.calls.pause().await;
        self.values.borrow_mut().insert(key.into(), value.into());
        self.calls.pause().await;
        Ok(())
    }
}
