//! A publisher that runs as a service: inputs of a configuration, a state directory, metrics.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;

use sekali_harness::Server;
use sekali_harness::deployment::repository;
use serde_json::Value;
use tempfile::tempdir;

use crate::place::Place;
use crate::program::{Ended, eventually, publisher, run, signal, wait};

/// An address at which nobody listens: it was free a moment ago.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The metrics at an address; empty while nobody listens.
fn metrics(address: &str) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        stream.read_to_string(&mut text).unwrap();
    }
    text
}

/// The value of a metric with these labels.
#[track_caller]
fn value(text: &str, metric: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {metric} in {text}")).parse().unwrap()
}

/// Writes a configuration with this service and state, and starts it.
fn start(place: &Place, inputs: &str, arguments: &[&str]) -> Child {
    configure(place, inputs);
    let arguments = [&["--config", "publisher.toml"], arguments].concat();
    publisher(place.here.path(), &arguments).spawn().unwrap()
}

fn configure(place: &Place, inputs: &str) {
    let service = format!("state_dir = 'state'\n[service]\nurl = '{}'\n", place.server.url(""));
    fs::write(place.at("publisher.toml"), service + inputs).unwrap();
}

/// The payloads of a topic, in their order.
fn stored(place: &Place, topic: &str) -> Vec<String> {
    let events = place.server.events();
    let of_topic = events.iter().filter(|event| event["topic"] == topic);
    of_topic
        .map(|event| event["payload"].as_str().map_or(event["payload"].to_string(), str::to_owned))
        .collect()
}

/// What `--json` says of each input.
fn reports(ended: &Ended) -> Vec<Value> {
    let mut reports: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    reports.sort_by_key(|report| report["input"].as_str().unwrap().to_owned());
    reports
}

const TWO: &str = "
    [[input]]
    name = 'web'
    topic = 'web'
    files = ['logs/*.log']
    batch_wait = '20ms'
    source_from_path = true
    [[input]]
    name = 'traces'
    topic = 'traces'
    files = ['traces.txt']
    multiline = '^Error'
    multiline_timeout = '100ms'
    batch_wait = '20ms'
";

#[test]
fn two_inputs_are_shipped_once_over_a_kill_and_a_restart() {
    let place = Place::new();
    fs::create_dir(place.at("logs")).unwrap();
    let lines =
        |numbers: std::ops::Range<u32>| numbers.map(|number| format!("{number}\n")).collect::<String>();
    place.append("logs/a.log", &lines(0..3_000));
    place.append("traces.txt", "Error 1\n  at a\nError 2\n");
    let mut process = start(&place, TWO, &[]);
    eventually("something of both is stored", || {
        !stored(&place, "web").is_empty() && !stored(&place, "traces").is_empty()
    });
    process.kill().unwrap();
    process.wait().unwrap();

    place.append("logs/a.log", &lines(3_000..3_100));
    place.append("logs/b.log", "new\n");
    place.append("traces.txt", "Error 3\n  at b\n");
    let address = free_address();
    let process = start(&place, TWO, &["--json", "--metrics", &address]);
    eventually("all is stored", || {
        stored(&place, "web").len() == 3_101
            && stored(&place, "traces").last().is_some_and(|last| last == "Error 3\n  at b")
    });
    // The last answer is counted when it was read.
    let shown = ["web", "traces"].map(|input| format!("sekali_publisher_lag_seconds{{input=\"{input}\"}}"));
    eventually("nothing is on its way", || {
        let text = metrics(&address);
        shown.iter().all(|metric| value(&text, metric) == 0.0)
    });
    let text = metrics(&address);
    signal(&process, "TERM");
    let ended = wait(process);
    assert_eq!(ended.code, Some(143), "{ended:?}");

    let numbers: Vec<_> = stored(&place, "web").into_iter().filter(|line| line != "new").collect();
    assert!(numbers.iter().eq((0..3_100).map(|number| number.to_string()).collect::<Vec<_>>().iter()));
    assert_eq!(stored(&place, "traces"), ["Error 1\n  at a", "Error 2", "Error 3\n  at b"]);
    let path = place.here.path().canonicalize().unwrap().join("logs/a.log");
    let event = place.server.events().into_iter().find(|event| event["payload"] == "7").unwrap();
    assert_eq!(Path::new(event["source"].as_str().unwrap()).canonicalize().unwrap(), path);

    // Metrics and reports say the same.
    let reports = reports(&ended);
    assert_eq!(reports.iter().map(|report| &report["input"]).collect::<Vec<_>>(), ["traces", "web"]);
    for report in &reports {
        let name = report["input"].as_str().unwrap();
        for (outcome, lines) in report["lines"].as_object().unwrap() {
            let metric = format!("sekali_publisher_lines_total{{input=\"{name}\",outcome=\"{outcome}\"}}");
            assert_eq!(value(&text, &metric), lines.as_f64().unwrap(), "{metric}");
        }
        let of_input = |metric: &str| value(&text, &format!("sekali_publisher_{metric}{{input=\"{name}\"}}"));
        assert!(of_input("acknowledged_timestamp_seconds") > 1e9);
        assert!(of_input("batches_total") > 0.0 && of_input("batch_seconds_total") > 0.0);
        assert_eq!([of_input("service_away"), of_input("failed"), of_input("retries_total")], [0.0; 3]);
        let inputs = report["inputs"].as_array().unwrap();
        let bytes = |input: &Value| input["offset"].as_f64().unwrap() - input["from"].as_f64().unwrap();
        assert_eq!(of_input("bytes_total"), inputs.iter().map(bytes).sum::<f64>());
    }
    let mode = fs::metadata(place.at("state")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    for name in ["web", "traces"] {
        assert!(place.at(&format!("state/{name}.checkpoint")).exists());
    }
}

#[test]
fn an_input_that_fails_keeps_no_other_waiting_and_goes_on_when_the_reason_has_gone() {
    let place = Place::new();
    fs::write(place.at("orders.json"), "{\"n\":1}\nno json\n").unwrap();
    fs::write(place.at("app.log"), "one\n").unwrap();
    let inputs = "
        [[input]]
        name = 'orders'
        topic = 'orders'
        format = 'json'
        files = ['orders.json']
        [[input]]
        name = 'app'
        topic = 'app'
        files = ['app.log']
    ";
    let address = free_address();
    let process = start(&place, inputs, &["--metrics", &address]);
    let failed = "sekali_publisher_failed{input=\"orders\"}";
    eventually("it has failed", || metrics(&address).contains(&format!("{failed} 1")));
    place.append("app.log", "two\n");
    eventually("the other goes on", || stored(&place, "app") == ["one", "two"]);
    // Somebody corrects the line.
    fs::write(place.at("orders.json"), "{\"n\":1}\n{\"n\":2}\n").unwrap();
    eventually("it goes on", || stored(&place, "orders").last().is_some_and(|last| last == "{\"n\":2}"));
    eventually("this is told", || value(&metrics(&address), failed) == 0.0);
    signal(&process, "INT");
    let ended = wait(process);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("orders: orders.json line 2: is not JSON"), "{}", ended.stderr);
    assert!(ended.stderr.contains("starting it again in 1 s"), "{}", ended.stderr);
    for begin in ["orders: ", "app: 2 events sent"] {
        assert!(ended.stdout.lines().any(|line| line.starts_with(begin)), "{begin} in {}", ended.stdout);
    }
}

