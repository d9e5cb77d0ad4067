//! Debian's PostgreSQL: servers with state of their own, on free ports, as an ordinary user.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::process::LOOK;

/// The user of its databases.
const USER: &str = "sekali";

/// Time to be ready after the start.
const STARTUP: Duration = Duration::from_secs(60);

/// The shell ends the server when whoever started it is gone, however that happened: its end of the pipe is closed then.
const GUARD: &str = r#""$@" & server=$!; echo $server; read -r _; kill -INT $server; wait $server"#;

/// A server. It ends on drop, and its state is removed.
pub struct Postgres {
    directory: TempDir,
    settings: Vec<String>,
    port: u16,
    running: Option<Running>,
}

struct Running {
    guard: Child,
    server: Pid,
}

impl Postgres {
    /// A server with fresh state.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or does not start.
    pub fn start() -> Result<Self> {
        Self::with(&[])
    }

    /// A server with some settings, such as `fsync=off`.
    ///
    /// # Errors
    /// See [`Postgres::start`].
    pub fn with(settings: &[&str]) -> Result<Self> {
        let server = Self::prepare(settings)?;
        let mut initdb = server.program("initdb")?;
        initdb.args(["--username", USER, "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync"]);
        run(initdb.arg("--pgdata").arg(server.data()))?;
        // Replicas of it may follow.
        let access = "host replication all 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 trust\n";
        fs::write(server.data().join("pg_hba.conf"), access)?;
        server.started()
    }

    /// A replica of this server, which takes what it commits as it comes.
    ///
    /// # Errors
    /// See [`Postgres::start`].
    pub fn replica(&self, name: &str) -> Result<Self> {
        self.replica_by(name, self.address())
    }

    /// A replica of this server that reaches it by way of another address.
    ///
    /// # Errors
    /// See [`Postgres::start`].
    pub fn replica_by(&self, name: &str, address: SocketAddr) -> Result<Self> {
        // By default it waits five seconds before it looks for a server that was lost.
        let replica = Self::prepare(&["wal_retrieve_retry_interval=100ms"])?;
        let mut copy = replica.program("pg_basebackup")?;
        let port = address.port();
        let from = format!("host=127.0.0.1 port={port} user={USER} application_name={name}");
        copy.args(["--dbname", &from, "--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream"]);
        run(copy.arg("--no-sync").arg("--pgdata").arg(replica.data()))?;
        replica.started()
    }

    /// The server that all tests of a process share, each with databases of its own.
    ///
    /// # Errors
    /// See [`Postgres::start`].
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<std::result::Result<Postgres, String>> = OnceLock::new();
        let shared =
            SHARED.get_or_init(|| Self::with(&["max_connections=500"]).map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn prepare(settings: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        if let Some((user, group)) = ordinary_user()? {
            chown(directory.path(), Some(user), Some(group))?;
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        Ok(Self { directory, settings, port, running: None })
    }

    fn started(mut self) -> Result<Self> {
        self.run()?;
        Ok(self)
    }

    /// Starts the server, which has stopped.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run(&mut self) -> Result<()> {
        let mut command = self.command("sh")?;
        command.args(["-c", GUARD, "sh"]).arg(programs()?.join("postgres")).arg("-D").arg(self.data());
        command.arg("-k").arg(self.directory.path()).args(["-p", &self.port.to_string()]);
        command.args(["-c", "listen_addresses=127.0.0.1"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let log = fs::File::create(self.directory.path().join("log"))?;
        let mut guard = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut line = String::new();
        BufReader::new(guard.stdout.take().context("no output")?).read_line(&mut line)?;
        let server = line.trim().parse().ok().and_then(Pid::from_raw).context("PostgreSQL has no process")?;
        self.running = Some(Running { guard, server });
        let began = Instant::now();
        while self.query("postgres", "select 1").is_err() {
            ensure!(began.elapsed() < STARTUP, "PostgreSQL does not start:\n{}", self.log());
            sleep(LOOK * 4);
        }
        Ok(())
    }

    /// Stops the server: with [`Signal::INT`] in order, with [`Signal::QUIT`] as a crash would.
    pub fn stop(&mut self, signal: Signal) {
        if let Some(Running { mut guard, server }) = self.running.take() {
            let _ = kill_process(server, signal); // it may have ended
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }

    /// Makes a replica the server of its own databases.
    ///
    /// # Errors
    /// When it does not take them over.
    pub fn promote(&self) -> Result<()> {
        self.query("postgres", "select pg_promote()").map(drop)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        self.url_by(database, self.address())
    }

    /// The URL of a database by way of another address.
    pub fn url_by(&self, database: &str, address: SocketAddr) -> String {
        format!("postgres://{USER}@{address}/{database}?sslmode=disable")
    }

    /// Makes each commit wait until the replica of this name has it on its disk, too; of no replica if there is none.
    ///
    /// # Errors
    /// What the server says.
    pub fn wait_for_replica(&self, name: Option<&str>) -> Result<()> {
        let name = name.unwrap_or_default();
        self.query("postgres", &format!("alter system set synchronous_standby_names = '{name}'"))?;
        self.query("postgres", "select pg_reload_conf()").map(drop)
    }

    /// Makes a database, and returns its name.
    ///
    /// # Errors
    /// When the server does not.
    pub fn create_database(&self) -> Result<String> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("d{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.query("postgres", &format!("create database {name}"))?;
        Ok(name)
    }

    /// Runs SQL in a database, and returns its rows as lines of values with `|` between them.
    ///
    /// # Errors
    /// What the server says.
    pub fn query(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = self.psql(database)?;
        let output = psql.args(["--command", sql]).output().context("psql")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// A psql that reads statements.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn psql(&self, database: &str) -> Result<Command> {
        let mut psql = Command::new(programs()?.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1"]);
        psql.arg(self.url(database));
        Ok(psql)
    }

    /// What it has printed since its start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn program(&self, name: &str) -> Result<Command> {
        self.command(programs()?.join(name))
    }

    /// A command as the user who owns the state.
    fn command(&self, program: impl AsRef<Path>) -> Result<Command> {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.directory.path()).process_group(0);
        if let Some((user, group)) = ordinary_user()? {
            command.uid(user).gid(group);
        }
        Ok(command)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop(Signal::INT);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The directory of the newest PostgreSQL: Debian has no directory of PATH with its server.
fn programs() -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, programs)| programs.join("postgres").exists())
        .max();
    Ok(newest.context("PostgreSQL is not installed: run 'apt-get install postgresql'")?.1)
}

/// The user and group to run it as, if this is root: PostgreSQL refuses to be root's.
fn ordinary_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let user = users.lines().find_map(|line| {
        let fields: Vec<_> = line.strip_prefix("postgres:")?.split(':').collect();
        Some((fields.get(1)?.parse().ok()?, fields.get(2)?.parse().ok()?))
    });
    Ok(Some(user.context("there is no user postgres, who comes with Debian's package postgresql")?))
}
