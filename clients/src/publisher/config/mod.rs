//! The configuration file: many inputs, in TOML. Its options are those of the command line, by the same names: each input
//! becomes a list of arguments, so that what an option takes and means is said once, in [`crate::cli`].

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, Command, CommandFactory, Parser};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::{Cli, Daemon};

/// The value of a key, and where it stands.
type Value<'a> = Spanned<DeValue<'a>>;

/// The options of the whole publisher.
const OF_ALL: [&str; 2] = ["state_dir", "metrics"];

/// What is wrong with a configuration, one sentence each.
pub type Mistakes = Vec<String>;

/// Reads the file at `path`, and returns its inputs, each with its arguments. The options that `given` has take precedence.
///
/// # Errors
/// All mistakes, each with its place.
pub fn read(path: &Path, given: &Daemon) -> Result<Vec<Cli>, Mistakes> {
    let name = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| vec![format!("{name} cannot be read: {error}")])?;
    let document = DeTable::parse(&text).map_err(|error| vec![format!("{name}: {error}")])?;
    let name = name.to_string();
    let mut reader = Reader { name, text: &text, command: Cli::command(), mistakes: Vec::new() };
    let inputs = reader.inputs(document.get_ref(), given);
    if reader.mistakes.is_empty() {
        return Ok(inputs);
    }
    reader.mistakes.sort_by_key(|(line, _)| *line);
    Err(reader.mistakes.into_iter().map(|(_, mistake)| mistake).collect())
}

struct Reader<'a> {
    /// The path of the file.
    name: String,
    text: &'a str,
    /// The options of the command line.
    command: Command,
    /// Sentences, and the line in which each mistake stands.
    mistakes: Vec<(usize, String)>,
}

