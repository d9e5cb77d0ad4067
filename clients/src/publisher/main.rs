//! Ships lines and events to Sekali, at least once, and is safe to run twice.
//!
//! A thread reads ([`input`]), a task makes events of lines ([`event`]) and batches of events ([`batch`]), and the
//! main task sends one batch after the other ([`ship`]). Between them are short queues, so that a slow service slows
//! the reading down.

mod batch;
mod checkpoint;
mod cli;
mod demo;
mod event;
mod farewell;
mod input;
mod rejects;
mod report;
mod ship;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::builder::PossibleValue;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use sekali_clients::client::{Client, Failure, Publication};
use sekali_clients::interrupt::Interrupt;
use sekali_clients::retry::Patience;
use sekali_clients::terminal::{View, bar, complain, print};

use crate::batch::Limits;
use crate::checkpoint::Checkpoint;
use crate::cli::{Cli, IdFrom};
use crate::event::Mapper;
use crate::farewell::Farewell;
use crate::input::{Input, Starts};
use crate::rejects::Rejects;
use crate::report::Tally;
use crate::ship::{Shipper, Stop};

/// Stopped early.
const STOPPED: u8 = 1;
/// Used in a way that cannot be meant, or given something that cannot be read.
const USAGE: u8 = 2;
/// Some events are in the rejects file.
const REJECTED: u8 = 3;

fn main() -> ExitCode {
    // A thread that fails must not look like one that has read everything.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
    let cli = Cli::parse();
    if let Some(contradiction) = cli.contradiction() {
        Cli::command().error(ErrorKind::MissingRequiredArgument, contradiction).exit();
    }
    let result = tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            let interrupt = Interrupt::listen()?;
            let work = interrupt.bound(run(cli, &interrupt)).await;
            work.unwrap_or_else(|| Ok(interrupt.exit_code().unwrap_or_default()))
        })
    });
    // A thread that waits for standard input is left behind.
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            complain(format_args!("{error:#}"));
            USAGE.into()
        }
    }
}

/// Everything up to the first event fails as a wrong use; whatever comes later is part of the report.
async fn run(cli: Cli, interrupt: &Interrupt) -> Result<u8> {
    let view = if cli.json { View::Json } else { View::Human };
    let client = Client::new(&cli.service.url, cli.service.token.as_deref(), cli.service.timeout)?;
    let patience = Patience { longest_pause: Duration::from_secs(10), give_up_after: cli.give_up_after() };

    let inputs = if cli.demo.demo { Vec::new() } else { input::find(&cli.files, cli.follow, &cli.name)? };
    let mut checkpoint =
        cli.checkpoint.as_deref().map(|path| Checkpoint::load(path, target(&cli))).transpose()?;
    if let Some(checkpoint) = &mut checkpoint {
        for stream in inputs.iter().filter_map(Input::as_stream) {
            view.note(format_args!("{stream} cannot be read again, so the checkpoint says nothing of it"));
        }
        let told = |failure: &Failure| view.note(format_args!("{failure}; trying again"));
        let is_forgotten = tokio::select! {
            is_forgotten = checkpoint.forget_unless_stored(&client, patience, told) => is_forgotten,
            () = interrupt.requested() => return Ok(interrupt.exit_code().unwrap_or(STOPPED)),
        };
        match is_forgotten {
            Ok(false) => {}
            Ok(true) => {
                view.note("the service does not have what the checkpoint says: starting from the beginning")
            }
            Err(failure) => {
                complain(format_args!("gave up: {failure}"));
                return Ok(STOPPED);
            }
        }
    }
    let starts = checkpoint.as_ref().map_or_else(Starts::default, Checkpoint::starts);

    let area = view.area();
    let board = cli.demo.demo.then(|| demo::Board::new(&area));
    let bar = match input::size(&inputs).filter(|_| !cli.follow && !cli.demo.demo) {
        Some(size) => bar(&area, Some(size), "{bar:30.cyan/dim} {bytes}/{total_bytes} {msg} ({eta} left)"),
        None => bar(&area, None, "{spinner:.cyan} {msg}"),
    };
    let publication = Publication {
        content_type: "application/x-ndjson",
        is_gzip: !cli.no_gzip,
        prefer: board.is_some().then_some("return=representation"),
    };
    let mut shipper = Shipper {
        client,
        publication,
        patience,
        farewell: Farewell::new(interrupt),
        bar,
        checkpoint,
        rejects: cli.skip_invalid.then(|| Rejects::new(&cli.rejects)),
        tally: Tally::new(starts.clone()),
        observe: board.map(|mut board| Box::new(move |results: &_| board.show(results)) as Box<_>),
    };

    let mapper = Mapper::new(&cli);
    let limits = Limits {
        events: cli.batch_events as usize,
        bytes: cli.batch_bytes,
        wait: cli.batch_wait,
        ends_at_unusable: !cli.skip_invalid,
    };
    let pieces = match cli.demo.demo {
        true => demo::simulate(&cli.demo),
        false => input::read(inputs, cli.follow, starts, interrupt.clone()),
    };
    let batches = batch::gather(pieces, mapper, cli.source, limits, interrupt.clone());
    let result = shipper.run(batches).await;
    shipper.observe = None;
    shipper.bar.finish_and_clear();
    Ok(report(view, &shipper.tally, result, interrupt))
}

/// What a checkpoint is good for: another service, topic or way to make ids means other events.
fn target(cli: &Cli) -> String {
    let url = cli.service.url.trim_end_matches('/');
    let topic = cli.topic.as_deref().unwrap_or("as the lines say");
    let id = match (&cli.id_field, cli.id) {
        (Some(field), _) => format!("of the field {field}"),
        (None, IdFrom::Offset) => "of offsets".into(),
        (None, IdFrom::Content) => "of contents".into(),
    };
    let format = cli.format().to_possible_value();
    let format = format.as_ref().map(PossibleValue::get_name).unwrap_or_default();
    format!("{url}, topic {topic}, format {format}, ids {id}")
}

fn report(view: View, tally: &Tally, result: Result<(), Stop>, interrupt: &Interrupt) -> u8 {
    let signal = interrupt.exit_code();
    let error = result.err().map(|stop| match stop {
        Stop::Local(error) => format!("{error:#}"),
        stop => stop.to_string(),
    });
    match view {
        View::Human => print(&tally.to_text(signal.is_some() || error.is_some())),
        View::Json => print(&format!("{}\n", tally.to_json(error.as_deref()))),
    }
    if let Some(error) = error {
        complain(error);
        return STOPPED;
    }
    match signal {
        Some(code) => code,
        None if !tally.is_whole() => REJECTED,
        None => 0,
    }
}
