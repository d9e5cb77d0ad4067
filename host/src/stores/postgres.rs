//! Connections to PostgreSQL servers, pooled.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use futures::TryStreamExt;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Connections of a pool. Each thread has a pool of each server, so that its connections wake no other thread.
const CONNECTIONS: usize = 24;

/// Servers to which a thread keeps connections.
const SERVERS: usize = 16;

/// Statements that a connection keeps prepared.
const CACHED_STATEMENTS: usize = 256;

/// Servers that a component may connect to.
#[derive(Clone, Default)]
pub struct AllowedServers(Vec<(String, u16)>);

impl AllowedServers {
    /// The servers that a manifest names, such as `postgres://db.example:5432`.
    ///
    /// # Errors
    /// An entry that names something else: this host lets components connect to PostgreSQL only.
    pub fn parse(hosts: &[String]) -> Result<Self> {
        let server = |entry: &String| {
            let server = entry.strip_prefix("postgres://").with_context(|| {
                format!(
                    "allowed_outbound_hosts has {entry:?}, which is not supported: use postgres://host:port"
                )
            })?;
            let (host, port) = match server.rsplit_once(':') {
                Some((host, port)) => {
                    (host, port.parse().with_context(|| format!("{entry:?} has no valid port"))?)
                }
                None => (server, DEFAULT_PORT),
            };
            ensure!(!host.is_empty() && !host.contains(['*', '/']), "{entry:?} does not name one host");
            Ok((host.to_ascii_lowercase(), port))
        };
        hosts.iter().map(server).collect::<Result<_>>().map(Self)
    }

    /// True if none is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The servers of an address, each of which must be allowed.
    fn check(&self, config: &Config) -> Result<()> {
        let ports = config.get_ports();
        for (index, host) in config.get_hosts().iter().enumerate() {
            let Host::Tcp(host) = host else { bail!("connections by a socket of Unix are not allowed") };
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
            ensure!(
                self.0.iter().any(|allowed| *allowed == (host.to_ascii_lowercase(), port)),
                "the manifest does not allow connections to postgres://{host}:{port}: add it to \
                allowed_outbound_hosts, or use the manifest that does (spin.postgres.toml)"
            );
        }
        Ok(())
    }
}

const DEFAULT_PORT: u16 = 5432;

thread_local! {
    static POOLS: RefCell<HashMap<String, Pool>> = RefCell::default();
}

/// An address to connect to, and nothing else: certificates are those that the machine trusts.
pub struct ConnectionBuilder {
    /// The address.
    pub address: String,
}

/// A connection that is out of its pool until it is dropped.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

/// The answer to a statement.
#[derive(Default)]
pub struct Answer {
    /// The columns of its rows, also if there are none.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Row>,
    /// The number of rows that it returned or changed.
    pub count: u64,
}

struct Inner {
    /// `None` only while it is dropped.
    client: Option<Object>,
    /// True while a statement is under way, which its caller may give up.
    is_at_work: AtomicBool,
}

impl Connection {
    /// Takes a connection to an address, a URL or a string of `key=value`, from the pool of this thread.
    pub async fn open(address: &str, allowed: &AllowedServers) -> Result<Self> {
        let config: Config = address.parse().context("database address")?;
        allowed.check(&config)?;
        let pool = POOLS.with_borrow_mut(|pools| match pools.get(address) {
            Some(pool) => Ok(pool.clone()),
            None => {
                ensure!(pools.len() < SERVERS, "connections to more than {SERVERS} addresses");
                let pool = pool(config)?;
                pools.insert(address.to_owned(), pool.clone());
                Ok(pool)
            }
        })?;
        let client = Some(pool.get().await?);
        Ok(Self(Arc::new(Inner { client, is_at_work: AtomicBool::new(false) })))
    }

    /// Runs a statement to its end.
    pub async fn query<P: ToSql + Sync>(
        &self,
        statement: &str,
        parameters: &[P],
    ) -> Result<Answer, tokio_postgres::Error> {
        self.0.is_at_work.store(true, Ordering::Relaxed);
        let answer = self.0.query(statement, parameters).await;
        self.0.is_at_work.store(false, Ordering::Relaxed);
        answer
    }
}

