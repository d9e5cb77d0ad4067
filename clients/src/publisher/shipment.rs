//! The way of one input to the service: its files are found, its checkpoint is compared with the store, and then a thread
//! reads, a task makes batches, and the shipper sends them.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use indicatif::{MultiProgress, ProgressBar};
use sekali_clients::client::{Client, Failure, Publication};
use sekali_clients::interrupt::Interrupt;
use sekali_clients::retry::Patience;
use sekali_clients::terminal::{View, bar, complain, print, tell};
use serde_json::Value;

use crate::batcher::{self, Batches, Limits, Source};
use crate::checkpoint::Checkpoint;
use crate::cli::{Cli, Format, From, IdFrom};
use crate::demo::{self, Board};
use crate::event::Mapper;
use crate::framing::{self, Framers};
use crate::input::{self, Input, Reading, Starts};
use crate::rejects::{Rejects, RejectsFile};
use crate::report::Tally;
use crate::ship::{Shipper, Stop};
use crate::shutdown_grace::ShutdownGrace;
use crate::table::Table;

/// An input, and what became of it so far.
pub struct Shipment {
    pub cli: Cli,
    /// True if it is one of several, which have to be told apart.
    pub is_named: bool,
    view: View,
    area: MultiProgress,
    interrupt: Interrupt,
    reading: Reading,
    bar: Option<ProgressBar>,
    pub tally: Tally,
}

/// What an attempt to ship an input begins with.
pub struct Prepared {
    client: Client,
    inputs: Vec<Input>,
    table: Option<Table>,
    checkpoint: Option<Checkpoint>,
    is_from_end: bool,
}

impl Shipment {
    /// An input of which nothing was read yet.
    pub fn new(cli: Cli, view: View, area: &MultiProgress, interrupt: &Interrupt) -> Self {
        let framing = framing::Settings::of(&cli);
        let reading = Reading {
            encoding: cli.encoding,
            rest: framing.as_ref().and_then(framing::Settings::rest),
            is_followed: cli.follow,
            is_binary: framing.as_ref().is_some_and(framing::Settings::is_binary),
            has_header: framing.as_ref().is_some_and(framing::Settings::has_header),
            ..Reading::default()
        };
        let (area, interrupt) = (area.clone(), interrupt.clone());
        let tally = Tally::new(reading.malformed.clone());
        Self { cli, is_named: false, view, area, interrupt, reading, bar: None, tally }
    }

    /// Finds what is to be read, and reads the checkpoint.
    ///
    /// # Errors
    /// What the arguments name cannot be used.
    pub async fn prepare(&self) -> Result<Prepared> {
        let cli = &self.cli;
        let client = client(cli)?;
        let table = Table::of(cli).await?;
        let inputs = find_inputs(cli)?;
        let mut checkpoint = cli.checkpoint().map(|path| Checkpoint::load(&path, target(cli))).transpose()?;
        // What appeared since the last run is read whole.
        let is_first = checkpoint.as_mut().is_none_or(Checkpoint::begin);
        let is_from_end = cli.from == From::End && is_first;
        if let Some(checkpoint) = &mut checkpoint {
            if !is_from_end {
                checkpoint.expect(inputs.iter().filter_map(Input::as_file));
            }
            checkpoint.save().context("the checkpoint cannot be written")?;
        }
        Ok(Prepared { client, inputs, table, checkpoint, is_from_end })
    }

    /// Ships what was prepared until it ends, or a signal ends it.
    ///
    /// # Errors
    /// Not all was shipped.
    pub async fn ship(&mut self, prepared: Prepared) -> Result<(), Stop> {
        let Prepared { client, inputs, table, mut checkpoint, is_from_end } = prepared;
        self.reading.is_from_end = is_from_end;
        let bar = self.show(&inputs);
        if let Some(checkpoint) = &mut checkpoint {
            if self.cli.format != Format::Journald {
                self.note_streams(&inputs, &bar);
            }
            if !self.compare_with_store(checkpoint, &client, &bar).await? {
                bar.finish_and_clear();
                return Ok(());
            }
        }
        let starts = checkpoint.as_ref().map_or_else(Starts::default, Checkpoint::starts);
        self.tally.start(&starts);
        let batches = self.start_reading((inputs, table), starts);
        let cli = &self.cli;
        let board = cli.demo.demo.then(|| Board::new(&self.area));
        let mut shipper = Shipper {
            client,
            publication: publication(cli),
            patience: patience(cli),
            grace: ShutdownGrace::new(&self.interrupt),
            bar: bar.clone(),
            checkpoint,
            is_journal: cli.format == Format::Journald && cli.id_field.is_none(),
            rejects: if cli.skip_invalid {
                Rejects::ToFile(RejectsFile::new(&cli.rejects()))
            } else if cli.is_of_table() {
                Rejects::Told(0)
            } else {
                Rejects::Stop
            },
            tally: &mut self.tally,
            observe: board.map(|mut board| Box::new(move |results: &_| board.show(results)) as Box<_>),
        };
        let result = shipper.run(batches).await;
        shipper.observe = None; // the board stays as it is
        bar.finish_and_clear();
        result
    }

    /// Prints what was shipped. `error` is the reason why it was not all.
    pub fn report(&self, error: Option<&str>) {
        self.area.suspend(|| self.print_report(error));
        if let Some(error) = error {
            self.complain(error);
        }
    }

