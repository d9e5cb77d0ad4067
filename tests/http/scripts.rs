//! `scripts/up`, as a user calls it.

use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use sekali_harness::deployment::repository;
use sekali_harness::eventually;
use sekali_harness::host::free_port;
use sekali_harness::process::Process;

/// `scripts/up` on the host under test, called in `directory`.
fn up(directory: &Path) -> Command {
    let mut command = Command::new(repository().join("scripts/up"));
    command.current_dir(directory);
    if let Some(spin) = std::env::var_os("SPIN") {
        let path = std::env::var("PATH").unwrap();
        symlink(spin, directory.join("spin")).unwrap();
        command.arg("--spin").env("PATH", format!("{}:{path}", directory.display()));
    }
    command
}

#[test]
fn state_dir_moves_both_stores() {
    let (directory, address) = (tempfile::tempdir().unwrap(), free_port().unwrap());
    let mut command = up(directory.path());
    command.args(["--listen", &address.to_string(), "--state-dir", "state"]);
    let mut process = Process::start(command).unwrap();
    eventually("scripts/up serves", || {
        assert!(process.exit_status().unwrap().is_none(), "it ended{}", process.last_words());
        TcpStream::connect(address).ok()
    });
    let request = ureq::post(format!("http://{address}/publish")).header("idempotency-key", "k");
    let answer = request.content_type("application/json").send(r#"{"topic":"t","event_id":"1"}"#).unwrap();
    assert_eq!(answer.status(), 200);
    let database = rusqlite::Connection::open(directory.path().join("state/events.db")).unwrap();
    let events: i64 = database.query_row("select count(*) from events", [], |row| row.get(0)).unwrap();
    assert_eq!(events, 1);
    assert!(directory.path().join("state/key-value.db").exists());
}
