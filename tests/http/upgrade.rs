//! A new version in the place of an old one: the socket that outlives both, and what is done before the old one ends.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sekali_harness::activation::Socket;
use sekali_harness::deployment::{Setup, repository};
use sekali_harness::host::Host;
use sekali_harness::process::Signal;
use sekali_harness::{Server, is_skipped_on_postgres, is_skipped_on_spin};
use serde_json::{Value, json};

/// Clients that publish all the time, each event on a connection of its own.
const CLIENTS: usize = 4;

#[test]
fn no_request_fails_while_a_host_behind_systemds_socket_restarts() {
    if is_skipped_on_spin("it takes no socket of systemd")
        || is_skipped_on_postgres("its database has no address")
    {
        return;
    }
    let socket = Socket::listen().unwrap();
    let url = format!("http://{}", socket.address().unwrap());
    let mut setup = Setup::from_environment().unwrap();
    setup.starter = socket.starter();
    let state = tempfile::tempdir().unwrap();
    let (mut host, address) = setup.serve_at(state.path()).unwrap();
    assert_eq!(address, socket.address().unwrap());
    let is_over = AtomicBool::new(false);
    let sent: usize = thread::scope(|scope| {
        let (url, is_over) = (&url, &is_over);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let ids = (0..).take_while(|_| !is_over.load(Ordering::Relaxed));
                    ids.map(|n| publish(url, &format!("{client}-{n}"))).count()
                })
            })
            .collect();
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(500));
            host.signal(Signal::TERM);
            assert!(host.wait().unwrap().success());
            // Nobody serves now, for longer than a client takes to connect.
            thread::sleep(Duration::from_millis(300));
            host = setup.serve_at(state.path()).unwrap().0;
        }
        thread::sleep(Duration::from_millis(500));
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    let stats = ureq::get(format!("{url}/stats")).call().unwrap().body_mut().read_json::<Value>().unwrap();
    assert_eq!((&stats["received"], &stats["duplicate_dropped"]), (&json!(sent), &json!(0)));
    assert!(sent > 100, "{sent} events");
}

/// Publishes an event by a connection of its own, which neither is refused nor breaks.
fn publish(url: &str, id: &str) {
    let agent: ureq::Agent = ureq::Agent::config_builder().max_idle_connections(0).build().into();
    let request = agent.post(format!("{url}/publish")).content_type("application/json");
    let answer = request.send(json!({"topic": "t", "event_id": id}).to_string());
    assert_eq!(answer.unwrap().status(), 200, "{id}");
}

/// The files in a directory and below.
fn files(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path.display().to_string()] })
        .collect();
    files.sort();
    files
}

#[test]
fn a_check_compiles_for_the_next_start_and_touches_no_state() {
    let Ok(Host::Sekali(program)) = Host::from_environment() else { return };
    let directory = tempfile::tempdir().unwrap();
    let [cache, state] = ["cache", "state"].map(|name| directory.path().join(name));
    let mut check = Command::new(program);
    check.args(["--check", "--from"]).arg(repository().join("spin.toml")).arg("--state-dir").arg(&state);
    check.env("XDG_CACHE_HOME", &cache);
    let checked = check.output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(!state.exists());
    let compiled = || files(&cache).into_iter().filter(|file| !file.ends_with(".stats")).collect::<Vec<_>>();
    let before = compiled();
    assert!(before.len() >= 2, "two components: {before:?}");
    let setup = Setup { cache: Some(cache.clone()), ..Setup::from_environment().unwrap() };
    drop(setup.start().unwrap());
    assert_eq!(compiled(), before, "the start compiles nothing");
    let refused = check.args(["--variable", "misspelt=1"]).output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("misspelt"), "{why}");
}

#[test]
fn what_came_since_a_backup_can_be_taken_along_to_the_program_before() {
    let (newer, older) = (Server::start(), Server::start());
    let event = |n: i64| json!({"topic": "t", "event_id": n.to_string(), "source": "s", "payload": {"n": n}});
    newer.publish(&(1..=5).map(event).collect());
    older.publish(&(1..=3).map(event).collect());
    let lines = newer.send("GET", "/events?after=3", &[("accept", "application/x-ndjson")], b"");
    let taken = older.publish_as("application/x-ndjson", &lines.text).json();
    assert_eq!((&taken["stored"], &taken["duplicates"]), (&json!(2), &json!(0)));
    let without_receipt = |server: &Server| -> Vec<_> {
        let own = ["topic", "event_id", "timestamp", "source", "payload"];
        server.events().iter().map(|event| own.map(|field| event[field].clone())).collect()
    };
    assert_eq!(without_receipt(&newer)[3..], without_receipt(&older)[3..]);
}
