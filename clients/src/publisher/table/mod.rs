//! Reads the rows of an old table as events: the columns of a query are the fields of events, by their names.

mod postgres;
mod row;
mod rows;
mod sqlite;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sekali_clients::interrupt::Interrupt;
use tokio::sync::mpsc;

use self::postgres::Server;
use self::rows::Rows;
use crate::cli::Cli;
use crate::input::{Chunks, Origin};

/// A query in a database.
pub struct Table {
    database: Database,
    query: String,
}

enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<Server>),
}

impl Table {
    /// The table that the arguments name, if they do.
    ///
    /// # Errors
    /// The database cannot be opened, or the query is not one of events.
    pub async fn of(cli: &Cli) -> Result<Option<Self>> {
        let Some(query) = cli.table.query.clone() else { return Ok(None) };
        let (database, names) = match (&cli.table.from_sqlite, &cli.table.from_postgres) {
            (Some(file), _) => {
                let names = sqlite::columns(file, &query);
                let names = names.with_context(|| format!("{} cannot be read", file.display()))?;
                (Database::Sqlite(file.clone()), names)
            }
            (None, Some(url)) => {
                let server = Server::at(url)?;
                let names = server.columns(&query).await.context("the table cannot be read")?;
                (Database::Postgres(Box::new(server)), names)
            }
            (None, None) => return Ok(None),
        };
        check_columns(&names, cli.topic.is_some())?;
        Ok(Some(Self { database, query }))
    }

    /// The name of the table in messages. The address of a server may hold a password.
    fn path(&self) -> &Path {
        match &self.database {
            Database::Sqlite(file) => file,
            Database::Postgres(_) => Path::new("postgres"),
        }
    }

    /// Starts to read the rows. `name` stands for the table in event_ids.
    pub fn read(self, name: &str, interrupt: Interrupt) -> Chunks {
        let (sender, chunks) = mpsc::channel(2);
        let origin = Origin { unit: "row", ..Origin::stream(self.path(), name) };
        let rows = Rows::new(origin, sender, interrupt);
        match self.database {
            Database::Sqlite(file) => {
                std::thread::spawn(move || sqlite::read(&file, &self.query, rows));
            }
            Database::Postgres(server) => {
                tokio::spawn(async move { server.read(&self.query, rows).await });
            }
        }
        chunks
    }
}

/// Checks that the columns are fields of events.
fn check_columns(names: &[String], has_topic: bool) -> Result<()> {
    const FIELDS: [&str; 5] = ["topic", "event_id", "timestamp", "source", "payload"];
    let fields = "topic, event_id, timestamp, source and payload";
    for (index, name) in names.iter().enumerate() {
        if !FIELDS.contains(&name.as_str()) {
            bail!("the query has a column {name:?}; events have {fields}: rename it by AS, or leave it out");
        }
        if names[..index].contains(name) {
            bail!("the query has the column {name:?} twice");
        }
    }
    if !has_topic && !names.iter().any(|name| name == "topic") {
        bail!("the query has no column topic: add one, or give --topic NAME");
    }
    Ok(())
}
