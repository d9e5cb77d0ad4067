//! Reads the rows of an old table as events: the columns of a query are the fields of events, by their names.

mod row;
mod sqlite;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use sekali_clients::interrupt::Interrupt;
use tokio::sync::mpsc;

use crate::cli::Cli;
use crate::input::{Origin, Piece, Pieces, Position, Row, Text};

/// Rows that are handed over at once.
const AT_ONCE: usize = 500;

/// A query in a database.
pub enum Table {
    /// An SQLite file.
    Sqlite {
        /// The file.
        file: PathBuf,
        /// The query.
        query: String,
    },
}

impl Table {
    /// The table that the arguments name, if they do.
    ///
    /// # Errors
    /// The database cannot be opened, or the query is not one of events.
    pub fn of(cli: &Cli) -> Result<Option<Self>> {
        let (Some(file), Some(query)) = (&cli.table.from_sqlite, &cli.table.query) else { return Ok(None) };
        let names =
            sqlite::columns(file, query).with_context(|| format!("{} cannot be read", file.display()))?;
        check_columns(&names, cli.topic.is_some())?;
        Ok(Some(Self::Sqlite { file: file.clone(), query: query.clone() }))
    }

    fn path(&self) -> &Path {
        let Self::Sqlite { file, .. } = self;
        file
    }

    /// Starts the thread that reads the rows. `name` stands for the table in event_ids.
    pub fn read(self, name: &str, interrupt: Interrupt) -> Pieces {
        let (sender, pieces) = mpsc::channel(2);
        let origin = Origin { unit: "row", ..Origin::stream(self.path(), name) };
        std::thread::spawn(move || {
            let mut rows = Rows { origin: Arc::new(origin), taken: 0, held: Vec::new(), sender, interrupt };
            let Self::Sqlite { file, query } = &self;
            let read = sqlite::read(file, query, &mut rows)
                .with_context(|| format!("{} cannot be read behind its row {}", file.display(), rows.taken));
            rows.flush();
            if let Err(error) = read {
                let _ = rows.sender.blocking_send(Err(error)); // fails if nobody takes rows any more
            }
        });
        pieces
    }
}

/// Takes rows and hands them over, some at once.
struct Rows {
    origin: Arc<Origin>,
    taken: u64,
    held: Vec<Row>,
    sender: mpsc::Sender<Result<Piece>>,
    interrupt: Interrupt,
}

impl Rows {
    /// Takes the next row; false if there is no reason to read on.
    fn take(&mut self, row: Row) -> bool {
        self.taken += 1;
        self.held.push(row);
        if self.held.len() < AT_ONCE { true } else { self.flush() }
    }

    fn flush(&mut self) -> bool {
        let rows = std::mem::take(&mut self.held);
        let at = |rows| Position { offset: rows, lines: rows };
        let (start, end) = (at(self.taken - rows.len() as u64), at(self.taken));
        let piece = Piece { origin: Arc::clone(&self.origin), start, end, text: Text::Rows(rows) };
        self.sender.blocking_send(Ok(piece)).is_ok() && self.interrupt.exit_code().is_none()
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
