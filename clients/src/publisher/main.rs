//! Ships lines and events to Sekali, at least once, and is safe to run twice.
//!
//! A thread reads lines ([`input`]), a task turns them into events ([`event`]) and batches ([`batcher`]), and another
//! sends one batch after the other ([`ship`]); [`shipment`] is all of that for one input. The queues between them are
//! short, so that a slow service slows the reading down. Many inputs, of a configuration ([`config`]), are shipped side by
//! side ([`supervisor`]).

mod batch;
mod batcher;
mod check;
mod checkpoint;
mod cli;
mod config;
mod counts;
mod demo;
mod ending;
mod event;
mod field;
mod formats;
mod framing;
mod input;
mod metrics;
mod outcome;
mod progress;
mod rejects;
mod report;
mod ship;
mod shipment;
mod shutdown_grace;
mod state;
mod supervisor;
#[cfg_attr(not(feature = "tables"), path = "without_tables.rs")]
mod table;
mod time;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use sekali_clients::interrupt::Interrupt;
use sekali_clients::terminal::{View, complain, print};

use crate::cli::Cli;
use crate::config::Mistakes;
use crate::ending::{Ending, USAGE};
use crate::shipment::Shipment;

fn main() -> ExitCode {
    // A reading thread that panics must not look like one that has read everything.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Some(path) = &cli.daemon.config {
        if let Some(option) = not_for_configurations(&matches) {
            let text = format!("{option} is for a single input: with --config, it belongs into the file");
            Cli::command().error(ErrorKind::ArgumentConflict, text).exit();
        }
        let mut given = cli.daemon.clone();
        // A variable is for a file that does not say it.
        given.state_dir.take_if(|_| !is_given(&matches, "state_dir"));
        return match config::read(path, &given) {
            Ok(inputs) if cli.daemon.check => check(&inputs),
            Ok(inputs) => run(async |interrupt| ship_all(inputs, view(&cli), interrupt).await),
            Err(mistakes) => complain_of(&mistakes),
        };
    }
    if let Some(contradiction) = cli.contradiction() {
        Cli::command().error(ErrorKind::MissingRequiredArgument, contradiction).exit();
    }
    match cli.checkpoint() {
        Some(path) if cli.daemon.print_cursor => print_cursor(&path),
        _ => run(async |interrupt| ship_one(cli, interrupt).await),
    }
}

/// An option on the command line that a configuration has for each input.
fn not_for_configurations(matches: &ArgMatches) -> Option<String> {
    let of_all = ["config", "check", "json", "state_dir", "metrics"];
    let command = Cli::command();
    let mut options = command.get_arguments().filter(|arg| !of_all.contains(&arg.get_id().as_str()));
    let given = options.find(|arg| is_given(matches, arg.get_id().as_str()))?;
    Some(given.get_long().map_or("FILE".into(), |long| format!("--{long}")))
}

/// True if an option is on the command line.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

fn view(cli: &Cli) -> View {
    if cli.json { View::Json } else { View::Human }
}

/// Runs until the work is done or the second signal comes. Errors before the first event count as wrong usage; later
/// errors are part of the report.
fn run(work: impl AsyncFnOnce(&Interrupt) -> Result<u8>) -> ExitCode {
    let result = tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            let interrupt = Interrupt::listen()?;
            let work = interrupt.bound(work(&interrupt)).await;
            work.unwrap_or_else(|| Ok(interrupt.exit_code().unwrap_or_default()))
        })
    });
    // Do not join the reading thread: it may be waiting for standard input.
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            complain(format_args!("{error:#}"));
            USAGE.into()
        }
    }
}

/// Prints the option by which journalctl goes on where a checkpoint says.
fn print_cursor(checkpoint: &Path) -> ExitCode {
    match checkpoint::journalctl_option(checkpoint) {
        Ok(option) => {
            print(&format!("{option}\n"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(format_args!("{error:#}"));
            USAGE.into()
        }
    }
}

/// Ships the input of the command line.
async fn ship_one(cli: Cli, interrupt: &Interrupt) -> Result<u8> {
    let state = cli.checkpoint().and(cli.daemon.state_dir.as_deref());
    let _in_use = state.map(state::claim).transpose()?;
    let metrics = cli.daemon.metrics;
    let view = view(&cli);
    let mut shipment = Shipment::new(cli, view, &view.area(), interrupt);
    let prepared = shipment.prepare().await?;
    if let Some(address) = metrics {
        metrics::serve(address, vec![progress_of(&shipment)]).await?;
    }
    let error = shipment.ship(prepared).await.err().map(|stop| stop.to_text());
    shipment.report(error.as_deref());
    let mut ending = Ending::default();
    ending.add(error.is_some(), &shipment.tally);
    Ok(ending.code(interrupt.exit_code()))
}

/// Ships the inputs of a configuration.
async fn ship_all(inputs: Vec<Cli>, view: View, interrupt: &Interrupt) -> Result<u8> {
    let daemon = inputs.first().map(|input| &input.daemon);
    let _in_use = daemon.and_then(|daemon| daemon.state_dir.as_deref()).map(state::claim).transpose()?;
    let metrics = daemon.and_then(|daemon| daemon.metrics);
    let area = view.area();
    let (mut shipments, mut mistakes) = (Vec::new(), Mistakes::new());
    for cli in inputs {
        let name = cli.label().to_owned();
        let mut shipment = Shipment::new(cli, view, &area, interrupt);
        shipment.is_named = true;
        match prepare(&shipment).await {
            Ok(prepared) => shipments.push((shipment, prepared)),
            Err(error) => mistakes.push(format!("input {name}: {error:#}")),
        }
    }
    if !mistakes.is_empty() {
        complain_of(&mistakes);
        return Ok(USAGE);
    }
    if let Some(address) = metrics {
        metrics::serve(address, shipments.iter().map(|(shipment, _)| progress_of(shipment)).collect())
            .await?;
    }
    Ok(supervisor::run(shipments, interrupt).await?.code(interrupt.exit_code()))
}

async fn prepare(shipment: &Shipment) -> Result<shipment::Prepared> {
    check::refuse_streams(&shipment.cli)?;
    shipment.prepare().await
}

fn progress_of(shipment: &Shipment) -> metrics::Named {
    (shipment.cli.label().into(), Arc::clone(&shipment.tally.progress))
}

/// Says what each input would read, or what is wrong.
fn check(inputs: &[Cli]) -> ExitCode {
    let (mut text, mut mistakes) = (String::new(), Mistakes::new());
    for cli in inputs {
        match check::refuse_streams(cli).and_then(|()| check::describe(cli)) {
            Ok(described) => text += &described,
            Err(error) => mistakes.push(format!("input {}: {error:#}", cli.label())),
        }
    }
    print(&text);
    if mistakes.is_empty() { ExitCode::SUCCESS } else { complain_of(&mistakes) }
}

fn complain_of(mistakes: &Mistakes) -> ExitCode {
    mistakes.iter().for_each(complain);
    USAGE.into()
}
