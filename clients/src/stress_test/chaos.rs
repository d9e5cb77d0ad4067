//! A server that is killed at random moments and started again.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use sekali_clients::client::Client;
use sekali_clients::interrupt::Interrupt;
use sekali_clients::retry::{self, Patience};
use sekali_harness::process::{Process, Signal};
use sekali_model::{Wrong, check_balance};

/// Time limit of the first start. The command may build the server first.
const FIRST_START: Duration = Duration::from_secs(30 * 60);

/// Time limit of later starts.
const RESTART: Duration = Duration::from_secs(60);

/// Time limit for the server to end after SIGTERM.
const TERM_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for the last process of a killed group to go. In some containers nobody reaps orphans: then it stays a zombie.
const REAP_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause between two looks at another process, which cannot be awaited.
const LOOK: Duration = Duration::from_millis(20);

/// The server and the command that starts it. It is killed on drop.
pub struct Server {
    command: String,
    process: Process,
}

/// The kills of a server and what they did.
#[derive(Debug, Default)]
pub struct Kills {
    /// The number of kills.
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
        let mut server = Self { command: command.into(), process: spawn(command)? };
        server.wait(client, FIRST_START).await?;
        Ok(server)
    }

    /// Kills and restarts the server at random moments, every `mean` on average, until the time is up or Ctrl-C.
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
            if let Some(status) = self.process.exit_status()? {
                bail!("the server ended by itself, with {status}{}", self.process.last_words());
            }
            self.kill().await?;
            kills.count += 1;
            bar.set_message(format!("killed {} times", kills.count));
            self.process = spawn(&self.command)?;
            self.wait(client, RESTART).await?;
            let stats = retry::persist(patience, |_| {}, || client.stats()).await?;
            check_balance(&stats, &mut kills.unbalanced);
        }
    }

    /// Asks the server to end.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.signal(Signal::TERM);
        let asked = Instant::now();
        while self.process.is_alive() && asked.elapsed() < TERM_TIMEOUT {
            tokio::time::sleep(LOOK).await;
        }
        self.kill().await
    }

    async fn wait(&mut self, client: &Client, patience: Duration) -> Result<()> {
        let began = Instant::now();
        while !client.is_ready().await {
            if let Some(status) = self.process.exit_status()? {
                bail!("the server ended before it served, with {status}{}", self.process.last_words());
            }
            ensure!(began.elapsed() < patience, "the server does not serve{}", self.process.last_words());
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn kill(&mut self) -> Result<()> {
        self.process.signal(Signal::KILL);
        // Until the last of the group is gone, its port may be taken.
        let killed = Instant::now();
        while self.process.is_alive() && killed.elapsed() < REAP_TIMEOUT {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

/// Starts the command in place of sh, so that the command itself is the child whose end is waited for.
fn spawn(command: &str) -> Result<Process> {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {command}")]);
    Process::start(shell).context("sh cannot be started")
}
