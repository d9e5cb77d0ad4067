//! The store of a service as its operator sees it, past the service.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use sekali_harness::deployment::database_in;
use sekali_harness::postgres::Postgres;

/// The days for which events are kept where they expire by their age.
pub const KEPT_DAYS: u32 = 30;

/// Makes a statement for each table, which reads all of it.
const READ_EACH_TABLE: &str = "select format('select * from sekali.%I', relname) from pg_class
    where relnamespace = 'sekali'::regnamespace and relkind = 'r'";

/// The place of a store.
pub enum Place<'p> {
    /// The directory of SQLite's files.
    Files(PathBuf),
    /// A server of PostgreSQL, and the name of the database.
    Tables(&'p Postgres, String),
}

impl Place<'_> {
    /// The identities of which a payload of their own is anywhere in the store.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn payloads(&self) -> Result<BTreeSet<usize>> {
        let mut found = BTreeSet::new();
        match self {
            Self::Files(directory) => {
                for file in fs::read_dir(directory)? {
                    find(&String::from_utf8_lossy(&fs::read(file?.path()).unwrap_or_default()), &mut found);
                }
            }
            Self::Tables(server, database) => {
                let read_all = || server.query(database, READ_EACH_TABLE);
                for table in read_all()?.lines() {
                    match server.query(database, table) {
                        Ok(rows) => find(&rows, &mut found),
                        // Retention has dropped the partition meanwhile, with all that was in it.
                        Err(_) if !read_all()?.lines().any(|left| left == table) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(found)
    }

    /// Lets retention look at once. It looks every ten seconds by itself, which is longer than a round. Before the first
    /// request there is nothing to look at.
    pub fn hasten(&self) {
        let _ = match self {
            Self::Files(directory) => change_sqlite(directory, "update upkeep set due_at = ''"),
            Self::Tables(server, database) => {
                server.query(database, "update sekali.upkeep set due_at = '-infinity'").map(drop)
            }
        };
    }

    /// Makes all events older than they are kept, which nobody can wait for.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn age(&self) -> Result<()> {
        let days = 2 * KEPT_DAYS;
        match self {
            Self::Files(directory) => {
                let moment = format!("strftime('%Y-%m-%dT%H:%M:%f', received_at, '-{days} days')");
                change_sqlite(directory, &format!("update events set received_at = {moment}"))
            }
            Self::Tables(server, database) => {
                let moment = format!("received_at - {days} * 86400000000");
                server.query(database, &format!("update sekali.events set received_at = {moment}")).map(drop)
            }
        }
    }
}

fn change_sqlite(directory: &Path, sql: &str) -> Result<()> {
    let path = database_in(directory);
    let database = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    database.busy_timeout(Duration::from_secs(5))?;
    database.execute(sql, [])?;
    Ok(())
}

/// Adds the identities that payloads in a text name.
fn find(text: &str, found: &mut BTreeSet<usize>) {
    for (_, rest) in text.match_indices("\"identity\"").map(|(at, key)| text.split_at(at + key.len())) {
        let digits = rest.trim_start_matches([':', ' ']);
        let end = digits.find(|other: char| !other.is_ascii_digit()).unwrap_or(digits.len());
        found.extend(digits[..end].parse::<usize>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::identities::payload;

    #[test]
    fn payloads_are_found_however_they_are_written() {
        let mut found = BTreeSet::new();
        find(&format!("\0{}\n{:#}|{}", payload(7, 1), payload(81, 2), payload(5, 0)), &mut found);
        assert_eq!(found, BTreeSet::from([7, 81]));
    }
}
