//! Every command of the README, run as written, with the output that it says.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use regex::Regex;
use sekali_harness::Server;

use crate::{repository, run};

/// A command of a block, and the output that the README shows below it.
struct Example {
    command: String,
    output: String,
}

/// The blocks of this language in a text.
pub fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The examples of the blocks of a terminal: what follows a `$` is a command, to the end of the line or, behind a
/// backslash, of the next, and the other lines are its output.
fn examples(text: &str) -> Vec<Example> {
    let mut examples = Vec::<Example>::new();
    for line in blocks(text, "console").iter().flat_map(|block| block.lines()) {
        if let Some(command) = line.strip_prefix("$ ") {
            examples.push(Example { command: command.into(), output: String::new() });
            continue;
        }
        let Example { command, output } = examples.last_mut().unwrap();
        let goes_on = output.is_empty() && command.ends_with('\\');
        let text = if goes_on {
            command.push('\n');
            command
        } else {
            output
        };
        text.push_str(line);
        if !goes_on {
            text.push('\n');
        }
    }
    examples
}

/// A text without what differs from run to run: times, the identity of the store, tokens of claims, and the figures of the
/// publisher.
fn comparable(text: &str) -> String {
    let time = Regex::new(r#"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"#).unwrap();
    let uptime = Regex::new(r#""uptime":\d+"#).unwrap();
    let store = Regex::new(r#""store_id":"[0-9a-f]{32}""#).unwrap();
    let claim = Regex::new(r#""c_[0-9a-f]{16}""#).unwrap();
    let figures =
        Regex::new(r"[\d,.]+ (events sent in|s,)|[\d,]+/s|: [1-9][\d,]* stored|[1-9][\d,]* duplicates")
            .unwrap();
    let text = time.replace_all(text.trim(), "TIME");
    let text = uptime.replace_all(&text, r#""uptime":0"#);
    let text = store.replace_all(&text, r#""store_id":"""#);
    let text = claim.replace_all(&text, r#""c_""#);
    figures.replace_all(&text, "N").into_owned()
}

/// Asserts that a document has so many examples or more, and that each prints what the document says. They run in a
/// directory, against a server.
#[track_caller]
pub fn assert_examples(
    document: &str,
    at_least: usize,
    server: &Server,
    directory: &Path,
    environment: &[(&str, &str)],
) {
    // Else the first example would print that it builds.
    run(Command::new(repository("scripts/publisher")).arg("--help"));
    let examples = examples(document);
    assert!(examples.len() >= at_least, "{} examples", examples.len());
    for Example { command, output } in examples {
        let command = command.replace("localhost:3000", &server.address().to_string());
        // A stream that is followed has no end.
        let command = command.replace("curl -N", "timeout 2 curl -N");
        let command = command.replace("scripts/", &format!("{}/", repository("scripts").display()));
        let ran = Command::new("bash")
            .args(["-c", &command])
            .current_dir(directory)
            .env("SEKALI_URL", server.url(""))
            .env("NO_PROXY", "127.0.0.1")
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        // The publisher tells its result where progress goes; curl's progress is not part of an example.
        let tells = if command.contains("/scripts/") { ran.stderr } else { Vec::new() };
        let printed = [tells, ran.stdout].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert_eq!(comparable(&printed), comparable(&output), "{command}");
    }
}

#[test]
#[ignore = "needs curl and jq"]
fn every_command_of_the_readme_prints_what_it_says() {
    let readme = std::fs::read_to_string(repository("README.md")).unwrap();
    let hooks = Regex::new("SPIN_VARIABLE_HOOKS='(.*)' scripts/up").unwrap();
    let hooks = &hooks.captures(&readme).unwrap()[1];
    let server = Server::with_variables(&[("admin_token", "s3cret"), ("hooks", hooks)]);
    assert_examples(&readme, 19, &server, &repository("."), &[]);
}

/// A child that ends with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs curl and Python"]
fn the_four_commands_lead_from_nothing_to_ones_own_handler() {
    let readme = std::fs::read_to_string(repository("README.md")).unwrap();
    let section = readme.split("## Take events out").nth(1).unwrap();
    let [up, handler, forwarder, publish] =
        blocks(section, "sh")[0].lines().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(up, "scripts/up");
    let server = Server::start();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let start = |command: &str| {
        let command = command.replace("localhost:3000", &server.address().to_string()).replace("4000", &free);
        let child = Command::new("bash")
            .args(["-c", &format!("exec {command}")])
            .current_dir(repository("."))
            .env("SEKALI_URL", server.url(""))
            .stdout(Stdio::piped())
            .spawn();
        Ended(child.unwrap())
    };
    let mut handler = start(handler);
    let _forwarder = start(forwarder);
    assert!(start(publish).0.wait().unwrap().success());
    let mut called = String::new();
    BufReader::new(handler.0.stdout.as_mut().unwrap()).read_line(&mut called).unwrap();
    assert_eq!(called, "evt_1 {\"n\":1}\n");
}

#[test]
#[ignore = "with the others of the README"]
fn every_script_of_the_readme_exists_and_knows_its_options() {
    let readme = std::fs::read_to_string(repository("README.md")).unwrap();
    let word = Regex::new(r"scripts/[a-z-]+( +(--)?[a-z][a-z-]*)*").unwrap();
    let mut calls = 0;
    for call in word.find_iter(&readme).map(|found| found.as_str()) {
        let mut words = call.split_whitespace();
        let script = words.next().unwrap();
        assert!(repository(script).exists(), "{script}");
        let help = Command::new(repository(script)).arg("--help").output().unwrap();
        assert!(help.status.success(), "{script} --help");
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        for option in words.filter(|word| word.starts_with("--") && *word != "--help") {
            assert!(help.contains(option), "{script} --help does not know {option}");
            calls += 1;
        }
    }
    assert!(calls >= 5, "{calls} options were looked for");
}