#[test]
fn a_check_says_what_would_be_read_or_names_every_mistake() {
    let place = Place::new();
    fs::create_dir(place.at("logs")).unwrap();
    for number in 0..12 {
        place.append(&format!("logs/{number}.log"), "line\n");
    }
    let check = || run(&mut publisher(place.here.path(), &["--config", "publisher.toml", "--check"]));
    configure(&place, TWO);
    let ended = check();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    for line in [
        format!("web: topic web, format lines, to {}", place.server.url("").trim_end_matches('/')),
        "  checkpoint state/web.checkpoint, which is not there yet".into(),
        "  logs/*.log: 12 files now".into(),
        "    logs/0.log: 5 bytes".into(),
        "    and 2 more".into(),
        "  traces.txt: cannot be read now: No such file or directory (os error 2)".into(),
    ] {
        assert!(
            ended.stdout.lines().any(|found| found.trim_end_matches('/') == line),
            "{line} in {}",
            ended.stdout
        );
    }
    assert!(!place.at("state").exists(), "nothing is written");

    // The checkpoint of another topic is found, also at the start.
    signal_when_stored(&place, start(&place, TWO, &[]));
    configure(&place, &TWO.replace("topic = 'web'", "topic = 'other'"));
    let of_checkpoint = "input web: state/web.checkpoint is the checkpoint of";
    for ended in [check(), run(&mut publisher(place.here.path(), &["--config", "publisher.toml"]))] {
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(of_checkpoint), "{}", ended.stderr);
    }

    configure(
        &place,
        "[[input]]\nname = 'a'\ntopics = 'x'\nfiles = 'logs'\n[[input]]\nname = 'b'\nfiles = 'b'\n",
    );
    let ended = check();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    for mistake in
        ["publisher.toml:6: input a: there is no topics", "publisher.toml:8: input b: which topic?"]
    {
        assert!(ended.stderr.contains(mistake), "{mistake} in {}", ended.stderr);
    }
    configure(&place, "[[input]]\nname = 'a'\ntopic = 'x'\nfiles = ['logs', '/dev/null']\n");
    assert!(check().stderr.contains("input a: logs is a directory"), "{:?}", check());
    configure(&place, "[[input]]\nname = 'a'\ntopic = 'x'\nfiles = ['/dev/null']\n");
    assert!(check().stderr.contains("input a: /dev/null cannot be read again"), "{:?}", check());

    let ended = run(&mut publisher(place.here.path(), &["--config", "publisher.toml", "--topic", "x"]));
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--topic is for a single input"), "{}", ended.stderr);
}

