//! The arguments of the publisher.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, ValueEnum};
use encoding_rs::Encoding;
use sekali_clients::arguments;

use crate::framing::Multiline;

/// Ships events to Sekali, at least once, and is safe to run twice.
///
/// Reads lines from files or standard input and publishes them in order, in batches, until all of them are
/// acknowledged. The event_id of a line is made of its content and its place, so a line that is sent again (after a
/// crash, a lost answer, or because you started the publisher twice) is dropped as a duplicate. Blank lines are
/// skipped. Files compressed by gzip, zstd or bzip2 are read as what they hold.
#[derive(Debug, Parser)]
#[command(name = "publisher", version, after_long_help = AFTER_HELP.trim_end(), arg_required_else_help = true)]
pub struct Cli {
    /// Files to read, or patterns such as '*.log'; `-` is standard input, which is also read if no file is named
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Topic of the events; not needed if the lines are events with a topic
    #[arg(short, long)]
    pub topic: Option<String>,

    /// Print the result as one JSON object, and no progress
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub service: Service,

    /// Format of the input
    #[arg(short, long, value_enum, default_value_t, help_heading = "Lines")]
    pub format: Format,

    /// Field of a JSON line, or of a record, that holds its event_id: a name, or a JSON pointer such as /request/id
    #[arg(long, value_name = "FIELD", help_heading = "Lines")]
    pub id_field: Option<String>,

    /// Field that holds its timestamp: RFC 3339, or a number of seconds, milli-, micro- or nanoseconds since 1970, also in
    /// quotes
    #[arg(long, value_name = "FIELD", help_heading = "Lines")]
    pub time_field: Option<String>,

    /// Field that holds its payload [default: the whole line]
    #[arg(long, value_name = "FIELD", help_heading = "Lines")]
    pub payload: Option<String>,

    /// Source of the event_id of a line that has none
    #[arg(long, value_enum, default_value_t, help_heading = "Lines")]
    pub id: IdFrom,

    /// Make one event of several lines: java, python or go for their stack traces, or a regular expression with which the
    /// first line of each event matches. With docker and cri, the lines are messages
    #[arg(long, value_name = "PATTERN", value_parser = Multiline::parse, help_heading = "Lines")]
    pub multiline: Option<Multiline>,

