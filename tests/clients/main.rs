//! Real clients, unmodified, against a server of their own: the CloudEvents SDK for Python, curl with NDJSON in gzip,
//! Prometheus' promtool, an EventSource client for Node.js, schemathesis with openapi.json, and the examples.
//!
//! They come from other registries, so these tests are ignored unless asked for:
//!
//!     tests/clients/install && cargo test --release --test clients -- --ignored

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on has failed

mod consume;
mod daemons;
mod dashboard;
mod integrations;
mod migrating;
mod produce;
mod readme;
mod recorded;
mod resign;
mod shippers;
mod vendors;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use sekali_harness::Server;
use serde_json::json;

#[test]
#[ignore = "builds the benchmark and the experiments"]
fn an_unknown_option_is_named_before_anything_is_measured() {
    for script in ["scripts/bench", "scripts/torture"] {
        let output = Command::new(repository(script)).arg("--bogus").output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{script}: {errors}");
        assert!(errors.contains("unexpected argument '--bogus'"), "{script}: {errors}");
        assert!(!errors.contains("building the component"), "{script}: {errors}");
    }
}

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A program that `tests/clients/install` has installed.
fn installed(path: &str) -> PathBuf {
    let program = repository("target/clients").join(path);
    assert!(program.exists(), "{} is missing: run tests/clients/install", program.display());
    program
}

/// Runs a command and returns its standard output.
#[track_caller]
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{command:?}: {status}\n{stdout}{}", String::from_utf8_lossy(&stderr));
    stdout
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn the_cloudevents_sdk_posts_in_structured_binary_and_batch_mode() {
    let server = Server::start();
    let script = repository("tests/clients/cloudevents_sdk.py");
    run(Command::new(installed("python/bin/python")).arg(script).arg(server.url("")));
    server.assert_books_balance();
}

#[test]
#[ignore = "needs curl"]
fn curl_sends_a_file_of_ndjson_in_gzip_again_and_again() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file.ndjson.gz");
    let mut file = GzEncoder::new(File::create(&path).unwrap(), Compression::default());
    for n in 0..5000 {
        writeln!(file, r#"{{"topic":"lines","event_id":"{n}"}}"#).unwrap();
    }
    file.finish().unwrap();
    for expected in [r#""stored":5000,"duplicates":0"#, r#""stored":0,"duplicates":5000"#] {
        let headers =
            ["content-type: application/x-ndjson", "content-encoding: gzip", "prefer: return=minimal"];
        let mut curl = Command::new("curl");
        curl.arg("-fsS").args(headers.iter().flat_map(|header| ["-H", header]));
        curl.arg("--data-binary").arg(format!("@{}", path.display())).arg(server.url("/publish"));
        let answer = run(&mut curl);
        assert!(answer.contains(expected), "{answer}");
    }
}

/// Prometheus' promtool, to be called in deploy/prometheus.
fn promtool() -> Command {
    let found = Path::new("/usr/bin/promtool");
    let mut promtool = Command::new(if found.exists() {
        found.to_owned()
    } else {
        installed("prometheus/usr/bin/promtool")
    });
    promtool.current_dir(repository("deploy/prometheus"));
    promtool
}

#[test]
#[ignore = "needs promtool"]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let server = Server::start();
    server.publish(&json!({"topic": "a \"quoted\" \\ topic", "event_id": "1"}));
    assert_eq!(server.send("PUT", "/consumers/c", &[], b"{}").status, 201);
    let mut process = promtool().args(["check", "metrics"]).stdin(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(server.get("/metrics").text.as_bytes()).unwrap();
    assert!(process.wait().unwrap().success());
}

