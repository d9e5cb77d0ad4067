//! Measures the component on a host, and in the same run an echo component, SQLite alone and PostgreSQL.
//!
//! - [`workload`] makes the events that clients publish, [`load`] is the clients;
//! - [`native`] and [`pgbench`] write the same rows to databases without HTTP;
//! - [`overview`] measures what a first look asks for;
//! - [`large`] measures what depends on the number of events that are stored;
//! - [`followers`] are live streams at a steady rate;
//! - [`stores`] measures what is hard for a store, on both;
//! - [`consumers`] measures claims and commits beside `/publish` and `/events`;
//! - [`forwarder`] measures deliveries to an endpoint;
//! - [`receivers`] measures webhooks beside `/publish`;
//! - [`peers`] are others that store events once;
//! - [`report`] prints and writes the results; [`system`] asks Linux.

mod consumers;
mod followers;
mod forwarder;
mod http;
mod large;
mod load;
mod native;
mod overview;
mod peers;
mod pgbench;
mod receivers;
mod report;
mod scaling;
mod stores;
mod system;
mod workload;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use sekali_harness::deployment::Setup;

use crate::load::Until;
use crate::report::Report;
use crate::workload::{Ids, producers};

/// The manifest of the echo component.
const ECHO: &str = "bench/echo/spin.toml";

/// Measures the component on sekali-host, or on the Spin that the variable SPIN names.
#[derive(Parser)]
struct Options {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,

    /// Events in the large store, a multiple of 1,000. It is compared with a small one.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,

    /// Only fills stores with so many events, a multiple of 10,000, and measures what depends on their size
    #[arg(long, value_name = "N")]
    rows: Option<u64>,

    /// Directory for the results, bench.json and bench.md.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    output: PathBuf,

    /// Leaves out batches, many instances, large stores and start times.
    #[arg(long)]
    quick: bool,

    /// Measures the service beside others that store events once, those that are installed
    #[arg(long)]
    peers: bool,
    /// Only those whose names have one of these parts: of --peers; of the parts of --rows, which are filters, readers,
    /// followers, writes and retention; or of those of --stores, which are keys, topics, erasure, readers, bytes and
    /// retention, each "on SQLite" and "on PostgreSQL"
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    only: Vec<String>,
    /// Rounds of --peers, --receivers, --consumers, --stores and --partitions, of which the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Measures one host and three on one PostgreSQL, beside the database by itself
    #[arg(long)]
    scaling: bool,

    /// Measures webhooks beside /publish
    #[arg(long)]
    receivers: bool,

    /// Measures claims and commits beside /publish and /events, and the forwarder
    #[arg(long)]
    consumers: bool,

    /// Measures what is hard for a store, on SQLite and on PostgreSQL
    #[arg(long)]
    stores: bool,
    /// Measures PostgreSQL with events in so many partitions, beside the same events in one
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1000")]
    partitions: Option<u64>,
    /// Checkouts, with what they have built, that --stores and --partitions measure in turns in place of this one
    #[arg(long, value_delimiter = ',', value_name = "DIR,...")]
    builds: Vec<PathBuf>,

    /// With --stores or --partitions: only shows that all of it works. The figures mean nothing.
    #[arg(long, hide = true)]
    small: bool,

    /// Only sends load to this running server, for use with a profiler.
    #[arg(long, value_name = "ADDR")]
    load: Option<SocketAddr>,

    /// Clients that send the load of --load.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Events in each request of --load.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Ids in random order, for --load.
    #[arg(long)]
    random: bool,
    /// Share of duplicates in the events of --load, from 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    duplicates: f64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(address) = options.load {
        let ids = if options.random { Ids::random } else { Ids::ordered };
        let producers = producers(options.clients, options.batch, options.duplicates, ids);
        let measured = load::run(address, producers, Until::Elapsed(Duration::from_secs(options.seconds)))?;
        Report::default().requests("load", &measured);
        return Ok(());
    }
    if options.peers {
        let Options { seconds, rounds, only, output, .. } = options;
        return peers::run(&peers::Plan { seconds, rounds, only, output });
    }
    if options.stores || options.partitions.is_some() {
        return measure_stores(options);
    }
    measure_service(&options)
}

fn measure_service(options: &Options) -> Result<()> {
    let (setup, seconds) = (Setup::from_environment()?, Duration::from_secs(options.seconds));
    let mut report = Report::on_this_machine()?;
    report.setting("host", &setup.host.version()?);
    report.setting("seconds a measurement", &options.seconds.to_string());
    report.setting("durability", "SQLite WAL, synchronous=FULL");
    if options.scaling {
        scaling::run(seconds, &mut report)?;
    } else if options.consumers {
        consumers::run(&setup, seconds, options.rounds, &mut report)?;
        forwarder::run(&setup, &mut report)?;
    } else if options.receivers {
        receivers::run(&setup, options.rounds, &mut report)?;
    } else if let Some(rows) = options.rows {
        large::run(&setup, rows, seconds, &options.only, &mut report)?;
    } else {
        overview::run(&setup, seconds, (!options.quick).then_some(options.events), &mut report)?;
    }
    report.write(&options.output)
}

fn measure_stores(options: Options) -> Result<()> {
    let Options { seconds, rounds, only, output, builds, partitions, small, .. } = options;
    let mut report = Report::on_this_machine()?;
    let plan = stores::Plan { builds, seconds, rounds, only, partitions, is_small: small };
    let measured = stores::run(&plan, &mut report);
    report.write(&output)?;
    measured
}