    /// Time without a further line after which such an event, or a message in parts, counts as whole
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = arguments::span_or_none,
        help_heading = "Lines")]
    pub multiline_timeout: Duration,

    /// Character between the fields of --format csv, or tab
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = delimiter, help_heading = "Lines")]
    pub delimiter: u8,

    /// Encoding of the text, such as utf-16le or windows-1252, unless a byte order mark says another [default: UTF-8]
    #[arg(long, value_name = "NAME", value_parser = encoding, help_heading = "Lines")]
    pub encoding: Option<&'static Encoding>,

    /// Name of standard input, or of a pipe, in event_ids; the second of several pipes is NAME-2 [default: stdin]. It is
    /// also the name in --state-dir and --metrics [default: publisher]
    #[arg(long, help_heading = "Lines")]
    pub name: Option<String>,

    /// Source of the events [default: the name of the file]
    #[arg(long, help_heading = "Lines")]
    pub source: Option<String>,

    /// Take the path of the file as the source: the absolute path at which it was found first, also after a rotation. Of
    /// one that is longer than a source may be, the end is taken
    #[arg(long, conflicts_with = "source", help_heading = "Lines")]
    pub source_from_path: bool,

    /// Keep reading as the files grow, and across their rotation, until you press Ctrl-C. A file that is not there, or
    /// cannot be read, is waited for; a pattern in quotes, as '/var/log/*.log', also takes files that appear later
    #[arg(short = 'F', long, help_heading = "Delivery")]
    pub follow: bool,

    /// Where to begin with files that are there when --follow begins, unless the checkpoint knows them or is of an earlier
    /// run: files that appear later are read whole
    #[arg(long, value_enum, default_value_t, requires = "follow", help_heading = "Delivery")]
    pub from: From,

    /// Save in this file how far each input was acknowledged, and start there next time
    #[arg(long, value_name = "FILE", help_heading = "Delivery")]
    pub checkpoint: Option<PathBuf>,

    /// Write invalid events to the rejects file and go on, instead of stopping at the first
    #[arg(long, help_heading = "Delivery")]
    pub skip_invalid: bool,

    /// Rejects file of --skip-invalid, one JSON object a line [default: rejects.ndjson, or NAME.rejects.ndjson in
    /// --state-dir]
    #[arg(long, value_name = "FILE", requires = "skip_invalid", help_heading = "Delivery")]
    pub rejects: Option<PathBuf>,

    /// Maximum number of events in a batch
    #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Delivery")]
    pub batch_events: u32,

    /// Maximum bytes of a batch before compression; a larger event is sent alone
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, help_heading = "Delivery")]
    pub batch_bytes: usize,

    /// Time that a batch waits for more events if the input pauses
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = arguments::span_or_none,
        help_heading = "Delivery")]
    pub batch_wait: Duration,

    /// Send batches without gzip compression
    #[arg(long, help_heading = "Delivery")]
    pub no_gzip: bool,

    /// Time to retry a batch after connection errors, 408, 429 and 5xx [default: 5m; no limit with --follow and --demo]
    #[arg(long, value_name = "TIME", value_parser = arguments::span, help_heading = "Delivery")]
    pub give_up_after: Option<Duration>,

    #[command(flatten)]
    pub daemon: Daemon,

    #[command(flatten)]
    pub table: Table,

    #[command(flatten)]
    pub demo: Demo,
}

/// What a publisher needs that runs for ever.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "As a service")]
pub struct Daemon {
    /// Ship all inputs of this file, which follow their files: TOML, described below
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Say what each input of --config would read, or what is wrong, and end
    #[arg(long, requires = "config", conflicts_with = "json")]
    pub check: bool,

    /// Keep checkpoints in this directory, as NAME.checkpoint; it is made unless it is there, and no other publisher may
    /// use it meanwhile
    #[arg(long, value_name = "DIRECTORY", env = "STATE_DIRECTORY")]
    pub state_dir: Option<PathBuf>,

    /// Answer with metrics for Prometheus at this address, such as 127.0.0.1:9401
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,

    /// Print where journalctl is to start, as an option for it, and end: behind the last entry that is acknowledged
    /// according to the checkpoint of --format journald
    #[arg(long)]
    pub print_cursor: bool,
}

/// An old table, instead of lines.
#[derive(Debug, Args)]
#[command(next_help_heading = "Old tables")]
pub struct Table {
    /// Read rows of this SQLite database instead of lines. A row that cannot be taken is named, and the others are sent
    #[arg(long, value_name = "FILE", group = "database", requires = "query", conflicts_with_all = NOT_FOR_TABLES)]
    pub from_sqlite: Option<PathBuf>,

    /// Read rows of this PostgreSQL database. The connection is encrypted and the server's certificate verified, unless
    /// the URL says sslmode=disable; the variable PGPASSWORD may hold the password, which other users cannot see there
    #[arg(long, value_name = "URL", group = "database", requires = "query", conflicts_with_all = NOT_FOR_TABLES)]
    pub from_postgres: Option<String>,

    /// The query. Its columns are fields of events: topic, event_id, timestamp, source and payload, which is JSON as text
    #[arg(long, value_name = "SQL", requires = "database")]
    pub query: Option<String>,
}

/// Options that are for lines.
const NOT_FOR_TABLES: [&str; 11] = [
    "files",
    "follow",
    "checkpoint",
    "format",
    "id_field",
    "time_field",
    "payload",
    "multiline",
    "encoding",
    "source_from_path",
    "demo",
];

