//! The connections that a thread keeps to an address.

use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use deadpool_postgres::{Connect, Manager, ManagerConfig, Metrics, Object, Pool, RecyclingMethod, Runtime};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, Error, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::servers;
use super::columns::KnownColumns;

/// Connections of a pool. Each thread has a pool of each server, so that its connections wake no other thread.
const CONNECTIONS: usize = 24;

/// The greatest age of a connection. That of each is shorter by up to a quarter, so that not all end at once. A name that
/// leads to another server may cost no error: readers of a server that was left behind would stay there.
pub const GREATEST_AGE: Duration = Duration::from_secs(300);

/// The time for a server of an address to take a connection, if another is named behind it. One that hangs still takes
/// them by its kernel, and never answers. A component waits for five seconds.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(2);

/// The time between two suspicions that concern all connections of a pool. Where writes are refused for good, as on a
/// replica, each failure must not cost all of them.
const BETWEEN_SUSPICIONS: Duration = Duration::from_secs(1);

/// An address, and the connections that a thread keeps to it.
pub struct Server {
    pool: Pool,
    greatest_age: Duration,
    jitter: RandomState,
    /// Connections that were made before are not used again.
    suspected: Mutex<Option<Instant>>,
    /// The columns of its statements.
    pub columns: KnownColumns,
}

impl Server {
    /// The servers of an address, to which nothing is connected yet.
    pub fn at(config: Config, greatest_age: Duration) -> Result<Self> {
        let (pool, jitter) = (pool(config)?, RandomState::new());
        let (suspected, columns) = Default::default();
        Ok(Self { pool, greatest_age, jitter, suspected, columns })
    }

    /// Takes a connection out of the pool, or makes one.
    pub async fn take(&self) -> Result<Object> {
        loop {
            let client = self.pool.get().await?;
            if self.may_serve(Object::metrics(&client)) {
                return Ok(client);
            }
            drop(Object::take(client));
        }
    }

    fn may_serve(&self, connection: &Metrics) -> bool {
        let is_suspected = self.suspected().is_some_and(|suspected| connection.created <= suspected);
        !is_suspected && connection.age() < self.greatest_age(connection)
    }

    /// The age at which a connection ends, which is the same each time it is asked for.
    pub fn greatest_age(&self, connection: &Metrics) -> Duration {
        let hash = self.jitter.hash_one(connection.created);
        self.greatest_age.mul_f64(1.0 - f64::from(hash as u8) / 1024.0)
    }

    /// The server of one connection serves no more: the others lead to the same.
    pub fn suspect_all(&self) {
        let (mut suspected, now) = (self.suspected(), Instant::now());
        if suspected.is_none_or(|suspected| now.duration_since(suspected) >= BETWEEN_SUSPICIONS) {
            *suspected = Some(now);
        }
    }

    fn suspected(&self) -> MutexGuard<'_, Option<Instant>> {
        self.suspected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pool(mut config: Config) -> Result<Pool> {
    config.application_name("sekali");
    // A server that vanished without a word is noticed by the kernel.
    config.keepalives_idle(Duration::from_secs(10));
    config.tcp_user_timeout(Duration::from_secs(10));
    config.connect_timeout(Duration::from_secs(3));
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

/// TLS with the certificates that the machine trusts; SSL_CERT_FILE names others.
fn tls() -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
