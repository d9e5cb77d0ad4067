//! Connections to real servers.

use std::time::{Duration, Instant};

use deadpool_postgres::Metrics;
use sekali_harness::postgres::Postgres;
use tokio_postgres::types::FromSql;

use super::pool::LONGEST_SILENCE;
use super::*;

impl Parameter for i64 {
    fn ty(&self) -> Type {
        Type::INT8
    }
}

async fn open() -> (Connection, String, AllowedServers) {
    let server = Postgres::shared().unwrap();
    let address = server.url("postgres");
    let allowed = AllowedServers::parse(&[format!("postgres://{}", server.address())]).unwrap();
    (Connection::open(&address, &allowed).await.unwrap(), address, allowed)
}

/// A value of one row.
async fn value<T: for<'a> FromSql<'a>>(connection: &Connection, statement: &str) -> T {
    connection.query::<i64>(statement, &[]).await.unwrap().rows[0].get(0)
}

async fn backend(connection: &Connection) -> i32 {
    value(connection, "select pg_backend_pid()").await
}

#[tokio::test]
async fn an_answer_has_its_columns_also_without_rows_or_the_number_of_rows_that_were_changed() {
    let (connection, ..) = open().await;
    let run = async |statement| connection.query::<i64>(statement, &[]).await.unwrap();
    let columns = async |statement| {
        let answer = run(statement).await;
        let columns = answer.columns.into_iter().map(|column| (column.name, column.ty));
        (columns.collect::<Vec<_>>(), answer.rows.len())
    };
    let expected = vec![("a".to_owned(), Type::INT8), ("b".to_owned(), Type::TEXT)];
    // Twice: the second time they are known.
    for _ in 0..2 {
        assert_eq!(columns("select 1::bigint as a, 'x' as b where false").await, (expected.clone(), 0));
    }
    assert_eq!(columns("select 1::bigint as a, 'x' as b").await, (expected, 1));
    run("create temporary table t (n bigint)").await;
    let change = async |statement, parameter: i64| connection.execute(statement, &[parameter]).await.unwrap();
    assert_eq!(change("insert into t select generate_series(1, $1)", 5).await, 5);
    assert_eq!(change("delete from t where n > $1", 2).await, 3);
    assert_eq!(
        columns("delete from t where n > 7 returning n").await,
        (vec![("n".to_owned(), Type::INT8)], 0)
    );
    assert_eq!(value::<i64>(&connection, "select count(*) from t").await, 2, "a description changes nothing");
}

#[tokio::test]
async fn a_statement_leaves_nothing_in_its_session() {
    let (connection, ..) = open().await;
    for statement in [
        "select 1::bigint, 'x', 'x'::varchar, true, 1::int2, 1, 1::float4, 1::float8, '\\x00'::bytea",
        "select array[1], array[1::bigint], array['x'], '[]'::json, '[]'::jsonb, now(), 1::numeric",
        "select 1 where $1 < 0",
    ] {
        connection.query(statement, &vec![1i64; statement.matches('$').count()]).await.unwrap();
    }
    assert_eq!(value::<i64>(&connection, "select count(*) from pg_prepared_statements").await, 0);
    assert_eq!(
        value::<i64>(&connection, "select count(*) from pg_locks where locktype = 'advisory'").await,
        0
    );
    let changed = "select count(*) from pg_settings where source = 'session'";
    assert_eq!(value::<i64>(&connection, changed).await, 0);
}

#[tokio::test]
async fn a_statement_is_planned_with_its_parameters_as_constants() {
    let (connection, ..) = open().await;
    let run = async |statement: &str| connection.query::<i64>(statement, &[]).await.unwrap();
    run("create temporary table p (n bigint) partition by range (n)").await;
    for part in 0..3 {
        let bounds = format!("for values from ({part}) to ({})", part + 1);
        run(&format!("create temporary table p{part} partition of p {bounds}")).await;
    }
    for _ in 0..10 {
        let plan = connection.query("explain select from p where n = $1", &[1i64]).await.unwrap();
        let plan: Vec<String> = plan.rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("p1") && !plan.contains("p0") && !plan.contains("Removed"), "{plan}");
    }
}

#[tokio::test]
async fn a_connection_whose_statement_was_given_up_serves_nobody_else() {
    let (connection, address, allowed) = open().await;
    let first = backend(&connection).await;
    drop(connection);
    let kept = Connection::open(&address, &allowed).await.unwrap();
    assert_eq!(backend(&kept).await, first, "the pool gives it again");
    let long = kept.query::<i64>("select pg_sleep(5)", &[]);
    assert!(tokio::time::timeout(Duration::from_millis(50), long).await.is_err());
    drop(kept);
    let next = Connection::open(&address, &allowed).await.unwrap();
    assert_ne!(backend(&next).await, first);
}

fn server(url: &str, greatest_age: Duration) -> Arc<Server> {
    Arc::new(Server::at(url.parse().unwrap(), greatest_age).unwrap())
}

async fn connect(server: &Arc<Server>) -> Connection {
    Connection::to(Arc::clone(server)).await.unwrap()
}

