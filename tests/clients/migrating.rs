//! docs/MIGRATING.md: the producers and the tables of FastAPI services.

use std::process::Command;

use sekali_harness::Server;
use sekali_harness::postgres::Postgres;

use crate::readme::assert_examples;
use crate::{repository, run};

/// Rows as SQLAlchemy writes them.
const ROWS: usize = 2000;

#[test]
#[ignore = "needs Python"]
fn producers_of_an_old_service_run_unmodified() {
    let server = Server::start();
    run(Command::new("python3").arg(repository("tests/clients/old_producer.py")).arg(server.url("")));
    server.assert_books_balance();
}

#[test]
#[ignore = "needs sqlite3 and PostgreSQL"]
fn the_tables_of_an_old_service_are_loaded_by_one_command() {
    let directory = tempfile::tempdir().unwrap();
    let old = rusqlite::Connection::open(directory.path().join("old.db")).unwrap();
    old.execute_batch(&format!(
        "create table events (
            id integer primary key, topic varchar not null, event_id varchar not null, timestamp datetime not null,
            source varchar not null, payload json, unique (topic, event_id)
        );
        with recursive n(n) as (select 1 union all select n + 1 from n limit {ROWS})
        insert into events select n, 'sqlite-' || (n % 3), 'id ' || n, '2026-01-01 0' || (n % 10) || ':00:00.000123',
            'it''s old', iif(n % 7, '{{\"n\": ' || n || ', \"text\": \"é \\\" ' || char(9731) || '\"}}', null) from n;
        update events set payload = '{{''a'': 1}}' where id = 1500"
    ))
    .unwrap();

    let postgres = Postgres::shared().unwrap();
    let database = postgres.create_database().unwrap();
    let statements = [
        "create table events (id bigserial primary key, topic text not null, event_id text not null,
            timestamp timestamptz not null, source text, payload jsonb, unique (topic, event_id))",
        "insert into events (topic, event_id, timestamp, source, payload) select 'postgres-' || n % 3, 'id ' || n,
            timestamptz '2026-01-01 00:00+07' + n * interval '1 s', 'old', jsonb_build_object('n', n) from generate_series(1, 2000) n",
    ];
    for statement in statements {
        postgres.query(&database, statement).unwrap();
    }

    let server = Server::start();
    let document = std::fs::read_to_string(repository("docs/MIGRATING.md")).unwrap();
    let url = postgres.url(&database);
    assert_examples(&document, 4, &server, directory.path(), &[("OLD_DATABASE_URL", &url)]);
    assert_eq!(server.stats()["unique_processed"], 2 * ROWS);
    let event = server.get("/events/sqlite-1/id%201").json();
    assert_eq!(event["timestamp"], "2026-01-01T01:00:00.000123Z");
    assert_eq!((event["payload"]["n"].as_i64(), event["source"].as_str()), (Some(1), Some("it's old")));
    let event = server.get("/events/postgres-1/id%201").json();
    assert_eq!(event["timestamp"], "2025-12-31T17:00:01Z");
}
