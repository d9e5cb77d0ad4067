//! The console in a real browser, Chromium by playwright: what it shows, what can be done with it, how it copes.
//!
//! The browser and its driver come from other registries, so these tests are ignored unless asked for:
//!
//!     tests/clients/install && cargo test --test console -- --ignored
//!
//! Pictures of what was seen are in target/console.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on has failed

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use sekali_harness::Server;
use sekali_harness::deployment::repository;

/// Runs a scenario of console.mjs against a server, and stops and starts the server when the scenario asks for it.
#[track_caller]
fn run(scenario: &str, server: &mut Server) {
    let library = repository().join("target/clients/node_modules/playwright-core");
    assert!(library.exists(), "{} is missing: run tests/clients/install", library.display());
    // Beside its libraries, because Node.js looks for them from the script's directory up.
    let script = repository().join("target/clients").join(format!("console-{scenario}.mjs"));
    std::fs::copy(repository().join("tests/console/console.mjs"), &script).unwrap();
    let mut node = Command::new("node")
        .args([script.as_os_str(), scenario.as_ref(), server.url("").as_ref()])
        .env("PICTURES", repository().join("target/console"))
        .env("HOOKS", repository().join("tests/console/hooks.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node.js is installed by tests/clients/install");
    let mut answers = node.stdin.take().unwrap();
    let mut requests = BufReader::new(node.stdout.take().unwrap()).lines();
    let mut done = || answers.write_all(b"done\n").unwrap();
    while let Some(request) = requests.next() {
        assert_eq!(request.unwrap(), "stop");
        server.crash_while(|_| {
            done();
            assert_eq!(requests.next().unwrap().unwrap(), "start");
        });
        done();
    }
    assert!(node.wait().unwrap().success(), "{scenario}: see above");
}

macro_rules! scenarios {
    ($($name:ident: $scenario:literal, $server:expr;)*) => {
        $(
            #[test]
            #[ignore = "needs the browser that tests/clients/install installs"]
            fn $name() {
                let mut server = $server;
                run($scenario, &mut server);
                server.assert_books_balance();
            }
        )*
    };
}

scenarios! {
    the_first_look_is_complete_in_light_and_dark_and_at_360_pixels: "first_load", Server::start();
    an_event_a_duplicate_and_a_conflict_are_seen_and_explained: "publish_duplicate_conflict", Server::start();
    a_hidden_page_holds_no_connection_and_goes_on_when_it_is_seen: "hidden", Server::start();
    a_name_that_is_not_known_is_told_in_a_sentence: "unknown_host", Server::start();
    what_is_copied_runs_in_a_shell: "copy", Server::start();
    a_fault_of_the_service_is_shown_and_passes: "faults", Server::start();
    an_event_arrives_within_a_second_and_nothing_moves_while_one_reads: "arrivals", Server::start();
    events_are_found_paged_and_linked: "find_and_page", Server::start();
    an_event_is_erased_with_the_token_for_it: "erase", Server::with_variables(&[("admin_token", "admin")]);
    a_restart_of_the_service_is_shown_and_survived: "restart", Server::start();
    many_topics_are_searched_by_name: "many_topics", Server::start();
    demo_traffic_moves_the_page: "demo", Server::start();
    the_chart_begins_with_the_last_day: "history", Server::start();
    a_sample_of_a_provider_is_stored_its_redelivery_dropped_and_a_forged_one_refused: "receivers",
        Server::with_variables(&[("hooks", &hooks_and_another())]);
    a_consumer_is_made_moved_and_deleted_and_what_failed_is_tried_again_or_dropped: "consumers", Server::start();
    ten_thousand_arrivals_make_no_long_task: "flood", Server::start();
}

/// A receiver of each kind.
fn hooks() -> String {
    std::fs::read_to_string(repository().join("tests/console/hooks.json")).unwrap()
}

/// A receiver of each kind, and one more to which nothing is delivered.
fn hooks_and_another() -> String {
    let mut hooks: serde_json::Value = serde_json::from_str(&hooks()).unwrap();
    hooks["typed"] = serde_json::json!({"kind": "github", "secrets": ["s"]});
    hooks.to_string()
}

#[test]
#[ignore = "needs Node.js, which tests/clients/install installs"]
fn a_sample_of_each_kind_of_receiver_is_stored_once_and_a_forged_one_is_refused() {
    let server = Server::with_variables(&[("hooks", &hooks())]);
    let directory = repository().join("tests/console");
    let mut node = Command::new("node");
    node.arg(directory.join("samples.mjs")).arg(server.url("")).arg(directory.join("hooks.json"));
    assert!(node.status().expect("Node.js is installed by tests/clients/install").success(), "see above");
    server.assert_books_balance();
}

#[test]
#[ignore = "needs the browser that tests/clients/install installs"]
fn tokens_are_asked_for_and_kept_for_the_tab() {
    let mut server = Server::with_variables(&[
        ("read_token", "reader"),
        ("publish_token", "writer"),
        ("hooks", r#"{"any": {"kind": "open"}}"#),
    ]);
    run("tokens", &mut server);
}
