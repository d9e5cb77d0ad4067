//! The publisher reads the rows of an old table.

use std::path::Path;

use rusqlite::Connection;
use sekali_harness::Server;
use serde_json::json;
use tempfile::tempdir;

use crate::program::{Ended, publisher, run};

/// A table with these values, each of them SQL.
fn table(directory: &Path, rows: &[&str]) -> Connection {
    let old = Connection::open(directory.join("old.db")).unwrap();
    old.execute_batch(
        "create table events (id integer primary key, topic, event_id, timestamp, source, payload)",
    )
    .unwrap();
    for row in rows {
        old.execute_batch(&format!("insert into events values (null, {row})")).unwrap();
    }
    old
}

const QUERY: &str = "select topic, event_id, timestamp, source, payload from events order by id";

#[track_caller]
fn load(server: &Server, directory: &Path, query: &str, more: &[&str], code: i32) -> Ended {
    let url = server.url("");
    let arguments = [&["--url", &url, "--from-sqlite", "old.db", "--query", query], more].concat();
    let ended = run(&mut publisher(directory, &arguments));
    assert_eq!(ended.code, Some(code), "{ended:?}");
    ended
}

#[test]
fn one_payload_that_is_no_json_is_named_and_all_others_are_stored() {
    let (server, here) = (Server::start(), tempdir().unwrap());
    let old = table(
        here.path(),
        &[
            r#"'a', '1', '2026-01-01 00:00:00.000123', 'it''s old', '{"n": 1.50}'"#,
            r#"'a', '2', '2026-01-01T00:00:00Z', 'old', '{''a'': 1}'"#,
            "'b', 3, 1763686800, null, null",
            "'b', '4', 'never', 'old', '[]'",
            "null, '5', null, null, '{}'",
            "'b', '6', null, null, x'00'",
            "'b', '7', null, null, ' {\n}'",
        ],
    );
    let ended = load(&server, here.path(), QUERY, &[], 3);
    for told in [
        "old.db row 2: column payload is not JSON: key must be a string at line 1 column 2: {'a': 1}",
        "old.db row 4: timestamp must be",
        "old.db row 5: has no topic",
        "old.db row 6: column payload holds bytes",
    ] {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    assert!(ended.stdout.contains("3 stored, 0 duplicates, 4 rejected"), "{}", ended.stdout);
    assert!(!here.path().join("rejects.ndjson").exists());
    let events = server.events();
    let ids: Vec<_> = events.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1", "3", "7"]);
    assert_eq!(
        (&events[0]["timestamp"], &events[0]["source"]),
        (&json!("2026-01-01T00:00:00.000123Z"), &json!("it's old"))
    );
    assert_eq!(
        (&events[1]["timestamp"], &events[1]["payload"]),
        (&json!("2025-11-21T01:00:00Z"), &json!({}))
    );
    assert_eq!(events[1]["source"], "old.db");

    // Once more, with what came in between, and what was corrected.
    old.execute_batch(r#"insert into events values (null, 'a', '8', null, null, '1'); update events set payload = '{"a": 1}' where id = 2"#).unwrap();
    let ended = load(&server, here.path(), QUERY, &["--skip-invalid", "--json"], 3);
    assert_eq!(
        (&ended.json()["stored"], &ended.json()["duplicates"], &ended.json()["rejected"]),
        (&json!(2), &json!(3), &json!(3))
    );
    let rejects = std::fs::read_to_string(here.path().join("rejects.ndjson")).unwrap();
    assert_eq!(rejects.lines().count(), 3, "{rejects}");
    assert_eq!(server.stats()["conflicts"], 0);
}

#[test]
fn rows_without_an_id_get_one_of_their_number_and_content() {
    let (server, here) = (Server::start(), tempdir().unwrap());
    let old = table(
        here.path(),
        &["'a', null, null, null, '1'", "'a', null, null, null, 'x'", "'a', null, null, null, '1'"],
    );
    let query = "select payload from events order by id";
    for _ in 0..2 {
        load(&server, here.path(), query, &["--topic", "t"], 3);
    }
    assert_eq!(server.stats()["unique_processed"], 2);
    // A row that is corrected leaves the others what they were.
    old.execute_batch("update events set payload = '2' where id = 2").unwrap();
    load(&server, here.path(), query, &["--topic", "t"], 0);
    assert_eq!(server.stats()["unique_processed"], 3);
}

#[test]
fn a_large_table_is_loaded_in_its_order_and_a_query_that_fails_midway_is_no_success() {
    let (server, here) = (Server::start(), tempdir().unwrap());
    let old = table(here.path(), &[]);
    old.execute_batch(
        "with recursive n(n) as (select 1 union all select n + 1 from n limit 20000)
         insert into events select n, 'a', n, null, null, iif(n % 2, '{\"n\":' || n || '}', 'bad') from n",
    )
    .unwrap();
    let ended = load(&server, here.path(), QUERY, &[], 3);
    assert!(ended.stdout.contains("10,000 stored, 0 duplicates, 10,000 rejected"), "{}", ended.stdout);
    assert_eq!(ended.stderr.matches("row ").count(), 100, "not all of them");
    assert!(ended.stderr.contains("further ones are only counted; --skip-invalid"), "{}", ended.stderr);
    let stored = server.events();
    let ids = stored.iter().map(|event| event["event_id"].as_str().unwrap().parse::<u32>().unwrap());
    assert!(ids.eq((1..20_000).step_by(2)));
    // The database itself refuses the first bad row.
    let query = "select topic, event_id || 'x' as event_id, json(payload) as payload from events order by id";
    let ended = load(&server, here.path(), query, &[], 1);
    assert!(
        ended.stderr.contains("old.db cannot be read behind its row 1: malformed JSON"),
        "{}",
        ended.stderr
    );
    assert_eq!(server.stats()["unique_processed"], 10_001);
}

#[test]
fn a_query_that_is_not_one_of_events_is_explained() {
    let (server, here) = (Server::start(), tempdir().unwrap());
    table(here.path(), &[]);
    for (query, said) in [
        (
            "select topic, payload as data from events",
            "a column \"data\"; events have topic, event_id, timestamp, source and payload",
        ),
        ("select event_id from events", "has no column topic"),
        ("select topic, topic from events", "the column \"topic\" twice"),
        ("selekt", "syntax error"),
        ("delete from events returning topic", "changes the database"),
    ] {
        let ended = load(&server, here.path(), query, &[], 2);
        assert!(ended.stderr.contains(said), "{query}: {}", ended.stderr);
    }
    let ended = run(&mut publisher(here.path(), &["--from-sqlite", "none.db", "--query", QUERY]));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("none.db cannot be read"), "{}", ended.stderr);
    assert!(!here.path().join("none.db").exists());
}
