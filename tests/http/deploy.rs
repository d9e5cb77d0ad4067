//! The files of deploy/, by the programs that read them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use sekali_harness::deployment::repository;
use sekali_harness::host::Host;
use sekali_harness::server::tell_skipped;
use sekali_harness::{Server, is_skipped_on_postgres};
use serde_json::json;

/// A file of the repository.
fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let directory = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").arg("--man=no");
    for entry in fs::read_dir(repository().join("deploy")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if ![".service", ".socket", ".timer"].iter().any(|kind| name.ends_with(kind)) {
            continue;
        }
        // It wants programs that are there.
        let unit = fs::read_to_string(&path).unwrap();
        let programs = ["sekali-host", "sekali-backup", "publisher"]
            .map(|name| format!("/usr/local/lib/sekali/{name} "));
        let unit = programs.iter().fold(unit, |unit, program| unit.replace(program, "/bin/true "));
        fs::write(directory.path().join(name), unit).unwrap();
        verify.arg(directory.path().join(name));
    }
    let Ok(verified) = verify.output() else { return tell_skipped("here", "there is no systemd-analyze") };
    let found = String::from_utf8(verified.stderr).unwrap();
    assert!(verified.status.success() && found.is_empty(), "{found}");
}

#[test]
fn a_host_is_started_again_for_as_long_as_it_takes_and_has_time_to_finish() {
    let unit = read("deploy/sekali.service");
    // Without the last one systemd kills it for a call that its filter refuses, of which it makes one at each start.
    for line in
        ["Restart=always", "StartLimitIntervalSec=0", "TimeoutStopSec=30", "SystemCallErrorNumber=EPERM"]
    {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    let composition = read("deploy/compose.yaml");
    let hosts = composition.split_once("x-host: &host\n").unwrap().1.split_once("\nservices:").unwrap().0;
    assert!(
        hosts.contains("\n  stop_grace_period: 30s\n") && hosts.contains("\n  restart: unless-stopped\n")
    );
}

#[test]
fn the_image_is_built_from_the_sources_and_nothing_else() {
    let rules = read(".dockerignore");
    let mut rules = rules.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(rules.next(), Some("*"), "nothing is taken that is not named");
    let taken: Vec<_> = rules.filter_map(|rule| rule.strip_prefix('!')).collect();
    let workspace = read("Cargo.toml");
    let members = workspace.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    let members = members.split(',').map(|member| member.trim().trim_matches('"'));
    for path in members.chain(["Cargo.lock", "spin.toml", "spin.postgres.toml", "src", ".cargo"]) {
        assert!(
            taken.contains(&path.split('/').next().unwrap()),
            "{path}, which the build reads, is left out"
        );
    }
    for path in &taken {
        assert!(repository().join(path).exists(), "{path}");
        assert!(!read(".gitignore").lines().any(|ignored| ignored == format!("/{path}")), "{path}");
    }
    // A volume that no file was copied to belongs to root, and the host runs as nonroot.
    let image = read("deploy/Containerfile");
    let (before, _) = image.split_once("\nVOLUME /data\n").unwrap();
    assert!(before.ends_with("\nCOPY --from=build --chown=65532:65532 /state /data"), "{before}");
}

#[test]
fn backups_are_rotated_after_one_that_succeeded_and_kept_when_they_fail() {
    if is_skipped_on_postgres("its backup is that of the server") {
        return;
    }
    let server = Server::start();
    server.publish(&json!({"topic": "t", "event_id": "1"}));
    let directory = tempfile::tempdir().unwrap();
    let Host::Sekali(host) = Host::own().unwrap() else { unreachable!("it is our own") };
    let names = ["events-2026-01-01T030000Z.db", "events-2026-01-02T030000Z.db", "notes.txt"];
    for name in names {
        fs::write(directory.path().join(name), "old").unwrap();
    }
    let run = |state: &Path| {
        let mut script = Command::new(repository().join("deploy/sekali-backup"));
        script.arg(state).arg(directory.path()).arg("2").env("SEKALI_HOST", &host);
        let status = script.output().unwrap().status;
        let mut found: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        (status.success(), found)
    };
    let (is_made, found) = run(&directory.path().join("no-state"));
    assert!(!is_made);
    assert_eq!(found, names);
    let (is_made, found) = run(server.database().parent().unwrap());
    assert!(is_made);
    let [second, new, notes] = &found[..] else { panic!("{found:?}") };
    assert_eq!([second.as_str(), notes.as_str()], [names[1], names[2]]);
    let new = directory.path().join(new);
    assert_eq!(new.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let copy = rusqlite::Connection::open(new).unwrap();
    assert_eq!(copy.query_row("select count(*) from events", [], |row| row.get::<_, i64>(0)), Ok(1));
}
