//! What `--check` says of a configuration: what each input would read, and what is wrong.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use sekali_clients::terminal::count;
use serde::Deserialize;

use crate::cli::Cli;
use crate::input::{Input, matching};
use crate::shipment::{client, find_inputs, target};

/// Files of an input that are named; further ones are counted.
const NAMED: usize = 10;

/// The part of a checkpoint file that says what it belongs to.
#[derive(Deserialize)]
struct Target {
    target: String,
}

/// What an input would read, as text.
///
/// # Errors
/// It cannot be used as it is.
pub fn describe(cli: &Cli) -> Result<String> {
    client(cli)?;
    let mut text = format!("{}: topic ", cli.label());
    text += cli.topic.as_deref().unwrap_or("as the lines say");
    if let Some(format) = cli.format().to_possible_value() {
        text += &format!(", format {}", format.get_name());
    }
    text += &format!(", to {}\n", cli.service.url);
    if let Some(path) = cli.checkpoint() {
        let state = if is_begun(&path, &target(cli))? { "" } else { ", which is not there yet" };
        // Writing to memory cannot fail.
        let _ = writeln!(text, "  checkpoint {}{state}", path.display());
    }
    for input in find_inputs(cli)? {
        match input {
            Input::File(path) => text += &of_file(&path),
            Input::Pattern(pattern) => text += &of_pattern(&pattern),
            Input::Stream(..) => {}
        }
    }
    Ok(text)
}

/// Refuses what can be read only once: after a failure, and after a restart, what was read of it would be lost.
///
/// # Errors
/// The input has a pipe among its files.
pub fn refuse_streams(cli: &Cli) -> Result<()> {
    for input in find_inputs(cli)? {
        if let Some(stream) = input.as_stream() {
            bail!("{stream} cannot be read again, so it needs a publisher of its own");
        }
    }
    Ok(())
}

/// True if the checkpoint is there.
///
/// # Errors
/// It cannot be read, or belongs to something else.
fn is_begun(path: &Path, target: &str) -> Result<bool> {
    let name = path.display();
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        text => text.with_context(|| format!("{name} cannot be read"))?,
    };
    if text.is_empty() {
        return Ok(false); // as a power failure may leave it
    }
    let found = serde_json::from_slice(&text).map(|Target { target }| target).unwrap_or_default();
    ensure!(
        found == target,
        "{name} is the checkpoint of {found}, and this is {target}: name another file, or remove it"
    );
    Ok(true)
}

fn of_pattern(pattern: &str) -> String {
    let found: Vec<PathBuf> = matching(pattern);
    let mut text = format!("  {pattern}: {} now\n", count(found.len() as u64, "file"));
    found.iter().take(NAMED).for_each(|path| text += &of_file(path).replace("  ", "    "));
    if found.len() > NAMED {
        text += &format!("    and {} more\n", found.len() - NAMED);
    }
    text
}

fn of_file(path: &Path) -> String {
    let name = path.display();
    match File::open(path).and_then(|file| file.metadata()) {
        Ok(metadata) => format!("  {name}: {}\n", count(metadata.len(), "byte")),
        Err(error) => format!("  {name}: cannot be read now: {error}\n"),
    }
}