    /// Prints an error, with the name of the input if it is one of several.
    pub fn complain(&self, error: &str) {
        let name = if self.is_named { format!("{}: ", self.cli.label()) } else { String::new() };
        self.area.suspend(|| complain(format_args!("{name}{error}")));
    }

    fn print_report(&self, error: Option<&str>) {
        let name = self.is_named.then(|| self.cli.label());
        match self.view {
            View::Human => {
                let is_stopped = self.interrupt.exit_code().is_some() || error.is_some();
                let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
                print(&format!("{name}{}", self.tally.to_text(is_stopped)));
            }
            View::Json => {
                let mut report = self.tally.to_json(error);
                if let Some(name) = name {
                    report["input"] = Value::from(name);
                }
                print(&format!("{report}\n"));
            }
        }
    }

    /// Its bar, which shows that it is at work.
    fn show(&mut self, inputs: &[Input]) -> ProgressBar {
        if let Some(bar) = &self.bar {
            bar.reset();
            return bar.clone();
        }
        let has_end = !self.cli.follow && !inputs.is_empty();
        let size = input::size(inputs, &self.reading).filter(|_| has_end);
        let template = match size {
            Some(_) => "{bar:30.cyan/dim} {bytes}/{total_bytes} {msg} ({eta} left)",
            None => "{spinner:.cyan} {msg}",
        };
        let new = if self.is_named {
            let bar = bar(&self.area, size, &format!("{{prefix}} {template}"));
            bar.with_prefix(self.cli.label().to_owned())
        } else {
            bar(&self.area, size, template)
        };
        self.bar = Some(new.clone());
        new
    }

    fn note(&self, bar: &ProgressBar, text: impl std::fmt::Display) {
        if self.view == View::Human {
            tell(bar, text);
        }
    }

    fn note_streams(&self, inputs: &[Input], bar: &ProgressBar) {
        for stream in inputs.iter().filter_map(Input::as_stream) {
            let text = format_args!("{stream} cannot be read again, so the checkpoint does not cover it");
            self.note(bar, text);
        }
    }

    /// Starts from the beginning where the service does not have what the checkpoint says. False if a signal came first.
    async fn compare_with_store(
        &self,
        checkpoint: &mut Checkpoint,
        client: &Client,
        bar: &ProgressBar,
    ) -> Result<bool, Stop> {
        let is_away = &self.tally.progress.is_away;
        let note_retry = |failure: &Failure| {
            if !is_away.get() {
                self.note(bar, format_args!("{failure}; trying again"));
            }
            is_away.set(true);
        };
        let told = tokio::select! {
            told = checkpoint.compare_with_store(client, patience(&self.cli), note_retry) => told,
            () = self.interrupt.requested() => return Ok(false),
        };
        let told = told.map_err(Stop::GaveUp)?;
        is_away.set(false);
        told.iter().for_each(|sentence| self.note(bar, sentence));
        checkpoint.save().context("the checkpoint cannot be written")?;
        if checkpoint.is_behind() {
            let text =
                "the service does not have the last entry of the journal: start again, from its beginning";
            return Err(Stop::Local(anyhow!(text)));
        }
        Ok(true)
    }

    /// Starts the thread that reads, or simulates, and the task that makes batches.
    fn start_reading(&self, (inputs, table): (Vec<Input>, Option<Table>), starts: Starts) -> Batches {
        let (cli, interrupt) = (&self.cli, &self.interrupt);
        let limits = Limits {
            events: cli.batch_events as usize,
            bytes: cli.batch_bytes,
            wait: cli.batch_wait,
            ends_at_unusable: !goes_on(cli),
        };
        let chunks = match table {
            Some(table) => table.read(cli.stream_name(), interrupt.clone()),
            None if cli.demo.demo => demo::simulate(&cli.demo),
            None => input::read(inputs, cli.follow, self.reading.clone(), starts, interrupt.clone()),
        };
        let framers = framing::Settings::of(cli).map(Framers::new);
        batcher::gather(chunks, (framers, Mapper::new(cli)), source(cli), limits, interrupt.clone())
    }
}

/// A client of the service that the arguments name.
///
/// # Errors
/// The address or the token is invalid.
pub fn client(cli: &Cli) -> Result<Client> {
    Client::new(&cli.service.url, cli.service.token()?.as_deref(), cli.service.timeout)
}

/// What the arguments name to be read.
///
/// # Errors
/// It cannot be read.
pub fn find_inputs(cli: &Cli) -> Result<Vec<Input>> {
    if cli.demo.demo || cli.is_of_table() {
        Ok(Vec::new())
    } else {
        input::find(&cli.files, cli.follow, cli.stream_name())
    }
}

/// The target of a checkpoint, as it is saved in the file. For another service, topic or way to make ids, the same lines
/// are other events.
pub fn target(cli: &Cli) -> String {
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

fn patience(cli: &Cli) -> Patience {
    Patience { longest_pause: Duration::from_secs(10), give_up_after: cli.give_up_after() }
}

fn source(cli: &Cli) -> Source {
    match &cli.source {
        Some(source) => Source::Given(source.clone()),
        // Without a working directory, relative paths stay as they are.
        None if cli.source_from_path => Source::Path(std::env::current_dir().unwrap_or_default()),
        None => Source::Name,
    }
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
