//! The connections of an instance: one writes, another writes what may be lost with the power, and the others read.

use std::cell::{Cell, RefCell};

use tokio::sync::Mutex;

use super::log::Log;
use super::schema;
use crate::clock::Clock;
use crate::store::StoreError;
use crate::store::database::{Connection, Database, Row, Value};
use crate::store::query::Query;
use crate::store::read_permits::{ReadPermits, retry_while_busy};

/// The settings of each connection. A server across the network does not know them, nor need them.
///
/// SQLite tries a few times to get a lock before the component has to, whose every try is a call to the host; it does
/// not wait longer, because it sleeps longer each time, on a thread of the host. The other one copies changed pages
/// from the log to the database less often. The last one overwrites what is deleted, and most of the places that rows
/// have left for another page, so that a later erasure leaves few copies.
const OF_CONNECTION: [&str; 3] =
    ["pragma busy_timeout = 10", "pragma wal_autocheckpoint = 4000", "pragma secure_delete = on"];

/// The settings of a database, which most connections find as they should be.
const OF_DATABASE: [&str; 2] = ["pragma journal_mode = wal", "pragma synchronous = full"];

/// Whether a write survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It does, once it has returned.
    Synced,
    /// It may be undone, together with all that came after it. A server across a network knows no such writes.
    Unsynced,
}

/// The writing connections, of which one is used at a time. Each is opened by its first write and by the one after a
/// failure.
struct Writers<C> {
    synced: Option<C>,
    unsynced: Option<C>,
}

/// Connections to one database, opened when they are needed.
pub struct Pool<D: Database, C> {
    database: D,
    clock: C,
    writers: Mutex<Writers<D::Connection>>,
    log: Log,
    /// True once a connection has shown that a server across a network executes the statements.
    is_remote: Cell<bool>,
    read_permits: ReadPermits,
    /// Connections for any read, which nothing uses at the moment.
    idle: RefCell<Vec<D::Connection>>,
}

impl<D: Database, C: Clock> Pool<D, C> {
    /// A pool without connections.
    pub fn new(database: D, clock: C) -> Self {
        Self {
            database,
            clock,
            writers: Mutex::new(Writers { synced: None, unsynced: None }),
            log: Log::default(),
            is_remote: Cell::new(false),
            read_permits: ReadPermits::default(),
            idle: RefCell::default(),
        }
    }

