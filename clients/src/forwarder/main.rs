//! Sends each event to an endpoint, a command or a file, and keeps the place: a consumer with a POST.
//!
//! [`forward`] is the work. It claims events of the service ([`place`]), delivers them ([`mod@destination`]), and commits what is
//! done. What a claim may still send and what a commit may say is in [`ledger`]; whether the endpoint is there, in
//! [`circuit`], which learns from each [`outcome`]. What is sent is made by [`message`], [`sign`] and [`resign`].

mod board;
mod circuit;
mod cli;
mod destination;
mod forward;
mod ledger;
mod message;
mod metrics;
mod outcome;
mod pace;
mod place;
mod resign;
mod settings;
mod sign;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use sekali_clients::client::Client;
use sekali_clients::interrupt::Interrupt;
use sekali_clients::terminal::{View, bar, complain, print};
use sekali_common::consumers::Specification;
use tokio::time::timeout;

use crate::board::Board;
use crate::cli::Cli;
use crate::destination::{Destination, Endpoint, Limits, Log, Program};
use crate::forward::Forwarder;
use crate::place::Place;
use crate::settings::Settings;

/// Exit code: the endpoint or the service wants nothing of this.
const STOPPED: u8 = 1;
/// Exit code: invalid arguments.
const USAGE: u8 = 2;

/// Silence after which a request to the service counts as lost. A claim waits up to 20 s.
const SILENCE: Duration = Duration::from_secs(30);

/// The time to delete an ephemeral consumer.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(contradiction) = cli.contradiction() {
        Cli::command().error(ErrorKind::ArgumentConflict, contradiction).exit();
    }
    // One thread is enough to wait for answers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            let interrupt = Interrupt::listen()?;
            let work = interrupt.bound(run(cli, &interrupt)).await;
            work.unwrap_or_else(|| Ok(interrupt.exit_code().unwrap_or_default()))
        })
    });
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            complain(format_args!("{error:#}"));
            USAGE.into()
        }
    }
}

/// Forwards until a signal, and reports. Errors before the first event count as wrong usage.
async fn run(cli: Cli, interrupt: &Interrupt) -> Result<u8> {
    let view = if cli.json { View::Json } else { View::Human };
    let area = view.area();
    let own = format!("{:08x}", fastrand::u32(..));
    let name = cli.name.clone().unwrap_or_else(|| format!("forwarder-{own}"));
    let bar = bar(&area, None, "{spinner:.cyan} {msg} ({rate})");
    let board = Arc::new(Board::new(&name, bar.clone(), view == View::Human));
    let place = Place {
        client: Client::new(&cli.service.url, cli.service.token.as_deref(), SILENCE)?,
        name,
        holder: format!("{}-{}-{own}", host_name(), std::process::id()),
        board: Arc::clone(&board),
    };
    let settings = settings(&cli);
    if let Some(address) = cli.metrics {
        metrics::serve(address, place.clone()).await?;
    }
    let specification = specification(&cli);
    let is_ephemeral = cli.consumer.ephemeral;
    let destination = destination(cli)?;

    let made = tokio::select! {
        made = place.put(&specification) => made,
        () = interrupt.requested() => return Ok(interrupt.exit_code().unwrap_or(STOPPED)),
    };
    let result = match made {
        Ok(consumer) => {
            let settings = settings.of(&consumer);
            let mut forwarder = Forwarder::new(place.clone(), destination, settings, Arc::clone(&board));
            forwarder.run(&async || interrupt.requested().await).await.map_err(|stop| stop.to_string())
        }
        Err(failure) => Err(failure.to_string()),
    };
    if is_ephemeral {
        let _ = timeout(GRACE, place.delete()).await; // it costs little, and the console can delete it
    }
    bar.finish_and_clear();
    let error = result.err();
    match view {
        View::Human => print(&board.to_text()),
        View::Json => print(&format!("{}\n", board.to_json(error.as_deref()))),
    }
    Ok(match error {
        Some(error) => {
            complain(error);
            STOPPED
        }
        None => interrupt.exit_code().unwrap_or_default(),
    })
}

fn settings(cli: &Cli) -> Settings {
    Settings {
        parallel: cli.delivery.parallel.into(),
        batch: cli.delivery.batch.unwrap_or(1).into(),
        rate: cli.delivery.rate,
        ..Settings::default()
    }
}

/// The fields of the consumer that the arguments set. The others stay as they are.
fn specification(cli: &Cli) -> Specification {
    let consumer = &cli.consumer;
    Specification {
        topics: listed(&consumer.topics),
        sources: listed(&consumer.sources),
        from: consumer.from.clone().or_else(|| consumer.ephemeral.then(|| "now".into())),
        order: consumer.order.map(Into::into),
        workers: None,
        lease: consumer.lease,
        attempts: consumer.attempts,
        dead: None,
    }
}

/// The names that were given, if any were. An empty one means all.
fn listed(names: &[String]) -> Option<Vec<String>> {
    let listed = names.iter().filter(|name| !name.is_empty()).cloned().collect();
    (!names.is_empty()).then_some(listed)
}

fn destination(cli: Cli) -> Result<Destination> {
    let (to, delivery, signature) = (cli.to, cli.delivery, cli.signature);
    if let Some(path) = to.file {
        return Log::open(&path, delivery.send).map(Destination::Log);
    }
    if let Some(command) = to.command {
        return Ok(Destination::Program(Program { command, form: delivery.send, limit: delivery.timeout }));
    }
    // One of the three is there: clap saw to it.
    let Some(url) = to.to else { anyhow::bail!("name an endpoint by --to") };
    let limits = Limits {
        connect: delivery.connect_timeout,
        total: delivery.timeout,
        is_public_only: delivery.public_only,
    };
    let mut endpoint = Endpoint::new(url, limits)?;
    endpoint.form = delivery.send;
    endpoint.is_batch = delivery.batch.is_some();
    endpoint.headers = delivery.headers.into_iter().collect();
    endpoint.secrets = signature.secrets;
    endpoint.resign = signature.resign;
    if let Some(resign) = &mut endpoint.resign {
        resign.url = signature.signed_url;
    }
    Ok(Destination::Endpoint(Box::new(endpoint)))
}

/// The name of this machine.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    name.chars().take(64).collect()
}