/// The service that receives the events.
#[derive(Debug, Args)]
#[command(next_help_heading = "Service")]
pub struct Service {
    /// Address of the service
    #[arg(short, long, env = "SEKALI_URL", default_value = "http://127.0.0.1:3000", value_parser = arguments::address)]
    pub url: String,

    /// Token for publishing; prefer the variable, which other users cannot see
    #[arg(long, env = "SEKALI_TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// File that holds the token, instead of --token
    #[arg(long, value_name = "FILE", env = "SEKALI_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,

    /// Silence after which a request counts as lost
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = arguments::span)]
    pub timeout: Duration,
}

impl Service {
    /// The token, if there is one.
    ///
    /// # Errors
    /// The file cannot be read, or is empty.
    pub fn token(&self) -> Result<Option<String>> {
        let Some(path) = &self.token_file else { return Ok(self.token.clone()) };
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("{name} cannot be read"))?;
        ensure!(!text.trim().is_empty(), "there is no token in {name}");
        Ok(Some(text.trim().into()))
    }
}

/// A simulation to watch.
#[derive(Debug, Args)]
#[command(next_help_heading = "Demonstration")]
pub struct Demo {
    /// Simulate sensors, payments and a web server instead of reading files, until you press Ctrl-C
    #[arg(long, conflicts_with_all = ["files", "topic", "follow", "checkpoint", "format"])]
    pub demo: bool,

    /// New events a second [default: 50]
    #[arg(long, value_name = "EVENTS", value_parser = arguments::rate)]
    pub rate: Option<f64>,

    /// Share of events that are delivered twice [default: 0.2]
    #[arg(long, value_name = "SHARE", value_parser = arguments::share)]
    pub duplicates: Option<f64>,

    /// Share of events that arrive late [default: 0.1]
    #[arg(long, value_name = "SHARE", value_parser = arguments::share)]
    pub reorder: Option<f64>,

    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = arguments::span)]
    pub duration: Option<Duration>,
}

impl Demo {
    /// True if an option of the demo is set.
    fn is_tuned(&self) -> bool {
        self.rate.or(self.duplicates).or(self.reorder).is_some() || self.duration.is_some()
    }
}

/// The part of a file at which reading begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// The beginning
    #[default]
    Start,
    /// The end of its last whole line
    End,
}

/// The format of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text: the payload is the line as a string; bytes that are not UTF-8 become U+FFFD
    #[default]
    Lines,
    /// A JSON value, whose fields may hold the id, the time and the payload
    Json,
    /// An event as POST /publish takes it; a missing topic or event_id is added
    Events,
    /// Comma-separated values (RFC 4180): the first record of a file names the fields, whose values are strings
    Csv,
    /// Docker's json-file driver: {"log": ..., "stream": ...}, with its time; the parts of a long message are joined
    Docker,
    /// Container runtimes of Kubernetes: the same, from lines of time, stream, P or F, and text
    Cri,
    /// journalctl -o json or -o export: an entry with its fields; its __CURSOR is its id
    Journald,
    /// Syslog (RFC 5424 and RFC 3164), as it is sent or as it stands in files: appname, message and so on
    Syslog,
}

/// The source of an event_id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum IdFrom {
    /// The identity of the file, the line's offset in it, and its content
    #[default]
    Offset,
    /// The content alone: the same line anywhere is the same event
    Content,
}

/// The end of the long help.
const AFTER_HELP: &str = include_str!("after_help.txt");

impl Cli {
    /// The format: `--id-field`, `--time-field` and `--payload` imply JSON.
    pub fn format(&self) -> Format {
        match self.format {
            _ if self.demo.demo || self.is_of_table() => Format::Events,
            Format::Lines if self.maps_fields() => Format::Json,
            format => format,
        }
    }

    /// True if rows are read, and no lines.
    pub fn is_of_table(&self) -> bool {
        self.table.query.is_some()
    }

