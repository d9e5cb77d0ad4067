//! Debian's PostgreSQL: servers with state of their own, on free ports, as an ordinary user.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::guarded::{self, Guarded};
use crate::process::LOOK;

/// The user of its databases.
pub(crate) const USER: &str = "sekali";

/// Time to be ready after the start.
const STARTUP: Duration = Duration::from_secs(60);

/// A server. It ends on drop, and its state is removed.
pub struct Postgres {
    directory: TempDir,
    settings: Vec<String>,
    port: u16,
    running: Option<Guarded>,
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

    /// A copy of this server, which runs, that is started as it is: it knows nothing of its original, serves what was
    /// committed before, and goes on from there, as one does that was restored from a base backup or a snapshot.
    ///
    /// # Errors
    /// See [`Postgres::start`].
    pub fn copy(&self) -> Result<Self> {
        self.base_backup()?.started()
    }

    /// A copy of this server that is restored to the moment of the backup, as one is to a point in time: it ends its
    /// recovery there, and begins another timeline.
    ///
    /// # Errors
    /// See [`Postgres::start`].
    pub fn copy_at_this_moment(&self) -> Result<Self> {
        let mut copy = self.base_backup()?;
        fs::write(copy.data().join("recovery.signal"), "")?;
        let settings =
            ["restore_command=false", "recovery_target=immediate", "recovery_target_action=promote"];
        copy.settings.extend(settings.map(str::to_owned));
        let copy = copy.started()?;
        let began = Instant::now();
        while copy.query("postgres", "select pg_is_in_recovery()")? == "t" {
            ensure!(began.elapsed() < STARTUP, "the recovery does not end:\n{}", copy.log());
            sleep(LOOK);
        }
        Ok(copy)
    }

    /// Starts this server, which was stopped in order, as a replica of another whose history has left its own.
    ///
    /// # Errors
    /// See [`Postgres::start`]. It needs the setting `wal_log_hints=on` from its start.
    pub fn rewind(&mut self, primary: &Self) -> Result<()> {
        let from = format!("host=127.0.0.1 port={} user={USER} dbname=postgres", primary.port);
        // Until then the other one tells of its old history, and nothing would be rewound.
        primary.query("postgres", "checkpoint")?;
        run(self
            .program("pg_rewind")?
            .args(["--no-sync", "--source-server", &from, "--target-pgdata"])
            .arg(self.data()))?;
        self.follow(primary)
    }

    fn base_backup(&self) -> Result<Self> {
        let copy = Self::prepare(&[])?;
        let mut backup = copy.program("pg_basebackup")?;
        backup.args(["--dbname", &format!("host=127.0.0.1 port={} user={USER}", self.port)]);
        backup.args(["--checkpoint=fast", "--wal-method=stream", "--no-sync"]);
        run(backup.arg("--pgdata").arg(copy.data()))?;
        Ok(copy)
    }

    /// Restores a dump of a database beside it, under another name.
    ///
    /// # Errors
    /// When it cannot be dumped or restored.
    pub fn restore_beside(&self, database: &str, copy: &str) -> Result<()> {
        let dump = self.directory.path().join("dump.sql");
        run(self.program("pg_dump")?.args(["--dbname", &self.url(database), "--file"]).arg(&dump))?;
        self.query("postgres", &format!("create database {copy}"))?;
        run(self.psql(copy)?.arg("--file").arg(&dump))
    }

    /// Stops a replica from replaying what it receives: it answers with what it has, until it is resumed.
    ///
    /// # Errors
    /// When it is no replica.
    pub fn pause_replay(&self) -> Result<()> {
        self.query("postgres", "select pg_wal_replay_pause()")?;
        let began = Instant::now();
        // What it is replaying at this moment comes first. Before version 14 there is nothing to wait for.
        while self.query("postgres", "select pg_get_wal_replay_pause_state()").is_ok_and(|it| it != "paused")
        {
            ensure!(began.elapsed() < STARTUP, "the replica does not pause");
            sleep(LOOK);
        }
        Ok(())
    }

    /// Lets a replica that was paused replay what it has received, and what comes.
    ///
    /// # Errors
    /// When it is no replica.
    pub fn resume_replay(&self) -> Result<()> {
        self.query("postgres", "select pg_wal_replay_resume()").map(drop)
    }

    /// Starts this server, which was stopped in order, as a replica of another that was its own and has been promoted.
    ///
    /// # Errors
    /// See [`Postgres::start`].
    pub fn follow(&mut self, primary: &Self) -> Result<()> {
        let from = format!("host=127.0.0.1 port={} user={USER}", primary.port);
        self.settings.push(format!("primary_conninfo={from}"));
        fs::write(self.data().join("standby.signal"), "")?;
        self.run()
    }

