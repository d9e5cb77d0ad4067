//! What can be asked of the stress test.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use sekali_clients::arguments;

/// Publishes events under load, duplicates among them, and then proves that each was stored exactly once.
///
/// Sends unique events and a known multiset of duplicates in a random order, from many clients at once, with retries;
/// then compares the change of /stats, and every event that can be read back, with what was sent and answered. The
/// events have topics of their own, so the test can run against a service that is in use.
#[derive(Debug, Parser)]
#[command(name = "stress-test", version, after_long_help = AFTER_HELP)]
pub struct Cli {
    /// Sizes that are often asked for; the options below change one thing of them
    #[arg(short, long, value_enum)]
    pub preset: Option<Preset>,

    /// The address of the service
    #[arg(
        short,
        long,
        env = "SEKALI_URL",
        default_value = "http://127.0.0.1:3000",
        help_heading = "Service"
    )]
    pub url: String,

    /// What the service asks of producers; better given by the variable, which other users cannot see
    #[arg(long, env = "SEKALI_TOKEN", hide_env_values = true, help_heading = "Service")]
    pub token: Option<String>,

    /// What it asks of readers, if that is another
    #[arg(long, env = "SEKALI_READ_TOKEN", hide_env_values = true, help_heading = "Service")]
    pub read_token: Option<String>,

    /// How long the service may be silent before a request counts as lost
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = arguments::span,
        help_heading = "Service")]
    pub timeout: Duration,

    /// How long to try a request that fails by connection errors, 429 or 5xx
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = arguments::span,
        help_heading = "Service")]
    pub give_up_after: Duration,

    /// Unique events [default: 20000]
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000_000),
        help_heading = "Load")]
    pub events: Option<u32>,

    /// The share of all deliveries that are duplicates [default: 0.3]
    #[arg(short, long, value_name = "SHARE", value_parser = arguments::share, help_heading = "Load")]
    pub duplicates: Option<f64>,

    /// The share of the duplicates that carry another payload
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share_or_all, help_heading = "Load")]
    pub conflicts: f64,

    /// Clients that publish at once, each on a connection of its own
    #[arg(short, long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000),
        help_heading = "Load")]
    pub clients: u32,

    /// Events of a request [default: 1, and 100 of the million]
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000),
        help_heading = "Load")]
    pub batch: Option<u32>,

    /// Topics that the events are spread over
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000),
        help_heading = "Load")]
    pub topics: u32,

    /// Deliveries a second; without it, as many as the service takes
    #[arg(short, long, value_name = "RATE", value_parser = arguments::rate, help_heading = "Load")]
    pub rate: Option<f64>,

    /// What event_ids look like
    #[arg(long, value_enum, default_value_t, help_heading = "Load")]
    pub ids: Ids,

    /// Makes the same events in the same order again; the topics are new in each run
    #[arg(long, help_heading = "Load")]
    pub seed: Option<u64>,

    /// Start the server, kill it with SIGKILL at random moments under load, and start it again
    #[arg(long, requires = "server", help_heading = "Chaos")]
    pub chaos: bool,

    /// The command that serves at --url: one program and its arguments, as sh reads them
    #[arg(long, value_name = "COMMAND", requires = "chaos", help_heading = "Chaos")]
    pub server: Option<String>,

    /// How long to go on, with as many events as that takes
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = arguments::span,
        requires = "chaos", help_heading = "Chaos")]
    pub duration: Duration,

    /// How long the server lives, on average
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = arguments::span,
        requires = "chaos", help_heading = "Chaos")]
    pub kill_every: Duration,

    /// Print the result as one JSON object, and no progress
    #[arg(long)]
    pub json: bool,
}

/// A size that is often asked for.
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

/// What event_ids look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Ids {
    /// Random, as UUIDs of version 4 are: the index of ids is written all over
    #[default]
    Uuid,
    /// Ascending numbers: the index is written at its end
    Ordered,
}

const AFTER_HELP: &str = "\
Examples:
  stress-test --preset standard
  stress-test --events 100000 --batch 100 --clients 16 --ids ordered
  stress-test --rate 500 --url https://inbox.example.org
  stress-test --chaos --server scripts/up --for 10m

What is verified:
The answers name each event as stored by exactly one delivery. /stats grew by exactly what was sent, in total and by \
topic. Reading back returns each event exactly once, with what was sent, in the order of seq, with the seq that was \
answered, and with its own count of deliveries and conflicts, and the account of each topic is the sum of them. No \
event was stored behind one that had been acknowledged before. Of two payloads with one id the first to arrive stays, \
so either may be stored; which one it is decides what is a conflict. If the answer to a request was lost, nobody knows \
whether it counted: then counts of duplicates have bounds instead of one value, and the report says so.

Exit codes:
  0    everything was as promised
  1    something was not: the report names the first events that are wrong
  2    this is not how the stress test is used
  3    it could not be carried out: the service was not reached, refused, or was never killed
  130, 143  ended by Ctrl-C or SIGTERM, which stops the load and verifies what was sent until then";

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Unique events.
    pub events: u32,
    /// The share of all deliveries that are duplicates.
    pub duplicates: f64,
    /// Events of a request.
    pub batch: usize,
}

impl Cli {
    /// The preset, and what the options change of it.
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
