//! The publisher, which is killed again and again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use sekali_harness::artifacts;
use sekali_harness::process::Process;

use super::{Stage, TOPIC, TREE};

/// The shortest life of a publisher, and how much longer one may be: a second on average.
const LIFE: Duration = Duration::from_millis(300);
const MORE: Duration = Duration::from_millis(1_400);

/// The publisher that runs, and what those before it said.
pub struct Publisher {
    program: PathBuf,
    directory: PathBuf,
    arguments: Vec<String>,
    process: Process,
    kills: Vec<Duration>,
    /// Each line of their messages, and when its publisher ended.
    pub said: Vec<(Duration, String)>,
    /// What must not be, and was.
    pub broken: Vec<String>,
}

impl Publisher {
    /// A publisher of the tree to the service.
    ///
    /// # Errors
    /// When it is not built, or is older than its sources.
    pub fn start(stage: &Stage, service: SocketAddr) -> Result<Self> {
        let program = artifacts::program("publisher")?;
        artifacts::check(&program)?;
        let (service, pattern) = (format!("http://{service}"), format!("{TREE}/**/*.log*"));
        let arguments = ["-F", "--url", &service, "--topic", TOPIC, "--checkpoint", "checkpoint"];
        let arguments: Vec<_> =
            arguments.into_iter().chain(["--format", "lines", &pattern]).map(str::to_owned).collect();
        let directory = stage.root.clone();
        let process = run(&program, &directory, &arguments)?;
        let (kills, said, broken) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { program, directory, arguments, process, kills, said, broken })
    }

    /// When each was killed.
    pub fn kills(&self) -> Vec<Duration> {
        self.kills.clone()
    }

    /// Kills it at random moments until it is time. Then one runs.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn torment(&mut self, stage: &Stage, rng: &mut Rng) -> Result<()> {
        loop {
            let life = LIFE + MORE.mul_f64(rng.f64());
            let is_last = Instant::now() + life > stage.until;
            sleep(life.min(stage.until.saturating_duration_since(Instant::now())));
            if stage.without.has("kills") {
                self.restart(stage)?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Kills it, and starts another at once.
    ///
    /// # Errors
    /// When that cannot be started.
    pub fn restart(&mut self, stage: &Stage) -> Result<()> {
        self.end(stage);
        self.process = run(&self.program, &self.directory, &self.arguments)?;
        Ok(())
    }

    /// Kills it. Nothing else ends one.
    pub fn end(&mut self, stage: &Stage) {
        if let Ok(Some(status)) = self.process.exit_status() {
            let said = self.process.last_words();
            self.broken.push(format!("a publisher ended by itself, with {status}{said}"));
        }
        let killed = stage.began.elapsed();
        self.process.kill();
        self.kills.push(killed);
        let log = self.process.log().replace(&format!("{}/", self.directory.display()), "");
        self.said.extend(log.lines().map(|line| (killed, line.to_owned())));
    }
}

fn run(program: &PathBuf, directory: &PathBuf, arguments: &[String]) -> Result<Process> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    command.env_remove("SEKALI_URL").env_remove("SEKALI_TOKEN");
    Ok(Process::start(command)?)
}
