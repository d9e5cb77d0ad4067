//! The benchmark of the stores, as an operator runs it, but small.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::fs;
use std::process::Command;

use sekali_harness::deployment::Store;
use sekali_harness::server::tell_skipped;

/// What the report of a run says.
fn report(arguments: &[&str]) -> String {
    let output = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekali-bench"));
    let run = command.args(arguments).arg("--small").arg("--output").arg(output.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{printed}");
    fs::read_to_string(output.path().join("bench.md")).unwrap()
}

fn is_postgres() -> bool {
    Store::from_environment().unwrap() == Store::Postgres
}

#[test]
fn every_part_has_its_figures_and_nothing_fails() {
    let (only, store) = if is_postgres() { ("on postgres", "PostgreSQL") } else { ("on sqlite", "SQLite") };
    let report = report(&["--stores", "--only", only]);
    for part in ["keys", "topics", "erasure", "readers", "retention", "bytes"] {
        let begin = format!("\n| {part} on {store}, ");
        assert!(report.contains(&begin), "{part} is missing: {report}");
    }
    assert!(!report.contains("| failed |") && !report.contains("NaN") && !report.contains("inf"), "{report}");
}

#[test]
fn partitions_are_made_and_measured_beside_one() {
    if !is_postgres() {
        return tell_skipped("on SQLite", "partitions are PostgreSQL's");
    }
    let report = report(&["--partitions", "3"]);
    assert!(report.contains("| 3 partitions, GET of one old event, 16 clients |"), "{report}");
    assert!(
        report.contains("| single events, 64 clients, 5 % old duplicates: 3 partitions / one"),
        "{report}"
    );
    assert!(!report.contains("| failed |") && !report.contains("NaN") && !report.contains("inf"), "{report}");
}
