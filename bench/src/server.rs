//! A server of the benchmark, on sekali-host or on Spin, with fresh state.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// What runs components.
#[derive(Clone)]
pub enum Host {
    /// The host of this repository.
    Sekali(PathBuf),
    /// A Spin.
    Spin(PathBuf),
}

/// A running server; it is killed when it is dropped.
pub struct Server {
    process: Child,
    /// Where it serves.
    pub address: SocketAddr,
    /// From the start of the process until it served.
    pub startup: Duration,
    state: TempDir,
}

impl Server {
    /// Starts the application of `manifest`, with more arguments for the host.
    pub fn start(host: &Host, manifest: &Path, arguments: &[&str]) -> Result<Self> {
        Self::start_with_cache(host, manifest, arguments, None)
    }

    /// The same, with another directory for compiled components.
    pub fn start_with_cache(
        host: &Host,
        manifest: &Path,
        arguments: &[&str],
        cache: Option<&Path>,
    ) -> Result<Self> {
        let state = tempfile::tempdir()?;
        let mut command = match host {
            Host::Sekali(path) => {
                let mut command = Command::new(path);
                command.args(["--listen", "127.0.0.1:0"]);
                command
            }
            Host::Spin(path) => {
                let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
                let mut command = Command::new(path);
                command.arg("up").arg("--listen").arg(free.to_string());
                command
            }
        };
        command.arg("--from").arg(manifest).arg("--state-dir").arg(state.path()).args(arguments);
        if let Some(cache) = cache {
            command.env("XDG_CACHE_HOME", cache);
        }
        let start = Instant::now();
        let mut process = command.stdout(Stdio::piped()).spawn().context("cannot start the server")?;
        let mut lines = BufReader::new(process.stdout.take().context("no output")?).lines();
        let address = loop {
            let line = lines.next().context("the server ended before it served")??;
            if let Some((_, address)) = line.split_once("Serving http://") {
                break address.trim().parse()?;
            }
        };
        let startup = start.elapsed();
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { process, address, startup, state })
    }

    /// The file of the database.
    pub fn database(&self) -> PathBuf {
        self.state.path().join("sqlite_db.db")
    }

    /// Resident memory in bytes: now, and at its highest.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
            let kilobytes: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
            Ok(kilobytes * 1024)
        };
        Ok((field("VmRSS")?, field("VmHWM")?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
