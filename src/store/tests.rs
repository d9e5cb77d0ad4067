//! The statements of the store, on the SQLite that the host bundles.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rusqlite::types::{Value as SqlValue, ValueRef};
use serde_json::json;
use tempfile::TempDir;

use super::sqlite::{Connection, Database, Row, SqliteStore, Value};
use super::*;
use crate::testing::{TokioClock, event, event_with};

/// A database file, opened as Spin would.
struct Native {
    path: PathBuf,
    /// How many statements still work: then the server is gone.
    statements_left: Rc<Cell<u32>>,
}

struct NativeConnection {
    connection: rusqlite::Connection,
    statements_left: Rc<Cell<u32>>,
}

impl Database for Native {
    type Connection = NativeConnection;

    async fn open(&self) -> Result<NativeConnection, StoreError> {
        let connection = rusqlite::Connection::open(&self.path).map_err(store_error)?;
        Ok(NativeConnection { connection, statements_left: Rc::clone(&self.statements_left) })
    }
}

impl Connection for NativeConnection {
    async fn execute(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let left = self.statements_left.get();
        self.statements_left.set(left.saturating_sub(1));
        if left == 0 {
            return Err(StoreError::Failed("the server is gone".into()));
        }
        let parameters = parameters.into_iter().map(|value| match value {
            Value::Null => SqlValue::Null,
            Value::Integer(value) => SqlValue::Integer(value),
            Value::Real(value) => SqlValue::Real(value),
            Value::Text(value) => SqlValue::Text(value),
            Value::Blob(value) => SqlValue::Blob(value),
        });
        let mut statement = self.connection.prepare(statement).map_err(store_error)?;
        let columns = statement.column_count();
        let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| {
            (0..columns)
                .map(|column| {
                    Ok(match row.get_ref(column)? {
                        ValueRef::Null => Value::Null,
                        ValueRef::Integer(value) => Value::Integer(value),
                        ValueRef::Real(value) => Value::Real(value),
                        ValueRef::Text(value) => Value::Text(String::from_utf8_lossy(value).into_owned()),
                        ValueRef::Blob(value) => Value::Blob(value.to_owned()),
                    })
                })
                .collect()
        });
        rows.and_then(Iterator::collect).map_err(store_error)
    }
}

fn store_error(error: rusqlite::Error) -> StoreError {
    match error.to_string() {
        message if message.contains("is locked") => StoreError::Busy,
        message => StoreError::Failed(message),
    }
}

type NativeStore = SqliteStore<Native, TokioClock>;

fn open(directory: &Path, seed: u64) -> (NativeStore, Rc<Cell<u32>>) {
    let statements_left = Rc::new(Cell::new(u32::MAX));
    let database = Native { path: directory.join("events.db"), statements_left: Rc::clone(&statements_left) };
    (SqliteStore::new(database, TokioClock::start(), seed), statements_left)
}

fn fresh() -> (NativeStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (open(directory.path(), 1).0, directory)
}

async fn append(store: &NativeStore, events: &[NewEvent]) -> Vec<(Seq, Status)> {
    let outcomes = store.append(&events.iter().collect::<Vec<_>>()).await.unwrap();
    outcomes.iter().map(|outcome| (outcome.seq, outcome.status)).collect()
}

async fn read(store: &NativeStore, topics: &[&str]) -> Vec<serde_json::Value> {
    let filter = Filter { topics: topics.iter().map(|topic| Topic::parse(*topic).unwrap()).collect() };
    let last = store.last_seq().await.unwrap();
    let (mut all, mut after) = (Vec::new(), 0);
    while let Some(page) = store.page(&filter, after, last).await.unwrap() {
        let events: Vec<serde_json::Value> = serde_json::from_str(&format!("[{}]", page.json)).unwrap();
        assert_eq!(events.last().unwrap()["seq"], page.last);
        after = page.last;
        all.extend(events);
        if page.is_last {
            assert_eq!(store.page(&filter, after, last).await, Ok(None));
            break;
        }
    }
    all
}

use Status::{Conflict, Duplicate, Stored};

