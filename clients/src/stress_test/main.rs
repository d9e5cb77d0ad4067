//! Proves that Sekali stores each event once: publishes events and duplicates under load ([`load`]), keeps an account
//! of what was sent and answered ([`ledger`]), and compares it with what the service says ([`verify`]). With `--chaos`
//! it kills the server meanwhile ([`chaos`]).

mod chaos;
mod cli;
mod ledger;
mod load;
mod report;
mod verify;
mod workload;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use indicatif::HumanCount;
use sekali_clients::client::{Client, Failure};
use sekali_clients::interrupt::Interrupt;
use sekali_clients::retry::Patience;
use sekali_clients::terminal::{self, View, complain, count};
use tokio::task::LocalSet;

use crate::chaos::{Kills, Server};
use crate::cli::Cli;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::report::Report;
use crate::verify::{Check, Verdict};
use crate::workload::Workload;

/// Something was not as promised.
const FAILED: u8 = 1;
/// The test could not be carried out.
const IMPOSSIBLE: u8 = 3;

/// Short, so that a server that comes back is under load again at once.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread is enough to send, and leaves the others to a server on the same machine.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(Into::into).and_then(|runtime| {
        LocalSet::new().block_on(&runtime, async {
            let interrupt = Interrupt::listen()?;
            // A server of our own is killed when the work is dropped.
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
    let view = if cli.json { View::Json } else { View::Human };
    let publisher = Client::new(&cli.url, cli.token.as_deref(), cli.timeout)?;
    let read_token = cli.read_token.as_deref().or(cli.token.as_deref());
    let reader = Client::new(&cli.url, read_token, cli.timeout)?;

    let size = cli.size();
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let mut workload = Workload::new(seed, cli.topics, cli.ids, size.duplicates, cli.conflicts);
    if !cli.chaos {
        workload.extend(size.events);
    }
    let mut server = match &cli.server {
        Some(command) => {
            view.note(format_args!("starting the server: {command}"));
            tokio::select! {
                server = Server::start(command, &reader) => Some(server?),
                () = interrupt.requested() => return Ok(interrupt.exit_code().unwrap_or(IMPOSSIBLE)),
            }
        }
        None => None,
    };
    let patience = Patience { longest_pause: LONGEST_PAUSE, give_up_after: Some(cli.give_up_after) };
    // Nobody waits for a service that is not there; one that went away is another matter.
    let before = reader.stats().await.map_err(unreadable)?;
    announce(cli, size, seed, &workload, view);

    let area = view.area();
    let deliveries = workload.deliveries.len() as u64;
    let until = cli.chaos.then(|| Instant::now() + cli.duration);
    let bar = match until {
        None => {
            let template = "publishing   {bar:30.cyan/dim} {human_pos}/{human_len} {rate} ({eta} left)";
            terminal::bar(&area, Some(deliveries), template)
        }
        Some(_) => {
            terminal::bar(&area, None, "{spinner:.cyan} {human_pos} deliveries in {elapsed}, {rate}, {msg}")
        }
    };
    let load = Load {
        client: publisher,
        clients: cli.clients,
        batch: size.batch,
        rate: cli.rate,
        patience,
        until,
        interrupt: interrupt.clone(),
        bar: bar.clone(),
    };
    let torment = async {
        match (&mut server, until) {
            (Some(server), Some(until)) => {
                server.torment((&reader, patience), cli.kill_every, until, (interrupt, &bar)).await.map(Some)
            }
            _ => Ok(None),
        }
    };
    let ((workload, ledger), kills) = tokio::try_join!(load::run(load, workload, Ledger::new()?), torment)?;
    bar.finish_and_clear();

    if let Some(code) = interrupt.exit_code().filter(|_| ledger.requests.answered == 0) {
        return Ok(code);
    }
    ensure_something_happened(&ledger, kills.as_ref(), interrupt)?;
    let template = "reading back {bar:30.cyan/dim} {human_pos}/{human_len} {rate}";
    let bar = terminal::bar(&area, Some(workload.events.into()), template);
    let mut verdict = verify::verify(&workload, &ledger, &before, (&reader, patience), &bar).await?;
    bar.finish_and_clear();
    if let Some(server) = &mut server {
        server.stop().await?;
    }
    note_kills(&mut verdict, kills.as_ref());

    let report = Report {
        cli,
        size,
        seed,
        is_interrupted: interrupt.exit_code().is_some(),
        workload: &workload,
        ledger: &ledger,
        kills: kills.as_ref(),
        verdict: &verdict,
    };
    match view {
        View::Human => terminal::print(&report.to_text()),
        View::Json => terminal::print(&format!("{}\n", report.to_json())),
    }
    match interrupt.exit_code() {
        _ if !report.is_passed() => Ok(FAILED),
        Some(code) => Ok(code),
        None => Ok(0),
    }
}

fn announce(cli: &Cli, size: cli::Size, seed: u64, workload: &Workload, view: View) {
    let what = match cli.chaos {
        true => format!("events for {} while the server is killed", humantime::format_duration(cli.duration)),
        false => format!(
            "{} events and {} duplicates",
            HumanCount(workload.events.into()),
            HumanCount(workload.deliveries.len() as u64 - u64::from(workload.events))
        ),
    };
    let clients = count(cli.clients.into(), "client");
    view.note(format_args!("{what}, by {clients}, {} a request, to {}", size.batch, cli.url));
    let topics = count(cli.topics.into(), "topic");
    view.note(format_args!("in {topics} stress-{}-*, seed {seed}", workload.run));
}

/// A test without a delivery, or without a kill that was asked for, proves nothing.
fn ensure_something_happened(ledger: &Ledger, kills: Option<&Kills>, interrupt: &Interrupt) -> Result<()> {
    ensure!(ledger.requests.answered > 0, "nothing was delivered, so nothing is proven");
    let is_short = interrupt.exit_code().is_none() && kills.is_some_and(|kills| kills.count == 0);
    ensure!(!is_short, "the server was never killed, so nothing is proven: give more time by --for");
    Ok(())
}

/// Why the test cannot begin.
fn unreadable(failure: Failure) -> anyhow::Error {
    let is_denied =
        matches!(&failure, Failure::Refused(refusal) if matches!(refusal.status.as_u16(), 401 | 403));
    let hint = if is_denied { "; --read-token says what it asks of readers" } else { "" };
    anyhow::Error::new(failure).context(format!("the account of the service cannot be read{hint}"))
}

fn note_kills(verdict: &mut Verdict, kills: Option<&Kills>) {
    if let Some(kills) = kills {
        let found = count(kills.count, "kill");
        verdict.checks.push(Check::new(
            "the account balances after each restart",
            found,
            [&kills.unbalanced],
        ));
    }
}
