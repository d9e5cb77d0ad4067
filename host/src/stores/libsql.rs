//! Databases of a libSQL server, which several hosts may share: sqld, or Turso.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use libsql::{Builder, Error, Value};
use tokio::time::timeout;

use super::sqlite::Rows;

/// The longest wait for the answer to a statement. A server that stands still must not keep its clients for ever.
const LONGEST_STATEMENT: Duration = Duration::from_secs(10);

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
            "the url of a libSQL server must begin with http://, https:// or libsql://" // it may have a token, too
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
    ///
    /// # Errors
    /// The errors of the server, and an error when it takes longer than ten seconds. Its writes may still happen then.
    pub async fn execute<V>(&self, statement: &str, parameters: Vec<V>) -> libsql::Result<Rows<V>>
    where
        V: From<Value> + Into<Value>,
    {
        let parameters = parameters.into_iter().map(Into::into).collect();
        match timeout(LONGEST_STATEMENT, self.rows(statement, parameters)).await {
            Ok(rows) => rows,
            Err(_) => {
                // The stream may be at work still, so the next statement begins another.
                self.0.reset().await;
                Err(Error::ConnectionFailed("no answer from the libSQL server within 10 s".into()))
            }
        }
    }

    async fn rows<V: From<Value>>(&self, statement: &str, parameters: Vec<Value>) -> libsql::Result<Rows<V>> {
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
        let error = Server::new("127.0.0.1:8080?authToken=s3cret", "s3cret").err().unwrap().to_string();
        assert!(error.contains("libsql://") && !error.contains("s3cret"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_given_up() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let connection = Server::new(&url, "token").unwrap().connect().unwrap();
        tokio::time::pause(); // from now on, time goes on when nothing else does
        let error = connection.execute::<Value>("select 1", vec![]).await.err().unwrap();
        assert!(error.to_string().contains("no answer"), "{error}");
    }
}
