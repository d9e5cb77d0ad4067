//! Connections to PostgreSQL servers, pooled.
//!
//! Statements have no name, and leave nothing in their session: a pooler in transaction mode may stand between, which
//! gives each transaction another session. For the same reason PostgreSQL plans each of them with its parameters as
//! constants, and leaves out the partitions that they exclude.

mod address;
mod columns;
mod pool;

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow, ensure};
use deadpool_postgres::Object;
use futures::TryStreamExt;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

pub use self::address::check_address;
pub use self::columns::Column;

use self::address::config;
use self::pool::{GREATEST_AGE, Server};
use super::servers::AllowedServers;

/// Servers to which a thread keeps connections.
const SERVERS: usize = 16;

thread_local! {
    static SERVERS_OF_THREAD: RefCell<HashMap<String, Arc<Server>>> = RefCell::default();
}

/// An address to connect to, and nothing else: certificates are those that the machine trusts.
pub struct ConnectionBuilder {
    /// The address.
    pub address: String,
}

/// A parameter of a statement.
pub trait Parameter: ToSql + Sync {
    /// The type that the statement is told; [`Type::UNKNOWN`] where it has to find out itself.
    fn ty(&self) -> Type;
}

/// A connection that is out of its pool until it is dropped.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

/// The result of a statement.
#[derive(Debug, Default)]
pub struct ResultSet {
    /// The columns of its rows, also if there are none.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// The reason why a statement has no result.
#[derive(Debug)]
pub enum Failure {
    /// It failed.
    Statement(Error),
    /// It was run and returned no row, but what columns they would have is not known.
    Description(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Statement(error)
    }
}

struct Inner {
    /// `None` only while it is dropped.
    client: Option<Object>,
    /// True when nobody else may use it: its server is still at work for a caller that left, or serves no more.
    is_spoilt: AtomicBool,
    server: Arc<Server>,
}

impl Connection {
    /// Takes a connection to an address, a URL or a string of `key=value`, from the pool of this thread.
    pub async fn open(address: &str, allowed: &AllowedServers) -> Result<Self> {
        let config = config(address, allowed).map_err(|error| anyhow!("the database address {error}"))?;
        let server = SERVERS_OF_THREAD.with_borrow_mut(|servers| match servers.get(address) {
            Some(server) => Ok(Arc::clone(server)),
            None => {
                ensure!(servers.len() < SERVERS, "connections to more than {SERVERS} addresses");
                let server = Arc::new(Server::at(config, GREATEST_AGE)?);
                servers.insert(address.to_owned(), Arc::clone(&server));
                Ok(server)
            }
        })?;
        Self::to(server).await
    }

    async fn to(server: Arc<Server>) -> Result<Self> {
        let client = Some(server.take().await?);
        Ok(Self(Arc::new(Inner { client, is_spoilt: AtomicBool::new(false), server })))
    }

    /// Runs a statement to its end, and returns its rows.
    pub async fn query<P: Parameter>(&self, statement: &str, parameters: &[P]) -> Result<ResultSet, Failure> {
        self.run(async |inner| inner.query(statement, parameters).await).await
    }

    /// Runs a statement to its end, and returns how many rows it changed.
    pub async fn execute<P: Parameter>(&self, statement: &str, parameters: &[P]) -> Result<u64, Failure> {
        self.run(async |inner| Ok(inner.rows(statement, parameters).await?.1)).await
    }

    async fn run<T>(&self, work: impl AsyncFnOnce(&Inner) -> Result<T, Failure>) -> Result<T, Failure> {
        let inner = &*self.0;
        inner.is_spoilt.store(true, Ordering::Relaxed); // until it ends, which its caller may not wait for
        let done = work(inner).await;
        let is_spoilt = match &done {
            Ok(_) => false,
            Err(Failure::Statement(error)) => ends_service(error),
            Err(Failure::Description(_)) => true, // it may be in a transaction
        };
        if is_spoilt {
            inner.server.suspect_all();
        }
        inner.is_spoilt.store(is_spoilt, Ordering::Relaxed);
        done
    }
}

/// True if a connection with this error is of no use, and the others to its server may be of none.
fn ends_service(error: &Error) -> bool {
    let Some(error) = error.as_db_error() else { return true };
    match error.code().code() {
        // Writes to a replica, or to what is one in recovery.
        "25006" | "55000" => true,
        // Connections that broke, also as a pooler reports it, and servers that end.
        code => code.starts_with("08") || code.starts_with("57P") || is_fatal(error),
    }
}

/// True if the server ends the connection. Only newer ones say so in a word that is not translated.
fn is_fatal(error: &DbError) -> bool {
    match error.parsed_severity() {
        Some(severity) => matches!(severity, Severity::Fatal | Severity::Panic),
        None => matches!(error.severity(), "FATAL" | "PANIC"),
    }
}

impl Inner {
    async fn query<P: Parameter>(&self, statement: &str, parameters: &[P]) -> Result<ResultSet, Failure> {
        let (rows, _) = self.rows(statement, parameters).await?;
        let columns = match rows.first() {
            Some(row) => row.columns().iter().map(Column::of).collect(),
            None => self.columns(statement, parameters).await.map_err(Failure::Description)?,
        };
        Ok(ResultSet { columns, rows })
    }

    /// The rows of a statement, and how many it returned or changed.
    async fn rows<P: Parameter>(&self, statement: &str, parameters: &[P]) -> Result<(Vec<Row>, u64), Error> {
        let Some(client) = &self.client else { return Ok((vec![], 0)) };
        let parameters = parameters.iter().map(|parameter| (parameter, parameter.ty()));
        let mut stream = pin!(client.query_typed_raw(statement, parameters).await?);
        let rows = stream.as_mut().try_collect().await?;
        Ok((rows, stream.rows_affected().unwrap_or(0)))
    }

    /// The columns of a statement that returned no row.
    async fn columns<P: Parameter>(&self, statement: &str, parameters: &[P]) -> Result<Vec<Column>, Error> {
        if let Some(columns) = self.server.columns.of(statement) {
            return Ok(columns);
        }
        let Some(client) = &self.client else { return Ok(vec![]) };
        let types: Vec<_> = parameters.iter().map(Parameter::ty).collect();
        // Only a statement with a name shows them. Within a transaction a pooler keeps to one session, so that the name
        // is gone from it before another may use it.
        client.batch_execute("begin").await?;
        let prepared = client.prepare_typed(statement, &types).await;
        let columns = prepared.map(|prepared| prepared.columns().iter().map(Column::of).collect::<Vec<_>>());
        client.batch_execute("rollback").await?;
        let columns = columns?;
        self.server.columns.learn(statement, &columns);
        Ok(columns)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.is_spoilt.load(Ordering::Relaxed)
            && let Some(client) = self.client.take()
        {
            drop(Object::take(client));
        }
    }
}

#[cfg(test)]
mod tests;