impl Reader<'_> {
    fn inputs(&mut self, document: &DeTable<'_>, given: &Daemon) -> Vec<Cli> {
        let is_given = |option| match option {
            "state_dir" => given.state_dir.is_some(),
            _ => given.metrics.is_some(),
        };
        let mut common = vec!["publisher".to_owned()];
        let mut tables = Vec::new();
        for (key, value) in document {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("input", DeValue::Array(inputs)) => tables.extend(inputs.iter()),
                ("input", _) => self.mistake(value.span(), "", "inputs are tables: [[input]]"),
                ("service", DeValue::Table(service)) => common.extend(self.service(service)),
                ("service", _) => self.mistake(value.span(), "", "service is a table: [service]"),
                (option, _) if OF_ALL.contains(&option) => {
                    let argument = self.argument(option, value, "");
                    common.extend(argument.filter(|_| !is_given(option)));
                }
                (other, _) => {
                    let what =
                        format!("there is no {other}: there are state_dir, metrics, [service] and [[input]]");
                    self.mistake(key.span(), "", &what);
                }
            }
        }
        if tables.is_empty() {
            self.mistakes.push((0, format!("{}: there is no [[input]], so nothing to read", self.name)));
        }
        common.extend(given.state_dir.iter().map(|path| format!("--state-dir={}", path.display())));
        common.extend(given.metrics.iter().map(|address| format!("--metrics={address}")));

        let mut inputs = Vec::new();
        let mut users = BTreeMap::new();
        for (number, value) in (1..).zip(tables) {
            let DeValue::Table(input) = value.get_ref() else {
                self.mistake(value.span(), "", "an input is a table: [[input]]");
                continue;
            };
            let Some(cli) = self.input(number, value.span(), input, &common) else { continue };
            let name = cli.label().to_owned();
            let whose = format!("input {name}: ");
            let Some(checkpoint) = cli.checkpoint() else {
                let what = "where is its checkpoint to be? Give state_dir, or the option --state-dir";
                self.mistake(value.span(), &whose, what);
                continue;
            };
            for claimed in [format!("name {name}"), format!("checkpoint {}", checkpoint.display())] {
                if let Some(line) = users.insert(claimed.clone(), self.line(value.span())) {
                    self.mistake(
                        value.span(),
                        &whose,
                        &format!("the input in line {line} has the {claimed}, too"),
                    );
                    break;
                }
            }
            inputs.push(cli);
        }
        inputs
    }

    /// The arguments of the service.
    fn service(&mut self, service: &DeTable<'_>) -> Vec<String> {
        let mut arguments = Vec::new();
        for (key, value) in service {
            match key.get_ref().as_ref() {
                "token" => {
                    let what =
                        "the token has a file of its own, which is for the publisher alone: give token_file";
                    self.mistake(key.span(), "[service]: ", what);
                }
                option if !self.has(option, |heading| heading == Some("Service")) => {
                    let what = self.unknown(option, |heading| heading == Some("Service"));
                    self.mistake(key.span(), "[service]: ", &what);
                }
                option => arguments.extend(self.argument(option, value, "[service]: ")),
            }
        }
        arguments
    }

    /// The arguments of an input, behind those that are common to all; `None` if there is a mistake.
    fn input(
        &mut self,
        number: usize,
        at: Range<usize>,
        input: &DeTable<'_>,
        common: &[String],
    ) -> Option<Cli> {
        let known = self.mistakes.len();
        let name = input.get("name").and_then(|name| name.get_ref().as_str());
        let whose = name.map_or_else(|| format!("input {number}: "), |name| format!("input {name}: "));
        if name.is_none() {
            self.mistake(at.clone(), &whose, "what is its name? Give name, which its checkpoint has, too");
        }
        let mut arguments = common.to_vec();
        let (mut files, mut follow) = (None, true);
        for (key, value) in input {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("files", value_of) => files = self.files(value_of, value.span(), &whose),
                ("follow", DeValue::Boolean(is_followed)) => follow = *is_followed,
                (option, _) if !self.has(option, is_of_inputs) && option != "topic" => {
                    let what = self.unknown(option, is_of_inputs);
                    self.mistake(key.span(), &whose, &what);
                }
                (option, _) => arguments.extend(self.argument(option, value, &whose)),
            }
        }
        if !input.contains_key("files") {
            self.mistake(at.clone(), &whose, "which files? Give files, such as [\"/var/log/*.log\"]");
        }
        if self.mistakes.len() > known {
            return None;
        }
        arguments.extend(follow.then(|| "--follow".to_owned()));
        arguments.push("--".into());
        arguments.extend(files.unwrap_or_default());
        match Cli::try_parse_from(&arguments) {
            Ok(cli) => match cli.contradiction() {
                Some(contradiction) => self.mistake(at, &whose, &as_keys(contradiction)),
                None => return Some(cli),
            },
            Err(error) => self.mistake(at, &whose, &as_keys(&sentence(&error))),
        }
        None
    }

    /// The files of an input, at least one.
    fn files(&mut self, value: &DeValue<'_>, at: Range<usize>, whose: &str) -> Option<Vec<String>> {
        let one = [value];
        let listed: Vec<_> = match value.as_array() {
            Some(files) => files.iter().map(Spanned::get_ref).collect(),
            None => one.to_vec(),
        };
        let files: Option<Vec<_>> = listed.iter().map(|file| file.as_str().map(str::to_owned)).collect();
        let is_file = |file: &String| !file.is_empty() && file != "-";
        let files = files.filter(|files| !files.is_empty() && files.iter().all(is_file));
        if files.is_none() {
            let what = "files are paths and patterns, such as [\"/var/log/*.log\"], and not standard input";
            self.mistake(at, whose, what);
        }
        files
    }

    /// An option as an argument, if it is to be set and has a valid value.
    fn argument(&mut self, option: &str, value: &Value<'_>, whose: &str) -> Option<String> {
        let takes_value = self.option(option)?.get_action().takes_values();
        let long = option.replace('_', "-");
        let text = match value.get_ref() {
            DeValue::Boolean(is_set) if !takes_value => return is_set.then(|| format!("--{long}")),
            DeValue::String(text) if takes_value => text.to_string(),
            DeValue::Integer(number) if takes_value => number.to_string(),
            DeValue::Float(number) if takes_value => number.to_string(),
            _ => {
                let takes = if takes_value { "a text or a number" } else { "true or false" };
                self.mistake(value.span(), whose, &format!("{option} is {takes}"));
                return None;
            }
        };
        let argument = format!("--{long}={text}");
        // By itself, to know whose value is invalid. What it needs beside it is seen later.
        let Err(error) = self.command.clone().try_get_matches_from(["publisher", &argument]) else {
            return Some(argument);
        };
        let is_of_option = error
            .get(ContextKind::InvalidArg)
            .is_some_and(|argument| argument.to_string().starts_with(&format!("--{long} ")));
        let is_invalid = matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation);
        if !(is_invalid && is_of_option) {
            return Some(argument);
        }
        let valid = error.get(ContextKind::ValidValue).map(|values| format!("not one of {values}"));
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let reason = cause.or(valid).unwrap_or_else(|| sentence(&error));
        self.mistake(value.span(), whose, &format!("{option} cannot be {text:?}: {}", as_keys(&reason)));
        None
    }

    fn option(&self, name: &str) -> Option<&Arg> {
        let long = name.replace('_', "-");
        self.command.get_arguments().find(|arg| arg.get_long() == Some(&long) && !name.contains('-'))
    }

    /// True if there is such an option under a heading of the help.
    fn has(&self, name: &str, is_heading: impl Fn(Option<&str>) -> bool) -> bool {
        self.option(name).is_some_and(|arg| is_heading(arg.get_help_heading()))
    }

    fn unknown(&self, name: &str, is_heading: impl Fn(Option<&str>) -> bool) -> String {
        let options = self.command.get_arguments().filter(|arg| is_heading(arg.get_help_heading()));
        let names: Vec<_> = options.filter_map(Arg::get_long).map(|long| long.replace('-', "_")).collect();
        format!("there is no {name}: there are {}", names.join(", "))
    }

    fn mistake(&mut self, at: Range<usize>, whose: &str, what: &str) {
        let line = self.line(at);
        self.mistakes.push((line, format!("{}:{line}: {whose}{what}", self.name)));
    }

    /// The line in which something stands.
    fn line(&self, at: Range<usize>) -> usize {
        self.text.bytes().take(at.start).filter(|&byte| byte == b'\n').count() + 1
    }
}

/// True if options under this heading of the help are for each input.
fn is_of_inputs(heading: Option<&str>) -> bool {
    matches!(heading, Some("Lines" | "Delivery"))
}

/// The first sentence of an error about arguments; what follows is about the command line.
fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = first.trim_start_matches("error: ").split_whitespace().collect();
    words.join(" ")
}

/// A sentence about options as one about keys: `--id-field` is `id_field` here.
fn as_keys(sentence: &str) -> String {
    let words = sentence.split_inclusive(|c: char| c != '-' && !c.is_alphanumeric());
    words.map(|word| word.strip_prefix("--").map_or(word.into(), |name| name.replace('-', "_"))).collect()
}