#[test]
#[ignore = "needs promtool"]
fn each_alert_comes_where_it_has_to_and_has_its_place_in_the_documentation() {
    run(promtool().args(["check", "rules", "alerts.yaml"]));
    run(promtool().args(["test", "rules", "alerts_test.yaml"]));
    let read = |path: &str| std::fs::read_to_string(repository(path)).unwrap();
    let (rules, tests) = (read("deploy/prometheus/alerts.yaml"), read("deploy/prometheus/alerts_test.yaml"));
    let operations = read("docs/OPERATIONS.md");
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 14);
    for alert in alerts {
        assert!(
            tests.contains(&format!("alertname: {alert}\n        exp_alerts:")),
            "{alert} is never raised"
        );
        assert!(operations.contains(&format!("\n### {alert}\n")), "{alert} is not explained");
        let anchor = format!("docs/OPERATIONS.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&anchor), "{anchor}");
    }
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn an_eventsource_client_resumes_across_a_restart_of_the_server() {
    let mut server = Server::start();
    let publish = |server: &Server, numbers: std::ops::Range<u32>| {
        for n in numbers {
            assert_eq!(server.publish(&json!({"topic": "followed", "event_id": n.to_string()})).status, 200);
        }
    };
    publish(&server, 0..10);
    // Beside its library, because Node.js looks for libraries from the script's directory up.
    installed("node_modules/eventsource");
    let script = repository("target/clients/follow.mjs");
    std::fs::copy(repository("tests/clients/follow.mjs"), &script).unwrap();
    let mut follower = Command::new("node")
        .arg(script)
        .arg(server.url(""))
        .arg("30")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "following");
    publish(&server, 10..15);
    server.crash_and_restart();
    publish(&server, 15..30);
    assert!(follower.wait().unwrap().success(), "{:?}", lines.collect::<Vec<_>>());
}

/// The example that follows with a token, from the beginning.
fn example_of_following(server: &Server, token: &str) -> Command {
    let mut node = Command::new("node");
    node.arg(repository("examples/follow.mjs")).arg(server.url("").trim_end_matches('/'));
    node.env("SEKALI_TOKEN", token).stdout(Stdio::piped()).stderr(Stdio::piped());
    node
}

#[test]
#[ignore = "needs Node.js"]
fn the_example_follows_with_a_token_across_a_restart_and_tells_when_it_is_refused() {
    let mut server = Server::with_variables(&[("read_token", "r3ad")]);
    let publish = |server: &Server, numbers: std::ops::Range<u32>| {
        let events: Vec<_> =
            numbers.map(|n| json!({"topic": "t", "event_id": n.to_string(), "payload": n})).collect();
        assert_eq!(server.publish(&json!(events)).status, 200);
    };
    publish(&server, 0..10);
    let mut follower = example_of_following(&server, "r3ad").spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut seen = |count: usize| -> Vec<u64> {
        let events = lines.by_ref().take(count).map(|line| line.unwrap());
        events
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(&line).unwrap()["payload"].as_u64().unwrap()
            })
            .collect()
    };
    assert_eq!(seen(10), (0..10).collect::<Vec<_>>());
    publish(&server, 10..15);
    server.crash_and_restart();
    publish(&server, 15..30);
    assert_eq!(seen(20), (10..30).collect::<Vec<_>>());
    follower.kill().unwrap();
    follower.wait().unwrap();
    let refused = example_of_following(&server, "wrong").output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("401"), "{why}");
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn schemathesis_finds_nothing_that_openapi_json_does_not_say() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let examples = std::env::var("EXAMPLES").unwrap_or_else(|_| "100".into());
    // A fault of its own is tried again with another seed: its generator has some. What it finds is not.
    let mut report = String::new();
    for seed in ["1", "2", "3"] {
        let output = Command::new(installed("python/bin/schemathesis"))
            .current_dir(directory.path())
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .env("PYTHONPATH", repository("tests/clients"))
            .arg("run")
            .arg(repository("openapi.json"))
            .args(["--url", &server.url(""), "--seed", seed, "--max-examples", &examples])
            .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"])
            .args(["--phases", "examples,coverage,fuzzing"])
            .args(["--warnings", "off", "--suppress-health-check", "all"])
            .output()
            .unwrap();
        report = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return;
        }
        if report.lines().any(|line| line.starts_with("Failures:")) {
            break;
        }
    }
    panic!("{report}");
}
