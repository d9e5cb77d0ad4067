//! Servers that a manifest allows its components to connect to.

use std::fmt;

use anyhow::{Context, Result, ensure};

/// The port of a server that names none.
pub const DEFAULT_PORT: u16 = 5432;

/// Servers that a component may connect to.
#[derive(Clone, Default)]
pub struct AllowedServers(Vec<(String, u16)>);

impl AllowedServers {
    /// The servers that a manifest names, such as `postgres://db.example:5432`.
    ///
    /// # Errors
    /// An entry that names something else: this host lets components connect to PostgreSQL only, and only if it was built
    /// with the feature `postgres`.
    pub fn parse(hosts: &[String]) -> Result<Self> {
        let server = |entry: &String| {
            ensure!(
                !entry.contains('@'),
                "allowed_outbound_hosts has an entry with a user: name the server alone, as host:port"
            );
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
        let servers = hosts.iter().map(server).collect::<Result<Vec<_>>>()?;
        ensure!(
            servers.is_empty() || cfg!(feature = "postgres"),
            "allowed_outbound_hosts names a server of PostgreSQL, and this sekali-host was built without: build it with \
            --features postgres, as scripts/up --store postgres does"
        );
        Ok(Self(servers))
    }

    /// True if none is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if this server is one of them.
    #[cfg(feature = "postgres")]
    pub fn allow(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|allowed| *allowed == (host.to_ascii_lowercase(), port))
    }
}

impl fmt::Display for AllowedServers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.0.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        formatter.write_str(if servers.is_empty() { "none" } else { "" })?;
        formatter.write_str(&servers.join(", "))
    }
}
