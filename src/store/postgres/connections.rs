//! The connections of an instance. Each statement opens one and gives it back: hosts pool them, and bound them for all
//! their instances together. No transaction outlasts a statement, so that an instance that vanishes leaves none open.

use std::cell::Cell;
use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::OnceCell;

use super::schema;
use crate::clock::Clock;
use crate::store::StoreError;
use crate::store::database::{Connection, Database, Row, Value};
use crate::store::query::Query;
use crate::store::read_permits::{READ_TIMEOUT, ReadPermits, retry_while_busy};

/// The longest wait for the answer to a statement. A write that has to wait for a replica may take any time.
const LONGEST_STATEMENT: Duration = Duration::from_secs(10);

/// The time between two lines of the log that say that the database cannot be reached.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Opens connections to one database.
pub struct Connections<D, C> {
    database: D,
    clock: C,
    read_permits: ReadPermits,
    is_prepared: OnceCell<()>,
    /// The time from which an unreachable database is logged again.
    logs_from: Cell<Duration>,
}

impl<D: Database, C: Clock> Connections<D, C> {
    /// No connection yet.
    pub fn new(database: D, clock: C) -> Self {
        Self {
            database,
            clock,
            read_permits: ReadPermits::default(),
            is_prepared: OnceCell::new(),
            logs_from: Cell::default(),
        }
    }

    /// Runs a statement that writes, and that may find the database busy.
    ///
    /// # Errors
    /// [`StoreError::Uncertain`] when the connection was lost before the answer came, or none came in ten seconds.
    pub async fn write(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let connection = self.open().await?;
        let answer = connection.execute(statement, parameters);
        match select(pin!(answer), pin!(self.clock.sleep(LONGEST_STATEMENT))).await {
            Either::Left((rows, _)) => rows,
            Either::Right(_) => Err(StoreError::Uncertain("the database has not answered for 10 s".into())),
        }
    }

    /// Runs a query, again if its connection was lost, and while its server does not know the seq of the query.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] when other reads leave no room for it in five seconds, or the answer takes ten.
    pub async fn query(&self, query: Query<'_>) -> Result<Vec<Row>, StoreError> {
        let _permit = self.read_permits.permit(query.purpose, &self.clock).await?;
        let read = async || {
            let connection = self.open().await?;
            match connection.execute(query.text, query.parameters.to_vec()).await {
                Ok(rows) if !query.is_answered_by(&rows) => Err(StoreError::Busy),
                answer => answer.map_err(|error| self.of_read(error)),
            }
        };
        match select(pin!(self.retry_while_busy(read)), pin!(self.clock.sleep(LONGEST_STATEMENT))).await {
            Either::Left((rows, _)) => rows,
            Either::Right(_) => Err(StoreError::Overloaded),
        }
    }

    /// Repeats `work` while it finds the database busy, for up to five seconds.
    pub async fn retry_while_busy<T>(
        &self,
        work: impl AsyncFn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        retry_while_busy(&self.clock, work).await
    }

    /// Opens a connection. The first of an instance brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when the database cannot be reached: it may be at its start, or another may take its place.
    /// [`StoreError::Misconfigured`] when the host may not connect to it.
    async fn open(&self) -> Result<D::Connection, StoreError> {
        let connection = match select(pin!(self.database.open()), pin!(self.clock.sleep(READ_TIMEOUT))).await
        {
            Either::Left((connection, _)) => connection,
            Either::Right(_) => Err(StoreError::Failed("no connection is free".into())),
        };
        let connection = connection.map_err(|error| match error {
            StoreError::Misconfigured(_) => error,
            passing => {
                self.log_unreachable(passing);
                StoreError::Busy
            }
        })?;
        // Bringing a large database up to date takes longer than a request waits. The server goes on with it.
        let prepared = self.is_prepared.get_or_try_init(|| prepare(&connection));
        match select(pin!(prepared), pin!(self.clock.sleep(READ_TIMEOUT))).await {
            Either::Left((prepared, _)) => prepared.map_err(|error| self.of_read(error))?,
            Either::Right(_) => return Err(StoreError::Busy),
        };
        Ok(connection)
    }

    /// The error of a read. A read changes nothing, so it can be repeated.
    fn of_read(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Uncertain(cause) => {
                self.log_unreachable(cause);
                StoreError::Busy
            }
            other => other,
        }
    }

    fn log_unreachable(&self, cause: impl Display) {
        let now = self.clock.now();
        if now >= self.logs_from.get() {
            self.logs_from.set(now + LOG_INTERVAL);
            sekali_common::log::error("database", format_args!("the database does not answer: {cause}"));
        }
    }
}

/// Brings the schema up to date, and logs what endangers the events.
async fn prepare(connection: &impl Connection) -> Result<(), StoreError> {
    let isolation = connection.query_row(include_str!("sql/isolation.sql"), vec![]).await?;
    let isolation = isolation.text(0)?;
    if isolation != "read committed" {
        // A write has to see what was committed while it waited for its turn.
        return Err(StoreError::Failed(format!(
            "transactions of this database are {isolation}, and have to be read committed: set \
            default_transaction_isolation, by alter database or alter role"
        )));
    }
    schema::migrate(connection).await?;
    let risks: Vec<String> = connection.query_row(include_str!("sql/risks.sql"), vec![]).await?.json(0)?;
    for risk in risks {
        sekali_common::log::error(
            "durability",
            format_args!("the database may lose events that were answered: {risk}"),
        );
    }
    Ok(())
}
