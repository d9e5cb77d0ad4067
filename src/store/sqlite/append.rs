//! One write: storing, counting and marking conflicts in one statement, and one read of its outcomes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::event::{NewEvent, Source, Timestamp};
use crate::store::database::{Connection, Row, Value};
use crate::store::{Keyed, Outcome, Seq, Status, StoreError};

/// Rows of the largest statement: a power of two whose parameters SQLite still takes (32,766).
pub const MAX_ROWS: usize = 4096;
/// Parameters of a row.
const ROW_PARAMETERS: usize = 7;
/// Parameters before the rows.
const HEAD_PARAMETERS: usize = 2;

/// Makes and runs the statements that append events.
pub struct Appender {
    random: RefCell<fastrand::Rng>,
    /// The texts by their number of rows, and whether they return one.
    texts: RefCell<BTreeMap<(usize, bool), Rc<str>>>,
}

/// A statement that was executed: its id in the rows that it stored, and its rows if it returned them.
pub struct Written {
    commit_id: i64,
    returned: Vec<Row>,
}

impl Appender {
    /// An appender. `seed` must differ from instance to instance, because the ids of writes come from it.
    pub fn new(seed: u64) -> Self {
        Self { random: RefCell::new(fastrand::Rng::with_seed(seed)), texts: RefCell::default() }
    }

    /// Appends up to [`MAX_ROWS`] events by one statement, which returns the row of a single event if it may.
    ///
    /// A server across a network holds its write lock until a client has read what a statement returns, or for five
    /// seconds if it does not.
    pub async fn write(
        &self,
        connection: &impl Connection,
        events: &[&NewEvent],
        may_return: bool,
    ) -> Result<Written, StoreError> {
        let commit_id = self.random.borrow_mut().i64(0..1 << 62);
        let rows = events.len().next_power_of_two();
        let parameters = parameters(commit_id, rows, events);
        let returned = connection
            .execute(&self.text(rows, may_return && rows == 1), parameters)
            .await
            .map_err(StoreError::of_write)?;
        Ok(Written { commit_id, returned })
    }

    /// The text of a statement of so many rows. Few numbers of rows are in use, so that hosts can keep the prepared
    /// statements.
    fn text(&self, rows: usize, returns: bool) -> Rc<str> {
        let mut texts = self.texts.borrow_mut();
        let text = texts.entry((rows, returns)).or_insert_with(|| {
            let values: Vec<_> = (0..rows).map(|index| format!("(?1+{index},?,?,?,?,?,?,?)")).collect();
            let returning = if returns { include_str!("sql/append_returning.sql") } else { "" };
            let (head, tail) = (include_str!("sql/append_head.sql"), include_str!("sql/append_tail.sql"));
            [head, &values.join(","), tail, returning].concat().into()
        });
        Rc::clone(text)
    }
}

impl Written {
    /// The outcomes of the events of the write, which was made on this connection just before.
    pub async fn outcomes(
        &self,
        connection: &impl Connection,
        events: &[&NewEvent],
    ) -> Result<Vec<Outcome>, StoreError> {
        if let ([event], [row]) = (events, self.returned.as_slice()) {
            return Ok(vec![outcome_of_one(event, row)?]);
        }
        let mut outcomes = self.stored(connection, events.len()).await?;
        let dropped: Vec<_> = events
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.is_none())
            .map(|(event, _)| *event)
            .collect();
        let mut known = find(connection, &dropped).await?.into_iter();
        for outcome in &mut outcomes {
            *outcome = outcome.or_else(|| known.next());
        }
        outcomes
            .into_iter()
            .collect::<Option<_>>()
            .ok_or_else(|| StoreError::Failed("an event that was written cannot be found".into()))
    }

    /// The outcomes of those events that the write stored.
    async fn stored(
        &self,
        connection: &impl Connection,
        count: usize,
    ) -> Result<Vec<Option<Outcome>>, StoreError> {
        let parameters = vec![self.commit_id.into(), (count as i64).into()];
        let row = connection.query_row(include_str!("sql/stored.sql"), parameters).await?;
        let places: Vec<usize> = row.json(1)?;
        // Without stored events there is no newest seq, and none is needed.
        let first = row.integer(0).unwrap_or_default() - places.len() as Seq + 1;
        let mut outcomes = vec![None; count];
        for (seq, place) in (first..).zip(places) {
            if let Some(outcome) = outcomes.get_mut(place) {
                *outcome = Some(Outcome { seq, status: Status::Stored });
            }
        }
        Ok(outcomes)
    }
}

