//! Proves that Sekali stores each event once: publishes events and duplicates under load ([`load`]), records all
//! deliveries and their answers ([`record`]), and compares them with the counts and events of the service ([`verify`]).
//! With `--chaos` it kills the server meanwhile ([`chaos`]), and with `--consumers` events are taken out ([`consume`]).

mod chaos;
mod cli;
mod consume;
mod load;
mod read_back;
mod record;
mod report;
mod verify;
mod workload;

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use indicatif::{HumanCount, MultiProgress, ProgressBar};
use sekali_clients::client::{Client, Failure};
use sekali_clients::interrupt::Interrupt;
use sekali_clients::retry::Patience;
use sekali_clients::terminal::{self, View, complain, count};
use sekali_common::api::{Stats, TopicAccount};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::chaos::{Kills, Server};
use crate::cli::{Cli, Size};
use crate::consume::{Consumed, Consumers};
use crate::load::Load;
use crate::record::Record;
use crate::report::Report;
use crate::verify::{Check, Verdict};
use crate::workload::Workload;

/// Exit code: a check failed.
const FAILED: u8 = 1;
/// Exit code: the test could not be carried out.
const IMPOSSIBLE: u8 = 3;

/// Topics that `/stats` lists.
const LISTED_TOPICS: u32 = 1000;

/// The longest pause between retries. It is short, so that a restarted server is under load again at once.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread is enough to send, and leaves the other cores to a server on the same machine.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(Into::into).and_then(|runtime| {
        LocalSet::new().block_on(&runtime, async {
            let interrupt = Interrupt::listen()?;
            // Dropping the work kills the server that chaos started.
            let work = interrupt.bound(run(&cli, &interrupt)).await;
            work.unwrap_or_else(|| Ok(interrupt.exit_code().unwrap_or_default()))
        })
    });
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            complain(format_args!("{error:#}"));
            IMPOSSIBLE.into()
        }
    }
}

async fn run(cli: &Cli, interrupt: &Interrupt) -> Result<u8> {
    let test = Test::new(cli, interrupt)?;
    let workload = test.workload();
    let mut server = match &cli.server {
        Some(command) => match test.start_server(command).await? {
            Some(server) => Some(server),
            None => return Ok(interrupt.exit_code().unwrap_or(IMPOSSIBLE)),
        },
        None => None,
    };
    // Without retries, so that a wrong address fails at once.
    let before = test.reader.stats().await.map_err(unreadable)?;
    test.announce(&workload);

    let consumers = test.consumers(&workload).await?;
    let (workload, record, kills) = test.load(workload, server.as_mut()).await?;
    let consumed = consumers.finish().await?;
    if let Some(code) = interrupt.exit_code().filter(|_| record.requests.answered == 0) {
        return Ok(code);
    }
    ensure_something_happened(&record, kills.as_ref(), interrupt)?;

    let mut verdict = test.verify(&workload, &record, &before).await?;
    if let Some(server) = &mut server {
        server.stop().await?;
    }
    add_balance_check(&mut verdict, kills.as_ref());
    if !consumed.is_empty() {
        let of_run = |account: &&TopicAccount| workload.number_of(&account.topic).is_some();
        let accounts = verdict.after.by_topic.iter().filter(of_run);
        let stored = accounts.map(|topic| topic.account.unique_processed).sum();
        verdict.checks.extend(consume::checks(&consumed, stored));
    }

    let report = Report {
        cli,
        size: test.size,
        seed: test.seed,
        is_interrupted: interrupt.exit_code().is_some(),
        workload: &workload,
        record: &record,
        kills: kills.as_ref(),
        verdict: &verdict,
    };
    test.print(&report);
    Ok(exit_code(&report, interrupt))
}

/// Consumers at work.
struct Running {
    tasks: Vec<JoinHandle<Result<Consumed>>>,
    is_over: Rc<Cell<bool>>,
}

impl Running {
    /// What they were given, when nothing is left.
    async fn finish(self) -> Result<Vec<Consumed>> {
        self.is_over.set(true);
        let mut consumed = Vec::new();
        for task in self.tasks {
            consumed.push(task.await??);
        }
        Ok(consumed)
    }
}

/// The parts that all steps of the test use.
struct Test<'a> {
    cli: &'a Cli,
    interrupt: &'a Interrupt,
    view: View,
    area: MultiProgress,
    publisher: Client,
    reader: Client,
    patience: Patience,
    size: Size,
    seed: u64,
}

impl<'a> Test<'a> {
    fn new(cli: &'a Cli, interrupt: &'a Interrupt) -> Result<Self> {
        let view = if cli.json { View::Json } else { View::Human };
        let read_token = cli.read_token.as_deref().or(cli.token.as_deref());
        Ok(Self {
            cli,
            interrupt,
            view,
            area: view.area(),
            publisher: Client::new(&cli.url, cli.token.as_deref(), cli.timeout)?,
            reader: Client::new(&cli.url, read_token, cli.timeout)?,
            patience: Patience { longest_pause: LONGEST_PAUSE, give_up_after: Some(cli.give_up_after) },
            size: cli.size(),
            seed: cli.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
        })
    }

    /// All events of the test; none yet for chaos, whose events are made during the load.
    fn workload(&self) -> Workload {
        let (cli, size) = (self.cli, self.size);
        let mut workload = Workload::new(self.seed, cli.topics, cli.ids, size.duplicates, cli.conflicts);
        if !cli.chaos {
            workload.extend(size.events);
        }
        workload
    }