/// Ends a publisher that has sent the lines of [`TWO`].
fn signal_when_stored(place: &Place, process: Child) {
    eventually("it is stored", || stored(place, "web").len() == 12);
    signal(&process, "TERM");
    assert_eq!(wait(process).code, Some(143));
}

#[test]
fn the_configuration_of_the_repository_is_valid() {
    let place = Place::new();
    let path = repository().join("deploy/sekali-publisher.toml");
    let path = path.to_str().unwrap();
    let ended = run(&mut publisher(place.here.path(), &["--config", path, "--check"]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    // Its examples, too.
    let text = fs::read_to_string(path).unwrap();
    let example = |line: &'_ str| {
        let example = line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| !c.is_whitespace()));
        example.unwrap_or(line).to_owned() + "\n"
    };
    let examples: String = text.lines().map(example).collect();
    assert_ne!(examples, text);
    fs::write(place.at("token"), "secret\n").unwrap();
    fs::write(place.at("all.toml"), examples.replace("/etc/sekali-publisher.token", "token")).unwrap();
    let ended = run(&mut publisher(place.here.path(), &["--config", "all.toml", "--check"]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

#[test]
fn a_state_directory_has_the_checkpoint_and_one_publisher() {
    let place = Place::new();
    place.append("app.log", "one\n");
    let process = place.follow(&["--state-dir", "deep/state", "--name", "app", "app.log"]);
    place.has(1);
    let second = place.ship(&["--state-dir", "deep/state", "--name", "other", "app.log"], 2);
    let sentence = "the directory deep/state is in use by another publisher";
    assert!(second.stderr.contains(sentence), "{}", second.stderr);
    signal(&process, "TERM");
    wait(process);

    place.append("app.log", "two\nthree\n");
    let again = ["--state-dir", "deep/state", "--name", "app", "--json", "app.log"];
    assert_eq!(place.ship(&again, 0).json()["lines"]["new"], 2);
    assert_eq!(fs::metadata(place.at("deep/state")).unwrap().permissions().mode() & 0o777, 0o700);
    // As systemd says it.
    let ended =
        run(place.command(&["--json", "--name", "app", "app.log"]).env("STATE_DIRECTORY", "deep/state"));
    assert_eq!(ended.json()["published"], 0, "{ended:?}");
}

#[test]
fn the_source_is_the_path_at_which_a_file_was_found_first() {
    let place = Place::new();
    fs::create_dir(place.at("logs")).unwrap();
    place.append("logs/app.log", "one\n");
    let process = place.follow(&["--source-from-path", "./logs//app.log"]);
    place.has(1);
    place.rename("logs/app.log", "logs/app.log.1");
    place.append("logs/app.log.1", "two\n");
    place.append("logs/app.log", "three\n");
    place.has(3);
    signal(&process, "INT");
    wait(process);
    let path = place.here.path().join("logs/app.log");
    for event in place.server.events() {
        assert_eq!(event["source"], path.to_str().unwrap());
    }
    // The end of one that is longer than the service takes.
    let deep = format!("{}/{}", "d".repeat(200), "e".repeat(100));
    fs::create_dir_all(place.at(&deep)).unwrap();
    place.append(&format!("{deep}/deep.log"), "four\n");
    place.ship(&["--source-from-path", &format!("{deep}/deep.log")], 0);
    let source = place.server.events().last().unwrap()["source"].as_str().unwrap().to_owned();
    assert!(source.len() == 255 && source.ends_with("e/deep.log"), "{source}");
    let both = place.ship(&["--source-from-path", "--source", "x", "logs/app.log"], 2);
    assert!(both.stderr.contains("cannot be used with"), "{}", both.stderr);
}

#[test]
fn a_token_is_read_from_its_file() {
    let server = Server::with_variables(&[("publish_token", "secret")]);
    let place = Place { server, here: tempdir().unwrap() };
    place.append("app.log", "one\n");
    fs::write(place.at("empty"), "\n").unwrap();
    let ended = place.ship(&["--token-file", "empty", "app.log"], 2);
    assert!(ended.stderr.contains("there is no token in empty"), "{}", ended.stderr);
    let ended = place.ship(&["--token-file", "nowhere", "app.log"], 2);
    assert!(ended.stderr.contains("nowhere cannot be read"), "{}", ended.stderr);
    fs::write(place.at("token"), "secret\n").unwrap();
    place.ship(&["--token-file", "token", "app.log"], 0);
}
