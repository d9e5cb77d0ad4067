//! The statements of the store, on the SQLite that the host bundles.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::event::{Source, Timestamp, TopicPattern};
use crate::store::consume_tests;
use crate::store::{
    Filter, Found, Index, Layout, LogState, Order, PageSize, ReadStore, RemoveStore, RequestKey, Span,
    Status, Window, WriteStore,
};
use crate::testing::TokioClock;
use crate::testing::database::{Native, NativeStore, fresh, open};
use crate::testing::{event, event_with, keep, read_in, readable_events};

async fn append(store: &NativeStore, events: &[NewEvent]) -> Vec<(Seq, Status)> {
    let outcomes = store.append(&events.iter().collect::<Vec<_>>(), &[]).await.unwrap();
    outcomes.iter().map(|outcome| (outcome.seq, outcome.status)).collect()
}

fn topics(names: &[&str]) -> Filter {
    let topics = names.iter().map(|topic| TopicPattern::parse(*topic).unwrap()).collect();
    Filter { topics, ..Filter::default() }
}

const READABLE: &str = "select 'what is refused'";

/// The window of all of a small store.
fn whole(through: Seq) -> Window {
    Window { span: Span { after: 0, through }, index: Index::Seq }
}

async fn last_seq(store: &NativeStore) -> Result<Seq, StoreError> {
    store.readable().await.map(|readable| readable.through)
}

async fn read(store: &NativeStore, names: &[&str]) -> Vec<serde_json::Value> {
    read_in(store, &topics(names), Order::Ascending).await
}

fn seqs(events: &[serde_json::Value]) -> Vec<i64> {
    events.iter().map(|event| event["seq"].as_i64().unwrap()).collect()
}

use Status::{Conflict, Duplicate, Stored};

#[tokio::test]
async fn a_database_that_is_read_only_is_found_out_and_another_writer_is_not_taken_for_it() {
    let (store, directory) = fresh();
    append(&store, &[event("a")]).await;
    assert!(store.is_writable().await.unwrap());
    let path = directory.path().join("events.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("begin immediate").unwrap();
    assert!(store.is_writable().await.unwrap());
    let read_only = Native::at(format!("file:{}?mode=ro", path.display()).into());
    let read_only = SqlStore::on(SqliteBackend::new(read_only, TokioClock::start(), 2));
    assert_eq!(last_seq(&read_only).await.unwrap(), 1, "it can be read");
    let error = read_only.is_writable().await.unwrap_err().to_string();
    assert!(error.contains("readonly"), "{error}");
}

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
    let ledger = one.ledger(&[]).await.unwrap();
    assert_eq!((ledger.unique_processed, ledger.duplicate_dropped, ledger.last_seq), (100, 100, 100));
    assert_eq!(ledger, other.ledger(&[]).await.unwrap());
    let deliveries: i64 =
        read(&other, &[]).await.iter().map(|event| event["deliveries"].as_i64().unwrap()).sum();
    assert_eq!(deliveries, 200);
}

#[tokio::test]
async fn the_counters_follow_every_delivery() {
    let (store, _directory) = fresh();
    append(&store, &[event_with("b", "1", "1"), event_with("a", "1", "1"), event_with("b", "1", "2")]).await;
    append(&store, &[event_with("b", "1", "1"), event_with("b", "2", "1")]).await;
    let ledger = store.ledger(&[]).await.unwrap();
    assert_eq!((ledger.unique_processed, ledger.duplicate_dropped, ledger.conflicts), (3, 2, 1));
    assert_eq!(ledger.topics, r#"["a","b"]"#);
    let by_topic: serde_json::Value = serde_json::from_str(&ledger.by_topic).unwrap();
    assert_eq!(by_topic[1]["received"], 4);
    assert_eq!(by_topic[1]["last_seq"], 3);
}

#[tokio::test]
async fn a_write_of_several_statements_is_all_or_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (store, faults) = open(directory.path(), 1);
    append(&store, &[event("0")]).await;
    let events: Vec<_> = (0..10_000).map(|n| event(n.to_string())).collect();
    let all: Vec<_> = events.iter().collect();
    // Begin, then a write and a read for each of three statements, and commit.
    for works in 0..8 {
        faults.statements_left.set(works);
        assert!(store.append(&all, &[]).await.is_err(), "after {works} statements");
        faults.statements_left.set(u32::MAX);
        assert_eq!(last_seq(&store).await, Ok(1), "after {works} statements");
    }
    let outcomes = append(&store, &events).await;
    assert_eq!(outcomes[0], (1, Duplicate));
    assert!(outcomes[1..].iter().zip(2..).all(|(outcome, seq)| *outcome == (seq, Stored)));
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_commit_of_several_statements_is_full_and_nothing_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let (store, faults) = open(directory.path(), 1);
    append(&store, &[event("0")]).await;
    let events: Vec<_> = (0..5_000).map(|n| event(n.to_string())).collect();
    let all: Vec<_> = events.iter().collect();
    for error in [StoreError::Full("the database or disk is full".into()), StoreError::Busy] {
        faults.refused.replace(Some(("commit", error.clone())));
        assert_eq!(store.append(&all, &[]).await, Err(error));
        faults.refused.take();
        assert_eq!(last_seq(&store).await, Ok(1));
    }
    assert_eq!(append(&store, &events).await.len(), 5_000);
}

