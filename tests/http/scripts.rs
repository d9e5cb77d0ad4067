//! `scripts/up`, as a user calls it.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

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

/// The bytes of an instance's memory that Spin keeps when it has ended.
const KEPT: &str = "SPIN_WASMTIME_LINEAR_MEMORY_KEEP_RESIDENT";

/// The end of `scripts/up --spin` where the Spin on PATH has this version, and only prints how it was called.
fn up_on_spin(version: &str, options: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let spin = directory.path().join("spin");
    let program = format!(
        "#!/bin/sh\ncase $1 in --version) echo '{version}' ;; *) echo \"ran: $*\"; echo kept ${KEPT} ;; esac\n"
    );
    fs::write(&spin, program).unwrap();
    fs::set_permissions(&spin, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(repository().join("scripts/up"));
    command
        .args(["--spin", "--state-dir", "state"])
        .args(options)
        .current_dir(directory.path())
        .env("PATH", path)
        .env_remove(KEPT);
    command.output().unwrap()
}

#[test]
fn a_spin_that_cannot_run_the_component_is_refused_before_anything_is_done() {
    for version in ["spin 4.0.2 (1234567 2026-05-01)", "spin 4.0.0", "spin 3.10.1 (1234567 2025-05-01)"] {
        let ended = up_on_spin(version, &[]);
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{version}: {errors}");
        assert!(
            errors.contains("cannot run this component: install Spin 4.1 or newer"),
            "{version}: {errors}"
        );
        assert!(ended.stdout.is_empty(), "{version} was started");
        assert_eq!(errors.lines().count(), 1, "{version}: {errors}");
    }
}

#[test]
fn a_newer_spin_is_started_with_the_stores_in_the_state_directory() {
    for version in ["spin 4.1.0 (1234567 2026-07-01)", "spin 4.10.0", "spin 10.0.0"] {
        let ended = up_on_spin(version, &[]);
        let output = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "{version}: {}", String::from_utf8_lossy(&ended.stderr));
        let options = "--max-instance-reuse-count 1000000 --idle-instance-timeout 60s";
        let begins = format!("ran: up {options} --runtime-config-file /");
        assert!(output.starts_with(&begins), "{version}: {output}");
        assert!(output.contains("/state/runtime-config.toml --state-dir /"), "{version}: {output}");
        assert!(output.ends_with("kept 0\n"), "{version}: {output}");
    }
    let given = ["--idle-instance-timeout=5s", "--max-instance-reuse-count", "9"];
    let output = String::from_utf8(up_on_spin("spin 4.1.0", &given).stdout).unwrap();
    assert!(output.starts_with("ran: up --runtime-config-file /"), "{output}");
    assert!(output.contains(&format!("{}\n", given.join(" "))), "{output}");
}
