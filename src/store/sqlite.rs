//! The store on SQLite: every statement of the service, over whatever carries statements there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

pub use spin_sdk::sqlite::Value;
use tokio::sync::Semaphore;

use super::select::{self, Statement};
use super::{
    Boundary, Clock, Direction, Filter, Format, Ledger, Outcome, Page, PageSize, Seq, Span, Status, Store,
    StoreError,
};
use crate::event::{EventId, NewEvent, Source, Timestamp, Topic};

/// Where connections come from.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait Database: 'static {
    /// What [`Database::open`] gives.
    type Connection: Connection;

    /// Opens one more connection to the same database.
    async fn open(&self) -> Result<Self::Connection, StoreError>;
}

/// A connection: it runs one statement at a time.
#[allow(async_fn_in_trait)]
pub trait Connection: 'static {
    /// Runs one statement to its end and returns its rows.
    async fn execute(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, StoreError>;
}

/// The values of a result's row, in the order of its columns.
pub type Row = Vec<Value>;

/// The forward migrations, one statement each: the version of a schema is how many of them it has seen.
const MIGRATIONS: [&str; 8] = [
    include_str!("migrations/0001_events.sql"),
    include_str!("migrations/0002_events_by_topic.sql"),
    include_str!("migrations/0003_topics.sql"),
    include_str!("migrations/0004_count_stored.sql"),
    include_str!("migrations/0005_count_dropped.sql"),
    include_str!("migrations/0006_attributes.sql"),
    include_str!("migrations/0007_events_by_source.sql"),
    include_str!("migrations/0008_events_by_timestamp.sql"),
];

/// What a connection is told when it is opened. The first of them leaves waiting for a lock to us,
/// who can do better than to block, and the last has busy pages copied to the database less often. A server
/// across the network knows none of these and needs none.
const PRAGMAS: [&str; 4] = [
    "pragma busy_timeout = 0",
    "pragma journal_mode = wal",
    "pragma synchronous = full",
    "pragma wal_autocheckpoint = 4000",
];

/// Rows of the largest append: a power of two whose parameters SQLite still takes (32,766).
const MAX_ROWS: usize = 4096;
/// Parameters of a row of an append.
const ROW_PARAMETERS: usize = 7;

/// Events of a span of time that are looked at to find its seqs; if there are more, reading in the order of
/// seq comes upon them soon.
const NARROW_EVENTS: i64 = 100_000;

/// Connections that read. A read that finds all of them at work waits.
const READERS: usize = 4;

/// How long a read waits for a database that is busy, and how long between two tries.
const READ_PATIENCE: Duration = Duration::from_secs(5);
const READ_PAUSE: Duration = Duration::from_millis(5);

/// [`Store`] on SQLite or libSQL.
pub struct SqliteStore<D: Database, C> {
    database: D,
    clock: C,
    /// The one that writes, unless it is at work: then whoever else writes opens another.
    writer: RefCell<Option<D::Connection>>,
    readers: RefCell<Vec<D::Connection>>,
    reading: Semaphore,
    migrated: Cell<bool>,
    random: RefCell<fastrand::Rng>,
    appends: RefCell<BTreeMap<usize, Rc<str>>>,
}

impl<D: Database, C: Clock> SqliteStore<D, C> {
    /// A store that opens `database` at first use. `seed` must differ from instance to instance.
    pub fn new(database: D, clock: C, seed: u64) -> Self {
        Self {
            database,
            clock,
            writer: RefCell::default(),
            readers: RefCell::default(),
            reading: Semaphore::new(READERS),
            migrated: Cell::new(false),
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            appends: RefCell::default(),
        }
    }