#[tokio::test]
async fn a_connection_that_failed_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (store, faults) = open(directory.path(), 1);
    append(&store, &[event("a")]).await;
    faults.statements_left.set(0);
    assert!(matches!(store.append(&[&event("b")], &[]).await, Err(StoreError::Uncertain(_))));
    faults.statements_left.set(1); // the write is made, and then nobody can say what it did
    assert!(store.append(&[&event("c")], &[]).await.is_err());
    faults.statements_left.set(u32::MAX);
    assert_eq!(append(&store, &[event("d")]).await.len(), 1);
}

#[tokio::test]
async fn a_connection_that_has_ended_or_a_statement_that_was_interrupted_for_another_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, faults) = open(directory.path(), 1);
    append(&store, &[event("a")]).await;
    for cause in ["error at step 0: SQLITE_INTERRUPT: interrupted", "STREAM_EXPIRED", "Invalid MAC on baton"]
    {
        let error = StoreError::of_sqlite(cause.to_owned());
        *faults.refused.borrow_mut() = Some((READABLE, error));
        let readable = async {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            faults.refused.borrow_mut().take();
        };
        let (span, ()) = futures::join!(store.readable(), readable);
        assert_eq!(span.unwrap().through, 1, "{cause}");
    }
}

#[tokio::test]
async fn a_write_that_finds_the_database_busy_does_nothing() {
    let (store, directory) = fresh();
    append(&store, &[event("a")]).await;
    let other = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    assert_eq!(store.append(&[&event("a"), &event("b")], &[]).await, Err(StoreError::Busy));
    assert_eq!(last_seq(&store).await, Ok(1), "reading goes on");
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
    for order in [Order::Ascending, Order::Descending] {
        let mut sizes = Vec::new();
        let mut window = whole(1500);
        while let Some(page) =
            store.page(&Filter::default(), window, order, Layout::Array, PageSize::LARGE).await.unwrap()
        {
            let rest = window.span.beyond(page.last, order);
            let rows = (window.span.through - window.span.after) - (rest.through - rest.after);
            sizes.push((rows, page.text.len()));
            window.span = rest;
        }
        assert_eq!(sizes.iter().map(|(rows, _)| rows).sum::<i64>(), 1500);
        assert!(sizes.iter().all(|(rows, bytes)| *rows <= 1000 && *bytes < 1_600_000), "{sizes:?}");
        for names in [&[][..], &["odd"], &["even", "odd"], &["odd", "none"]] {
            let mut expected: Vec<i64> = (1..=1500)
                .filter(|seq| names != ["odd"] && names != ["odd", "none"] || seq % 2 == 0)
                .collect();
            if order == Order::Descending {
                expected.reverse();
            }
            assert_eq!(seqs(&read_in(&store, &topics(names), order).await), expected, "{names:?}");
        }
    }
}

