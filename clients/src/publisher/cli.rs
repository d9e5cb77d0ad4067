//! What can be asked of the publisher.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use sekali_clients::arguments;

/// Ships events to Sekali, at least once, and is safe to run twice.
///
/// Reads lines from files or standard input and publishes them in order, in batches, until all of them are
/// acknowledged. Each line has an event_id that follows from what it is and where it stands, so whatever is sent
/// again (after a crash, a lost answer, or because you started the publisher twice) is dropped as a duplicate. Blank
/// lines are skipped.
#[derive(Debug, Parser)]
#[command(name = "publisher", version, after_long_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Cli {
    /// What to read; `-` is standard input, which is also read when no file is named
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The topic of the events; not needed when the lines are events that name theirs
    #[arg(short, long)]
    pub topic: Option<String>,

    /// Print the result as one JSON object, and no progress
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub service: Service,

    /// What a line is
    #[arg(short, long, value_enum, default_value_t, help_heading = "Lines")]
    pub format: Format,

    /// The field of a JSON line that is its event_id: a name, or a JSON pointer such as /request/id
    #[arg(long, value_name = "FIELD", help_heading = "Lines")]
    pub id_field: Option<String>,

    /// The field that is its timestamp: RFC 3339, or a number of seconds, milli-, micro- or nanoseconds since 1970
    #[arg(long, value_name = "FIELD", help_heading = "Lines")]
    pub time_field: Option<String>,

    /// The field that is its payload; without it the whole line is
    #[arg(long, value_name = "FIELD", help_heading = "Lines")]
    pub payload: Option<String>,

    /// What the event_id of a line without an id of its own is made of
    #[arg(long, value_enum, default_value_t, help_heading = "Lines")]
    pub id: IdFrom,

    /// What tells standard input, or a pipe, from others in event_ids; of several pipes, the second is NAME-2
    #[arg(long, default_value = "stdin", help_heading = "Lines")]
    pub name: String,

    /// The source of the events; the name of the file unless you say
    #[arg(long, help_heading = "Lines")]
    pub source: Option<String>,

    /// Go on as the files grow, and across their rotation, until you press Ctrl-C
    #[arg(short = 'F', long, help_heading = "Delivery")]
    pub follow: bool,

    /// Remember in this file how far each input was acknowledged, and start there next time
    #[arg(long, value_name = "FILE", help_heading = "Delivery")]
    pub checkpoint: Option<PathBuf>,

    /// Write events that are refused as invalid to the rejects file and go on, instead of stopping at the first
    #[arg(long, help_heading = "Delivery")]
    pub skip_invalid: bool,

    /// Where --skip-invalid writes them, one JSON object a line
    #[arg(
        long,
        value_name = "FILE",
        default_value = "rejects.ndjson",
        requires = "skip_invalid",
        help_heading = "Delivery"
    )]
    pub rejects: PathBuf,

    /// The most events of a batch
    #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Delivery")]
    pub batch_events: u32,

    /// The most bytes of a batch before compression; an event that is larger goes alone
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, help_heading = "Delivery")]
    pub batch_bytes: usize,

    /// How long a batch waits for more when the input pauses
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = arguments::span_or_none,
        help_heading = "Delivery")]
    pub batch_wait: Duration,

    /// Send batches as they are, instead of compressed by gzip
    #[arg(long, help_heading = "Delivery")]
    pub no_gzip: bool,

    /// How long to try a batch that fails by connection errors, 429 or 5xx [default: 5m; never give up with --follow
    /// and --demo]
    #[arg(long, value_name = "TIME", value_parser = arguments::span, help_heading = "Delivery")]
    pub give_up_after: Option<Duration>,

    #[command(flatten)]
    pub demo: Demo,
}

/// Where events go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Service")]
pub struct Service {
    /// The address of the service
    #[arg(short, long, env = "SEKALI_URL", default_value = "http://127.0.0.1:3000")]
    pub url: String,

    /// What the service asks of producers; better given by the variable, which other users cannot see
    #[arg(long, env = "SEKALI_TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// How long the service may be silent before a request counts as lost
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = arguments::span)]
    pub timeout: Duration,
}

/// A running simulation, for whoever wants to see it move.
#[derive(Debug, Args)]
#[command(next_help_heading = "Demonstration")]
pub struct Demo {
    /// Instead of reading anything, simulate sensors, payments and a web server until you press Ctrl-C
    #[arg(long, conflicts_with_all = ["files", "topic", "follow", "checkpoint", "format"])]
    pub demo: bool,