    /// Lends `work` the writing connection. Writes wait for each other here, in their order: in the database, one would
    /// have to try again and again. A connection that failed is not kept: its server may be gone.
    /// `pages` are the least that it changes in the database.
    pub async fn write<T>(
        &self,
        pages: usize,
        work: impl AsyncFnOnce(&D::Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.write_as(Durability::Synced, pages, work).await
    }

    /// Lends `work` a writing connection whose commits are of this durability.
    pub async fn write_as<T>(
        &self,
        durability: Durability,
        pages: usize,
        work: impl AsyncFnOnce(&D::Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut writers = self.writers.lock().await;
        let is_unsynced = durability == Durability::Unsynced && !self.is_remote.get();
        let writer = if is_unsynced { &mut writers.unsynced } else { &mut writers.synced };
        let connection = match writer.take() {
            Some(connection) => connection,
            None if is_unsynced => self.open_unsynced().await?,
            None => self.open().await?,
        };
        let result = match self.log.make_room(&connection).await {
            Ok(()) => work(&connection).await,
            Err(error) => Err(error),
        };
        if result.is_ok() {
            self.log.look(&connection, pages, || self.clock.now()).await;
        }
        if is_usable_after(&result) {
            *writer = Some(connection);
        }
        result.map_err(StoreError::or_busy)
    }

    /// Runs a query on a connection of its purpose, again while its server does not know the seq of the query.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] when no connection is free for five seconds.
    pub async fn query(&self, query: Query<'_>) -> Result<Vec<Row>, StoreError> {
        let _permit = self.read_permits.permit(query.purpose, &self.clock).await?;
        self.retry_while_busy(async || {
            let idle = self.idle.borrow_mut().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => self.open().await?,
            };
            let result = connection.execute(query.text, query.parameters.to_vec()).await;
            if is_usable_after(&result) {
                self.idle.borrow_mut().push(connection);
            }
            match result {
                Ok(rows) if !query.is_answered_by(&rows) => Err(StoreError::Busy),
                result => result.map_err(StoreError::or_busy),
            }
        })
        .await
    }

    /// True if a server across a network executes the statements of the connections so far.
    pub fn is_remote(&self) -> bool {
        self.is_remote.get()
    }

    async fn open(&self) -> Result<D::Connection, StoreError> {
        let (connection, is_remote) = open(&self.database).await?;
        self.is_remote.set(is_remote);
        Ok(connection)
    }

    async fn open_unsynced(&self) -> Result<D::Connection, StoreError> {
        let connection = self.open().await?;
        apply(&connection, ["pragma synchronous = normal"]).await?;
        Ok(connection)
    }

    /// Repeats `work` while it finds the database busy, for up to five seconds.
    pub async fn retry_while_busy<T>(
        &self,
        work: impl AsyncFn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        retry_while_busy(&self.clock, work).await
    }
}

/// Opens a connection to the store, and tells whether a server across a network executes its statements. The first one to
/// a database makes its tables. Hosts that run many instances open many, so most take three statements.
///
/// # Errors
/// [`StoreError::Failed`] when a newer program has made the tables.
pub async fn open<D: Database>(database: &D) -> Result<(D::Connection, bool), StoreError> {
    let connection = database.open().await?;
    let answers = apply(&connection, OF_CONNECTION).await?;
    if !is_prepared(&connection).await? {
        prepare(&connection).await?;
    }
    Ok((connection, answers.iter().all(Option::is_none)))
}

/// True if the settings of the database and its schema are as they should be.
async fn is_prepared(connection: &impl Connection) -> Result<bool, StoreError> {
    let parameters = vec![schema::version_known()];
    match connection.query_row(include_str!("sql/is_prepared.sql"), parameters).await {
        Ok(row) => Ok(row.0 == [Value::Integer(1)]),
        Err(error) if error.is_passing() => Err(error),
        Err(_) => Ok(false), // a database without tables, or a server
    }
}

/// Applies the settings of the database and makes its tables. A journal mode that did not take is logged.
async fn prepare(connection: &impl Connection) -> Result<(), StoreError> {
    if let Some(mode) = configure(connection).await? {
        sekali_common::log::error(
            "journal-mode",
            format_args!("the database stays in journal_mode={mode}: its file system may not support wal"),
        );
    }
    schema::migrate(connection).await
}

/// Applies the settings of the database, and returns the journal mode if that one did not take: on some file systems
/// SQLite cannot write ahead, and then readers and writers wait for each other. A database in memory has a journal of
/// its own.
async fn configure(connection: &impl Connection) -> Result<Option<String>, StoreError> {
    let [mode, _] = apply(connection, OF_DATABASE).await?;
    Ok(mode.filter(|mode| !["wal", "memory"].contains(&mode.as_str())))
}

/// Applies settings, and returns the texts that they answer, empty for a number. A server does not know them.
async fn apply<const N: usize>(
    connection: &impl Connection,
    settings: [&str; N],
) -> Result<[Option<String>; N], StoreError> {
    let mut answers = [const { None }; N];
    for (setting, answer) in settings.into_iter().zip(&mut answers) {
        match connection.execute(setting, vec![]).await {
            Ok(rows) => *answer = rows.first().map(|row| row.text(0).unwrap_or_default().to_owned()),
            // Without the setting, it must not be used: in another journal than the write-ahead log, a commit may not
            // survive a power cut.
            Err(error) if error.is_passing() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(answers)
}

impl StoreError {
    /// The error for a caller, who may try again with another connection.
    fn or_busy(self) -> Self {
        match self {
            Self::Ended(_) => Self::Busy,
            other => other,
        }
    }
}

fn is_usable_after<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Ok(_) | Err(StoreError::Busy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::database::Native;

    /// A connection that answers `journal_mode` with a mode, and refuses other settings.
    struct InMode(Result<&'static str, StoreError>);

    impl Connection for InMode {
        async fn execute(&self, statement: &str, _: Vec<Value>) -> Result<Vec<Row>, StoreError> {
            match statement {
                "pragma journal_mode = wal" => self.0.clone().map(|mode| vec![Row(vec![mode.into()])]),
                _ => Err(StoreError::Failed("unknown".into())),
            }
        }
    }

    #[tokio::test]
    async fn a_journal_mode_that_did_not_take_is_told() {
        for (mode, told) in
            [("delete", Some("delete")), ("truncate", Some("truncate")), ("wal", None), ("memory", None)]
        {
            assert_eq!(configure(&InMode(Ok(mode))).await.unwrap().as_deref(), told, "{mode}");
        }
        let of_a_server = InMode(Err(StoreError::Failed("no such statement".into())));
        assert_eq!(configure(&of_a_server).await.unwrap(), None);
        assert!(matches!(configure(&InMode(Err(StoreError::Busy))).await, Err(StoreError::Busy)));

        let directory = tempfile::tempdir().unwrap();
        for (path, told) in [(directory.path().join("events.db"), None), ("".into(), Some("delete"))] {
            // SQLite takes an empty path for a temporary file, which cannot have a log that others read.
            let connection = Native { path, faults: Default::default() }.open().await.unwrap();
            assert_eq!(configure(&connection).await.unwrap().as_deref(), told);
        }
    }
}