#[tokio::test]
async fn a_filter_finds_what_all_of_its_parts_allow_however_many_windows_that_takes() {
    const EVENTS: usize = 5000; // nine blocks, and a part of one
    let (store, _directory) = fresh();
    let moment = |minute: usize| Timestamp::parse(&format!("2026-11-21T01:{minute:02}:00Z")).unwrap();
    let events: Vec<_> = (0..EVENTS)
        .map(|n| NewEvent {
            // Some come late.
            timestamp: Some(moment(if n % 500 == 0 { 0 } else { n / 90 + n * 7 % 3 })),
            source: [None, Some("a"), Some("b")][n % 3].map(|source| Source::parse(source).unwrap()),
            ..event_with(
                match n % 1000 {
                    77 => "rare",
                    78 => "p.rare.a",
                    79 => "p.rare.b",
                    _ => ["x", "p.y", "p.z", "w"][n % 4],
                },
                n.to_string(),
                "1",
            )
        })
        .collect();
    append(&store, &events).await;
    store.expire(keep(EVENTS as u32 - 50), 1).await.unwrap();
    let sources = |names: &[&str]| names.iter().map(|name| Source::parse(*name).unwrap()).collect::<Vec<_>>();
    let spans = [
        (None, None),
        (Some(50), None),
        (None, Some(2)),
        (Some(20), Some(22)),
        (Some(54), Some(55)),
        (Some(20), Some(10)),
    ];
    for names in [
        &[][..],
        &["x"],
        &["rare"],
        &["x", "rare"],
        &["none"],
        &["p.*"],
        &["p.rare.*"],
        &["p.rare.*", "rare"],
        &["none.*"],
    ] {
        for from in [&[][..], &["a"], &["a", "b"], &["none"]] {
            for (since, until) in spans {
                let filter = Filter {
                    sources: sources(from),
                    since: since.map(moment),
                    until: until.map(moment),
                    ..topics(names)
                };
                let wanted = |event: &NewEvent| {
                    (names.is_empty()
                        || filter.topics.iter().any(|topic| topic.matches(event.topic.as_str())))
                        && (from.is_empty()
                            || event.source.as_ref().is_some_and(|s| from.contains(&s.as_str())))
                        && since.is_none_or(|since| event.timestamp >= Some(moment(since)))
                        && until.is_none_or(|until| event.timestamp < Some(moment(until)))
                };
                let mut expected: Vec<i64> = (1..)
                    .zip(&events)
                    .filter(|(seq, event)| *seq > 50 && wanted(event))
                    .map(|(seq, _)| seq)
                    .collect();
                assert_eq!(seqs(&read_in(&store, &filter, Order::Ascending).await), expected, "{filter:?}");
                expected.reverse();
                assert_eq!(seqs(&read_in(&store, &filter, Order::Descending).await), expected, "{filter:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_first_matches_of_a_window_are_counted_up_to_a_limit() {
    let (store, _directory) = fresh();
    append(&store, &(0..10).map(|n| event(n.to_string())).collect::<Vec<_>>()).await;
    let matches = async |order, limit| {
        let found = store.matches(&Filter::default(), whole(10), order, limit).await.unwrap();
        (found.count, found.last, found.has_more)
    };
    assert_eq!(matches(Order::Ascending, 4).await, (4, Some(4), true));
    assert_eq!(matches(Order::Descending, 4).await, (4, Some(7), true));
    assert_eq!(matches(Order::Ascending, 10).await, (10, Some(10), false));
    assert_eq!(matches(Order::Ascending, 0).await, (0, None, true));
}

#[tokio::test]
async fn a_window_passes_over_the_gap_that_a_restore_leaves() {
    let (store, directory) = fresh();
    append(&store, &[event("a"), event("b")]).await;
    let database = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    let reserve =
        "insert into events (seq, topic, event_id, timestamp, payload, digest, received_at, commit_id, gone)
                   values (4294967298, '', 'reserved', '', '', 0, '', -1, 'reserved')";
    database.execute(reserve, []).unwrap();
    assert_eq!(append(&store, &[event("c")]).await, [(4_294_967_299, Stored)]);
    let since = Some(Timestamp::parse("2026-11-21T00:00:00Z").unwrap());
    for filter in [Filter::default(), topics(&["t"]), Filter { since, ..topics(&["t"]) }] {
        for order in [Order::Ascending, Order::Descending] {
            let mut expected = vec![1, 2, 4_294_967_299];
            if order == Order::Descending {
                expected.reverse();
            }
            assert_eq!(seqs(&read_in(&store, &filter, order).await), expected, "{filter:?}");
        }
    }
}

#[tokio::test]
async fn an_event_is_found_by_its_identity_and_keeps_its_attributes() {
    let (store, _directory) = fresh();
    let attributes = Some(r#"{"specversion":"1.0"}"#.to_owned());
    append(&store, &[event("a"), NewEvent { attributes, timestamp: None, ..event_with("u", "a", "[1]") }])
        .await;
    let find = async |topic: &str, id: &str| {
        let found = store.event(&Topic::parse(topic).unwrap(), &EventId::parse(id).unwrap()).await.unwrap();
        match found {
            Some(Found::Event(text)) => Some(serde_json::from_str::<serde_json::Value>(&text).unwrap()),
            Some(Found::Gone) => panic!("{id} is gone"),
            None => None,
        }
    };
    let found = find("u", "a").await.unwrap();
    assert_eq!((found["seq"].as_i64(), &found["attributes"]["specversion"]), (Some(2), &json!("1.0")));
    assert_eq!(found["timestamp"], found["received_at"], "the time of receipt stands in");
    assert!(find("t", "a").await.unwrap().get("attributes").is_none());
    assert_eq!(find("t", "b").await, None);
}

#[tokio::test]
async fn pages_come_in_each_format() {
    let (store, _directory) = fresh();
    append(&store, &[event("a"), event("b")]).await;
    let text = async |format| {
        let page = store.page(&Filter::default(), whole(2), Order::Ascending, format, PageSize::SMALL).await;
        page.unwrap().unwrap().text
    };
    let lines = text(Layout::Lines).await;
    assert_eq!(
        lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].clone())
            .collect::<Vec<_>>(),
        [1, 2]
    );
    let events = text(Layout::ServerSent).await;
    let parts: Vec<_> = events.split("\n\n").collect();
    assert_eq!(parts.len(), 2);
    assert!(parts[1].starts_with("id: 2\ndata: {\"seq\":2,"), "{events}");
}

#[tokio::test]
async fn a_connection_writes_ahead_and_syncs_each_commit() {
    let directory = tempfile::tempdir().unwrap();
    let database = Native::at(directory.path().join("events.db"));
    let (connection, is_remote) = pool::open(&database).await.unwrap();
    assert!(!is_remote);
    let pragma = async |name: &str| {
        connection.execute(&format!("pragma {name}"), vec![]).await.unwrap()[0].0[0].clone()
    };
    assert_eq!(pragma("journal_mode").await, Value::from("wal"));
    assert_eq!(pragma("synchronous").await, Value::Integer(2), "2 is full");
    assert_eq!(pragma("busy_timeout").await, Value::Integer(10), "milliseconds");
    assert_eq!(pragma("wal_autocheckpoint").await, Value::Integer(4000));
}

#[tokio::test]
async fn a_connection_to_a_store_that_is_there_takes_four_statements() {
    let directory = tempfile::tempdir().unwrap();
    let database = Native::at(directory.path().join("events.db"));
    pool::open(&database).await.unwrap();
    database.faults.statements_left.set(4);
    pool::open(&database).await.unwrap();
    assert_eq!(database.faults.statements_left.get(), 0);
}

/// A database that 0.2 has filled.
const OF_0_2: &str = include_str!("fixtures/schema_31.sql");

#[tokio::test]
async fn a_store_is_made_or_upgraded_once_however_many_open_it_at_the_same_moment() {
    for (before, newest, versions) in [("", 0, 1), (OF_0_2, 4_294_967_304, 32)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let database = rusqlite::Connection::open(path.join("events.db")).unwrap();
        database.execute_batch(before).unwrap();
        let openers: Vec<_> = (0..8)
            .map(|n| {
                let path = path.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async move { last_seq(&open(&path, n).0).await })
                })
            })
            .collect();
        for opener in openers {
            assert_eq!(opener.join().unwrap(), Ok(newest));
        }
        let seen = "select count(*), max(version) from schema_migrations";
        let (count, version) = database.query_row(seen, [], |row| <(i64, i64)>::try_from(row)).unwrap();
        assert_eq!((count, Value::Integer(version)), (versions, schema::version_known()));
    }
}

