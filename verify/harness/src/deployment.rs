//! An application that is served: by a host, at an address, with state of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

pub use crate::artifacts::repository;

use crate::artifacts;
use crate::host::Host;
use crate::postgres::Postgres;
use crate::process::{Process, Signal};

/// The store of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// SQLite.
    #[default]
    Sqlite,
    /// PostgreSQL: a database of its own on the server that this process shares.
    Postgres,
}

impl Store {
    /// The store that the variable `SEKALI_STORE` names, else SQLite.
    ///
    /// # Errors
    /// When it names none.
    pub fn from_environment() -> Result<Self> {
        match std::env::var("SEKALI_STORE").as_deref() {
            Err(_) | Ok("" | "sqlite") => Ok(Self::Sqlite),
            Ok("postgres") => Ok(Self::Postgres),
            Ok(other) => bail!("SEKALI_STORE is {other:?}, and must be sqlite or postgres"),
        }
    }
}

/// A description of a deployment.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program that serves.
    pub host: Host,
    /// The store of its events.
    pub store: Store,
    /// The manifest of the application, relative to the repository.
    pub manifest: PathBuf,
    /// Variables of the application, by name.
    pub variables: Vec<(String, String)>,
    /// More of the host's environment, by name.
    pub environment: Vec<(String, String)>,
    /// More arguments for the host.
    pub arguments: Vec<String>,
    /// A program and its arguments that start the host with what they are given, such as `prlimit`; empty for none.
    pub starter: Vec<String>,
    /// The directory where sekali-host keeps compiled components, if not the usual one.
    pub cache: Option<PathBuf>,
}

/// A running application. It is killed on drop, and its state is removed.
pub struct Deployment {
    setup: Setup,
    database: Option<(&'static Postgres, String)>,
    state: TempDir,
    process: Process,
    address: SocketAddr,
    startup: Duration,
}

impl Setup {
    /// Sekali with the settings of its manifest, on the host and the store that the environment names.
    ///
    /// # Errors
    /// See [`Host::from_environment`] and [`Store::from_environment`].
    pub fn from_environment() -> Result<Self> {
        let setup = Self::on(Host::from_environment()?);
        Ok(match Store::from_environment()? {
            Store::Sqlite => setup,
            Store::Postgres => {
                Self { store: Store::Postgres, manifest: "spin.postgres.toml".into(), ..setup }
            }
        })
    }

    /// Sekali with the settings of spin.toml, on a host.
    pub fn on(host: Host) -> Self {
        Self {
            host,
            store: Store::Sqlite,
            manifest: "spin.toml".into(),
            variables: Vec::new(),
            environment: Vec::new(),
            arguments: Vec::new(),
            starter: Vec::new(),
            cache: None,
        }
    }

    /// Serves the application with fresh state, on a free port.
    ///
    /// # Errors
    /// When an artifact is missing or older than its sources, or the host does not serve.
    pub fn start(mut self) -> Result<Deployment> {
        self.check()?;
        let database = match self.store {
            Store::Sqlite => None,
            Store::Postgres if self.variables.iter().any(|(name, _)| name == "database_url") => None,
            Store::Postgres => {
                let server = Postgres::shared()?;
                let database = server.create_database()?;
                self.connect(&server.url(&database), server.address());
                Some((server, database))
            }
        };
        let state = tempfile::tempdir()?;
        let (process, address, startup) = self.serve(self.host.free_address()?, state.path())?;
        Ok(Deployment { setup: self, database, state, process, address, startup })
    }

    /// Sekali on a database of PostgreSQL, which it may share with others, on the host that the environment names.
    ///
    /// # Errors
    /// See [`Host::from_environment`].
    pub fn on_database(url: &str, server: SocketAddr) -> Result<Self> {
        let mut setup = Self::on(Host::from_environment()?);
        (setup.store, setup.manifest) = (Store::Postgres, "spin.postgres.toml".into());
        setup.connect(url, server);
        Ok(setup)
    }

    fn connect(&mut self, url: &str, server: SocketAddr) {
        self.variables.push(("database_url".into(), url.into()));
        self.variables.push(("database_host".into(), server.to_string()));
    }

    /// Serves the application with its state in a directory of the caller's, on a free port.
    ///
    /// # Errors
    /// See [`Setup::start`].
    pub fn serve_at(&self, state: &Path) -> Result<(Process, SocketAddr)> {
        self.check()?;
        let (process, address, _) = self.serve(self.host.free_address()?, state)?;
        Ok((process, address))
    }

    /// Refuses artifacts that are missing or older than their sources.
    fn check(&self) -> Result<()> {
        if let Host::Sekali(path) = &self.host {
            artifacts::check(path)?;
        }
        artifacts::check_components(&repository().join(&self.manifest))
    }

