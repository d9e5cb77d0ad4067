//! Databases of a libSQL server, which several hosts may share: sqld, or Turso.

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use libsql::{Builder, Value};

use super::sqlite::Rows;

/// A database behind a URL.
pub struct Server(libsql::Database);

/// A connection. Its statements travel by HTTP, on a stream that the server ends when it was idle for ten seconds.
#[derive(Clone)]
pub struct Connection(libsql::Connection);

impl Server {
    /// The database at a URL of the scheme `http`, `https` or `libsql`, which means `https`.
    ///
    /// # Errors
    /// A URL of another scheme, or one that is none.
    pub fn new(url: &str, token: &str) -> Result<Self> {
        ensure!(
            ["http://", "https://", "libsql://"].iter().any(|scheme| url.starts_with(scheme)),
            "{url:?} is no URL of a libSQL server: use http://, https:// or libsql://"
        );
        let building = Builder::new_remote(url.to_owned(), token.to_owned()).build();
        // It only puts the parts together, and connects with the first statement.
        Ok(Self(building.now_or_never().context("the libSQL client is not ready")??))
    }

    /// A new connection, which costs nothing until its first statement.
    pub fn connect(&self) -> libsql::Result<Connection> {
        Ok(Connection(self.0.connect()?))
    }
}

impl Connection {
    /// Runs a statement to its end.
    pub async fn execute<V: From<Value>>(
        &self,
        statement: &str,
        parameters: Vec<Value>,
    ) -> libsql::Result<Rows<V>> {
        let mut answer = self.0.query(statement, parameters).await?;
        let count = answer.column_count();
        let columns = (0..count).map(|column| answer.column_name(column).unwrap_or_default().to_owned());
        let columns = columns.collect();
        let mut rows = Vec::new();
        while let Some(row) = answer.next().await? {
            rows.push((0..count).map(|column| row.get_value(column).map(V::from)).collect::<Result<_, _>>()?);
        }
        Ok(Rows { columns, rows })
    }

    /// The rowid of the last row that the connection inserted, or 0.
    pub fn last_insert_rowid(&self) -> i64 {
        self.0.last_insert_rowid()
    }

    /// Rows that the last insert, update or delete changed.
    pub fn changes(&self) -> u64 {
        self.0.changes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_another_scheme_is_refused() {
        assert!(Server::new("http://127.0.0.1:8080", "token").is_ok());
        let error = Server::new("127.0.0.1:8080", "token").err().unwrap().to_string();
        assert!(error.contains("libsql://") && !error.contains("token"), "{error}");
    }
}