    /// Lends `work` the connection that writes. One that failed is not kept: its server may have gone.
    async fn write<T>(
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

    /// Lends a connection for a read, again and again while the database is busy.
    async fn read<T>(
        &self,
        work: impl AsyncFn(&D::Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // The semaphore is never closed.
        let _permit = self.reading.acquire().await;
        self.patiently(async || {
            let idle = self.readers.borrow_mut().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => self.open().await?,
            };
            let result = work(&connection).await;
            if is_usable_after(&result) {
                self.readers.borrow_mut().push(connection);
            }
            result
        })
        .await
    }

    /// Tries again while the database is busy, for as long as a read may take.
    async fn patiently<T>(&self, work: impl AsyncFn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let deadline = self.clock.now() + READ_PATIENCE;
        loop {
            match work().await {
                Err(StoreError::Busy) if self.clock.now() < deadline => self.clock.sleep(READ_PAUSE).await,
                result => return result,
            }
        }
    }

    async fn open(&self) -> Result<D::Connection, StoreError> {
        let connection = open(&self.database).await?;
        if !self.migrated.get() {
            migrate(&connection).await?;
            self.migrated.set(true);
        }
        Ok(connection)
    }

    /// Stores up to [`MAX_ROWS`] events by one statement.
    async fn append_statement(
        &self,
        connection: &D::Connection,
        events: &[&NewEvent],
    ) -> Result<Vec<Outcome>, StoreError> {
        let commit_id = self.random.borrow_mut().i64(0..1 << 62);
        let rows = events.len().next_power_of_two();
        let mut parameters = Vec::with_capacity(2 + rows * ROW_PARAMETERS);
        parameters.push(Value::Integer(commit_id));
        parameters.push(Value::Text(Timestamp::now().as_stored().to_owned()));
        for event in events {
            push_row(&mut parameters, event);
        }
        parameters.resize_with(2 + rows * ROW_PARAMETERS, || Value::Null);
        let returned =
            connection.execute(&self.append_text(rows), parameters).await.map_err(StoreError::of_write)?;
        if let ([event], [row]) = (events, returned.as_slice()) {
            let outcome = outcome_of(event, row).map_err(StoreError::after_write)?;
            return Ok(vec![outcome]);
        }
        self.patiently(async || self.outcomes(connection, commit_id, events).await)
            .await
            .map_err(StoreError::after_write)
    }

    /// Finds out what the write `commit_id`, just made on this connection, did with its events.
    async fn outcomes(
        &self,
        connection: &D::Connection,
        commit_id: i64,
        events: &[&NewEvent],
    ) -> Result<Vec<Outcome>, StoreError> {
        let count = events.len() as i64;
        let row = one_row(
            connection,
            include_str!("stored.sql"),
            vec![Value::Integer(commit_id), Value::Integer(count)],
        )
        .await?;
        let stored: Vec<usize> = json(&row, 1)?;
        // Where nothing was stored there is no newest seq, and none is needed.
        let first = integer(&row, 0).unwrap_or_default() - stored.len() as i64 + 1;

        let mut outcomes = vec![None; events.len()];
        for (seq, index) in (first..).zip(&stored) {
            if let Some(outcome) = outcomes.get_mut(*index) {
                *outcome = Some(Outcome { seq, status: Status::Stored });
            }
        }
        let dropped: Vec<_> = events
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.is_none())
            .map(|(event, _)| *event)
            .collect();
        let mut known = find(connection, &dropped).await?.into_iter();
        outcomes
            .into_iter()
            .map(|outcome| outcome.or_else(|| known.next()))
            .collect::<Option<_>>()
            .ok_or_else(|| StoreError::Failed("an event that was written cannot be found".into()))
    }

    /// The text of an append of so many rows. There are few such numbers, so that hosts can keep
    /// the prepared statements.
    fn append_text(&self, rows: usize) -> Rc<str> {
        let mut texts = self.appends.borrow_mut();
        let text = texts.entry(rows).or_insert_with(|| {
            let values: Vec<_> = (0..rows).map(|index| format!("(?1+{index},?,?,?,?,?,?,?)")).collect();
            let returning = if rows == 1 { include_str!("append_returning.sql") } else { "" };
            [include_str!("append_head.sql"), &values.join(","), include_str!("append_tail.sql"), returning]
                .concat()
                .into()
        });
        Rc::clone(text)
    }
}

impl<D: Database, C: Clock> Store for SqliteStore<D, C> {
    async fn append(&self, events: &[&NewEvent]) -> Result<Vec<Outcome>, StoreError> {
        if events.is_empty() {
            return Ok(vec![]);
        }
        self.write(async |connection| {
            if events.len() <= MAX_ROWS {
                return self.append_statement(connection, events).await;
            }
            connection.execute("begin immediate", vec![]).await?;
            let mut outcomes = Vec::with_capacity(events.len());
            for chunk in events.chunks(MAX_ROWS) {
                match self.append_statement(connection, chunk).await {
                    Ok(more) => outcomes.extend(more),
                    Err(error) => {
                        connection.execute("rollback", vec![]).await.map_err(StoreError::after_write)?;
                        return Err(error.before_commit());
                    }
                }
            }
            connection.execute("commit", vec![]).await.map_err(StoreError::after_write)?;
            Ok(outcomes)
        })
        .await
    }

    async fn page(
        &self,
        filter: &Filter,
        span: Span,
        direction: Direction,
        format: Format,
        size: PageSize,
    ) -> Result<Option<Page>, StoreError> {
        let Statement { text, parameters } = select::page(filter, direction, format);
        let own = [span.after, span.through, size.events.into(), size.bytes.into()].map(Value::Integer);
        let parameters = [&own[..], &parameters].concat();
        self.read(async |connection| {
            let mut row = one_row(connection, &text, parameters.clone()).await?;
            let (last, events) = (integer(&row, 1), integer(&row, 2)?);
            match row.swap_remove(0) {
                Value::Text(text) => {
                    let is_full = events == i64::from(size.events) || text.len() >= size.bytes as usize;
                    Ok(Some(Page { text, last: last?, is_last: !is_full }))
                }
                _ => Ok(None),
            }
        })
        .await
    }

