//! Statements and the turns of their writers, on databases in memory and in files.

use std::sync::mpsc;

use super::*;

struct Integer(i64);

impl From<ValueRef<'_>> for Integer {
    fn from(value: ValueRef<'_>) -> Self {
        Self(value.as_i64().unwrap())
    }
}

#[test]
fn a_statement_is_brief_unless_the_last_one_was_not_or_another_writes() {
    let database = Database::new("brief", None).unwrap();
    let (writer, reader) = (database.connect().unwrap(), database.connect().unwrap());
    let run = |statement: &str| {
        writer.execute::<i64, Integer>(statement, &[], &GivenUp::default()).unwrap();
        writer.is_brief()
    };
    // Also a short one takes long when the machine is busy.
    let runs_briefly = |statement: &str| (0..100).any(|_| run(statement));
    assert!(!writer.is_brief(), "nothing is known of it");
    run("create table t(x)");
    assert!(runs_briefly("insert into t values (1)"));
    assert!(!reader.is_brief(), "it only reads, and that may be long");
    let many = "with recursive c(x) as (select 1 union all select x + 1 from c limit 100000) select x from c";
    assert!(!run(&format!("insert into t {many}")));
    assert!(runs_briefly("insert into t values (1)"));
    assert!(!run(many));
    assert!(runs_briefly("select 1"));
    let _turn = database.turn.take().unwrap();
    assert!(!writer.is_brief(), "it would wait for its turn");
}

#[test]
fn a_transaction_keeps_its_turn_to_its_end_and_gives_it_on_when_its_connection_goes() {
    let database = Database::new("turns", None).unwrap();
    let run = |connection: &Connection, statement: &str| {
        connection.execute::<i64, Integer>(statement, &[], &GivenUp::default()).map(drop)
    };
    let (one, other) = (database.connect().unwrap(), database.connect().unwrap());
    run(&one, "create table t(x)").unwrap();
    for end in ["commit", "rollback"] {
        run(&one, "begin immediate").unwrap();
        run(&one, "insert into t values (1)").unwrap();
        assert!(!database.turn.is_free());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| run(&other, "insert into t values (2)"));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waiting.is_finished(), "it waits for its turn");
            run(&one, end).unwrap();
            waiting.join().unwrap().unwrap();
        });
        assert!(database.turn.is_free());
    }
    run(&one, "begin").unwrap();
    assert!(database.turn.is_free(), "it has written nothing");
    run(&one, "commit").unwrap();
    run(&one, "begin immediate").unwrap();
    run(&other, "pragma busy_timeout = 1").unwrap();
    assert!(run(&other, "insert into t values (3)").is_err(), "it waits no longer than that");
    drop(one);
    run(&other, "insert into t values (3)").unwrap();
}

#[test]
fn a_read_that_nobody_waits_for_is_stopped_and_a_write_is_not() {
    let connection = Database::new("test", None).unwrap().connect().unwrap();
    let run = |statement: String| {
        let (of_thread, (ended, end)) = (connection.clone(), mpsc::channel());
        std::thread::spawn(move || {
            ended.send(
                of_thread.execute::<i64, Integer>(&statement, &[], &GivenUp::default()).map(|rows| rows.rows),
            )
        });
        end
    };
    let count =
        |to: i64| format!("with recursive c(x) as (select 1 union all select x + 1 from c limit {to})");
    let end = run(format!("{} select count(*) from c", count(i64::MAX)));
    // SQLite forgets an interrupt that comes before the first step of a statement.
    let result = loop {
        drop(connection.interest());
        if let Ok(result) = end.recv_timeout(Duration::from_millis(10)) {
            break result;
        }
    };
    assert!(result.is_err());

    run("create table t(x)".into()).recv().unwrap().unwrap();
    let end = run(format!("insert into t {} select x from c", count(1_000_000)));
    let result = loop {
        drop(connection.interest());
        if let Ok(result) = end.recv_timeout(Duration::from_millis(10)) {
            break result;
        }
    };
    assert!(result.is_ok());
    let counted =
        connection.execute::<i64, Integer>("select count(*) from t", &[], &GivenUp::default()).unwrap();
    assert_eq!(counted.rows[0][0].0, 1_000_000);
    let given_up = connection.interest().given_up();
    assert!(connection.execute::<i64, Integer>("select 1", &[], &given_up).is_err(), "it did not begin");
    let write = ["begin immediate", "insert into t values (0)", "commit"];
    for statement in write {
        // Nobody waits for the commit any more.
        let given_up = GivenUp::new((statement == "commit").into());
        connection.execute::<i64, Integer>(statement, &[], &given_up).unwrap();
    }
}

#[test]
fn nothing_is_written_while_the_file_is_not_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let [path, elsewhere] = ["events.db", "elsewhere.db"].map(|name| directory.path().join(name));
    let database = Database::new("test", Some(path.clone())).unwrap();
    let connection = database.connect().unwrap();
    let run = |statement| connection.execute::<i64, Integer>(statement, &[], &GivenUp::default()).map(drop);
    run("create table t(x)").unwrap();
    std::fs::rename(&path, &elsewhere).unwrap();
    let error = run("insert into t values (1)").unwrap_err().to_string();
    assert!(error.contains("events.db was moved, deleted or replaced"), "{error}");
    assert!(database.connect().is_err());
    assert!(!path.exists(), "a new file would be another database");
    std::fs::write(&path, "").unwrap();
    assert!(run("insert into t values (2)").is_err() && database.connect().is_err(), "replaced");
    std::fs::rename(&elsewhere, &path).unwrap();
    run("insert into t values (3)").unwrap();
    assert!(database.connect().is_ok());
}
