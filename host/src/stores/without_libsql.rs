//! In place of `libsql.rs`, in a host that was built without the feature `libsql`: there is no server.

use anyhow::{Result, bail};

use super::sqlite::Rows;

/// A database behind a URL. There is none.
pub enum Server {}

/// A connection. There is none.
#[derive(Clone)]
pub enum Connection {}

impl Server {
    /// Refuses the database.
    ///
    /// # Errors
    /// Always.
    pub fn new(_: &str, _: &str) -> Result<Self> {
        bail!(
            "type = \"libsql\" in the runtime config, and this sekali-host was built without: build it with --features libsql"
        )
    }

    /// Never called.
    pub fn connect(&self) -> rusqlite::Result<Connection> {
        match *self {}
    }
}

impl Connection {
    /// Never called.
    pub async fn execute<V>(&self, _: &str, _: Vec<V>) -> rusqlite::Result<Rows<V>> {
        match *self {}
    }

    /// Never called.
    pub fn last_insert_rowid(&self) -> i64 {
        match *self {}
    }

    /// Never called.
    pub fn changes(&self) -> u64 {
        match *self {}
    }
}
