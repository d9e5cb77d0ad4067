//! `sekali-host`: serves a Spin application on one machine.
//!
//! It reads the same `spin.toml` and runtime config as Spin, for the HTTP trigger, variables, SQLite and
//! key-value. What it does not support it refuses by name. The way in:
//!
//! - [`manifest`] and [`runtime_config`] read the files into an [`manifest::App`] and its stores, and
//!   [`routes`] knows which component answers which path;
//! - [`instance`] compiles components and runs requests in a few long-lived instances of each;
//! - [`sqlite`], [`key_value`] and [`variables`] are what Spin offers a component;
//! - [`server`] accepts connections, and each [`worker`], a thread with instances of its own, speaks
//!   HTTP/1.1 on its share of them.

mod instance;
mod key_value;
mod manifest;
mod routes;
mod runtime_config;
mod server;
mod sqlite;
mod variables;
mod worker;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;

use crate::instance::{Program, Services};
use crate::manifest::{App, Component};
use crate::runtime_config::Stores;
use crate::worker::{Application, Worker};

/// Serves a Spin application: the HTTP trigger, variables, SQLite and key-value of spin.toml.
#[derive(Parser)]
#[command(version, args_override_self = true)] // scripts/up sets some, and its caller may set them again
struct Options {
    /// Where to listen. Port 0 takes a free one; the line `Serving http://...` says which.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,

    /// The manifest of the application.
    #[arg(long = "from", short = 'f', value_name = "FILE", default_value = "spin.toml")]
    manifest: PathBuf,

    /// Where the stores live; by default in the state directory.
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,

    /// The directory of stores that the runtime config does not place.
    #[arg(long, value_name = "DIR", default_value = ".spin")]
    state_dir: PathBuf,

    /// Sets a variable of the manifest; may repeat. SPIN_VARIABLE_KEY in the environment does the same.
    #[arg(long = "variable", value_name = "KEY=VALUE", value_parser = key_value_pair)]
    variables: Vec<(String, String)>,

    /// How many instances of a component with a store serve requests. Each uses up to one core.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    instances: u16,
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn key_value_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let app = App::load(&options.manifest)?;
    let given: HashMap<_, _> = options.variables.into_iter().collect();
    let values = variables::resolve(&app.variables, &given, |key| std::env::var(key).ok())?;
    let stores = Stores::open(&app, options.runtime_config_file.as_deref(), &options.state_dir)?;

    let engine = instance::engine()?;
    let load = |component: &Component| {
        let variables = variables::of(component, &values)?;
        Program::load(&engine, &component.source, Services { variables, stores: stores.of(component) })
    };
    let programs = app.components.iter().map(load).collect::<Result<_>>()?;
    let application = Arc::new(Application { programs, routes: app.routes });
    let workers = start(&application, usize::from(options.instances))?;
    let listener = server::bind(options.listen)?;
    // Before anybody is told that we serve: whoever is may end us at once.
    let end = server::End::listen()?;
    println!("Serving http://{}", listener.local_addr().context("the listening socket has no address")?);
    server::serve(listener, workers, end).await;
    Ok(())
}

/// Spreads the instances over as many threads as there are cores to run them.
fn start(application: &Arc<Application>, instances: usize) -> Result<Vec<Worker>> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let threads = instances.min(cores);
    (0..threads)
        .map(|thread| Worker::start(Arc::clone(application), (instances - thread).div_ceil(threads)))
        .collect()
}