    fn prepare(settings: &[&str]) -> Result<Self> {
        let directory = guarded::directory()?;
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
        let directory = self.directory.path().display();
        let mut arguments = vec!["-D".into(), self.data().display().to_string()];
        arguments.extend(["-k".into(), directory.to_string(), "-p".into(), self.port.to_string()]);
        arguments.extend(["-c".into(), "listen_addresses=127.0.0.1".into()]);
        for setting in &self.settings {
            arguments.extend(["-c".into(), setting.clone()]);
        }
        let program = programs()?.join("postgres");
        self.running = Some(Guarded::start(self.directory.path(), "INT", &program, &arguments)?);
        let began = Instant::now();
        while self.query("postgres", "select 1").is_err() {
            ensure!(began.elapsed() < STARTUP, "PostgreSQL does not start:\n{}", self.log());
            sleep(LOOK * 4);
        }
        Ok(())
    }

    /// Stops the server: with [`Signal::INT`] in order, with [`Signal::QUIT`] as a crash would.
    pub fn stop(&mut self, signal: Signal) {
        if let Some(running) = self.running.take() {
            running.stop(signal);
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
    /// The errors of the server.
    pub fn wait_for_replica(&self, name: Option<&str>) -> Result<()> {
        let name = name.unwrap_or_default();
        self.query("postgres", &format!("alter system set synchronous_standby_names = '{name}'"))?;
        self.query("postgres", "select pg_reload_conf()").map(drop)
    }

    /// Serves with TLS from now on, by a certificate and its key in PEM; without them, it refuses TLS.
    ///
    /// # Errors
    /// The errors of the server.
    pub fn serve_tls(&self, certificate: Option<(&str, &str)>) -> Result<()> {
        if let Some((certificate, key)) = certificate {
            self.write("server.crt", certificate)?;
            self.write("server.key", key)?;
        }
        let ssl = if certificate.is_some() { "on" } else { "off" };
        self.query("postgres", &format!("alter system set ssl = {ssl}"))?;
        self.query("postgres", "select pg_reload_conf()")?;
        let began = Instant::now();
        while self.query("postgres", "show ssl")? != ssl {
            ensure!(began.elapsed() < STARTUP, "TLS is not {ssl}:\n{}", self.log());
            sleep(LOOK);
        }
        Ok(())
    }

    /// Writes a file of its state as its user, for whom alone it is.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let mut shell = guarded::command(self.directory.path(), "/bin/sh")?;
        let file = self.data().join(name);
        let mut shell =
            shell.args(["-c", "umask 077; cat >\"$0\""]).arg(file).stdin(Stdio::piped()).spawn()?;
        shell.stdin.take().context("a pipe")?.write_all(text.as_bytes())?;
        ensure!(shell.wait()?.success(), "{name} cannot be written");
        Ok(())
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
    /// The errors of the server.
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

    /// Its output since its start.
    pub fn log(&self) -> String {
        guarded::log(self.directory.path())
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn program(&self, name: &str) -> Result<Command> {
        guarded::command(self.directory.path(), programs()?.join(name))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_serves_what_was_committed_before_and_knows_nothing_of_what_comes_after() {
        let original = Postgres::start().unwrap();
        original.query("postgres", "create table t (n int); insert into t values (1)").unwrap();
        let copy = original.copy().unwrap();
        original.query("postgres", "insert into t values (2)").unwrap();
        copy.query("postgres", "insert into t values (3)").unwrap();
        assert_eq!(original.query("postgres", "select n from t order by n").unwrap(), "1\n2");
        assert_eq!(copy.query("postgres", "select n from t order by n").unwrap(), "1\n3");
        let identity =
            "select system_identifier, timeline_id from pg_control_system(), pg_control_checkpoint()";
        assert_eq!(copy.query("postgres", identity).unwrap(), original.query("postgres", identity).unwrap());
    }

    #[test]
    fn a_replica_that_is_paused_answers_with_what_it_has_until_it_is_resumed() {
        let primary = Postgres::start().unwrap();
        let replica = primary.replica("replica").unwrap();
        primary.query("postgres", "create table t (n int); insert into t values (1)").unwrap();
        let count = || replica.query("postgres", "select count(*) from t");
        let wait_for = |expected: &str| {
            let began = Instant::now();
            while count().is_ok_and(|it| it != expected) || count().is_err() {
                assert!(began.elapsed() < STARTUP);
                sleep(LOOK);
            }
        };
        wait_for("1");
        replica.pause_replay().unwrap();
        primary.query("postgres", "insert into t values (2)").unwrap();
        let received = "select pg_last_wal_receive_lsn() >= '{}'";
        let end = primary.query("postgres", "select pg_current_wal_flush_lsn()").unwrap();
        while replica.query("postgres", &received.replace("{}", &end)).unwrap() != "t" {
            sleep(LOOK);
        }
        assert_eq!(count().unwrap(), "1");
        replica.resume_replay().unwrap();
        wait_for("2");
    }

    #[test]
    fn a_primary_that_was_replaced_follows_its_replica() {
        let mut first = Postgres::start().unwrap();
        let second = first.replica("second").unwrap();
        first.stop(Signal::INT);
        second.promote().unwrap();
        first.follow(&second).unwrap();
        second.query("postgres", "create table t (n int)").unwrap();
        let began = Instant::now();
        while first.query("postgres", "select count(*) from t").is_err() {
            assert!(began.elapsed() < STARTUP, "{}", first.log());
            sleep(LOOK);
        }
        assert!(first.query("postgres", "insert into t values (1)").is_err(), "it takes no writes");
    }
}