#[tokio::test]
async fn an_error_of_a_statement_costs_no_connection() {
    let server = server(&Postgres::shared().unwrap().url("postgres"), GREATEST_AGE);
    let connection = connect(&server).await;
    let first = backend(&connection).await;
    assert!(connection.query::<i64>("select 1 / 0", &[]).await.is_err());
    drop(connection);
    assert_eq!(backend(&connect(&server).await).await, first);
}

#[tokio::test]
async fn after_an_error_that_says_that_the_server_serves_no_more_no_connection_is_used_again() {
    let raise = |code: &str| format!("do $$ begin raise 'no' using errcode = '{code}'; end $$");
    let end = "select pg_terminate_backend(pg_backend_pid())".to_owned();
    let causes = ["25006", "55000", "08006", "57P03"].map(raise).into_iter().chain([end]);
    for cause in causes {
        let server = server(&Postgres::shared().unwrap().url("postgres"), GREATEST_AGE);
        let connections = [connect(&server).await, connect(&server).await];
        let before = [backend(&connections[0]).await, backend(&connections[1]).await];
        assert!(connections[0].query::<i64>(&cause, &[]).await.is_err());
        drop(connections);
        let after = [connect(&server).await, connect(&server).await];
        for connection in &after {
            assert!(!before.contains(&backend(connection).await), "{cause}");
        }
    }
}

#[tokio::test]
async fn a_server_that_refuses_each_write_does_not_cost_a_connection_of_each_reader() {
    let server = server(&Postgres::shared().unwrap().url("postgres"), GREATEST_AGE);
    let refused = async || {
        let writer = connect(&server).await;
        writer.query::<i64>("do $$ begin raise 'no' using errcode = '25006'; end $$", &[]).await.unwrap_err();
    };
    refused().await;
    let reader = connect(&server).await;
    let first = backend(&reader).await;
    refused().await;
    drop(reader);
    assert_eq!(backend(&connect(&server).await).await, first);
}

#[tokio::test]
async fn a_connection_ends_at_its_greatest_age() {
    const AGE: Duration = Duration::from_millis(400);
    let server = server(&Postgres::shared().unwrap().url("postgres"), AGE);
    let connection = connect(&server).await;
    let first = backend(&connection).await;
    drop(connection);
    tokio::time::sleep(AGE).await;
    assert_ne!(backend(&connect(&server).await).await, first);
    let ages = (0..100).map(|_| server.greatest_age(&Metrics::default()));
    let ages: std::collections::BTreeSet<_> = ages.collect();
    assert!(ages.len() > 10 && ages.iter().all(|age| (AGE * 3 / 4..=AGE).contains(age)), "{ages:?}");
}

#[tokio::test]
async fn a_server_that_hangs_does_not_keep_the_next_one_of_its_address_waiting() {
    let hangs = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // its kernel takes connections
    let serves = Postgres::shared().unwrap();
    let hosts = format!("{},{}", hangs.local_addr().unwrap(), serves.address());
    let server = server(&format!("postgres://sekali@{hosts}/postgres?sslmode=disable"), GREATEST_AGE);
    let connection = tokio::time::timeout(LONGEST_SILENCE * 2, connect(&server)).await.unwrap();
    let port = value::<i32>(&connection, "select inet_server_port()").await;
    assert_eq!(port, i32::from(serves.address().port()));
}

#[tokio::test]
async fn an_address_of_two_servers_leads_to_the_one_that_takes_writes_also_after_they_changed_places() {
    let servers = [Postgres::start().unwrap(), Postgres::start().unwrap()];
    let set_read_only = |index: usize, value: &str| {
        let server: &Postgres = &servers[index];
        server
            .query("postgres", &format!("alter system set default_transaction_read_only = {value}"))
            .unwrap();
        server.query("postgres", "select pg_reload_conf()").unwrap();
    };
    for server in &servers {
        server.query("postgres", "create table t (n bigint)").unwrap();
    }
    let hosts = servers.each_ref().map(|server| server.address().to_string()).join(",");
    let url = format!("postgres://sekali@{hosts}/postgres?sslmode=disable&target_session_attrs=read-write");
    let server = server(&url, GREATEST_AGE);
    // Without an answer, neither of them takes writes at this moment.
    let write = async || {
        let connection = Connection::to(Arc::clone(&server)).await.ok()?;
        Some(connection.query::<i64>("insert into t values (1) returning inet_server_port()", &[]).await)
    };
    let port = |result: &ResultSet| result.rows[0].get::<_, i32>(0) as u16;
    for (from, to) in [(1, 0), (0, 1), (1, 0)] {
        set_read_only(to, "off");
        set_read_only(from, "on");
        let (began, mut failures) = (Instant::now(), 0);
        loop {
            match write().await {
                Some(Ok(answer)) if port(&answer) == servers[to].address().port() => break,
                Some(Err(_)) => failures += 1,
                _ => {} // the setting takes effect a moment later
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it is not found");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(failures <= 1, "{failures} writes failed");
    }
}
