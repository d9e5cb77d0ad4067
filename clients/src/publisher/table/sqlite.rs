//! The rows of a query in an SQLite file.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Statement};

use super::row::{Value, event};
use super::rows::Rows;
use crate::input::Row;

/// Time to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(10);

/// The names of the columns of a query.
pub fn columns(file: &Path, query: &str) -> Result<Vec<String>> {
    let connection = open(file)?;
    let statement = connection.prepare(query)?;
    ensure!(statement.readonly(), "the query changes the database, which it must not");
    Ok(names(&statement))
}

/// Hands over all rows of a query, and waits while nobody takes them.
pub fn read(file: &Path, query: &str, mut rows: Rows) {
    let read = read_all(file, query, &mut rows);
    for last in rows.end(read) {
        let _ = rows.sender.blocking_send(last); // fails if nobody takes rows any more
    }
}

fn read_all(file: &Path, query: &str, rows: &mut Rows) -> Result<()> {
    let connection = open(file)?;
    let mut statement = connection.prepare(query)?;
    let names = names(&statement);
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let value = |(index, name)| Ok((name, value_of(row.get_ref(index)?)));
        let values = names.iter().map(String::as_str).enumerate().map(value);
        let values = values.collect::<Result<Vec<_>, rusqlite::Error>>()?;
        if let Some(some) = rows.take(Row(event(values.into_iter()))) {
            let _ = rows.sender.blocking_send(some);
            if !rows.are_wanted() {
                break;
            }
        }
    }
    Ok(())
}

/// Opens the file, which another process may be writing, to read it.
fn open(file: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn names(statement: &Statement) -> Vec<String> {
    statement.column_names().map(str::to_owned).collect()
}

fn value_of(value: ValueRef) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(text),
        ValueRef::Blob(_) => Value::Blob,
    }
}
