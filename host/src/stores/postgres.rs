//! Connections to PostgreSQL servers, pooled.
//!
//! Statements have no name, and leave nothing in their session: a pooler in transaction mode may stand between, which
//! gives each transaction another session. For the same reason PostgreSQL plans each of them with its parameters as
//! constants, and leaves out the partitions that they exclude.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use deadpool_postgres::{Connect, Manager, ManagerConfig, Metrics, Object, Pool, RecyclingMethod, Runtime};
use futures::TryStreamExt;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, Row, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::servers::{AllowedServers, DEFAULT_PORT};

/// Connections of a pool. Each thread has a pool of each server, so that its connections wake no other thread.
const CONNECTIONS: usize = 24;

/// Servers to which a thread keeps connections.
const SERVERS: usize = 16;

/// The greatest age of a connection. That of each is shorter by up to a quarter, so that not all end at once. A name that
/// leads to another server may cost no error: readers of a server that was left behind would stay there.
const GREATEST_AGE: Duration = Duration::from_secs(300);

/// The time for a server of an address to take a connection, if another is named behind it. One that hangs still takes
/// them by its kernel, and never answers. A component waits for five seconds.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);

/// The time between two suspicions that concern all connections of a pool. Where writes are refused for good, as on a
/// replica, each failure must not cost all of them.
const BETWEEN_SUSPICIONS: Duration = Duration::from_secs(1);

/// Statements whose columns are known, for each pool.
const KNOWN_STATEMENTS: usize = 256;

/// The time for which the columns of a statement are known. A table may be altered.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// Checks an address, a URL or a string of `key=value`, each of whose servers must be allowed.
///
/// # Errors
/// As [`config`].
pub fn check_address(address: &str, allowed: &AllowedServers) -> Result<()> {
    config(address, allowed).map(drop)
}

/// Reads an address, a URL or a string of `key=value`, each of whose servers must be allowed.
///
/// # Errors
/// A phrase that follows the name of the address. It never has a part of it: where an @ of a password is not encoded,
/// any part may be one of the password.
fn config(address: &str, allowed: &AllowedServers) -> Result<Config> {
    let config = address.parse::<Config>();
    let config = config.map_err(|error| anyhow!("{}: {WELL_FORMED}", reason(&error)))?;
    check(&config, allowed)?;
    Ok(config)
}

fn check(config: &Config, allowed: &AllowedServers) -> Result<()> {
    ensure!(
        config.get_hostaddrs().is_empty(),
        "has hostaddr, which the manifest cannot allow: name its servers with host"
    );
    ensure!(!config.get_hosts().is_empty(), "names no server: {WELL_FORMED}");
    let is_cut = |host: &Host| matches!(host, Host::Tcp(host) if host.contains('@'));
    ensure!(!config.get_hosts().iter().any(is_cut), "has an @ too many: {WELL_FORMED}");
    let ports = config.get_ports();
    for (index, host) in config.get_hosts().iter().enumerate() {
        let Host::Tcp(host) = host else { bail!("names a socket of Unix, which is not allowed") };
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
        ensure!(
            allowed.allow(host, port),
            "names a server that the manifest does not allow, which allows {allowed}: name its servers in \
            allowed_outbound_hosts, which spin.postgres.toml takes from database_host and database_standby_host"
        );
    }
    Ok(())
}

/// The form of an address.
const WELL_FORMED: &str = "it must be postgres://user:password@host:port/name, in which a user and password have each of \
    @ : / ? # % percent-encoded (%40 is an @)";

/// Why a text is no address, without any part of the text.
fn reason(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match cause.strip_prefix("invalid value for option ") {
        Some(option) => format!("has an invalid {option}"),
        None => "is no address of a database".to_owned(),
    }
}

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

