//! What a test does to the database behind the server's back, on either store.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use sekali_harness::Server;
use sekali_harness::postgres::Postgres;

/// Runs a statement on the database of a server, and returns the first value that it gives.
pub fn query(server: &Server, of_sqlite: &str, of_postgres: &str) -> String {
    match server.postgres() {
        Some((postgres, database)) => postgres.query(&database, of_postgres).unwrap(),
        None => {
            let database = rusqlite::Connection::open(server.database()).unwrap();
            let mut statement = database.prepare(of_sqlite).unwrap();
            let mut rows = statement.query([]).unwrap();
            let first = rows.next().unwrap().map(|row| row.get::<_, rusqlite::types::Value>(0).unwrap());
            match first {
                Some(rusqlite::types::Value::Integer(value)) => value.to_string(),
                Some(rusqlite::types::Value::Text(value)) => value,
                _ => String::new(),
            }
        }
    }
}

/// A writer that keeps all others waiting, until it is dropped.
pub enum Writer {
    Sqlite(rusqlite::Connection),
    Postgres(Child),
}

impl Writer {
    /// Begins to write to the database of a server.
    pub fn begin(server: &Server) -> Self {
        match server.postgres() {
            Some((postgres, database)) => Self::on_postgres(postgres, &database),
            None => {
                let connection = rusqlite::Connection::open(server.database()).unwrap();
                connection.execute_batch("begin immediate").unwrap();
                Self::Sqlite(connection)
            }
        }
    }

    fn on_postgres(postgres: &Postgres, database: &str) -> Self {
        let mut psql = postgres.psql(database).unwrap();
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let begin = "begin;\nselect 'locked', pg_advisory_xact_lock(126879430437993);\n";
        psql.stdin.as_mut().unwrap().write_all(begin.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(psql.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("locked"), "{line}");
        Self::Postgres(psql)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        match self {
            Self::Sqlite(connection) => connection.execute_batch("rollback").unwrap(),
            Self::Postgres(psql) => {
                drop(psql.stdin.take()); // psql ends with its input, and its transaction with it
                psql.wait().unwrap();
            }
        }
    }
}
