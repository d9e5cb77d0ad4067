//! `sekali-host`: serves a Spin application on one machine.
//!
//! It reads the same `spin.toml` and runtime config as Spin, for the HTTP trigger, variables, SQLite,
//! key-value and PostgreSQL. It refuses by name what it does not support. The modules, each above those that it uses:
//!
//! - [`server`] accepts connections and deals them out to the workers;
//! - [`places`] are as many connections as there are [`descriptors`] for;
//! - [`listen`] reads the address to listen on;
//! - [`ending`] has the phases in which a server ends;
//! - [`worker`] is a thread that speaks HTTP/1.1 on its connections, with instances of its own;
//! - [`instance`] compiles components and runs requests in a few long-lived instances of each;
//! - [`spin`] implements the interfaces that a component imports;
//! - [`stores`] opens the SQLite databases and key-value stores of the application, and connects to PostgreSQL;
//! - [`copies`] are the commands `backup` and `restore`;
//! - [`state`] is the directory of the stores, and who uses it;
//! - [`metrics`] counts what all instances do;
//! - [`settings`] refuses invalid ones before anything is served;
//! - [`variables`] resolves the values of variables and the templates over them;
//! - [`manifest`] with its [`routes`], and [`runtime_config`], are the files as plain data;
//! - [`toml_text`] reads them, and keeps secrets out of errors.

#[cfg(feature = "faults")]
mod ahead;
mod copies;
mod descriptors;
mod ending;
#[cfg(feature = "faults")]
mod faults;
mod following;
mod instance;
mod listen;
mod manifest;
mod metrics;
mod places;
mod routes;
mod runtime_config;
mod server;
mod settings;
mod spin;
mod state;
mod stores;
mod toml_text;
mod variables;
mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::instance::Program;
use crate::manifest::{App, Component};
use crate::places::Places;
use crate::runtime_config::RuntimeConfig;
use crate::spin::guest::Services;
use crate::stores::Stores;
use crate::stores::servers::AllowedServers;
use crate::worker::{Application, Worker};

/// Serves a Spin application: the HTTP trigger, variables, SQLite, key-value and PostgreSQL of spin.toml.
#[derive(Parser)]
#[command(version, args_override_self = true)] // the scripts pass defaults that their callers may override
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the application, as without a command.
    #[command(args_override_self = true)]
    Serve(Box<Options>),
    /// Makes a consistent, verified copy of the events, also while the service runs at full load.
    #[command(args_override_self = true)]
    Backup(copies::backup::Options),
    /// Puts a copy in the place of the events of a service that does not run.
    #[command(args_override_self = true)]
    Restore(copies::restore::Options),
}

/// The options of serving.
#[derive(Args)]
struct Options {
    /// Address to listen on, unless systemd passes a socket; a port alone is one of this machine. Port 0 takes a free port,
    /// which the line `Serving http://...` names.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000", value_parser = listen::address)]
    listen: SocketAddr,

    /// Manifest of the application.
    #[arg(long = "from", short = 'f', value_name = "FILE", default_value = "spin.toml")]
    manifest: PathBuf,

    /// File that configures the path of each store. Without it the stores are in the state directory.
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,

    /// Directory of the stores labelled `default`, unless the runtime config configures them [default: .sekali].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Sets a variable of the manifest; may repeat. SPIN_VARIABLE_KEY in the environment does the same.
    #[arg(long = "variable", value_name = "KEY=VALUE")]
    variables: Vec<String>,

    /// Number of instances of each component that uses a store. Each uses up to one core.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    instances: u16,

    /// Form of lines in the log, on standard error: text or json. It is also the variable log_format, if there is one.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: sekali_common::log::Format,

    /// Checks the manifest, its variables and the runtime config, compiles the components for the next start, and ends.
    #[arg(long)]
    check: bool,
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    state::keep_private();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One sentence for an operator, also where RUST_BACKTRACE is set.
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Some(Command::Serve(options)) => serve(*options).await,
        Some(Command::Backup(options)) => copies::run(move || copies::backup::run(&options)).await,
        Some(Command::Restore(options)) => copies::run(move || copies::restore::run(&options)).await,
        None => serve(arguments.serve).await,
    }
}

async fn serve(options: Options) -> Result<()> {
    descriptors::raise_limit();
    let app = App::load(&options.manifest)?;
    sekali_common::log::set_format(options.log_format);
    let mut given = options.variables;
    if app.variables.contains_key("log_format") && options.log_format == sekali_common::log::Format::Json {
        given.insert(0, "log_format=json".into()); // the last one wins
    }
    let (values, mut invalid) = variables::resolve(&app.variables, &given, |key| std::env::var(key).ok());
    let config = options.runtime_config_file.as_deref().map(RuntimeConfig::load).transpose()?;

    let engine = instance::engine()?;
    let load = |component: &Component| {
        let variables = variables::of_component(component, &values)?;
        let servers = variables::servers_of_component(component, &values);
        let checked = servers.and_then(|servers| {
            variables::check_database(&values, &servers)?;
            Ok(servers)
        });
        let servers = checked.unwrap_or_else(|error| {
            invalid.push(format!("{error:#}"));
            AllowedServers::default()
        });
        Program::load(&engine, &component.source, Services { variables, stores: Stores::default(), servers })
    };
    let programs: Vec<_> = app.components.iter().map(load).collect::<Result<_>>()?;
    settings::check(invalid, &programs, &app.routes).await?;

    println!("sekali-host {} serves {}", env!("CARGO_PKG_VERSION"), options.manifest.display());
    println!("variables: {}", variables::describe(&app.variables, &values));
    println!("access: {}", variables::access(&app.variables, &values));
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    if let Some(unknown) = variables::unknown(&app.variables, names) {
        sekali_common::log::warning("unknown-variable", unknown);
    }
    if options.check {
        println!("nothing is wrong with it, and it is compiled");
        return Ok(());
    }
    let state_dir = state::directory(options.state_dir)?;
    let stores = Stores::open(&app.components, &config.unwrap_or_default(), &state_dir)?;
    stores.places.iter().for_each(|place| println!("{place}"));
    stores.exposures().for_each(|exposure| sekali_common::log::warning("exposed", exposure));

    let programs = programs.into_iter().zip(&app.components);
    let programs = programs.map(|(program, component)| program.with_stores(stores.of_component(component)));
    let programs = programs.collect();
    let application = Arc::new(Application { programs, routes: app.routes });
    let workers = start(&application, usize::from(options.instances))?;
    let listener = server::listen(options.listen)?;
    // A signal may follow the line below at once, so its handlers come first.
    let end = server::End::listen()?;
    println!("Serving http://{}", listener.local_addr().context("the listening socket has no address")?);
    let places = Places::new(descriptors::connections(options.instances));
    server::serve(listener, workers, places, end).await;
    Ok(())
}

/// Starts a thread for each instance, but no more threads than cores, and deals the instances out to them.
fn start(application: &Arc<Application>, instances: usize) -> Result<Vec<Worker>> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let threads = instances.min(cores);
    (0..threads)
        .map(|thread| Worker::start(Arc::clone(application), (instances - thread).div_ceil(threads)))
        .collect()
}
