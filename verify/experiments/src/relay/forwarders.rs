//! The forwarder, which is killed, asked to end and stopped for longer than its lease, and of which there may be two.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use sekali_harness::artifacts;
use sekali_harness::process::{Process, Signal};

use super::endpoint::SIGNER;
use super::{LOOK, NAME, provider};

/// Attempts after which an event is dead. The second shows that what waits behind it waits.
pub const ATTEMPTS: u64 = 2;

/// The longest pause between the end of the last forwarder and the next.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest time for which one is stopped, which is longer than its lease.
const STOP: Duration = Duration::from_secs(5);

/// The time in which one that is asked to end has to: it waits ten seconds for a service that is away.
const END: Duration = Duration::from_secs(30);

/// The exit status of a forwarder that was ended by SIGTERM.
const TERMINATED: i32 = 143;

/// The forwarders that run, all of one name.
pub struct Forwarders {
    program: PathBuf,
    arguments: Vec<String>,
    running: Vec<Process>,
    /// How many of them were killed.
    pub kills: usize,
    /// What must not be, and was.
    pub broken: Vec<String>,
}

impl Forwarders {
    /// One forwarder from the service to the endpoint.
    ///
    /// # Errors
    /// When it is not built, or is older than its sources.
    pub fn start(service: SocketAddr, endpoint: SocketAddr) -> Result<Self> {
        let program = artifacts::program("forwarder")?;
        artifacts::check(&program)?;
        let (service, endpoint) = (format!("http://{service}"), format!("http://{endpoint}/hook"));
        let secret = SIGNER.receiver()["secrets"][1].as_str().unwrap_or_default().to_owned();
        let attempts = ATTEMPTS.to_string();
        let mut arguments = vec![NAME, "--url", &service, "--to", &endpoint, "--secret", &secret, "--json"];
        // The shortest lease, and a time for an answer that an endpoint which hangs exceeds.
        arguments.extend(["--attempts", &attempts, "--lease", "3", "--timeout", "1s"]);
        arguments.extend(provider::TOPICS.iter().flat_map(|topic| ["--topic", topic]));
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        let mut forwarders = Self { program, arguments, running: Vec::new(), kills: 0, broken: Vec::new() };
        forwarders.one_more()?;
        Ok(forwarders)
    }

    fn one_more(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_remove("SEKALI_URL").env_remove("SEKALI_READ_TOKEN");
        self.running.push(Process::start(command)?);
        Ok(())
    }

    /// Torments them until a time, with an average of `life` between two torments. Then one runs, at least.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn torment(&mut self, rng: &mut Rng, until: Instant, life: Duration) -> Result<()> {
        loop {
            let life = life.mul_f64(rng.f64() * 2.0);
            if Instant::now() + life > until {
                return Ok(());
            }
            sleep(life);
            let victim = rng.usize(..self.running.len());
            self.has_to_run(victim);
            match rng.u8(..8) {
                0..=4 => self.kill(victim),
                5 => self.ask_to_end(victim),
                6 => self.stop_for(victim, STOP.mul_f64(rng.f64())),
                _ if self.running.len() == 1 => self.one_more()?,
                _ => self.kill(victim),
            }
            if self.running.is_empty() {
                sleep(PAUSE.mul_f64(rng.f64()));
                self.one_more()?;
            }
        }
    }

    /// Nothing but a signal ends a forwarder: the endpoint never says that it wants nothing.
    fn has_to_run(&mut self, number: usize) {
        let process = &mut self.running[number];
        if let Ok(Some(status)) = process.exit_status() {
            self.broken.push(format!("a forwarder ended by itself, with {status}{}", process.last_words()));
        }
    }

    fn kill(&mut self, number: usize) {
        self.running.swap_remove(number).kill();
        self.kills += 1;
    }

    fn ask_to_end(&mut self, number: usize) {
        let mut process = self.running.swap_remove(number);
        process.signal(Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < END {
            if let Ok(Some(status)) = process.exit_status() {
                // One that has just started does not listen to it yet.
                if status.code() != Some(TERMINATED) && status.signal() != Some(Signal::TERM.as_raw()) {
                    let said = process.last_words();
                    self.broken.push(format!("after SIGTERM a forwarder ended with {status}{said}"));
                }
                return;
            }
            sleep(LOOK);
        }
        self.broken.push(format!("after SIGTERM a forwarder ran for {END:?}{}", process.last_words()));
    }

    fn stop_for(&self, number: usize, time: Duration) {
        self.running[number].signal(Signal::STOP);
        sleep(time);
        self.running[number].signal(Signal::CONT);
    }

    /// Ends all of them.
    pub fn end(&mut self) {
        while let Some(last) = self.running.len().checked_sub(1) {
            self.has_to_run(last);
            self.ask_to_end(last);
        }
    }
}