    /// The name of standard input in event_ids.
    pub fn stream_name(&self) -> &str {
        self.name.as_deref().unwrap_or("stdin")
    }

    /// The name of all that is read, for people.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or("publisher")
    }

    /// The checkpoint file, if there is to be one.
    pub fn checkpoint(&self) -> Option<PathBuf> {
        let is_read_again = !self.demo.demo && !self.is_of_table();
        let of_state = || Some(self.daemon.state_dir.as_ref()?.join(format!("{}.checkpoint", self.label())));
        self.checkpoint.clone().or_else(of_state).filter(|_| is_read_again)
    }

    /// The rejects file.
    pub fn rejects(&self) -> PathBuf {
        let directory = self.daemon.state_dir.as_deref();
        let of_state = |directory: &Path| directory.join(format!("{}.rejects.ndjson", self.label()));
        self.rejects.clone().unwrap_or_else(|| directory.map_or("rejects.ndjson".into(), of_state))
    }

    fn maps_fields(&self) -> bool {
        self.id_field.is_some() || self.time_field.is_some() || self.payload.is_some()
    }

    /// An error in the combination of arguments, if there is one.
    pub fn contradiction(&self) -> Option<&'static str> {
        if self.daemon.print_cursor && self.checkpoint().is_none() {
            return Some("which checkpoint? Give --checkpoint FILE, or --state-dir DIRECTORY");
        }
        if self.demo.demo || self.daemon.print_cursor {
            return None;
        }
        if self.daemon.state_dir.is_some() && !is_file_name(self.label()) {
            return Some(
                "--name is the name of a file in --state-dir: without a slash, and not with a dot in front",
            );
        }
        if self.demo.is_tuned() {
            return Some(
                "--rate, --duplicates, --reorder and --for say how --demo goes: add --demo, or remove them",
            );
        }
        if self.topic.as_deref().is_some_and(|topic| !is_topic(topic)) {
            return Some("a topic has 1 to 255 bytes, no control characters, and not only white space");
        }
        if self.topic.is_none() && self.format() != Format::Events {
            return Some("which topic? Give --topic NAME, or --format events for lines with a topic");
        }
        if self.multiline.is_some() && matches!(self.format, Format::Csv | Format::Journald) {
            return Some("--multiline is not for --format csv and journald, which say where a record ends");
        }
        if self.maps_fields() && self.format == Format::Events {
            return Some(
                "--id-field, --time-field and --payload are for --format json and others: events have these fields",
            );
        }
        let stdins = self.files.iter().filter(|file| file.as_os_str() == "-").count();
        if stdins > 1 {
            return Some("standard input can be read only once: name - once");
        }
        if self.follow && stdins == 1 && self.files.len() > 1 {
            return Some("--follow cannot read standard input and files together: remove - or the files");
        }
        None
    }

    /// The time to retry a batch; `None` is for ever.
    pub fn give_up_after(&self) -> Option<Duration> {
        let is_endless = self.follow || self.demo.demo;
        self.give_up_after.or((!is_endless).then_some(Duration::from_secs(300)))
    }
}

fn encoding(name: &str) -> Result<&'static Encoding, String> {
    let unknown =
        "no such encoding; these are those of the web, such as utf-16le, windows-1252, shift_jis or gbk";
    Encoding::for_label(name.as_bytes()).ok_or_else(|| unknown.into())
}

/// A byte that can stand between the fields of a record.
fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        _ if text == "tab" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => Err("one character of ASCII, but no quote, or tab".into()),
    }
}

/// True if a name can be that of a file which is not hidden.
fn is_file_name(name: &str) -> bool {
    Path::new(name).file_name() == Some(OsStr::new(name)) && !name.starts_with('.')
}

/// The API's rule for topics, checked here so that an invalid topic is reported before anything is sent.
fn is_topic(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.trim().is_empty() && !text.chars().any(char::is_control)
}
