//! The stress test finds what is wrong, and nothing else.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use sekali_harness::Server;
use sekali_harness::deployment::repository;
use sekali_harness::host::{Host, free_port};
use serde_json::{Value, json};

use crate::double::{self, FAULTS, Fault};
use crate::program::{eventually, run, signal, stress_test, wait};

/// The names of the checks that failed.
fn failed(report: &Value) -> Vec<&str> {
    let checks = report["checks"].as_array().unwrap();
    checks
        .iter()
        .filter(|check| check["passed"] == false)
        .map(|check| check["name"].as_str().unwrap())
        .collect()
}

#[test]
fn the_standard_preset_passes() {
    let server = Server::start();
    let ended = run(&mut stress_test(&["--preset", "standard", "--url", &server.url("")]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("passed: every event is stored exactly once"), "{}", ended.stdout);
    assert!(ended.stdout.contains("+28,571") && ended.stdout.contains("20,000 read"), "{}", ended.stdout);
    assert!(!ended.stdout.contains('\u{1b}'), "no colours without a terminal");
    let stats = server.stats();
    assert_eq!((&stats["received"], &stats["unique_processed"]), (&json!(28_571), &json!(20_000)));
    server.assert_books_balance();
}

#[test]
fn every_promise_holds_while_retention_takes_older_events_away() {
    let server = Server::with_variables(&[("retention_events", "20000"), ("forget_days", "1")]);
    for batch in 0..60 {
        let events: Vec<_> =
            (0..1000).map(|n| json!({"topic": "older", "event_id": format!("{batch}-{n}")})).collect();
        assert_eq!(server.publish(&json!(events)).json()["stored"], 1000);
    }
    let expired = |at_least: i64| {
        sekali_harness::eventually("older events expire", || {
            server.get("/healthz"); // retention works behind requests
            (server.stats()["expired"].as_i64() >= Some(at_least)).then_some(())
        });
    };
    expired(1);
    let ended = run(&mut stress_test(&["--preset", "standard", "--url", &server.url("")]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    expired(60_000);
    server.assert_books_balance();
}

#[test]
fn a_preset_can_be_changed_in_one_thing() {
    let server = Server::start();
    let ended =
        run(&mut stress_test(&["--preset", "course", "--batch", "50", "--json", "--url", &server.url("")]));
    let report = ended.json();
    assert_eq!((&report["events"], &report["deliveries"]), (&json!(5_000), &json!(6_250)), "{report}");
    assert_eq!((&report["batch"], &report["passed"]), (&json!(50), &json!(true)));
}

#[test]
fn batches_ordered_ids_and_a_rate_pass_and_the_report_is_json() {
    let server = Server::start();
    let url = server.url("");
    let arguments =
        ["--preset", "smoke", "--batch", "7", "--ids", "ordered", "--topics", "3", "--clients", "5"];
    let more = ["--rate", "1000", "--conflicts", "0.5", "--seed", "7", "--json", "--url", &url];
    let ended = run(&mut stress_test(&[arguments.as_slice(), &more].concat()));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let report = ended.json();
    assert_eq!(report["passed"], true);
    assert_eq!((&report["seed"], &report["batch"], &report["events"]), (&json!(7), &json!(7), &json!(1_000)));
    assert!(report["seconds"].as_f64().unwrap() > 1.2, "1,429 deliveries at 1,000 a second: {report}");
    assert!(report["latency_ms"]["p99"].as_f64().unwrap() > 0.0, "{report}");
    assert!(server.stats()["conflicts"].as_u64().unwrap() > 100);
}

#[test]
fn each_fault_that_strikes_once_in_ten_thousand_is_found() {
    for (fault, loses_answers) in FAULTS.into_iter().flat_map(|fault| [(fault, false), (fault, true)]) {
        let every = match (fault, loses_answers) {
            (Fault::MissConflict, _) => 50,
            (_, false) => 10_000,
            // One that strikes where the answer is lost as well may go unnoticed: there must be others.
            (_, true) => 3_000,
        };
        let url = double::start(fault, every, loses_answers);
        // Few clients, for what is on its way at the same time has no order.
        let arguments = ["--events", "20000", "--duplicates", "0.4", "--batch", "100", "--clients", "8"];
        let ended = run(&mut stress_test(&[arguments.as_slice(), &["--json", "--url", &url]].concat()));
        assert_eq!(ended.code, Some(1), "{fault:?} was not found ({loses_answers}): {ended:?}");
        let report = ended.json();
        assert!(!failed(&report).is_empty());
        // What is wrong is named.
        let checks = report["checks"].as_array().unwrap();
        let named = checks
            .iter()
            .filter(|check| check["passed"] == false)
            .flat_map(|check| check["wrong"].as_array());
        assert!(
            named.flatten().any(|wrong| wrong.as_str().unwrap().contains("stress-")),
            "{fault:?}: {report}"
        );
    }
}

#[test]
fn a_double_without_a_fault_passes() {
    for loses_answers in [false, true] {
        let url = double::start(Fault::None, 1, loses_answers);
        let ended = run(&mut stress_test(&["--events", "20000", "--batch", "100", "--url", &url]));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.stdout.contains("for answers were lost"), loses_answers, "{}", ended.stdout);
    }
}

#[test]
fn tokens_open_a_service_that_asks_for_them() {
    let server = Server::with_variables(&[("publish_token", "write"), ("read_token", "read")]);
    let url = server.url("");
    let mut with_tokens = stress_test(&["--preset", "smoke", "--url", &url]);
    let ended = run(with_tokens.env("SEKALI_TOKEN", "write").env("SEKALI_READ_TOKEN", "read"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = run(&mut stress_test(&["--preset", "smoke", "--url", &url]));
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("401"), "{}", ended.stderr);
}

#[test]
fn traffic_of_others_is_told_and_harmless() {
    let server = Server::start();
    let url = server.url("");
    let process = stress_test(&["--preset", "smoke", "--rate", "200", "--url", &url]).spawn().unwrap();
    eventually("the load began", || server.stats()["received"] != 0);
    for number in 0..10 {
        server.publish(&json!({"topic": "others", "event_id": format!("{}", number / 2)}));
    }
    let ended = wait(process);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("other traffic meanwhile: 10 deliveries"), "{}", ended.stdout);
}

#[test]
fn an_interrupted_test_verifies_what_was_sent() {
    let server = Server::start();
    let process = stress_test(&["--rate", "1000", "--json", "--url", &server.url("")]).spawn().unwrap();
    eventually("the load began", || server.stats()["received"].as_u64() > Some(500));
    signal(&process, "INT");
    let ended = wait(process);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let report = ended.json();
    assert_eq!((&report["passed"], &report["interrupted"]), (&json!(true), &json!(true)), "{report}");
    let deliveries = report["deliveries"].as_u64().unwrap();
    assert!((500..10_000).contains(&deliveries), "{deliveries}");
    assert_eq!(server.stats()["received"], deliveries);
}

/// The command line of a server, as sh reads it.
fn command_line(address: SocketAddr, state: &Path) -> String {
    let host = Host::from_environment().unwrap();
    let command = host.command(&repository().join("spin.toml"), address, state);
    let quoted = |word: &OsStr| format!("'{}'", word.to_str().unwrap());
    [command.get_program()].into_iter().chain(command.get_args()).map(quoted).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_server_that_is_killed_loses_nothing() {
    let (state, address) = (tempfile::tempdir().unwrap(), free_port().unwrap());
    let (url, command) = (format!("http://{address}"), command_line(address, state.path()));
    let chaos = [
        "--chaos",
        "--consumers",
        "3",
        "--for",
        "12s",
        "--kill-every",
        "2s",
        "--json",
        "--url",
        &url,
        "--server",
        &command,
    ];
    let ended = run(&mut stress_test(&chaos));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = ended.json();
    assert!(report["kills"].as_u64().unwrap() >= 1, "{report}");
    assert!(report["retries"]["lost"].as_u64().unwrap() >= 1, "{report}");
    assert!(TcpStream::connect(address).is_err(), "the server was stopped");
}

#[test]
fn whoever_insists_on_the_end_leaves_no_server_behind() {
    let (state, address) = (tempfile::tempdir().unwrap(), free_port().unwrap());
    let (url, command) = (format!("http://{address}"), command_line(address, state.path()));
    let chaos = ["--chaos", "--kill-every", "1h", "--url", &url, "--server", &command];
    let process = stress_test(&chaos).spawn().unwrap();
    eventually("the server serves", || TcpStream::connect(address).is_ok());
    signal(&process, "INT");
    signal(&process, "INT");
    let ended = wait(process);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    eventually("the server has ended", || TcpStream::connect(address).is_err());
}

#[test]
fn a_test_that_cannot_be_carried_out_says_why() {
    let ended = run(&mut stress_test(&["--preset", "smoke", "--url", "http://127.0.0.1:1"]));
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("cannot be reached"), "{}", ended.stderr);

    let ended = run(&mut stress_test(&["--chaos", "--url", "http://127.0.0.1:1", "--server", "false"]));
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("ended before it served"), "{}", ended.stderr);

    let (state, address) = (tempfile::tempdir().unwrap(), free_port().unwrap());
    let (url, command) = (format!("http://{address}"), command_line(address, state.path()));
    let chaos = ["--chaos", "--for", "1s", "--kill-every", "1000s", "--url", &url, "--server", &command];
    let ended = run(&mut stress_test(&chaos));
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("never killed, so nothing is proven"), "{}", ended.stderr);

    let server = Server::start();
    let ended = run(&mut stress_test(&["--chaos", "--server", "false", "--url", &server.url("")]));
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("something serves at this address already"), "{}", ended.stderr);

    for arguments in [["--duplicates", "1.5"], ["--kill-every", "1s"], ["--for", "1s"], ["--rate", "0"]] {
        assert_eq!(run(&mut stress_test(&arguments)).code, Some(2), "{arguments:?}");
    }
}
