//! Ships lines and events to Sekali, at least once, and is safe to run twice.
//!
//! A thread reads lines ([`input`]), a task turns them into events ([`event`]) and batches ([`batcher`]), and the main
//! task sends one batch after the other ([`ship`]). The queues between them are short, so that a slow service slows the
//! reading down.

mod batch;
mod batcher;
mod checkpoint;
mod cli;
mod counts;
mod demo;
mod event;
mod field;
mod formats;
mod framing;
mod input;
mod outcome;
mod rejects;
mod report;
mod ship;
mod shutdown_grace;
#[cfg_attr(not(feature = "tables"), path = "without_tables.rs")]
mod table;
mod time;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::builder::PossibleValue;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use indicatif::{MultiProgress, ProgressBar};
use sekali_clients::client::{Client, Failure, Publication};
use sekali_clients::interrupt::Interrupt;
use sekali_clients::retry::Patience;
use sekali_clients::terminal::{View, bar, complain, print};

use crate::batcher::{Batches, Limits};
use crate::checkpoint::Checkpoint;
use crate::cli::{Cli, Format, From, IdFrom};
use crate::demo::Board;
use crate::event::Mapper;
use crate::framing::Framers;
use crate::input::{Input, Reading, Starts};
use crate::rejects::{Rejects, RejectsFile};
use crate::report::Tally;
use crate::ship::{Shipper, Stop};
use crate::shutdown_grace::ShutdownGrace;
use crate::table::Table;

/// Exit code: stopped early.
const STOPPED: u8 = 1;
/// Exit code: invalid arguments, or an unreadable input or checkpoint.
const USAGE: u8 = 2;
/// Exit code: some events are in the rejects file, or lines may be missing.
const INCOMPLETE: u8 = 3;

fn main() -> ExitCode {
    // A reading thread that panics must not look like one that has read everything.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
    let cli = Cli::parse();
    if let (true, Some(path)) = (cli.print_cursor, &cli.checkpoint) {
        return print_cursor(path);
    }
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

/// Ships the input and reports the result. Errors before the first event count as wrong usage; later errors are part of
/// the report.
async fn run(cli: Cli, interrupt: &Interrupt) -> Result<u8> {
    let view = if cli.json { View::Json } else { View::Human };
    let client = Client::new(&cli.service.url, cli.service.token.as_deref(), cli.service.timeout)?;
    let patience = Patience { longest_pause: Duration::from_secs(10), give_up_after: cli.give_up_after() };

    let table = Table::of(&cli).await?;
    let inputs = find_inputs(&cli)?;
    let mut checkpoint = load_checkpoint(&cli)?;
    // What appeared since the last run is read whole.
    let is_from_end = cli.from == From::End && checkpoint.as_ref().is_none_or(Checkpoint::is_new);
    if let Some(checkpoint) = &mut checkpoint {
        if cli.format != Format::Journald {
            note_streams(&inputs, view);
        }
        if !is_from_end {
            checkpoint.expect(inputs.iter().filter_map(Input::as_file));
        }
        checkpoint.save().context("the checkpoint cannot be written")?;
        if let Some(code) = compare_with_store(checkpoint, (&client, patience), view, interrupt).await {
            return Ok(code);
        }
        checkpoint.save().context("the checkpoint cannot be written")?;
        if checkpoint.is_behind() {
            complain(
                "the service does not have the last entry of the journal: start again, from its beginning",
            );
            return Ok(STOPPED);
        }
    }
    let starts = checkpoint.as_ref().map_or_else(Starts::default, Checkpoint::starts);

    let framing = framing::Settings::of(&cli);
    let reading = Reading {
        encoding: cli.encoding,
        rest: framing.as_ref().and_then(framing::Settings::rest),
        is_binary: framing.as_ref().is_some_and(framing::Settings::is_binary),
        is_followed: cli.follow,
        is_from_end,
        has_header: framing.as_ref().is_some_and(framing::Settings::has_header),
        ..Reading::default()
    };
    let area = view.area();
    let board = cli.demo.demo.then(|| Board::new(&area));
    let mut shipper = Shipper {
        client,
        publication: publication(&cli),
        patience,
        grace: ShutdownGrace::new(interrupt),
        bar: progress_bar(&cli, &inputs, &reading, &area),
        checkpoint,
        is_journal: cli.format == Format::Journald && cli.id_field.is_none(),
        rejects: if cli.skip_invalid {
            Rejects::ToFile(RejectsFile::new(&cli.rejects))
        } else if cli.is_of_table() {
            Rejects::Told(0)
        } else {
            Rejects::Stop
        },
        tally: Tally::new(starts.clone(), reading.malformed.clone()),
        observe: board.map(|mut board| Box::new(move |results: &_| board.show(results)) as Box<_>),
    };
    let batches = start_reading(cli, (inputs, table), (starts, reading), interrupt);
    let result = shipper.run(batches).await;

    shipper.observe = None; // the board stays as it is
    shipper.bar.finish_and_clear();
    Ok(report(view, &shipper.tally, result, interrupt))
}

fn find_inputs(cli: &Cli) -> Result<Vec<Input>> {
    if cli.demo.demo || cli.is_of_table() {
        Ok(Vec::new())
    } else {
        input::find(&cli.files, cli.follow, &cli.name)
    }
}

fn load_checkpoint(cli: &Cli) -> Result<Option<Checkpoint>> {
    cli.checkpoint.as_deref().map(|path| Checkpoint::load(path, target(cli))).transpose()
}

/// The target of a checkpoint, as it is saved in the file. For another service, topic or way to make ids, the same lines
/// are other events.
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
    let encoding = cli.encoding.map(|encoding| format!(", encoding {}", encoding.name())).unwrap_or_default();
    let multiline = cli.multiline.as_ref().map(|lines| format!(", multiline {lines}")).unwrap_or_default();
    format!("{url}, topic {topic}, format {format}, ids {id}{encoding}{multiline}")
}