#[tokio::test]
async fn a_database_of_0_2_keeps_its_events_its_books_and_its_identities() {
    let directory = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    database.execute_batch(OF_0_2).unwrap();
    let (store, _) = open(directory.path(), 1);
    let after_restore = 4_294_967_304;

    let ledger = store.ledger(&[]).await.unwrap();
    let totals = [ledger.unique_processed, ledger.duplicate_dropped, ledger.conflicts, ledger.last_seq];
    assert_eq!(totals, [8, 4, 1, after_restore]);
    assert_eq!((removed(&store).await, ledger.first_seq), ((2, 1, 1), 3));
    assert_eq!((ledger.topics.as_str(), ledger.topics_total), (r#"["orders","payments"]"#, 2));
    assert_eq!(ledger.store_id.len(), 32);

    let events = read(&store, &[]).await;
    assert_eq!(seqs(&events), [3, 4, 5, 6, after_restore]);
    let deliveries: Vec<_> = events.iter().map(|event| event["deliveries"].as_i64().unwrap()).collect();
    assert_eq!(deliveries, [3, 1, 2, 1, 1]);
    assert_eq!(events[1]["payload"], json!({"n": 2, "text": "Grüße"}));
    assert_eq!(events[2]["attributes"], json!({"subject": "s"}));
    let conflicts = Filter { has_conflicts: true, ..Filter::default() };
    assert_eq!(seqs(&read_in(&store, &conflicts, Order::Ascending).await), [3]);
    let of_shop = Filter { sources: vec![Source::parse("shop").unwrap()], ..Filter::default() };
    assert_eq!(seqs(&read_in(&store, &of_shop, Order::Descending).await), [after_restore, 6, 3]);
    let since = Some(Timestamp::parse("2026-11-21T01:00:01Z").unwrap());
    let recent = Filter { since, ..Filter::default() };
    assert_eq!(seqs(&read_in(&store, &recent, Order::Ascending).await), [4, 6, after_restore]);

    // What it knows stays known, also of what is gone, and seq goes on.
    let again = [
        event_with("orders", "a-1", r#"{ "n": 1 }"#),
        event_with("orders", "a-2", "2"),
        event_with("orders", "old-2", "2"),
        event_with("payments", "erased", "2"),
        event_with("orders", "old-1", "1"),
        event_with("new", "a-1", "1"),
    ];
    let next = after_restore + 1;
    let expected =
        [(3, Duplicate), (4, Conflict), (2, Duplicate), (7, Duplicate), (next, Stored), (next + 1, Stored)];
    assert_eq!(append(&store, &again).await, expected);
    let ledger = store.ledger(&[]).await.unwrap();
    let totals = [ledger.unique_processed, ledger.duplicate_dropped, ledger.conflicts, ledger.topics_total];
    assert_eq!(totals, [10, 8, 2, 3]);
    let found: String = database.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
}

/// The tables of 0.2.
const TABLES: [&str; 5] = ["events", "topics", "blocks", "sections", "upkeep"];

/// The columns of these tables.
fn columns_of(database: &rusqlite::Connection) -> [String; 5] {
    TABLES.map(|table| {
        let select = format!("select group_concat(name) from pragma_table_info('{table}')");
        database.query_row(&select, [], |row| row.get(0)).unwrap()
    })
}

/// All rows of these tables.
fn rows_of(database: &rusqlite::Connection, columns: &[String; 5]) -> String {
    let rows = |(table, columns)| -> String {
        let select = format!("select group_concat(json_array('{table}', {columns}), char(10)) from {table}");
        database.query_row(&select, [], |row| row.get::<_, Option<String>>(0)).unwrap().unwrap_or_default()
    };
    TABLES.iter().zip(columns).map(rows).collect()
}

/// The schema of a database without what makes no difference: comments, white space, and the order of its parts.
fn schema_of(database: &rusqlite::Connection) -> Vec<String> {
    let select = "select sql from sqlite_schema where sql is not null";
    let mut statement = database.prepare(select).unwrap();
    let texts = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let mut schema: Vec<_> = texts
        .map(|text| {
            let text = text.unwrap();
            let code = text.lines().map(|line| line.split("--").next().unwrap_or_default());
            let words = code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
            words.replace("( ", "(").replace(" )", ")").replace(" ,", ",").to_lowercase()
        })
        .collect();
    schema.sort();
    schema
}

#[tokio::test]
async fn a_database_of_0_2_is_upgraded_to_the_schema_of_a_new_one_and_keeps_all_rows() {
    let (new, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [new_file, old_file] =
        [&new, &old].map(|place| rusqlite::Connection::open(place.path().join("events.db")).unwrap());
    old_file.execute_batch(OF_0_2).unwrap();
    fill(&old_file, 2 * 65_536);
    let columns = columns_of(&old_file);
    let before = rows_of(&old_file, &columns);
    for part in ["\"expired\"]", "\"erased\"]", "\"reserved\"]", "[\"blocks\"", "[\"sections\""] {
        assert!(before.contains(part), "the database of 0.2 has {part}");
    }

    assert_eq!(last_seq(&open(new.path(), 1).0).await, Ok(0));
    open(old.path(), 2).0.readable().await.unwrap();
    assert!(rows_of(&old_file, &columns) == before, "a row has changed");
    assert_eq!(schema_of(&old_file), schema_of(&new_file));
}
#[tokio::test]
async fn a_database_of_a_version_without_a_way_is_left_as_it_is() {
    for (version, remedy) in
        [(8, "start version 0.2 on it"), (35, "use the program that made it"), (1000, "newer program")]
    {
        let directory = tempfile::tempdir().unwrap();
        let database = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
        database.execute_batch(OF_0_2).unwrap();
        database.execute("delete from schema_migrations where version > ?1", [version]).unwrap();
        database.execute("insert or ignore into schema_migrations values (?1, '')", [version]).unwrap();
        let state = || (rows_of(&database, &columns_of(&database)), schema_of(&database));
        let before = state();
        let refused = open(directory.path(), 1).0.append(&[&event("a")], &[]).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Failed(cause) if cause.contains(remedy)), "{refused}");
        assert!(state() == before, "version {version}");
    }
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
    let page =
        |filter: &Filter, index| plan(&(SQLITE.page)(filter, index, Order::Ascending, Layout::Array).text);
    let moment = Some(Timestamp::parse("2026-11-21T01:00:00Z").unwrap());
    let by_time = Filter { since: moment.clone(), ..Filter::default() };
    let by_source = Filter { sources: vec![Source::parse("s").unwrap()], ..Filter::default() };
    let of_all = page(&Filter::default(), Index::Seq);
    let of_one = page(&topics(&["t"]), Index::Topics);
    let of_source = page(&by_source, Index::Sources);
    let of_several = page(&topics(&["t", "u"]), Index::Topics);
    let of_prefix = page(&topics(&["t.*", "u"]), Index::Topics);
    let of_share = plan(&SQLITE.share(&topics(&["t.*", "u"])).text);
    let of_next = plan(&SQLITE.next_of_topics(&topics(&["t.*", "u"]), Order::Ascending).text);
    let of_few = plan(&SQLITE.few(&topics(&["t.*"]), Index::Topics).text);
    let of_time = page(&by_time, Index::Seq);
    let of_short_time = page(&by_time, Index::Timestamp);
    let of_length = plan(&SQLITE.few(&by_time, Index::Timestamp).text);
    let by_conflict = Filter { has_conflicts: true, topics: topics(&["t"]).topics, ..Filter::default() };
    let of_conflict = page(&by_conflict, Index::Conflicts);
    let of_reach = plan(&SQLITE.reach(&topics(&["t"]), Index::Topics, Order::Ascending).text);
    let of_stored = plan(include_str!("sql/stored.sql"));
    let of_event = plan(SQLITE.texts.identity);
    let of_forgotten = plan(include_str!("sql/forget.sql"));
    assert!(
        of_stored.contains("rowid>? AND rowid<?"),
        "a write of duplicates only must not scan: {of_stored}"
    );
    for plan in [&of_prefix, &of_share, &of_next, &of_few] {
        assert!(plan.contains("topics USING PRIMARY KEY (name>? AND name<?)"), "{plan}");
        assert!(!plan.contains("SCAN events") && !plan.contains("SCAN topics"), "{plan}");
    }
    for plan in [&of_one, &of_reach, &of_prefix, &of_next, &of_few] {
        assert!(plan.contains("events_by_topic (topic=? AND rowid>? AND rowid<?)"), "{plan}");
    }
    assert!(of_source.contains("events_by_source (source=? AND rowid>? AND rowid<?)"), "{of_source}");
    for plan in [&of_all, &of_one, &of_source, &of_time, &of_length, &of_reach] {
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN events"), "{plan}");
    }
    assert!(of_conflict.contains("INDEX events_by_conflict (seq>? AND seq<?)"), "{of_conflict}");
    assert!(of_several.contains("MERGE (UNION ALL)"), "{of_several}");
    for plan in [&of_short_time, &of_length] {
        assert!(plan.contains("INDEX events_by_timestamp (timestamp>?)"), "{plan}");
    }
    assert!(of_event.contains("(topic=? AND event_id=?)"), "{of_event}");
    assert!(of_forgotten.contains("INDEX events_gone (received_at<?)"), "{of_forgotten}");
}

#[tokio::test]
async fn a_setting_that_a_failing_disk_refuses_is_not_done_without() {
    for error in
        [StoreError::Failed("disk I/O error".into()), StoreError::Full("database or disk is full".into())]
    {
        let directory = tempfile::tempdir().unwrap();
        let (store, faults) = open(directory.path(), 1);
        faults.refused.replace(Some(("pragma journal_mode = wal", error.clone())));
        assert_eq!(store.append(&[&event("a")], &[]).await, Err(error));
        faults.refused.replace(None);
        assert_eq!(append(&store, &[event("a")]).await.len(), 1);
    }
    // A server across the network does not know the setting, and keeps its own journal.
    let directory = tempfile::tempdir().unwrap();
    let (store, faults) = open(directory.path(), 1);
    let unknown = StoreError::Failed("not allowed: pragma journal_mode".into());
    faults.refused.replace(Some(("pragma journal_mode = wal", unknown)));
    assert_eq!(append(&store, &[event("b")]).await.len(), 1);
}

/// The counters of removal, which must be the same by topic.
async fn removed(store: &NativeStore) -> (i64, i64, i64) {
    let ledger = store.ledger(&[]).await.unwrap();
    let by_topic: Vec<serde_json::Value> = serde_json::from_str(&ledger.by_topic).unwrap();
    let sum = |name: &str| by_topic.iter().map(|account| account[name].as_i64().unwrap()).sum::<i64>();
    let removed = (ledger.expired, ledger.erased, ledger.forgotten);
    assert_eq!((sum("expired"), sum("erased"), sum("forgotten")), removed);
    removed
}

#[tokio::test]
async fn what_has_expired_cannot_be_read_and_its_identity_stays_a_duplicate() {
    let (store, _directory) = fresh();
    append(&store, &[event("a"), event("b"), event("c"), event("d")]).await;
    assert_eq!(readable_events(&store).await, 4);
    assert_eq!(store.expire(keep(2), 1).await, Ok(Step { events: 2, has_more: false }));
    assert_eq!(seqs(&read(&store, &[]).await), [3, 4]);
    assert_eq!(seqs(&read(&store, &["t"]).await), [3, 4]);
    assert_eq!(store.readable().await, Ok(Span { after: 2, through: 4 }));
    let find = async |id: &str| {
        store.event(&Topic::parse("t").unwrap(), &EventId::parse(id).unwrap()).await.unwrap()
    };
    assert_eq!((find("a").await, find("none").await), (Some(Found::Gone), None));
    // Alone, and in a group; and never a conflict, whatever it brings.
    assert_eq!(append(&store, &[event_with("t", "a", "9")]).await, [(1, Duplicate)]);
    let group = [event_with("t", "b", "9"), event("e"), event_with("t", "d", "9")];
    assert_eq!(append(&store, &group).await, [(2, Duplicate), (5, Stored), (4, Conflict)]);
    let ledger = store.ledger(&[]).await.unwrap();
    assert_eq!((ledger.unique_processed, ledger.duplicate_dropped, ledger.conflicts), (5, 3, 1));
    assert_eq!((removed(&store).await, ledger.first_seq), ((2, 0, 0), 3));
    assert_eq!(readable_events(&store).await, 3);
}

#[tokio::test]
async fn events_expire_in_the_order_in_which_they_were_received_up_to_a_moment() {
    let (store, directory) = fresh();
    append(&store, &(0..10).map(|n| event(n.to_string())).collect::<Vec<_>>()).await;
    let database = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    let age =
        "update events set received_at = strftime('%Y-%m-%dT%H:%M:%f', 'now', '-1 minute', '-' || (?1 - seq) || ' days')
               where seq < 8";
    database.execute(age, [20]).unwrap();
    // The seventh was received thirteen days ago.
    assert_eq!(store.expire(Kept { days: 14, events: 0 }, 1).await, Ok(Step { events: 6, has_more: false }));
    assert_eq!(store.expire(Kept { days: 14, events: 0 }, 1).await, Ok(Step { events: 0, has_more: false }));
    assert_eq!(store.expire(Kept { days: 14, events: 9 }, 1).await, Ok(Step { events: 0, has_more: false }));
    assert_eq!(seqs(&read(&store, &[]).await), [7, 8, 9, 10]);
    // The day after its receipt counts, since the moment is gone.
    assert_eq!(store.forget(16, 1).await, Ok(Step { events: 3, has_more: false }));
    assert_eq!(append(&store, &[event("0"), event("3")]).await, [(11, Stored), (4, Duplicate)]);
    assert_eq!(removed(&store).await, (6, 0, 3));
}

#[tokio::test]
async fn no_event_goes_that_is_to_stay_whoever_believes_to_be_at_work() {
    let directory = tempfile::tempdir().unwrap();
    let stores = [open(directory.path(), 1).0, open(directory.path(), 2).0];
    append(&stores[0], &(0..3000).map(|n| event(n.to_string())).collect::<Vec<_>>()).await;
    for _ in 0..20 {
        // Both have seen the same surplus before.
        let steps = futures::join!(stores[0].expire(keep(1000), 1), stores[1].expire(keep(1000), 1));
        assert!(steps.0.is_ok() && steps.1.is_ok(), "{steps:?}");
    }
    assert_eq!(readable_events(&stores[0]).await, 1000);
    assert_eq!(read(&stores[1], &[]).await.len(), 1000);
}

#[tokio::test]
async fn answers_are_kept_with_their_events_for_a_day() {
    let directory = tempfile::tempdir().unwrap();
    let ((store, faults), (other, _)) = (open(directory.path(), 1), open(directory.path(), 2));
    let key = |name: &str| RequestKey { key: name.into(), fingerprint: "f".into() };
    let (one, two, empty) = (key("one"), key("two"), key("empty"));
    append(&store, &[event("known")]).await;
    let events = [event("a"), event_with("t", "known", "1"), event("b"), event("a")];
    let group: Vec<_> = events.iter().collect();
    let keys = [
        Keyed { key: &one, events: 0..2 },
        Keyed { key: &empty, events: 2..2 },
        Keyed { key: &two, events: 2..4 },
    ];
    // Whatever fails, all or nothing of it is kept.
    for works in 0..7 {
        faults.statements_left.set(works);
        assert!(store.append(&group, &keys).await.is_err(), "after {works} statements");
        faults.statements_left.set(u32::MAX);
        assert_eq!((last_seq(&other).await, other.answered("one").await), (Ok(1), Ok(None)), "{works}");
    }
    let outcomes = store.append(&group, &keys).await.unwrap();
    assert_eq!(
        outcomes.iter().map(|it| it.status).collect::<Vec<_>>(),
        [Stored, Conflict, Stored, Duplicate]
    );
    for (name, range) in [("one", 0..2), ("empty", 2..2), ("two", 2..4)] {
        let answered = other.answered(name).await.unwrap().unwrap();
        assert_eq!(
            (answered.fingerprint.as_str(), &answered.outcomes[..]),
            ("f", &outcomes[range]),
            "{name}"
        );
    }
    let fresh_event = event("c");
    let three = key("three");
    let mixed = [Keyed { key: &three, events: 0..1 }, Keyed { key: &two, events: 1..1 }];
    assert_eq!(other.append(&[&fresh_event], &mixed).await, Err(StoreError::Repeated(vec!["two".into()])));
    assert_eq!(
        (last_seq(&other).await, other.answered("three").await),
        (Ok(3), Ok(None)),
        "nothing was done"
    );

    let database = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    database.execute("update answers set answered_at = answered_at - 86400 where key <> 'two'", []).unwrap();
    assert_eq!(other.answered("one").await, Ok(None));
    assert_eq!(store.append(&[], &[Keyed { key: &one, events: 0..0 }]).await, Ok(vec![]), "a day later");
    assert_eq!(store.forget_answers(1).await, Ok(Step { events: 1, has_more: false }));
    let left = "select group_concat(key) from (select key from answers order by key)";
    let left: String = database.query_row(left, [], |row| row.get(0)).unwrap();
    assert_eq!(left, "one,two");
}

#[tokio::test]
async fn seq_goes_on_when_everything_is_gone_and_forgotten() {
    let (store, directory) = fresh();
    append(&store, &[event("a"), event("b")]).await;
    let database = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    let age = || database.execute("update events set received_at = '2020-01-01T00:00:00'", []).unwrap();
    age();
    store.expire(Kept { days: 30, events: 0 }, 1).await.unwrap();
    assert_eq!(store.forget(30, 1).await.unwrap().events, 1, "the newest row stays");
    assert_eq!(append(&store, &[event("a")]).await, [(3, Stored)]);
    assert_eq!(store.forget(30, 1).await.unwrap().events, 1);
    assert_eq!(removed(&store).await, (2, 0, 2));
}

fn is_in_a_file(directory: &std::path::Path, text: &str) -> bool {
    std::fs::read_dir(directory).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        String::from_utf8_lossy(&bytes).contains(text)
    })
}