#[tokio::test]
async fn each_event_of_a_write_has_its_outcome() {
    let (store, _directory) = fresh();
    assert_eq!(append(&store, &[event("a"), event("b")]).await, [(1, Stored), (2, Stored)]);
    let mixed = [
        event("c"),
        event("a"),
        event_with("t", "b", "1"),
        event_with("other", "a", "1"),
        event("c"),
        event_with("other", "a", "2"),
        event("d"),
    ];
    assert_eq!(
        append(&store, &mixed).await,
        [(3, Stored), (1, Duplicate), (2, Conflict), (4, Stored), (3, Duplicate), (4, Conflict), (5, Stored)]
    );
    assert_eq!(append(&store, &[event("a")]).await, [(1, Duplicate)]);
}

#[tokio::test]
async fn two_instances_on_one_file_agree() {
    let (one, directory) = fresh();
    let (other, _) = open(directory.path(), 2);
    for n in 0..100 {
        let events = [event(format!("{n}")), event(format!("{}", n / 2))];
        let store = if n % 3 == 0 { &one } else { &other };
        append(store, &events).await;
    }
    let ledger = one.ledger().await.unwrap();
    assert_eq!((ledger.unique_processed, ledger.duplicate_dropped, ledger.last_seq), (100, 100, 100));
    assert_eq!(ledger, other.ledger().await.unwrap());
    let deliveries: i64 =
        read(&other, &[]).await.iter().map(|event| event["deliveries"].as_i64().unwrap()).sum();
    assert_eq!(deliveries, 200);
}

#[tokio::test]
async fn the_counters_follow_every_delivery() {
    let (store, _directory) = fresh();
    append(&store, &[event_with("b", "1", "1"), event_with("a", "1", "1"), event_with("b", "1", "2")]).await;
    append(&store, &[event_with("b", "1", "1"), event_with("b", "2", "1")]).await;
    let ledger = store.ledger().await.unwrap();
    assert_eq!((ledger.unique_processed, ledger.duplicate_dropped, ledger.conflicts), (3, 2, 1));
    assert_eq!(ledger.topics, r#"["a","b"]"#);
    let by_topic: serde_json::Value = serde_json::from_str(&ledger.by_topic).unwrap();
    assert_eq!(by_topic[1]["received"], 4);
    assert_eq!(by_topic[1]["last_seq"], 3);
}

#[tokio::test]
async fn a_write_of_several_statements_is_all_or_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (store, statements_left) = open(directory.path(), 1);
    append(&store, &[event("0")]).await;
    let events: Vec<_> = (0..10_000).map(|n| event(n.to_string())).collect();
    let all: Vec<_> = events.iter().collect();
    // Begin, then a write and a read for each of three statements, and commit.
    for works in 0..8 {
        statements_left.set(works);
        assert!(store.append(&all).await.is_err(), "after {works} statements");
        statements_left.set(u32::MAX);
        assert_eq!(store.last_seq().await, Ok(1), "after {works} statements");
    }
    let outcomes = append(&store, &events).await;
    assert_eq!(outcomes[0], (1, Duplicate));
    assert!(outcomes[1..].iter().zip(2..).all(|(outcome, seq)| *outcome == (seq, Stored)));
}

#[tokio::test]
async fn a_connection_that_failed_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (store, statements_left) = open(directory.path(), 1);
    append(&store, &[event("a")]).await;
    statements_left.set(0);
    assert!(matches!(store.append(&[&event("b")]).await, Err(StoreError::Uncertain(_))));
    statements_left.set(1); // the write is made, and then nobody can say what it did
    assert!(store.append(&[&event("c")]).await.is_err());
    statements_left.set(u32::MAX);
    assert_eq!(append(&store, &[event("d")]).await.len(), 1);
}

#[tokio::test]
async fn a_write_that_finds_the_database_busy_does_nothing() {
    let (store, directory) = fresh();
    append(&store, &[event("a")]).await;
    let other = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    assert_eq!(store.append(&[&event("a"), &event("b")]).await, Err(StoreError::Busy));
    assert_eq!(store.last_seq().await, Ok(1), "reading goes on");
    other.execute_batch("rollback").unwrap();
    assert_eq!(append(&store, &[event("a"), event("b")]).await, [(1, Duplicate), (2, Stored)]);
}