    /// Starts the host and waits until it serves.
    fn serve(&self, address: SocketAddr, state: &Path) -> Result<(Process, SocketAddr, Duration)> {
        let host = self.host.command(&repository().join(&self.manifest), address, state);
        let mut command = started_by(&self.starter, host);
        command.args(&self.arguments).current_dir(state);
        command.envs(self.environment.iter().cloned());
        for (name, value) in &self.variables {
            command.env(format!("SPIN_VARIABLE_{}", name.to_uppercase()), value);
        }
        if let Some(cache) = &self.cache {
            command.env("XDG_CACHE_HOME", cache);
        }
        let began = Instant::now();
        let mut process = Process::start(command).context("the host cannot be started")?;
        let served = process.wait_until(|process| serving_address(&process.log()).transpose());
        Ok((process, served.context("the host")??, began.elapsed()))
    }
}

impl Deployment {
    /// The address that it serves at. A restart may change it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Time from the start of the process until it served.
    pub fn startup(&self) -> Duration {
        self.startup
    }

    /// The directory of its stores.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The database of events on PostgreSQL: its server and name. `None` on SQLite.
    pub fn postgres(&self) -> Option<(&'static Postgres, String)> {
        self.database.clone()
    }

    /// The file of the default database.
    pub fn database(&self) -> PathBuf {
        database_in(self.state.path())
    }

    /// The file of the default key-value store.
    pub fn key_value(&self) -> PathBuf {
        file_in(self.state.path(), "sqlite_key_value.db", "key-value.db")
    }

    /// All that the host has printed since its last start.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Kills the host as a crash would, calls `meanwhile`, and serves the same state at the same address again.
    ///
    /// # Errors
    /// When the host does not serve.
    pub fn crash_while<T>(&mut self, meanwhile: impl FnOnce(&Path) -> T) -> Result<T> {
        self.process.kill();
        let done = meanwhile(self.state.path());
        (self.process, self.address, self.startup) = self.setup.serve(self.address, self.state.path())?;
        Ok(done)
    }

    /// Sends SIGTERM to the host.
    pub fn ask_to_end(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Waits until the host has ended.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn wait_for_end(&mut self) -> Result<ExitStatus> {
        Ok(self.process.wait()?)
    }

    /// The id of the host's process, which leads the group of all its processes.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The number of file descriptors that the host's process has open, where the system shows it.
    pub fn descriptors(&self) -> Option<usize> {
        Some(fs::read_dir(format!("/proc/{}/fd", self.process.id())).ok()?.count())
    }

    /// Resident memory of the host in bytes, now and at its highest, summed over its processes.
    ///
    /// # Errors
    /// When the host has ended.
    pub fn memory(&self) -> Result<Memory> {
        let group = self.process.id();
        let mut memory = Memory { resident: 0, peak: 0 };
        for entry in fs::read_dir("/proc")? {
            let directory = entry?.path();
            // A process may end while we look.
            let (Ok(stat), Ok(status)) =
                (fs::read_to_string(directory.join("stat")), fs::read_to_string(directory.join("status")))
            else {
                continue;
            };
            if process_group(&stat) == Some(group) {
                memory.resident += kilobytes(&status, "VmRSS:") * 1024;
                memory.peak += kilobytes(&status, "VmHWM:") * 1024;
            }
        }
        ensure!(memory.resident > 0, "the host has ended{}", self.process.last_words());
        Ok(memory)
    }
}

/// A command, started by a program that is given it.
fn started_by(starter: &[String], command: Command) -> Command {
    let Some((program, arguments)) = starter.split_first() else { return command };
    let mut starting = Command::new(program);
    starting.args(arguments).arg(command.get_program()).args(command.get_args());
    starting
}

/// Memory of a host, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// The most that was ever resident.
    pub peak: u64,
}

/// The file of the default database in a directory of stores.
pub fn database_in(state: &Path) -> PathBuf {
    file_in(state, "sqlite_db.db", "events.db")
}

/// A file by the name that Spin gives it, if Spin serves or it is there, else by that of sekali-host.
fn file_in(state: &Path, of_spin: &str, own: &str) -> PathBuf {
    let path = state.join(of_spin);
    // Spin makes it when it is first needed.
    let is_spins = std::env::var_os("SPIN").is_some() || path.exists();
    if is_spins { path } else { state.join(own) }
}

/// The address in the line by which both hosts tell that they serve.
fn serving_address(log: &str) -> Result<Option<SocketAddr>> {
    let complete = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let address =
        complete.filter_map(|line| line.split_once("Serving http://")).map(|(_, address)| address).next();
    address.map(|address| address.trim().parse().context("the host printed no address")).transpose()
}

/// The process group in a `/proc/<pid>/stat`: the third field behind the name, which ends with the last parenthesis.
fn process_group(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(2)?.parse().ok()
}

fn kilobytes(status: &str, field: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    value.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_taken_from_a_whole_line() {
        let address = |log: &str| serving_address(log).unwrap().map(|address| address.to_string());
        assert_eq!(address("Preparing\nServing http://127.0.0.1:30"), None);
        assert_eq!(address("Serving http://127.0.0.1:3000\nmore\n").as_deref(), Some("127.0.0.1:3000"));
    }

    #[test]
    fn a_process_group_is_found_behind_any_name() {
        assert_eq!(process_group("12 (a) name) S 1 7 7 0 -1"), Some(7));
    }
}