#[tokio::test]
async fn an_erased_event_leaves_no_byte_of_itself_in_the_files() {
    let (store, directory) = fresh();
    let secret = |n: usize| NewEvent {
        source: Some(Source::parse(format!("source-of-{n:04}-secret")).unwrap()),
        attributes: Some(format!(r#"{{"attribute":"{n:04}-secret"}}"#)),
        timestamp: Some(Timestamp::parse(&format!("2031-07-0{}T01:02:03.{n:04}5Z", n % 9 + 1)).unwrap()),
        // Some are larger than a page of the database.
        ..event_with("t", n.to_string(), &format!("\"{n:04}-secret{}\"", "x".repeat(n % 7 * 1000)))
    };
    // Many blocks, so that timestamps are their bounds; in random order, so that pages of indexes are split.
    let mut numbers: Vec<_> = (0..5000).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut numbers);
    append(&store, &numbers.iter().map(|n| secret(*n)).collect::<Vec<_>>()).await;
    let is_in_a_file = |text: &str| is_in_a_file(directory.path(), text);
    assert!(is_in_a_file("0017-secret") && is_in_a_file("2031-07-09T01:02:03.00175"));

    let identity = (Topic::parse("t").unwrap(), EventId::parse("17").unwrap());
    assert_eq!(store.erase_event(&identity.0, &identity.1).await, Ok(true));
    assert_eq!(store.erase_event(&identity.0, &EventId::parse("none").unwrap()).await, Ok(false));
    store.scrub().await.unwrap();
    assert!(!is_in_a_file("0017-secret") && !is_in_a_file("2031-07-09T01:02:03.00175"));
    assert_eq!(store.event(&identity.0, &identity.1).await, Ok(Some(Found::Gone)));
    assert_eq!(append(&store, &[event_with("t", "17", "9")]).await[0].1, Duplicate);

    // All the rest, in steps of a window.
    let mut rest = store.readable().await.unwrap();
    while !rest.is_empty() {
        let window = store.window(&topics(&["t"]), rest, Order::Ascending).await.unwrap();
        while store.erase(&topics(&["t"]), window, 700).await.unwrap().has_more {}
        rest = rest.behind(window.span, Order::Ascending);
    }
    store.scrub().await.unwrap();
    assert!(!is_in_a_file("secret") && !is_in_a_file("2031-07"));
    assert_eq!(removed(&store).await, (0, 5000, 0));
    assert_eq!(read(&store, &[]).await, [] as [serde_json::Value; 0]);
    assert_eq!(append(&store, &[event("4999")]).await[0].1, Duplicate);
}

#[tokio::test]
async fn an_expired_event_leaves_no_byte_of_itself_in_the_files() {
    let (store, directory) = fresh();
    let events: Vec<_> = (0..3000).map(|n| event_with("t", n.to_string(), "\"secret\"")).collect();
    append(&store, &events).await;
    while store.expire(keep(1), 2).await.unwrap().events > 0 {}
    store.erase_event(&Topic::parse("t").unwrap(), &EventId::parse("2999").unwrap()).await.unwrap();
    store.scrub().await.unwrap();
    assert!(!is_in_a_file(directory.path(), "secret"));
}

#[tokio::test]
async fn what_somebody_still_reads_is_not_said_to_be_erased_from_the_files() {
    let (store, directory) = fresh();
    append(&store, &[event("a")]).await;
    let reader = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    reader.execute_batch("begin; select * from events").unwrap();
    store.erase_event(&Topic::parse("t").unwrap(), &EventId::parse("a").unwrap()).await.unwrap();
    assert_eq!(store.scrub().await, Err(StoreError::Busy));
    reader.execute_batch("rollback").unwrap();
    assert_eq!(store.scrub().await, Ok(()));
}

#[tokio::test]
async fn one_instance_at_a_time_has_the_work_of_retention() {
    let directory = tempfile::tempdir().unwrap();
    let ((one, _), (other, _)) = (open(directory.path(), 1), open(directory.path(), 2));
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    assert_eq!(one.claim(minute).await, Ok(true));
    assert_eq!(other.claim(minute).await, Ok(false));
    let database = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    let due_in: f64 = database
        .query_row("select (julianday(due_at) - julianday('now')) * 86400 from upkeep", [], |row| row.get(0))
        .unwrap();
    assert!((50.0..61.0).contains(&due_in), "{due_in}");
    database.execute("update upkeep set due_at = strftime('%Y-%m-%dT%H:%M:%f', 'now')", []).unwrap();
    assert_eq!(other.claim(minute).await, Ok(true), "the first one is gone");
    other.release(hour).await.unwrap();
    assert_eq!(one.claim(minute).await, Ok(false), "nothing is due");
    other.release(Duration::ZERO).await.unwrap();
    assert_eq!(one.claim(minute).await, Ok(true));
}

/// Fills a database with events, one a second, of which each tenth is of the topic `tenth`.
fn fill(database: &rusqlite::Connection, count: u32) {
    let insert = "
        insert into events (topic, event_id, timestamp, payload, digest, received_at, commit_id)
        with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < ?1)
        select case when n % 10 = 0 then 'tenth' else 'other' end, n,
            strftime('%Y-%m-%dT%H:%M:%S', 1790000000 + n, 'unixepoch'), '{}', 0, '2026-11-21T01:00:00', n
        from numbers";
    database.execute(insert, [count]).unwrap();
}