    async fn boundary(
        &self,
        filter: &Filter,
        span: Span,
        direction: Direction,
        limit: u32,
    ) -> Result<Option<Boundary>, StoreError> {
        let Statement { text, parameters } = select::boundary(filter, direction);
        let own = [span.after, span.through, i64::from(limit) + 1].map(Value::Integer);
        let parameters = [&own[..], &parameters].concat();
        self.read(async |connection| {
            let row = one_row(connection, &text, parameters.clone()).await?;
            let has_more = integer(&row, 1)? > limit.into();
            Ok(integer(&row, 0).ok().map(|last| Boundary { last, has_more }))
        })
        .await
    }

    async fn narrow(&self, filter: &Filter, span: Span) -> Result<Span, StoreError> {
        let is_by_time = filter.since.is_some() || filter.until.is_some();
        if !is_by_time || !filter.topics.is_empty() || !filter.sources.is_empty() {
            return Ok(span);
        }
        let bound = |moment: &Option<Timestamp>, otherwise: &str| {
            Value::Text(moment.as_ref().map_or(otherwise, Timestamp::as_stored).to_owned())
        };
        // Every timestamp lies between these two, for it begins with a digit.
        let parameters =
            vec![bound(&filter.since, ""), bound(&filter.until, ":"), Value::Integer(NARROW_EVENTS)];
        self.read(async |connection| {
            let row = one_row(connection, include_str!("span.sql"), parameters.clone()).await?;
            Ok(match (integer(&row, 0), integer(&row, 1), integer(&row, 2)?) {
                (.., NARROW_EVENTS) => span,
                (Ok(first), Ok(last), _) => {
                    Span { after: span.after.max(first - 1), through: span.through.min(last) }
                }
                _ => Span { through: span.after, ..span },
            })
        })
        .await
    }

    async fn event(&self, topic: &Topic, event_id: &EventId) -> Result<Option<String>, StoreError> {
        let parameters = [topic.as_str(), event_id.as_str()].map(|text| Value::Text(text.to_owned()));
        self.read(async |connection| {
            let mut rows = connection.execute(&select::event_by_id(), parameters.to_vec()).await?;
            rows.pop().map(|row| text(&row, 0).map(ToOwned::to_owned)).transpose()
        })
        .await
    }

    async fn last_seq(&self) -> Result<Seq, StoreError> {
        self.read(async |connection| {
            integer(&one_row(connection, include_str!("last_seq.sql"), vec![]).await?, 0)
        })
        .await
    }

    async fn ledger(&self) -> Result<Ledger, StoreError> {
        self.read(async |connection| {
            let row = one_row(connection, include_str!("ledger.sql"), vec![]).await?;
            Ok(Ledger {
                unique_processed: integer(&row, 0)?,
                duplicate_dropped: integer(&row, 1)?,
                conflicts: integer(&row, 2)?,
                last_seq: integer(&row, 3)?,
                topics: text(&row, 4)?.to_owned(),
                by_topic: text(&row, 5)?.to_owned(),
            })
        })
        .await
    }
}

impl StoreError {
    /// An error that came when the write was done: what the write did is unknown now.
    fn after_write(self) -> Self {
        Self::Uncertain(self.to_string())
    }

    /// An error of a write. Unless it is the statement's own fault, the connection may have broken
    /// after the database, somewhere across a network, had done it.
    fn of_write(self) -> Self {
        let own_faults = ["constraint failed", "too big", "mismatch"];
        match self {
            Self::Failed(cause) if own_faults.iter().any(|fault| cause.contains(fault)) => {
                Self::Failed(cause)
            }
            Self::Failed(cause) => Self::Uncertain(cause),
            other => other,
        }
    }

    /// An error inside a transaction that was rolled back: nothing was done, whatever it says.
    fn before_commit(self) -> Self {
        match self {
            Self::Uncertain(cause) => Self::Failed(cause),
            other => other,
        }
    }
}

fn is_usable_after<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Ok(_) | Err(StoreError::Busy))
}

fn push_row(parameters: &mut Vec<Value>, event: &NewEvent) {
    let text = |text: &str| Value::Text(text.to_owned());
    let optional = |given: Option<&str>| given.map_or(Value::Null, text);
    parameters.push(text(event.topic.as_str()));
    parameters.push(text(event.event_id.as_str()));
    parameters.push(optional(event.timestamp.as_ref().map(Timestamp::as_stored)));
    parameters.push(optional(event.source.as_ref().map(Source::as_str)));
    parameters.push(text(event.payload.as_json()));
    parameters.push(Value::Integer(event.payload.digest()));
    parameters.push(optional(event.attributes.as_deref()));
}