/// The outcome of an event that was written alone, from the row that its statement returned.
fn outcome_of_one(event: &NewEvent, row: &Row) -> Result<Outcome, StoreError> {
    let (seq, deliveries, digest) = (row.integer(0)?, row.integer(1)?, row.integer(2).ok());
    let status = if deliveries == 1 { Status::Stored } else { status_of_duplicate(event, digest) };
    Ok(Outcome { seq, status })
}

/// The outcomes of events whose identities were stored before.
async fn find(connection: &impl Connection, events: &[&NewEvent]) -> Result<Vec<Outcome>, StoreError> {
    if events.is_empty() {
        return Ok(vec![]);
    }
    let identities: Vec<_> =
        events.iter().map(|event| (event.topic.as_str(), event.event_id.as_str())).collect();
    let wanted = serde_json::to_string(&identities).map_err(|error| StoreError::Failed(error.to_string()))?;
    let row = connection.query_row(include_str!("sql/known.sql"), vec![Value::Text(wanted)]).await?;
    let known: Vec<(Seq, Option<i64>)> = row.json(0)?;
    let outcome = |((seq, digest), event): ((Seq, Option<i64>), &&NewEvent)| Outcome {
        seq,
        status: status_of_duplicate(event, digest),
    };
    Ok(known.into_iter().zip(events).map(outcome).collect())
}

/// The status of an event whose identity is known. There is no digest if what was stored is gone.
fn status_of_duplicate(event: &NewEvent, stored_digest: Option<i64>) -> Status {
    match stored_digest {
        Some(digest) if digest != event.payload.digest() => Status::Conflict,
        _ => Status::Duplicate,
    }
}

/// IndexProbe whether requests with these keys were answered before.
///
/// # Errors
/// [`StoreError::Repeated`] when some of them were.
pub async fn refuse_repeated(connection: &impl Connection, keys: &[Keyed<'_>]) -> Result<(), StoreError> {
    let names = serde_json::Value::from_iter(keys.iter().map(|keyed| keyed.key.key.as_str()));
    let row =
        connection.query_row(include_str!("sql/repeated_keys.sql"), vec![names.to_string().into()]).await?;
    let repeated: Vec<String> = row.json(0)?;
    if repeated.is_empty() { Ok(()) } else { Err(StoreError::Repeated(repeated)) }
}

/// Keeps the answers to requests that have a key. The outcomes are those of the whole group.
pub async fn keep_answers(
    connection: &impl Connection,
    keys: &[Keyed<'_>],
    outcomes: &[Outcome],
) -> Result<(), StoreError> {
    let answer = |Keyed { key, events }: &Keyed<'_>| {
        let outcomes = outcomes.get(events.clone()).unwrap_or_default().iter();
        let outcomes: Vec<_> = outcomes.map(|outcome| (outcome.seq, outcome.status.as_stored())).collect();
        (key.key.clone(), key.fingerprint.clone(), outcomes)
    };
    let answers: Vec<_> = keys.iter().map(answer).collect();
    let answers = serde_json::to_string(&answers).map_err(|error| StoreError::Failed(error.to_string()))?;
    connection.execute(include_str!("sql/keep_answers.sql"), vec![answers.into()]).await.map(drop)
}

/// The parameters of a statement of so many rows. Rows without an event are nulls.
fn parameters(commit_id: i64, rows: usize, events: &[&NewEvent]) -> Vec<Value> {
    let count = HEAD_PARAMETERS + rows * ROW_PARAMETERS;
    let mut parameters = Vec::with_capacity(count);
    parameters.push(commit_id.into());
    parameters.push(Timestamp::now().as_stored().into());
    for event in events {
        parameters.push(event.topic.as_str().into());
        parameters.push(event.event_id.as_str().into());
        parameters.push(event.timestamp.as_ref().map(Timestamp::as_stored).into());
        parameters.push(event.source.as_ref().map(Source::as_str).into());
        parameters.push(event.payload.as_json().into());
        parameters.push(event.payload.digest().into());
        parameters.push(event.attributes.as_deref().into());
    }
    parameters.resize_with(count, || Value::Null);
    parameters
}

impl StoreError {
    /// An error after the write was done: its outcomes are unknown now.
    pub(super) fn after_write(self) -> Self {
        Self::Uncertain(self.to_string())
    }

    /// An error of the write itself. Unless the statement is at fault, the connection may have broken after the
    /// database, somewhere across a network, had done the write.
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
    pub(super) fn before_commit(self) -> Self {
        match self {
            Self::Uncertain(cause) => Self::Failed(cause),
            other => other,
        }
    }
}