fn note_streams(inputs: &[Input], view: View) {
    for stream in inputs.iter().filter_map(Input::as_stream) {
        view.note(format_args!("{stream} cannot be read again, so the checkpoint does not cover it"));
    }
}

/// Starts from the beginning where the service does not have what the checkpoint says. Returns the exit code if the
/// program ends here.
async fn compare_with_store(
    checkpoint: &mut Checkpoint,
    (client, patience): (&Client, Patience),
    view: View,
    interrupt: &Interrupt,
) -> Option<u8> {
    let mut is_down = false;
    let note_retry = |failure: &Failure| {
        if !std::mem::replace(&mut is_down, true) {
            view.note(format_args!("{failure}; trying again"));
        }
    };
    let told = tokio::select! {
        told = checkpoint.compare_with_store(client, patience, note_retry) => told,
        () = interrupt.requested() => return Some(interrupt.exit_code().unwrap_or(STOPPED)),
    };
    match told {
        Ok(told) => told.iter().for_each(|sentence| view.note(sentence)),
        Err(failure) => {
            complain(format_args!("gave up: {failure}"));
            return Some(STOPPED);
        }
    }
    None
}

/// True if valid events are sent although others are invalid.
fn goes_on(cli: &Cli) -> bool {
    cli.skip_invalid || cli.is_of_table()
}

fn publication(cli: &Cli) -> Publication {
    Publication {
        content_type: "application/x-ndjson",
        is_gzip: !cli.no_gzip,
        // The board shows each event, and the events that a partial request leaves out have to be known.
        prefer: (cli.demo.demo || goes_on(cli)).then_some("return=representation"),
        is_partial: goes_on(cli),
    }
}

fn progress_bar(cli: &Cli, inputs: &[Input], reading: &Reading, area: &MultiProgress) -> ProgressBar {
    let has_end = !cli.follow && !inputs.is_empty();
    match input::size(inputs, reading).filter(|_| has_end) {
        Some(size) => bar(area, Some(size), "{bar:30.cyan/dim} {bytes}/{total_bytes} {msg} ({eta} left)"),
        None => bar(area, None, "{spinner:.cyan} {msg}"),
    }
}

/// Starts the thread that reads, or simulates, and the task that makes batches.
fn start_reading(
    cli: Cli,
    (inputs, table): (Vec<Input>, Option<Table>),
    (starts, reading): (Starts, Reading),
    interrupt: &Interrupt,
) -> Batches {
    let mapper = Mapper::new(&cli);
    let limits = Limits {
        events: cli.batch_events as usize,
        bytes: cli.batch_bytes,
        wait: cli.batch_wait,
        ends_at_unusable: !goes_on(&cli),
    };
    let chunks = match table {
        Some(table) => table.read(&cli.name, interrupt.clone()),
        None if cli.demo.demo => demo::simulate(&cli.demo),
        None => input::read(inputs, cli.follow, reading, starts, interrupt.clone()),
    };
    let framers = framing::Settings::of(&cli).map(Framers::new);
    batcher::gather(chunks, (framers, mapper), cli.source, limits, interrupt.clone())
}

/// Prints the report, and returns the exit code.
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
        None if !tally.is_whole() => INCOMPLETE,
        None => 0,
    }
}
