//! docs/INTEGRATIONS.md, "Logs": its programs, each with some thousand logs instead of one, against a server that is killed
//! meanwhile. What they say was sent is there, once.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use sekali_harness::Server;

use crate::readme::blocks;
use crate::{installed, repository, run};

/// Logs that a program sends.
const LOGS: usize = 5_000;

/// The program of a section, in a language.
pub fn program(heading: &str, language: &str) -> String {
    let document = std::fs::read_to_string(repository("docs/INTEGRATIONS.md")).unwrap();
    let (_, section) = document.split_once(&format!("\n### {heading}\n")).unwrap();
    blocks(section, language)[0].to_owned()
}

/// Replaces a part that the program has.
#[track_caller]
pub fn with(program: &str, part: &str, other: &str) -> String {
    assert!(program.contains(part), "{part:?} is not in {program}");
    program.replace(part, other)
}

/// Runs a program of JavaScript or Python, killing the server three times, and counts the events by their text.
#[track_caller]
fn assert_ships_once(program: &str, is_python: bool, text: &str) {
    let mut server = Server::with_variables(&[("publish_token", "p")]);
    let program = with(program, "localhost:3000", &server.address().to_string());
    let mut command = if is_python {
        let mut python = Command::new(installed("python/bin/python"));
        python.args(["-c", &program]);
        python
    } else {
        // Node.js looks for libraries from here up.
        installed("node_modules/@elastic/elasticsearch");
        let mut node = Command::new("node");
        node.current_dir(repository("target/clients")).args(["--input-type=module", "--eval", &program]);
        node
    };
    command.env("NO_PROXY", "127.0.0.1").stderr(Stdio::piped());
    let shipper = command.spawn().unwrap();
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(700));
        server.crash_and_restart();
    }
    let output = shipper.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let mut times = BTreeMap::<String, usize>::new();
    for event in server.events() {
        let text = event["payload"].pointer(text).unwrap().as_str().unwrap();
        *times.entry(text.to_owned()).or_default() += 1;
    }
    let doubled = times.values().filter(|times| **times > 1).count();
    assert_eq!((times.len(), doubled), (LOGS, 0), "{errors}");
    let stats = server.stats();
    assert_eq!((&stats["topics"][0], &stats["conflicts"]), (&"shop".into(), &0.into()));
    server.assert_books_balance();
}

/// The place of a record's text.
const BODY: &str = "/body/stringValue";

/// A program in Python that logs so many texts, slowly enough for the server to be killed.
fn python_that_logs_many(program: &str) -> String {
    let many = format!("(time.sleep(0.0005) or f\"log {{n}}\" for n in range({LOGS}))");
    with(program, "[\"paid\"]", &many)
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn the_opentelemetry_sdk_of_python_ships_once_in_protobuf_and_in_json() {
    let program = python_that_logs_many(&program("OpenTelemetry in Python", "python"));
    assert_ships_once(&program, true, BODY);
    let json = with(&program, "otlp.proto.http", "otlp.json.http");
    assert_ships_once(&json, true, BODY);
    // Without an id the content is one: the time is to the nanosecond.
    let without = with(&json, ", attributes={\"log.record.uid\": str(uuid4())}", "");
    assert_ships_once(&without, true, BODY);
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn the_opentelemetry_sdk_of_javascript_ships_once_in_protobuf_and_in_json() {
    let many = format!("Array.from({{ length: {LOGS} }}, (_, n) => `log ${{n}}`)");
    let program = with(&program("OpenTelemetry in JavaScript", "js"), "[\"paid\"]", &many);
    let program = with(
        &program,
        "  logger.emit(",
        "  if (Math.random() < 0.01) await new Promise((go) => setTimeout(go, 50));\n  logger.emit(",
    );
    assert_ships_once(&program, false, BODY);
    let json = with(&program, "exporter-logs-otlp-proto", "exporter-logs-otlp-http");
    assert_ships_once(&json, false, BODY);
    let without = with(&json, ", attributes: { \"log.record.uid\": randomUUID() }", "");
    assert_ships_once(&without, false, BODY);
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn the_elasticsearch_client_of_python_ships_once_by_its_bulk_helper() {
    let many = format!("f\"log {{n}}\" for n in range({LOGS})");
    let program = with(&program("Elasticsearch in Python", "python"), "\"paid\"", "*many");
    let program = format!(
        "many = [{many}]\n{}",
        with(&program, "assert ok", "time.sleep(0.0005)\n            assert ok")
    );
    assert_ships_once(&program, true, "/message");
    // The default of the helper: to index, which says nothing of what is there.
    let index = with(&program, "\"_op_type\": \"create\", ", "");
    let index = with(&index, "assert ok or item[\"create\"][\"status\"] == 409, item", "assert ok, item");
    assert_ships_once(&index, true, "/message");
    let without = with(&index, "\"_id\": str(n), ", "");
    assert_ships_once(&without, true, "/message");
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn the_elasticsearch_client_of_javascript_ships_once_by_its_bulk_helper() {
    let many = format!("Array.from({{ length: {LOGS} }}, (_, n) => `log ${{n}}`)");
    let program = with(&program("Elasticsearch in JavaScript", "js"), "[\"paid\"]", &many);
    let program =
        with(&program, "onDocument, onDrop", "onDocument, onDrop, flushBytes: 1000, concurrency: 1");
    assert_ships_once(&program, false, "/message");
    let without = with(&program, ", _id: id", "");
    assert_ships_once(&without, false, "/message");
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn the_programs_of_the_document_run_as_they_are() {
    let server = Server::with_variables(&[("publish_token", "p")]);
    let address = server.address().to_string();
    for heading in ["OpenTelemetry in Python", "Elasticsearch in Python"] {
        let program = program(heading, "python").replace("localhost:3000", &address);
        let mut python = Command::new(installed("python/bin/python"));
        run(python.env("NO_PROXY", "127.0.0.1").args(["-c", &program]));
    }
    for heading in ["OpenTelemetry in JavaScript", "Elasticsearch in JavaScript"] {
        let program = program(heading, "js").replace("localhost:3000", &address);
        let mut node = Command::new("node");
        run(node.current_dir(repository("target/clients")).args(["--input-type=module", "--eval", &program]));
    }
    let stats = server.stats();
    assert_eq!((&stats["received"], &stats["unique_processed"]), (&4.into(), &3.into()), "{stats}");
}
