//! The publisher reads the rows of an old table.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use rusqlite::Connection;
use sekali_harness::Server;
use sekali_harness::postgres::Postgres;
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
    assert!(ended.stdout.contains("3 stored, 0 duplicates, 1 refused, 3 undecodable"), "{}", ended.stdout);
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
    assert!(ended.stdout.contains("10,000 stored, 0 duplicates, 10,000 undecodable"), "{}", ended.stdout);
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

/// Loads what a query in a PostgreSQL database finds.
#[track_caller]
fn load_postgres(server: &Server, directory: &Path, url: &str, query: &str, code: i32) -> Ended {
    let to = server.url("");
    let ended = run(&mut publisher(directory, &["--url", &to, "--from-postgres", url, "--query", query]));
    assert_eq!(ended.code, Some(code), "{ended:?}");
    ended
}

#[test]
fn the_rows_of_postgresql_are_taken_and_the_others_are_named() {
    let (server, here) = (Server::start(), tempdir().unwrap());
    let postgres = Postgres::shared().unwrap();
    let database = postgres.create_database().unwrap();
    for statement in [
        "create table events (id bigserial primary key, topic text, event_id uuid, timestamp timestamptz, source text,
            payload jsonb, texts text, seconds numeric)",
        "insert into events (topic, event_id, timestamp, source, payload, texts, seconds)
            select 'a', ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid,
                timestamptz '2026-01-01 00:00:00.000123+07' + n * interval '1 s', nullif(n % 2, 0)::text,
                jsonb_build_object('n', 1.50 * n), iif, 1763686800.25
            from (select n, case n when 700 then '{''a'': 1}' else '[' || n || ']' end as iif
                from generate_series(0, 1199) n) as n",
    ] {
        postgres.query(&database, statement).unwrap();
    }
    let url = postgres.url(&database);
    let query = "select topic, event_id, timestamp, source, payload from events order by id; ";
    load_postgres(&server, here.path(), &url, query, 0);
    let events = server.events();
    assert_eq!(events.len(), 1_200);
    assert_eq!(events[1]["event_id"], "00000000-0000-0000-0000-000000000001");
    assert_eq!(
        (&events[1]["timestamp"], &events[1]["source"]),
        (&json!("2025-12-31T17:00:01.000123Z"), &json!("1"))
    );
    assert_eq!((&events[2]["payload"], &events[2]["source"]), (&json!({"n": 3.0}), &json!("postgres")));

    let query = "select 'text' as topic, id as event_id, seconds as timestamp, texts as payload from events order by id";
    let ended = load_postgres(&server, here.path(), &url, query, 3);
    assert!(
        ended.stderr.contains("postgres row 701: column payload is not JSON: key must be a string"),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.contains("1,199 stored, 0 duplicates, 1 undecodable"), "{}", ended.stdout);
    let event = server.get("/events/text/2").json();
    assert_eq!((&event["timestamp"], &event["payload"]), (&json!("2025-11-21T01:00:00.25Z"), &json!([1])));

    // A row that the database itself cannot make is no success.
    let query = "select 'late' as topic, id as event_id, 1 / (1000 - id) as payload from events order by id";
    let ended = load_postgres(&server, here.path(), &url, query, 1);
    assert!(ended.stderr.contains(": division by zero"), "{}", ended.stderr);
    for (query, said) in
        [("select nothing", "does not exist"), ("delete from events returning topic", "syntax error")]
    {
        let ended = load_postgres(&server, here.path(), &url, query, 2);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
}

#[test]
fn a_server_that_refuses_to_encrypt_gets_no_password() {
    let (server, here) = (Server::start(), tempdir().unwrap());
    for mode in ["", "?sslmode=prefer"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgres://u:s3cret@{}/db{mode}", listener.local_addr().unwrap());
        let heard = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(b"N").unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            (request, rest)
        });
        let ended = load_postgres(&server, here.path(), &url, "select 1 as topic", 2);
        assert!(
            ended.stderr.contains("without sslmode=disable in the URL it has to encrypt"),
            "{}",
            ended.stderr
        );
        let (request, rest) = heard.join().unwrap();
        assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "it asks for TLS");
        assert_eq!(rest, b"", "nothing is sent in the clear");
    }
    // No part of a password is shown, however the URL is written.
    for url in [
        "postgres://u:s3cret/@h:x/db",
        "postgres://u:p@s3cret@h/db?nosuch=s3cret",
        "host=h password=s3cret nosuch",
    ] {
        let ended = load_postgres(&server, here.path(), url, "select 1 as topic", 2);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}
