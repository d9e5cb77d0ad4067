//! The arguments of the stress test.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use sekali_clients::arguments;

/// Publishes events under load, duplicates among them, and then proves that each was stored exactly once.
///
/// Sends unique events and a known multiset of duplicates in a random order, from many clients at once, with retries;
/// then compares the growth of /stats, and every event that can be read back, with the deliveries and their answers.
/// The events have topics of their own, so the test can run against a service that is in use.
#[derive(Debug, Parser)]
#[command(name = "stress-test", version, after_long_help = AFTER_HELP)]
pub struct Cli {
    /// Size of the load; the options below override parts of it
    #[arg(short, long, value_enum)]
    pub preset: Option<Preset>,

    /// Address of the service
    #[arg(
        short,
        long,
        env = "SEKALI_URL",
        default_value = "http://127.0.0.1:3000",
        value_parser = arguments::address,
        help_heading = "Service"
    )]
    pub url: String,

    /// Token for publishing; prefer the variable, which other users cannot see
    #[arg(long, env = "SEKALI_TOKEN", hide_env_values = true, help_heading = "Service")]
    pub token: Option<String>,

    /// Token for reading [default: the token for publishing]
    #[arg(long, env = "SEKALI_READ_TOKEN", hide_env_values = true, help_heading = "Service")]
    pub read_token: Option<String>,

    /// Silence after which a request counts as lost
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = arguments::span,
        help_heading = "Service")]
    pub timeout: Duration,

    /// Time to retry a request after connection errors, 429 and 5xx
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = arguments::span,
        help_heading = "Service")]
    pub give_up_after: Duration,

    /// Unique events [default: 20000]
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000_000),
        help_heading = "Load")]
    pub events: Option<u32>,

    /// Share of all deliveries that are duplicates [default: 0.3]
    #[arg(short, long, value_name = "SHARE", value_parser = arguments::share, help_heading = "Load")]
    pub duplicates: Option<f64>,

    /// Share of the duplicates that carry another payload
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share_or_all, help_heading = "Load")]
    pub conflicts: f64,

    /// Clients that publish concurrently, each on a connection of its own
    #[arg(short, long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000),
        help_heading = "Load")]
    pub clients: u32,

    /// Events per request [default: 1; 100 for the preset million]
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000),
        help_heading = "Load")]
    pub batch: Option<u32>,

    /// Topics that the events are spread over
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000),
        help_heading = "Load")]
    pub topics: u32,

    /// Deliveries per second [default: as many as the service takes]
    #[arg(short, long, value_name = "RATE", value_parser = arguments::rate, help_heading = "Load")]
    pub rate: Option<f64>,

    /// Form of the event_ids
    #[arg(long, value_enum, default_value_t, help_heading = "Load")]
    pub ids: Ids,

    /// Seed of the events and their order, to repeat a run; the topics are new in each run [default: random]
    #[arg(long, help_heading = "Load")]
    pub seed: Option<u64>,

    /// Consumers beside the clients, each with a place of its own; they are killed, too
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100),
        help_heading = "Load")]
    pub consumers: u32,

    /// Start the server, kill it with SIGKILL at random moments under load, and start it again
    #[arg(long, requires = "server", help_heading = "Chaos")]
    pub chaos: bool,

    /// Command of the server at --url: one program and its arguments, as sh reads them
    #[arg(long, value_name = "COMMAND", requires = "chaos", help_heading = "Chaos")]
    pub server: Option<String>,

    /// Duration of the load, which has as many events as it takes
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = arguments::span,
        requires = "chaos", help_heading = "Chaos")]
    pub duration: Duration,

    /// Average time between a start of the server and its kill
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = arguments::span,
        requires = "chaos", help_heading = "Chaos")]
    pub kill_every: Duration,

    /// Print the result as one JSON object, and no progress
    #[arg(long)]
    pub json: bool,
}

/// The size of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// 1,000 events, 30 % duplicates
    Smoke,
    /// 5,000 events, 20 % duplicates
    Course,
    /// 20,000 events, 30 % duplicates
    Standard,
    /// 1,000,000 events, 30 % duplicates, in batches of 100
    Million,
}

/// The form of the event_ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Ids {
    /// Random UUIDs of version 4: inserts go to all parts of the index of ids
    #[default]
    Uuid,
    /// Ascending numbers: inserts go to the end of the index
    Ordered,
}

const AFTER_HELP: &str = "\
Examples:
  stress-test --preset standard
  stress-test --events 100000 --batch 100 --clients 16 --ids ordered
  stress-test --rate 500 --url https://inbox.example.org
  stress-test --chaos --server scripts/up --for 10m
  stress-test --consumers 4 --chaos --server scripts/up --for 1m

Checks:
The answers name each event as stored by exactly one delivery. /stats grew by exactly the deliveries, in total and by \
topic. Reading back returns each event exactly once, with the fields that were sent, in the order of seq, with the seq \
of its answers, and with its own counts of deliveries and conflicts; the counts of each topic are the sum of its \
events. The seq of each event is higher than those that were acknowledged before it was sent. If two payloads have the \
same id, the first to arrive is stored, so it may be either; the other one is a conflict. If the answer to a request \
was lost, it is unknown whether the request counted: then counts of duplicates have bounds instead of one value, and \
the report says so. Each of --consumers gets each event, in the order of seq, and nothing again that it has committed.

Exit codes:
  0    all checks passed
  1    a check failed: the report names the first events that are wrong
  2    invalid arguments
  3    the test could not be carried out: the service was not reached, refused, or was never killed
  130, 143  ended by Ctrl-C or SIGTERM, after verifying the deliveries so far";

/// The size of the load, after all options.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Unique events.
    pub events: u32,
    /// The share of all deliveries that are duplicates.
    pub duplicates: f64,
    /// Events per request.
    pub batch: usize,
}

impl Cli {
    /// The size of the preset, with the parts that the options override.
    pub fn size(&self) -> Size {
        let (events, duplicates, batch) = match self.preset {
            Some(Preset::Smoke) => (1_000, 0.3, 1),
            Some(Preset::Course) => (5_000, 0.2, 1),
            Some(Preset::Standard) | None => (20_000, 0.3, 1),
            Some(Preset::Million) => (1_000_000, 0.3, 100),
        };
        Size {
            events: self.events.unwrap_or(events),
            duplicates: self.duplicates.unwrap_or(duplicates),
            batch: self.batch.unwrap_or(batch) as usize,
        }
    }
}

fn share_or_all(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1, such as 0.01".into()),
    }
}
