//! Debian's PgBouncer in transaction mode: each transaction gets a connection to the server for itself, and two of one
//! client may get different ones.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::debian;
use crate::guarded::{self, Guarded};
use crate::host::free_port;
use crate::postgres::{Postgres, USER};
use crate::process::LOOK;

/// Where Debian installs it.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// Time to serve after the start.
const STARTUP: Duration = Duration::from_secs(30);

/// A pooler before a server. It ends on drop.
pub struct PgBouncer {
    directory: TempDir,
    address: SocketAddr,
    running: Option<Guarded>,
}

impl PgBouncer {
    /// A pooler with so many connections to each database of the server.
    ///
    /// # Errors
    /// When PgBouncer is not installed, or does not start.
    pub fn before(server: &Postgres, connections: usize) -> Result<Self> {
        Self::at(server.address(), connections)
    }

    /// A pooler with so many connections to each database of the server that an address leads to.
    ///
    /// # Errors
    /// See [`PgBouncer::before`].
    pub fn at(server: SocketAddr, connections: usize) -> Result<Self> {
        let directory = guarded::directory()?;
        let address = free_port()?;
        // The user whom it runs as may not reach the directory where it was installed.
        let program = directory.path().join("pgbouncer");
        fs::copy(debian::program(PROGRAM)?, &program).context("PgBouncer cannot be copied")?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let users = directory.path().join("users.txt");
        fs::write(&users, format!("\"{USER}\" \"\"\n"))?;
        let settings = directory.path().join("pgbouncer.ini");
        fs::write(&settings, configuration(server, address, &users, connections))?;
        let arguments = [settings.display().to_string()];
        let running = Some(Guarded::start(directory.path(), "TERM", &program, &arguments)?);
        let pooler = Self { directory, address, running };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            ensure!(began.elapsed() < STARTUP, "PgBouncer does not serve:\n{}", pooler.log());
            sleep(LOOK);
        }
        Ok(pooler)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its output since its start.
    pub fn log(&self) -> String {
        guarded::log(self.directory.path())
    }

    /// Name and version, for reports.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn version() -> Result<String> {
        let output = Command::new(debian::program(PROGRAM)?).arg("--version").output()?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop(Signal::TERM);
        }
    }
}

fn configuration(server: SocketAddr, address: SocketAddr, users: &Path, connections: usize) -> String {
    format!(
        "[databases]\n\
        * = host={} port={}\n\
        [pgbouncer]\n\
        listen_addr = {}\n\
        listen_port = {}\n\
        unix_socket_dir =\n\
        auth_type = trust\n\
        auth_file = {}\n\
        pool_mode = transaction\n\
        default_pool_size = {connections}\n\
        max_client_conn = 1000\n\
        server_login_retry = 1\n",
        server.ip(),
        server.port(),
        address.ip(),
        address.port(),
        users.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_the_server_serves_one_client_after_another() {
        let server = Postgres::start().unwrap();
        let pooler = PgBouncer::before(&server, 1).unwrap();
        let session = || {
            let mut psql = server.psql("postgres").unwrap();
            psql.args(["--dbname", &server.url_by("postgres", pooler.address())]);
            let output = psql.args(["--command", "select pg_backend_pid()"]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap()
        };
        assert_eq!(session(), session(), "{}", pooler.log());
        assert!(PgBouncer::version().unwrap().starts_with("PgBouncer 1."));
    }
}