/// What became of an event, from the row that its own append returned.
fn outcome_of(event: &NewEvent, row: &[Value]) -> Result<Outcome, StoreError> {
    let (seq, deliveries, digest) = (integer(row, 0)?, integer(row, 1)?, integer(row, 2)?);
    let status = match deliveries {
        1 => Status::Stored,
        _ if digest == event.payload.digest() => Status::Duplicate,
        _ => Status::Conflict,
    };
    Ok(Outcome { seq, status })
}

/// How the stored events of the same identities relate to these deliveries of them.
async fn find(connection: &impl Connection, events: &[&NewEvent]) -> Result<Vec<Outcome>, StoreError> {
    if events.is_empty() {
        return Ok(vec![]);
    }
    let identities: Vec<_> =
        events.iter().map(|event| (event.topic.as_str(), event.event_id.as_str())).collect();
    let wanted = serde_json::to_string(&identities).map_err(|error| StoreError::Failed(error.to_string()))?;
    let row = one_row(connection, include_str!("known.sql"), vec![Value::Text(wanted)]).await?;
    let known: Vec<(Seq, i64)> = json(&row, 0)?;
    let outcome = |((seq, digest), event): ((Seq, i64), &&NewEvent)| {
        let status = if digest == event.payload.digest() { Status::Duplicate } else { Status::Conflict };
        Outcome { seq, status }
    };
    Ok(known.into_iter().zip(events).map(outcome).collect())
}

/// Opens a connection and tells it how to work.
pub(super) async fn open<D: Database>(database: &D) -> Result<D::Connection, StoreError> {
    let connection = database.open().await?;
    for pragma in PRAGMAS {
        if let Err(StoreError::Busy) = connection.execute(pragma, vec![]).await {
            return Err(StoreError::Busy);
        }
    }
    Ok(connection)
}

/// Brings the schema up to date, once for all instances: the write lock makes the others wait.
async fn migrate(connection: &impl Connection) -> Result<(), StoreError> {
    if is_current(schema_version(connection).await?)? {
        return Ok(());
    }
    connection.execute("begin immediate", vec![]).await?;
    let result = async {
        let create = "create table if not exists schema_migrations (version integer primary key, applied_at text not null)";
        connection.execute(create, vec![]).await?;
        let seen = schema_version(connection).await?;
        is_current(seen)?;
        for (version, migration) in (1i64..).zip(MIGRATIONS).skip(seen) {
            connection.execute(migration, vec![]).await?;
            let applied_at = Value::Text(Timestamp::now().to_string());
            let insert = "insert into schema_migrations (version, applied_at) values (?1, ?2)";
            connection.execute(insert, vec![Value::Integer(version), applied_at]).await?;
        }
        connection.execute("commit", vec![]).await
    }
    .await;
    if result.is_err() {
        let _ = connection.execute("rollback", vec![]).await;
    }
    result.map(drop)
}

/// Whether nothing is left to migrate; an error when a newer program has.
fn is_current(version: usize) -> Result<bool, StoreError> {
    let known = MIGRATIONS.len();
    if version > known {
        return Err(StoreError::Failed(format!(
            "the database has schema version {version}, this program knows up to {known}: use a newer program"
        )));
    }
    Ok(version == known)
}

async fn schema_version(connection: &impl Connection) -> Result<usize, StoreError> {
    let exists = "select count(*) from sqlite_schema where name = 'schema_migrations'";
    if integer(&one_row(connection, exists, vec![]).await?, 0)? == 0 {
        return Ok(0);
    }
    let row = one_row(connection, "select coalesce(max(version), 0) from schema_migrations", vec![]).await?;
    Ok(usize::try_from(integer(&row, 0)?).unwrap_or_default())
}

async fn one_row(
    connection: &impl Connection,
    text: &str,
    parameters: Vec<Value>,
) -> Result<Row, StoreError> {
    let rows = connection.execute(text, parameters).await?;
    rows.into_iter().next().ok_or_else(|| StoreError::Failed("a query returned no row".into()))
}

fn integer(row: &[Value], column: usize) -> Result<i64, StoreError> {
    match row.get(column) {
        Some(Value::Integer(value)) => Ok(*value),
        _ => Err(StoreError::Failed(format!("column {column} is no integer"))),
    }
}

fn text(row: &[Value], column: usize) -> Result<&str, StoreError> {
    match row.get(column) {
        Some(Value::Text(value)) => Ok(value),
        _ => Err(StoreError::Failed(format!("column {column} is no text"))),
    }
}

fn json<T: serde::de::DeserializeOwned>(row: &[Value], column: usize) -> Result<T, StoreError> {
    serde_json::from_str(text(row, column)?)
        .map_err(|error| StoreError::Failed(format!("column {column}: {error}")))
}