#[tokio::test]
async fn sections_of_blocks_are_passed_over() {
    const EVENTS: u32 = 3 * 65_536 + 700;
    let (store, directory) = fresh();
    store.readable().await.unwrap(); // makes the tables
    fill(&rusqlite::Connection::open(directory.path().join("events.db")).unwrap(), EVENTS);

    let begin = chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let second = |n: i64| {
        let moment = begin + chrono::TimeDelta::seconds(n);
        Some(Timestamp::parse(&moment.to_rfc3339()).unwrap())
    };
    for (since, until) in [
        (Some(190_000), None),
        (None, Some(9_000)),
        (Some(66_000), Some(70_000)),
        (Some(131_000), Some(131_500)),
        (Some(197_200), None),
        (Some(300_000), None),
    ] {
        for order in [Order::Ascending, Order::Descending] {
            let filter =
                Filter { since: since.and_then(second), until: until.and_then(second), ..topics(&["tenth"]) };
            let mut expected: Vec<i64> = (1..=i64::from(EVENTS))
                .filter(|n| {
                    n % 10 == 0
                        && since.is_none_or(|since| *n >= since)
                        && until.is_none_or(|until| *n < until)
                })
                .collect();
            if order == Order::Descending {
                expected.reverse();
            }
            assert_eq!(seqs(&read_in(&store, &filter, order).await), expected, "{since:?} {until:?}");
            let first = store.window(&filter, store.readable().await.unwrap(), order).await.unwrap();
            let is_near = expected.first().is_none_or(|first_match| {
                match order {
                    Order::Ascending => first_match - first.span.after <= 512 + 10,
                    // Behind the last block, events may always match.
                    Order::Descending => first.span.through - first_match <= 700,
                }
            });
            assert!(is_near || first.span.after >= 3 * 65_536, "{first:?} of {since:?} {until:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_stays_bounded_while_somebody_reads_an_old_state() {
    let (store, directory) = fresh();
    append(&store, &[event("first")]).await;
    assert_eq!(store.log().await, Ok(Some(LogState::default())));
    let log = || std::fs::metadata(directory.path().join("events.db-wal")).unwrap().len();
    let reader = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    reader.execute_batch("begin; select * from events").unwrap();
    let mut written = 0;
    let refused = loop {
        let events: Vec<_> = (0..100).map(|n| event(format!("{written}-{n}"))).collect();
        match store.append(&events.iter().collect::<Vec<_>>(), &[]).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(written < 1000, "the log has {} bytes", log());
    };
    assert_eq!(refused, StoreError::Busy);
    assert!((1000 * 4096..3000 * 4096).contains(&log()), "{}", log());
    let stopped = store.log().await.unwrap().unwrap();
    assert!(stopped.stops_writes && stopped.kept_bytes >= 1000 * 4096, "{stopped:?}");
    assert_eq!(store.ledger(&[]).await.unwrap().unique_processed, 1 + written * 100, "reading goes on");
    reader.execute_batch("rollback").unwrap();
    assert_eq!(store.log().await, Ok(Some(LogState::default())), "nobody needs it any more");
    let longest = log();
    for n in 0..100 {
        append(&store, &[event(format!("after-{n}"))]).await;
    }
    assert_eq!(log(), longest, "it has begun anew");
}

#[tokio::test]
async fn consumers_changes_are_whole() {
    let (store, _directory) = fresh();
    consume_tests::changes_are_whole(&store).await;
}

#[tokio::test]
async fn consumers_failures_are_found() {
    let (store, _directory) = fresh();
    consume_tests::failures_are_found(&store).await;
}

#[tokio::test]
async fn consumers_what_is_erased_is_told() {
    let (store, _directory) = fresh();
    consume_tests::what_is_erased_is_told(&store).await;
}
