//! A server that is killed at random moments and started again.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use sekali_clients::client::Client;
use sekali_clients::interrupt::Interrupt;
use sekali_clients::retry::{self, Patience};
use tempfile::NamedTempFile;

use crate::ledger::Wrong;
use crate::verify::check_balance;

/// How long the first start may take, for the command may build what it starts.
const FIRST_START: Duration = Duration::from_secs(30 * 60);

/// How long later starts may take.
const RESTART: Duration = Duration::from_secs(60);

/// How long the server may take to end when it is asked to.
const FAREWELL: Duration = Duration::from_secs(15);

/// How long the last of a killed group may take to go: if nobody takes note of its end, as in some containers, it never
/// does, though it is dead.
const BURIAL: Duration = Duration::from_secs(2);

/// How often a condition of another process is looked at, for nothing tells of it.
const LOOK: Duration = Duration::from_millis(20);

/// The server, and what starts it. It is killed when this is dropped.
pub struct Server {
    command: String,
    process: Option<Child>,
    /// What it printed.
    log: NamedTempFile,
}

/// What became of the server.
#[derive(Debug, Default)]
pub struct Kills {
    /// How often it was killed.
    pub count: u64,
    /// Accounts that did not balance after a restart.
    pub unbalanced: Wrong,
}

impl Server {
    /// Starts the command, and waits until it serves `client`.
    pub async fn start(command: &str, client: &Client) -> Result<Self> {
        ensure!(
            !client.is_ready().await,
            "something serves at this address already: --chaos starts, and kills, a server of its own"
        );
        let log = NamedTempFile::new().context("the server's log cannot be written")?;
        let mut server = Self { command: command.into(), process: None, log };
        server.spawn()?;
        server.wait(client, FIRST_START).await?;
        Ok(server)
    }

    /// Kills the server at random moments, every `mean` on average, until the time is up or Ctrl-C; then it serves.
    pub async fn torment(
        &mut self,
        (client, patience): (&Client, Patience),
        mean: Duration,
        until: Instant,
        (interrupt, bar): (&Interrupt, &ProgressBar),
    ) -> Result<Kills> {
        let mut kills = Kills::default();
        loop {
            let life = mean.mul_f64(2.0 * fastrand::f64());
            if Instant::now() + life > until {
                return Ok(kills);
            }
            tokio::select! {
                () = tokio::time::sleep(life) => {}
                () = interrupt.requested() => return Ok(kills),
            }
            if let Some(status) = self.process.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("the server ended by itself, with {status}{}", self.last_words());
            }
            self.kill().await?;
            kills.count += 1;
            bar.set_message(format!("killed {} times", kills.count));
            self.spawn()?;
            self.wait(client, RESTART).await?;
            let stats = retry::persist(patience, |_| {}, || client.stats()).await?;
            check_balance(&stats, &mut kills.unbalanced);
        }
    }

    /// Asks the server to end.
    pub async fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM);
        let asked = Instant::now();
        while self.is_alive() && asked.elapsed() < FAREWELL {
            tokio::time::sleep(LOOK).await;
        }
        self.kill().await
    }

    /// In a process group of its own, for what serves may be a child of the command; and in place of sh, so that the
    /// command itself is the child whose end is waited for.
    fn spawn(&mut self) -> Result<()> {
        let log = File::options().append(true).open(self.log.path())?;
        let process = Command::new("sh")
            .args(["-c", &format!("exec {}", self.command)])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn();
        self.process = Some(process.context("sh cannot be started")?);
        Ok(())
    }

    async fn wait(&mut self, client: &Client, patience: Duration) -> Result<()> {
        let began = Instant::now();
        while !client.is_ready().await {
            if let Some(status) = self.process.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("the server ended before it served, with {status}{}", self.last_words());
            }
            ensure!(began.elapsed() < patience, "the server does not serve{}", self.last_words());
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL);
        // Until the last of the group is gone, its port may be taken.
        let killed = Instant::now();
        while self.is_alive() && killed.elapsed() < BURIAL {
            tokio::time::sleep(LOOK).await;
        }
        self.process = None;
        Ok(())
    }

    fn is_alive(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        let is_running = process.try_wait().is_ok_and(|status| status.is_none());
        let group = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        is_running || group.is_some_and(|group| test_kill_process_group(group).is_ok())
    }

    fn signal(&self, signal: Signal) {
        let group =
            self.process.as_ref().and_then(|process| Pid::from_raw(i32::try_from(process.id()).ok()?));
        if let Some(group) = group {
            let _ = kill_process_group(group, signal); // one that has ended needs no signal
        }
    }

    /// The end of what the server printed, for an error.
    fn last_words(&mut self) -> String {
        let file = self.log.as_file_mut();
        let mut text = Vec::new();
        let length = file.seek(SeekFrom::End(0)).unwrap_or(0);
        let _ = file
            .seek(SeekFrom::Start(length.saturating_sub(2_000)))
            .and_then(|_| file.read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        if text.trim().is_empty() { String::new() } else { format!("; it said:\n{}", text.trim_end()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if let Some(process) = &mut self.process {
            let _ = process.wait();
        }
    }
}
