//! The connections of an instance: one writes, and up to four read, so that a long read never delays a write.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::schema;
use crate::clock::Clock;
use crate::store::StoreError;
use crate::store::database::{Connection, Database, Row, Value, first};

/// The settings of a connection. With a busy timeout of zero the component waits for a lock itself, and blocks no thread
/// of the host. The last one copies changed pages from the log to the database less often. A server across the network
/// does not know these settings, nor need them.
const PRAGMAS: [&str; 4] = [
    "pragma busy_timeout = 0",
    "pragma journal_mode = wal",
    "pragma synchronous = full",
    "pragma wal_autocheckpoint = 4000",
];

/// Connections that read at once. Further reads wait.
const READERS: usize = 4;

/// The longest wait of a read for a busy database, and the pause between two tries.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// Connections to one database, opened when they are needed.
pub struct Pool<D: Database, C> {
    database: D,
    clock: C,
    /// The idle writing connection. A write that finds none opens another.
    writer: RefCell<Option<D::Connection>>,
    /// The idle reading connections.
    readers: RefCell<Vec<D::Connection>>,
    reading: Semaphore,
    is_migrated: Cell<bool>,
}

impl<D: Database, C: Clock> Pool<D, C> {
    /// A pool without connections.
    pub fn new(database: D, clock: C) -> Self {
        Self {
            database,
            clock,
            writer: RefCell::default(),
            readers: RefCell::default(),
            reading: Semaphore::new(READERS),
            is_migrated: Cell::new(false),
        }
    }

    /// Lends `work` the writing connection. A connection that failed is not kept: its server may be gone.
    pub async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&D::Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let kept = self.writer.take();
        let connection = match kept {
            Some(connection) => connection,
            None => self.open().await?,
        };
        let result = work(&connection).await;
        if is_usable_after(&result) {
            self.writer.replace(Some(connection));
        }
        result
    }

    /// Runs a query on a reading connection, and again while the database is busy.
    pub async fn query(&self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        // The semaphore is never closed.
        let _permit = self.reading.acquire().await;
        self.retry_while_busy(async || {
            let idle = self.readers.borrow_mut().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => self.open().await?,
            };
            let result = connection.execute(statement, parameters.to_vec()).await;
            if is_usable_after(&result) {
                self.readers.borrow_mut().push(connection);
            }
            result
        })
        .await
    }

    /// The first row of a query, which must have one.
    pub async fn query_row(&self, statement: &str, parameters: &[Value]) -> Result<Row, StoreError> {
        first(self.query(statement, parameters).await?)
    }

    /// Repeats `work` while it finds the database busy, for up to five seconds.
    pub async fn retry_while_busy<T>(
        &self,
        work: impl AsyncFn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut deadline = None; // the clock is a call to the host, and few calls find the database busy
        loop {
            match work().await {
                Err(StoreError::Busy) => {
                    let now = self.clock.now();
                    if now >= *deadline.get_or_insert(now + PATIENCE) {
                        return Err(StoreError::Busy);
                    }
                    self.clock.sleep(PAUSE).await;
                }
                result => return result,
            }
        }
    }

    async fn open(&self) -> Result<D::Connection, StoreError> {
        let connection = open(&self.database).await?;
        if !self.is_migrated.get() {
            schema::migrate(&connection).await?;
            self.is_migrated.set(true);
        }
        Ok(connection)
    }
}

/// Opens a connection and applies its settings.
pub async fn open<D: Database>(database: &D) -> Result<D::Connection, StoreError> {
    let connection = database.open().await?;
    for pragma in PRAGMAS {
        if let Err(StoreError::Busy) = connection.execute(pragma, vec![]).await {
            return Err(StoreError::Busy);
        }
    }
    Ok(connection)
}

fn is_usable_after<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Ok(_) | Err(StoreError::Busy))
}