#[tokio::test]
async fn a_page_ends_by_rows_and_by_bytes() {
    let (store, _directory) = fresh();
    let large = format!("\"{}\"", "x".repeat(250_000));
    let events: Vec<_> = (0..1500)
        .map(|n| {
            event_with(
                if n % 2 == 0 { "even" } else { "odd" },
                n.to_string(),
                if n < 20 { &large } else { "1" },
            )
        })
        .collect();
    append(&store, &events).await;
    let mut sizes = Vec::new();
    let mut after = 0;
    while let Some(page) = store.page(&Filter::default(), after, 1500).await.unwrap() {
        sizes.push((page.last - after, page.json.len()));
        after = page.last;
    }
    assert_eq!(sizes.iter().map(|(rows, _)| rows).sum::<i64>(), 1500);
    assert!(sizes.iter().all(|(rows, bytes)| *rows <= 1000 && *bytes < 1_600_000), "{sizes:?}");
    for topics in [&[][..], &["odd"], &["even", "odd"], &["odd", "none"]] {
        let expected = (0..1500).filter(|n| topics != ["odd"] && topics != ["odd", "none"] || n % 2 == 1);
        let ids: Vec<i64> =
            read(&store, topics).await.iter().map(|event| event["seq"].as_i64().unwrap() - 1).collect();
        assert_eq!(ids, expected.collect::<Vec<_>>(), "{topics:?}");
    }
}

#[tokio::test]
async fn a_page_ends_where_it_was_told_to() {
    let (store, _directory) = fresh();
    append(&store, &[event("a"), event("b"), event("c")]).await;
    let page = store.page(&Filter::default(), 1, 2).await.unwrap().unwrap();
    assert_eq!(
        (page.last, serde_json::from_str::<serde_json::Value>(&page.json).unwrap()["event_id"].clone()),
        (2, json!("b"))
    );
}

#[tokio::test]
async fn a_connection_writes_ahead_and_syncs_each_commit() {
    let directory = tempfile::tempdir().unwrap();
    let statements_left = Rc::new(Cell::new(u32::MAX));
    let database = Native { path: directory.path().join("events.db"), statements_left };
    let connection = super::sqlite::open(&database).await.unwrap();
    let pragma =
        async |name: &str| connection.execute(&format!("pragma {name}"), vec![]).await.unwrap()[0][0].clone();
    assert_eq!(pragma("journal_mode").await, Value::from("wal"));
    assert_eq!(pragma("synchronous").await, Value::Integer(2), "2 is full");
    assert_eq!(pragma("busy_timeout").await, Value::Integer(0));
}

#[tokio::test]
async fn a_store_is_migrated_once_however_many_open_it_at_the_same_moment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let openers: Vec<_> = (0..8)
        .map(|n| {
            let path = path.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async move { open(&path, n).0.last_seq().await })
            })
        })
        .collect();
    for opener in openers {
        assert_eq!(opener.join().unwrap(), Ok(0));
    }
    let database = rusqlite::Connection::open(path.join("events.db")).unwrap();
    let versions: i64 =
        database.query_row("select count(*) from schema_migrations", [], |row| row.get(0)).unwrap();
    assert_eq!(versions, 5);
}

#[tokio::test]
async fn every_filter_has_an_index() {
    let (store, directory) = fresh();
    append(&store, &[event("a")]).await;
    let database = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    let plan = |text: &str| -> String {
        let mut statement = database.prepare(&format!("explain query plan {text}")).unwrap();
        let parameters = vec![1; statement.parameter_count()];
        let steps = statement
            .query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3))
            .unwrap();
        steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ")
    };
    let of_all = plan(include_str!("page.sql"));
    let of_one = plan(&include_str!("page.sql").replace("/* filter */ true", "topic = ?5"));
    let of_stored = plan(include_str!("stored.sql"));
    assert!(
        of_stored.contains("rowid>? AND rowid<?"),
        "a write of duplicates only must not scan: {of_stored}"
    );
    assert!(!of_all.contains("SCAN events") && !of_all.contains("TEMP B-TREE"), "{of_all}");
    assert!(of_one.contains("events_by_topic (topic=? AND rowid>? AND rowid<?)"), "{of_one}");
    assert!(!of_one.contains("TEMP B-TREE"), "{of_one}");
}