    /// New events a second [default: 50]
    #[arg(long, value_name = "EVENTS", value_parser = arguments::rate)]
    pub rate: Option<f64>,

    /// The share of events that are delivered once more [default: 0.2]
    #[arg(long, value_name = "SHARE", value_parser = arguments::share)]
    pub duplicates: Option<f64>,

    /// The share of deliveries that others overtake [default: 0.1]
    #[arg(long, value_name = "SHARE", value_parser = arguments::share)]
    pub reorder: Option<f64>,

    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = arguments::span)]
    pub duration: Option<Duration>,
}

impl Demo {
    /// Whether somebody said how it goes.
    fn is_tuned(&self) -> bool {
        self.rate.or(self.duplicates).or(self.reorder).is_some() || self.duration.is_some()
    }
}

/// What a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text: the payload is the line as a string; bytes that are no UTF-8 become U+FFFD
    #[default]
    Lines,
    /// A JSON value, of which fields may be the id, the time and the payload
    Json,
    /// An event as POST /publish takes it; the topic and event_id that it lacks are added
    Events,
}

/// What an event_id is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum IdFrom {
    /// The identity of the file, the line's offset in it, and its content
    #[default]
    Offset,
    /// The content alone: the same line anywhere is the same event
    Content,
}

const AFTER_HELP: &str = "\
Examples:
  publisher --topic app.log /var/log/app.log
        ships every line; run it again, and it says '0 stored'
  publisher --topic app.log --follow --checkpoint app.pos /var/log/app.log
        goes on with the file, and starts where it stopped
  publisher --topic orders --format json --id-field order_id --time-field at orders.jsonl
        takes ids and times from fields
  jq -c .events[] export.json | publisher --format events
        lines that are events already
  publisher --demo
        something to watch

Ids:
By default an event_id is made of the identity of the file (its inode and time of birth: renaming it changes nothing, \
a copy is another file), the offset of the line and a hash of it. After a file was written anew, a line that stands \
where the same line stood counts as sent. Standard input has no identity: offset and content alone tell its lines \
apart, so give different streams of one topic different --name. With --id content a line is the same event wherever it \
stands, also in a copy, and the same line twice is one event.

Exit codes:
  0  everything that was read is stored
  1  stopped early: something was refused, the service was not reached, or the input failed
  2  this is not how the publisher is used
  3  everything valid is stored; the rest is in the rejects file
  130, 143  ended by Ctrl-C or SIGTERM, after sending what had been read";

impl Cli {
    /// The format, which `--id-field` and its like imply.
    pub fn format(&self) -> Format {
        match self.format {
            _ if self.demo.demo => Format::Events,
            Format::Lines if self.maps_fields() => Format::Json,
            format => format,
        }
    }

    fn maps_fields(&self) -> bool {
        self.id_field.is_some() || self.time_field.is_some() || self.payload.is_some()
    }

    /// What is wrong with these arguments together, if anything.
    pub fn contradiction(&self) -> Option<&'static str> {
        if self.demo.demo {
            return None;
        }
        if self.demo.is_tuned() {
            return Some(
                "--rate, --duplicates, --reorder and --for say how --demo goes: add it, or leave them",
            );
        }
        if self.topic.as_deref().is_some_and(|topic| !is_topic(topic)) {
            return Some("a topic has 1 to 255 bytes, no control characters, and not only white space");
        }
        if self.topic.is_none() && self.format() != Format::Events {
            return Some("which topic? Give --topic NAME, or --format events for lines that name theirs");
        }
        if self.maps_fields() && self.format == Format::Events {
            return Some(
                "--id-field, --time-field and --payload are for --format json: events have these fields",
            );
        }
        let stdins = self.files.iter().filter(|file| file.as_os_str() == "-").count();
        if stdins > 1 {
            return Some("standard input can be read once: name - once");
        }
        if self.follow && stdins == 1 && self.files.len() > 1 {
            return Some("--follow is for files: standard input, which ends, can only be read alone");
        }
        None
    }

    /// How long to try a batch.
    pub fn give_up_after(&self) -> Option<Duration> {
        let is_endless = self.follow || self.demo.demo;
        self.give_up_after.or((!is_endless).then_some(Duration::from_secs(300)))
    }
}

/// The rule of the API, so that a wrong topic is not found with the first event.
fn is_topic(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.trim().is_empty() && !text.chars().any(char::is_control)
}