impl Inner {
    async fn query<P: ToSql + Sync>(
        &self,
        statement: &str,
        parameters: &[P],
    ) -> Result<Answer, tokio_postgres::Error> {
        let Some(client) = &self.client else { return Ok(Answer::default()) };
        if client.statement_cache.size() >= CACHED_STATEMENTS {
            client.statement_cache.clear();
        }
        let prepared = client.prepare_cached(statement).await?;
        let mut stream = pin!(client.query_raw(&prepared, parameters).await?);
        let rows = stream.as_mut().try_collect().await?;
        let columns = prepared
            .columns()
            .iter()
            .map(|column| Column { name: column.name().to_owned(), ty: column.type_().clone() });
        Ok(Answer { columns: columns.collect(), rows, count: stream.rows_affected().unwrap_or(0) })
    }
}

/// A column of an answer.
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The server is still at work for a caller that left. Nobody else must wait for that.
        if self.is_at_work.load(Ordering::Relaxed)
            && let Some(client) = self.client.take()
        {
            drop(Object::take(client));
        }
    }
}

fn pool(mut config: Config) -> Result<Pool> {
    config.application_name("sekali");
    // A server that vanished without a word is noticed by the kernel.
    config.keepalives_idle(std::time::Duration::from_secs(10));
    config.tcp_user_timeout(std::time::Duration::from_secs(10));
    config.connect_timeout(std::time::Duration::from_secs(3));
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match config.get_ssl_mode() {
        SslMode::Disable => Manager::from_config(config, NoTls, recycling),
        _ => Manager::from_config(config, MakeRustlsConnect::new(tls()?), recycling),
    };
    let pool = Pool::builder(manager).max_size(CONNECTIONS).runtime(Runtime::Tokio1);
    Ok(pool.build()?)
}

/// TLS with the certificates that the machine trusts; SSL_CERT_FILE names others.
fn tls() -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allowed: &[&str], address: &str) -> Result<()> {
        let allowed: Vec<_> = allowed.iter().map(|&host| host.to_owned()).collect();
        AllowedServers::parse(&allowed)?.check(&address.parse().unwrap())
    }

    #[test]
    fn only_servers_that_the_manifest_allows_are_reached() {
        let db = "postgres://db.example";
        check(&[db], "postgres://u:p@db.example/d").unwrap();
        check(&[db], "host=DB.example user=u").unwrap();
        check(&[db, "postgres://b:1"], "postgres://u@db.example:5432,b:1/d").unwrap();
        for address in [
            "postgres://u@other/d",
            "postgres://u@db.example:1/d",
            "host=/tmp",
            "postgres://u@db.example,b/d",
        ] {
            let error = check(&[db], address).unwrap_err().to_string();
            assert!(error.contains("allow"), "{error}");
        }
        assert!(check(&[], "host=db.example").is_err());
    }

    #[test]
    fn other_hosts_are_refused_by_name() {
        for entry in ["https://example.com", "*", "postgres://*:5432", "postgres://", "postgres://a:b"] {
            let error = format!("{:#}", check(&[entry], "host=a").unwrap_err());
            assert!(error.contains(entry), "{error}");
        }
    }

    async fn open() -> (Connection, String, AllowedServers) {
        let server = sekali_harness::postgres::Postgres::shared().unwrap();
        let address = server.url("postgres");
        let allowed = AllowedServers::parse(&[format!("postgres://{}", server.address())]).unwrap();
        (Connection::open(&address, &allowed).await.unwrap(), address, allowed)
    }

    #[tokio::test]
    async fn an_answer_has_its_columns_and_the_number_of_rows_that_were_changed() {
        let (connection, ..) = open().await;
        let run = async |statement| connection.query::<i64>(statement, &[]).await.unwrap();
        let none = run("select 1::bigint as a, 'x' as b where false").await;
        assert_eq!(none.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(none.rows.is_empty());
        run("create temporary table t (n bigint)").await;
        assert_eq!(run("insert into t select generate_series(1, 5)").await.count, 5);
        assert_eq!(connection.query("delete from t where n > $1", &[3i64]).await.unwrap().count, 2);
    }

    #[tokio::test]
    async fn a_connection_whose_statement_was_given_up_serves_nobody_else() {
        let (connection, address, allowed) = open().await;
        let backend = async |connection: &Connection| -> i32 {
            connection.query::<i64>("select pg_backend_pid()", &[]).await.unwrap().rows[0].get(0)
        };
        let first = backend(&connection).await;
        drop(connection);
        let kept = Connection::open(&address, &allowed).await.unwrap();
        assert_eq!(backend(&kept).await, first, "the pool gives it again");
        let long = kept.query::<i64>("select pg_sleep(5)", &[]);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), long).await.is_err());
        drop(kept);
        let next = Connection::open(&address, &allowed).await.unwrap();
        assert_ne!(backend(&next).await, first);
    }
}