/// The answer to a statement.
#[derive(Debug, Default)]
pub struct Answer {
    /// The columns of its rows, also if there are none.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// A column of an answer.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

impl Column {
    fn of(column: &tokio_postgres::Column) -> Self {
        Self { name: column.name().to_owned(), ty: column.type_().clone() }
    }
}

/// A statement without an answer.
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
        server.connect().await
    }

    /// Runs a statement to its end, and returns its rows.
    pub async fn query<P: Parameter>(&self, statement: &str, parameters: &[P]) -> Result<Answer, Failure> {
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
    async fn query<P: Parameter>(&self, statement: &str, parameters: &[P]) -> Result<Answer, Failure> {
        let (rows, _) = self.rows(statement, parameters).await?;
        let columns = match rows.first() {
            Some(row) => row.columns().iter().map(Column::of).collect(),
            None => self.columns(statement, parameters).await.map_err(Failure::Description)?,
        };
        Ok(Answer { columns, rows })
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
        if let Some(columns) = self.server.known_columns(statement) {
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
        self.server.learn_columns(statement, &columns);
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

/// An address, and the connections that a thread keeps to it.
struct Server {
    pool: Pool,
    greatest_age: Duration,
    jitter: RandomState,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections that were made before are not used again.
    suspected: Option<Instant>,
    /// The columns of statements that returned no row, and when they were learned.
    columns: HashMap<String, (Instant, Vec<Column>)>,
}

impl Server {
    fn at(config: Config, greatest_age: Duration) -> Result<Self> {
        let (jitter, state) = (RandomState::new(), Mutex::default());
        Ok(Self { pool: pool(config)?, greatest_age, jitter, state })
    }

    async fn connect(self: Arc<Self>) -> Result<Connection> {
        loop {
            let client = self.pool.get().await?;
            if self.may_serve(Object::metrics(&client)) {
                let is_spoilt = AtomicBool::new(false);
                return Ok(Connection(Arc::new(Inner { client: Some(client), is_spoilt, server: self })));
            }
            drop(Object::take(client));
        }
    }

    fn may_serve(&self, connection: &Metrics) -> bool {
        let is_suspected = self.state().suspected.is_some_and(|suspected| connection.created <= suspected);
        !is_suspected && connection.age() < self.greatest_age(connection)
    }

    /// The age at which a connection ends, which is the same each time it is asked for.
    fn greatest_age(&self, connection: &Metrics) -> Duration {
        let hash = self.jitter.hash_one(connection.created);
        self.greatest_age.mul_f64(1.0 - f64::from(hash as u8) / 1024.0)
    }

    /// The server of one connection serves no more: the others lead to the same.
    fn suspect_all(&self) {
        let (mut state, now) = (self.state(), Instant::now());
        if state.suspected.is_none_or(|suspected| now.duration_since(suspected) >= BETWEEN_SUSPICIONS) {
            state.suspected = Some(now);
        }
    }

    fn known_columns(&self, statement: &str) -> Option<Vec<Column>> {
        let state = self.state();
        let (learned, columns) = state.columns.get(statement)?;
        (learned.elapsed() < KNOWN_FOR).then(|| columns.clone())
    }

    fn learn_columns(&self, statement: &str, columns: &[Column]) {
        let mut state = self.state();
        if state.columns.len() >= KNOWN_STATEMENTS {
            state.columns.clear();
        }
        state.columns.insert(statement.to_owned(), (Instant::now(), columns.to_vec()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        SslMode::Disable => Manager::from_connect(config, InTurn(NoTls), recycling),
        _ => {
            // By default it would send the password to a server that refuses TLS.
            config.ssl_mode(SslMode::Require);
            Manager::from_connect(config, InTurn(MakeRustlsConnect::new(tls()?)), recycling)
        }
    };
    let pool = Pool::builder(manager).max_size(CONNECTIONS).runtime(Runtime::Tokio1);
    Ok(pool.build()?)
}

/// Connects to the servers of an address in turn, and does not wait for one that hangs.
struct InTurn<T>(T);

impl<T> Connect for InTurn<T>
where
    T: MakeTlsConnect<Socket> + Clone + Sync + Send + 'static,
    T::Stream: Sync + Send,
    T::TlsConnect: Sync + Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    fn connect(
        &self,
        config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        let config = config.clone();
        Box::pin(async move {
            let servers = servers(&config);
            let (last, others) = servers.split_last().unwrap_or((&config, &[]));
            for server in others {
                let attempt = server.connect(self.0.clone());
                if let Ok(Ok(connected)) = tokio::time::timeout(LONGEST_SILENCE, attempt).await {
                    return Ok(started(connected));
                }
            }
            last.connect(self.0.clone()).await.map(started)
        })
    }
}

/// Lets a connection work.
fn started<S, T>((client, connection): (Client, tokio_postgres::Connection<S, T>)) -> (Client, JoinHandle<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Whoever uses the client gets its errors, too.
    let work = tokio::spawn(async { drop(connection.await) });
    (client, work)
}

/// The servers of an address, each by itself. None if there is but one, or no order among them.
fn servers(config: &Config) -> Vec<Config> {
    let (hosts, ports) = (config.get_hosts(), config.get_ports());
    let is_ordered = config.get_load_balance_hosts() == LoadBalanceHosts::Disable;
    if hosts.len() < 2 || !is_ordered || (ports.len() > 1 && ports.len() != hosts.len()) {
        return vec![];
    }
    let server = |(index, host): (usize, &Host)| {
        let Host::Tcp(host) = host else { return None }; // refused before
        let mut server = Config::new();
        server.host(host).port(ports.get(index).or(ports.first()).copied().unwrap_or(DEFAULT_PORT));
        config.get_user().map(|user| server.user(user));
        config.get_password().map(|password| server.password(password));
        config.get_dbname().map(|name| server.dbname(name));
        config.get_options().map(|options| server.options(options));
        config.get_application_name().map(|name| server.application_name(name));
        config.get_connect_timeout().map(|timeout| server.connect_timeout(*timeout));
        config.get_tcp_user_timeout().map(|timeout| server.tcp_user_timeout(*timeout));
        config.get_keepalives_interval().map(|interval| server.keepalives_interval(interval));
        config.get_keepalives_retries().map(|retries| server.keepalives_retries(retries));
        server
            .keepalives(config.get_keepalives())
            .keepalives_idle(config.get_keepalives_idle())
            .ssl_mode(config.get_ssl_mode())
            .ssl_negotiation(config.get_ssl_negotiation())
            .channel_binding(config.get_channel_binding())
            .target_session_attrs(config.get_target_session_attrs());
        Some(server)
    };
    hosts.iter().enumerate().filter_map(server).collect()
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
    use sekali_harness::postgres::Postgres;
    use tokio_postgres::types::FromSql;

    use super::*;

    fn check(allowed: &[&str], address: &str) -> Result<()> {
        let allowed: Vec<_> = allowed.iter().map(|&host| host.to_owned()).collect();
        check_address(address, &AllowedServers::parse(&allowed)?)
    }

    #[test]
    fn no_part_of_an_address_is_shown_because_it_may_be_one_of_its_password() {
        for address in [
            "postgres://u:p@s3cret@db.example/d",
            "postgres://u:p@s3cret/x@db.example/d",
            "postgres://u:p@s3cret?s3cret=1@db.example/d",
            "postgres://u:p@s3cret:s3cret@db.example/d",
            "postgres://u:p@s3cret,s3cret@db.example/d",
            "postgres://u:p@db.example/d?s3cret=1",
            "postgres://u:p@db.example:s3cret/d",
            "postgres://u:p%s3@db.example/d?sslmode=s3cret",
            "host=db.example password=s3cret s3cret",
            "host=db.example password='s3cret",
            "mysql://u:s3cret@db.example/d",
            "s3cret",
        ] {
            let error = format!("{:#}", check(&["postgres://db.example"], address).unwrap_err());
            assert!(!error.contains("s3cret"), "{address}: {error}");
        }
        let entry = "postgres://postgres://u:s3cret@db.example";
        assert!(!format!("{:#}", check(&[entry], "host=a").unwrap_err()).contains("s3cret"));
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
            "host=db.example hostaddr=10.0.0.1",
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

    impl Parameter for i64 {
        fn ty(&self) -> Type {
            Type::INT8
        }
    }

    async fn open() -> (Connection, String, AllowedServers) {
        let server = Postgres::shared().unwrap();
        let address = server.url("postgres");
        let allowed = AllowedServers::parse(&[format!("postgres://{}", server.address())]).unwrap();
        (Connection::open(&address, &allowed).await.unwrap(), address, allowed)
    }

    /// A value of one row.
    async fn value<T: for<'a> FromSql<'a>>(connection: &Connection, statement: &str) -> T {
        connection.query::<i64>(statement, &[]).await.unwrap().rows[0].get(0)
    }

    async fn backend(connection: &Connection) -> i32 {
        value(connection, "select pg_backend_pid()").await
    }

    #[tokio::test]
    async fn an_answer_has_its_columns_also_without_rows_or_the_number_of_rows_that_were_changed() {
        let (connection, ..) = open().await;
        let run = async |statement| connection.query::<i64>(statement, &[]).await.unwrap();
        let columns = async |statement| {
            let answer = run(statement).await;
            let columns = answer.columns.into_iter().map(|column| (column.name, column.ty));
            (columns.collect::<Vec<_>>(), answer.rows.len())
        };
        let expected = vec![("a".to_owned(), Type::INT8), ("b".to_owned(), Type::TEXT)];
        // Twice: the second time they are known.
        for _ in 0..2 {
            assert_eq!(columns("select 1::bigint as a, 'x' as b where false").await, (expected.clone(), 0));
        }
        assert_eq!(columns("select 1::bigint as a, 'x' as b").await, (expected, 1));
        run("create temporary table t (n bigint)").await;
        let change =
            async |statement, parameter: i64| connection.execute(statement, &[parameter]).await.unwrap();
        assert_eq!(change("insert into t select generate_series(1, $1)", 5).await, 5);
        assert_eq!(change("delete from t where n > $1", 2).await, 3);
        assert_eq!(
            columns("delete from t where n > 7 returning n").await,
            (vec![("n".to_owned(), Type::INT8)], 0)
        );
        assert_eq!(
            value::<i64>(&connection, "select count(*) from t").await,
            2,
            "a description changes nothing"
        );
    }

    #[tokio::test]
    async fn a_statement_leaves_nothing_in_its_session() {
        let (connection, ..) = open().await;
        for statement in [
            "select 1::bigint, 'x', 'x'::varchar, true, 1::int2, 1, 1::float4, 1::float8, '\\x00'::bytea",
            "select array[1], array[1::bigint], array['x'], '[]'::json, '[]'::jsonb, now(), 1::numeric",
            "select 1 where $1 < 0",
        ] {
            connection.query(statement, &vec![1i64; statement.matches('$').count()]).await.unwrap();
        }
        assert_eq!(value::<i64>(&connection, "select count(*) from pg_prepared_statements").await, 0);
        assert_eq!(
            value::<i64>(&connection, "select count(*) from pg_locks where locktype = 'advisory'").await,
            0
        );
        let changed = "select count(*) from pg_settings where source = 'session'";
        assert_eq!(value::<i64>(&connection, changed).await, 0);
    }

    #[tokio::test]
    async fn a_statement_is_planned_with_its_parameters_as_constants() {
        let (connection, ..) = open().await;
        let run = async |statement: &str| connection.query::<i64>(statement, &[]).await.unwrap();
        run("create temporary table p (n bigint) partition by range (n)").await;
        for part in 0..3 {
            let bounds = format!("for values from ({part}) to ({})", part + 1);
            run(&format!("create temporary table p{part} partition of p {bounds}")).await;
        }
        for _ in 0..10 {
            let plan = connection.query("explain select from p where n = $1", &[1i64]).await.unwrap();
            let plan: Vec<String> = plan.rows.iter().map(|row| row.get(0)).collect();
            let plan = plan.join("\n");
            assert!(plan.contains("p1") && !plan.contains("p0") && !plan.contains("Removed"), "{plan}");
        }
    }

    #[tokio::test]
    async fn a_connection_whose_statement_was_given_up_serves_nobody_else() {
        let (connection, address, allowed) = open().await;
        let first = backend(&connection).await;
        drop(connection);
        let kept = Connection::open(&address, &allowed).await.unwrap();
        assert_eq!(backend(&kept).await, first, "the pool gives it again");
        let long = kept.query::<i64>("select pg_sleep(5)", &[]);
        assert!(tokio::time::timeout(Duration::from_millis(50), long).await.is_err());
        drop(kept);
        let next = Connection::open(&address, &allowed).await.unwrap();
        assert_ne!(backend(&next).await, first);
    }

    fn server(url: &str, greatest_age: Duration) -> Arc<Server> {
        Arc::new(Server::at(url.parse().unwrap(), greatest_age).unwrap())
    }

    #[tokio::test]
    async fn an_error_of_a_statement_costs_no_connection() {
        let server = server(&Postgres::shared().unwrap().url("postgres"), GREATEST_AGE);
        let connection = Arc::clone(&server).connect().await.unwrap();
        let first = backend(&connection).await;
        assert!(connection.query::<i64>("select 1 / 0", &[]).await.is_err());
        drop(connection);
        assert_eq!(backend(&server.connect().await.unwrap()).await, first);
    }

    #[tokio::test]
    async fn after_an_error_that_says_that_the_server_serves_no_more_no_connection_is_used_again() {
        let raise = |code: &str| format!("do $$ begin raise 'no' using errcode = '{code}'; end $$");
        let end = "select pg_terminate_backend(pg_backend_pid())".to_owned();
        let causes = ["25006", "55000", "08006", "57P03"].map(raise).into_iter().chain([end]);
        for cause in causes {
            let server = server(&Postgres::shared().unwrap().url("postgres"), GREATEST_AGE);
            let connections =
                [Arc::clone(&server).connect().await.unwrap(), Arc::clone(&server).connect().await.unwrap()];
            let before = [backend(&connections[0]).await, backend(&connections[1]).await];
            assert!(connections[0].query::<i64>(&cause, &[]).await.is_err());
            drop(connections);
            let after = [Arc::clone(&server).connect().await.unwrap(), server.connect().await.unwrap()];
            for connection in &after {
                assert!(!before.contains(&backend(connection).await), "{cause}");
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_refuses_each_write_does_not_cost_a_connection_of_each_reader() {
        let server = server(&Postgres::shared().unwrap().url("postgres"), GREATEST_AGE);
        let refused = async || {
            let writer = Arc::clone(&server).connect().await.unwrap();
            writer
                .query::<i64>("do $$ begin raise 'no' using errcode = '25006'; end $$", &[])
                .await
                .unwrap_err();
        };
        refused().await;
        let reader = Arc::clone(&server).connect().await.unwrap();
        let first = backend(&reader).await;
        refused().await;
        drop(reader);
        assert_eq!(backend(&Arc::clone(&server).connect().await.unwrap()).await, first);
    }

    #[tokio::test]
    async fn a_connection_ends_at_its_greatest_age() {
        const AGE: Duration = Duration::from_millis(400);
        let server = server(&Postgres::shared().unwrap().url("postgres"), AGE);
        let connection = Arc::clone(&server).connect().await.unwrap();
        let first = backend(&connection).await;
        drop(connection);
        tokio::time::sleep(AGE).await;
        assert_ne!(backend(&Arc::clone(&server).connect().await.unwrap()).await, first);
        let ages = (0..100).map(|_| server.greatest_age(&Metrics::default()));
        let ages: std::collections::BTreeSet<_> = ages.collect();
        assert!(ages.len() > 10 && ages.iter().all(|age| (AGE * 3 / 4..=AGE).contains(age)), "{ages:?}");
    }

    #[test]
    fn a_server_of_an_address_has_all_that_the_address_says() {
        let address = "host=a,b port=1,2 user=u password=p dbname=d options=-ca=b application_name=n sslmode=require \
            sslnegotiation=direct connect_timeout=3 tcp_user_timeout=4 keepalives=0 keepalives_idle=5 \
            keepalives_interval=6 keepalives_retries=7 target_session_attrs=read-write channel_binding=require";
        let rest = address.split_once(" user").unwrap().1;
        let expected =
            ["host=a port=1", "host=b port=2"].map(|server| format!("{server} user{rest}").parse().unwrap());
        assert_eq!(servers(&address.parse().unwrap()), expected);
        assert_eq!(servers(&"host=a user=u".parse().unwrap()), []);
    }

    #[tokio::test]
    async fn a_server_that_hangs_does_not_keep_the_next_one_of_its_address_waiting() {
        let hangs = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // its kernel takes connections
        let serves = Postgres::shared().unwrap();
        let hosts = format!("{},{}", hangs.local_addr().unwrap(), serves.address());
        let server = server(&format!("postgres://sekali@{hosts}/postgres?sslmode=disable"), GREATEST_AGE);
        let connection = tokio::time::timeout(LONGEST_SILENCE * 2, server.connect()).await.unwrap().unwrap();
        let port = value::<i32>(&connection, "select inet_server_port()").await;
        assert_eq!(port, i32::from(serves.address().port()));
    }

    #[tokio::test]
    async fn an_address_of_two_servers_leads_to_the_one_that_takes_writes_also_after_they_changed_places() {
        let servers = [Postgres::start().unwrap(), Postgres::start().unwrap()];
        let set_read_only = |index: usize, value: &str| {
            let server: &Postgres = &servers[index];
            server
                .query("postgres", &format!("alter system set default_transaction_read_only = {value}"))
                .unwrap();
            server.query("postgres", "select pg_reload_conf()").unwrap();
        };
        for server in &servers {
            server.query("postgres", "create table t (n bigint)").unwrap();
        }
        let hosts = servers.each_ref().map(|server| server.address().to_string()).join(",");
        let url =
            format!("postgres://sekali@{hosts}/postgres?sslmode=disable&target_session_attrs=read-write");
        let server = server(&url, GREATEST_AGE);
        // Without an answer, neither of them takes writes at this moment.
        let write = async || {
            let connection = Arc::clone(&server).connect().await.ok()?;
            Some(connection.query::<i64>("insert into t values (1) returning inet_server_port()", &[]).await)
        };
        let port = |answer: &Answer| answer.rows[0].get::<_, i32>(0) as u16;
        for (from, to) in [(1, 0), (0, 1), (1, 0)] {
            set_read_only(to, "off");
            set_read_only(from, "on");
            let (began, mut failures) = (Instant::now(), 0);
            loop {
                match write().await {
                    Some(Ok(answer)) if port(&answer) == servers[to].address().port() => break,
                    Some(Err(_)) => failures += 1,
                    _ => {} // the setting takes effect a moment later
                }
                assert!(began.elapsed() < Duration::from_secs(60), "it is not found");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(failures <= 1, "{failures} writes failed");
        }
    }
}