    /// Starts the server that chaos kills; `None` after an interrupt.
    async fn start_server(&self, command: &str) -> Result<Option<Server>> {
        self.view.note(format_args!("starting the server: {command}"));
        tokio::select! {
            server = Server::start(command, &self.reader) => server.map(Some),
            () = self.interrupt.requested() => Ok(None),
        }
    }

    /// Starts the consumers, whose places are made before they are needed.
    async fn consumers(&self, workload: &Workload) -> Result<Running> {
        let is_counted = self.cli.consumers == 0 || self.cli.topics <= LISTED_TOPICS;
        ensure!(is_counted, "--consumers needs --topics up to {LISTED_TOPICS}: the service lists no more");
        let consumers = Consumers {
            run: workload.run.clone(),
            topics: Rc::new(workload.topics().collect()),
            client: self.reader.clone(),
            patience: self.patience,
            is_over: Rc::default(),
        };
        for number in 0..self.cli.consumers {
            consumers.make(number).await.context("a consumer cannot be made")?;
        }
        let tasks =
            (0..self.cli.consumers).map(|number| spawn_local(consumers.clone().run(number))).collect();
        Ok(Running { tasks, is_over: consumers.is_over })
    }

    fn announce(&self, workload: &Workload) {
        let cli = self.cli;
        let load = match cli.chaos {
            true => {
                format!("events for {} while the server is killed", humantime::format_duration(cli.duration))
            }
            false => format!(
                "{} events and {} duplicates",
                HumanCount(workload.events.into()),
                HumanCount(workload.deliveries.len() as u64 - u64::from(workload.events))
            ),
        };
        let clients = count(cli.clients.into(), "client");
        self.view.note(format_args!("{load}, by {clients}, {} a request, to {}", self.size.batch, cli.url));
        let topics = count(cli.topics.into(), "topic");
        self.view.note(format_args!("in {topics} stress-{}-*, seed {}", workload.run, self.seed));
    }

    /// Publishes the workload, and kills the server meanwhile if there is one.
    async fn load(
        &self,
        workload: Workload,
        server: Option<&mut Server>,
    ) -> Result<(Workload, Record, Option<Kills>)> {
        let until = self.cli.chaos.then(|| Instant::now() + self.cli.duration);
        let bar = self.load_bar(&workload);
        let load = Load {
            client: self.publisher.clone(),
            clients: self.cli.clients,
            batch: self.size.batch,
            rate: self.cli.rate,
            patience: self.patience,
            until,
            interrupt: self.interrupt.clone(),
            bar: bar.clone(),
        };
        let torment = async {
            match (server, until) {
                (Some(server), Some(until)) => {
                    let service = (&self.reader, self.patience);
                    let kills = server.torment(service, self.cli.kill_every, until, (self.interrupt, &bar));
                    kills.await.map(Some)
                }
                _ => Ok(None),
            }
        };
        let ((workload, record), kills) =
            tokio::try_join!(load::run(load, workload, Record::new()?), torment)?;
        bar.finish_and_clear();
        Ok((workload, record, kills))
    }

    fn load_bar(&self, workload: &Workload) -> ProgressBar {
        let deliveries = workload.deliveries.len() as u64;
        match self.cli.chaos {
            true => terminal::bar(
                &self.area,
                None,
                "{spinner:.cyan} {human_pos} deliveries in {elapsed}, {rate}, {msg}",
            ),
            false => terminal::bar(
                &self.area,
                Some(deliveries),
                "publishing   {bar:30.cyan/dim} {human_pos}/{human_len} {rate} ({eta} left)",
            ),
        }
    }

    /// Reads everything back and compares it with the record.
    async fn verify(&self, workload: &Workload, record: &Record, before: &Stats) -> Result<Verdict> {
        let template = "reading back {bar:30.cyan/dim} {human_pos}/{human_len} {rate}";
        let bar = terminal::bar(&self.area, Some(workload.events.into()), template);
        let service = (&self.reader, self.patience);
        let verdict = verify::verify(workload, record, before, service, &bar).await?;
        bar.finish_and_clear();
        Ok(verdict)
    }

    fn print(&self, report: &Report<'_>) {
        match self.view {
            View::Human => terminal::print(&report.to_text()),
            View::Json => terminal::print(&format!("{}\n", report.to_json())),
        }
    }
}

fn exit_code(report: &Report<'_>, interrupt: &Interrupt) -> u8 {
    match interrupt.exit_code() {
        _ if !report.is_passed() => FAILED,
        Some(code) => code,
        None => 0,
    }
}

/// Fails if there was no delivery, or no kill though it was asked for: such a test proves nothing.
fn ensure_something_happened(record: &Record, kills: Option<&Kills>, interrupt: &Interrupt) -> Result<()> {
    ensure!(record.requests.answered > 0, "nothing was delivered, so nothing is proven");
    let is_short = interrupt.exit_code().is_none() && kills.is_some_and(|kills| kills.count == 0);
    ensure!(!is_short, "the server was never killed, so nothing is proven: give more time with --for");
    Ok(())
}

/// The error if the test cannot begin.
fn unreadable(failure: Failure) -> anyhow::Error {
    let is_denied =
        matches!(&failure, Failure::Refused(refusal) if matches!(refusal.status.as_u16(), 401 | 403));
    let hint = if is_denied { "; give a token that permits reading with --read-token" } else { "" };
    anyhow::Error::new(failure).context(format!("/stats cannot be read{hint}"))
}

fn add_balance_check(verdict: &mut Verdict, kills: Option<&Kills>) {
    if let Some(kills) = kills {
        let found = count(kills.count, "kill");
        verdict.checks.push(Check::new(
            "the account balances after each restart",
            found,
            [&kills.unbalanced],
        ));
    }
}
