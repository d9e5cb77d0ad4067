//! `scripts/up`, `scripts/backup` and `scripts/restore`, as a user calls them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use sekali_harness::deployment::{Setup, database_in, repository};
use sekali_harness::host::{Host, free_port};
use sekali_harness::process::Process;
use sekali_harness::{Server, eventually, is_skipped_on_postgres, is_skipped_on_spin};
use serde_json::json;

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
    command.args(["--listen", &address.port().to_string(), "--state-dir", "state"]); // a port alone, as people type it
    command.env("SPIN_VARIABLE_ANSWERS", "key-value"); // Spin makes the file when it is first needed
    let mut process = Process::start(command).unwrap();
    process.wait_until_it_listens(address).unwrap();
    let console = format!("console: http://{address}/ ");
    eventually("it says where the console is", || process.log().contains(&console).then_some(()));
    let request = ureq::post(format!("http://{address}/publish")).header("idempotency-key", "k");
    let answer = request.content_type("application/json").send(r#"{"topic":"t","event_id":"1"}"#).unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(stored_in(&directory.path().join("state/events.db")), 1);
    assert!(directory.path().join("state/key-value.db").exists());
}

#[test]
fn every_script_says_how_it_is_used_without_doing_anything() {
    // Those that run a program of their own ask it.
    let own = ["backup", "build", "check", "cluster", "fuzz", "pictures", "release", "restore", "test", "up"];
    let programs = ["bench", "forwarder", "publisher", "stress-test", "torture"];
    for entry in fs::read_dir(repository().join("scripts")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".sh") || programs.contains(&name.as_str()) {
            continue;
        }
        assert!(own.contains(&name.as_str()), "{name} is new");
        let script = repository().join("scripts").join(&name);
        let output = Command::new(script).arg("--help").output().unwrap();
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && help.contains(&format!("scripts/{name}")), "{name}: {help}");
    }
}

#[test]
fn a_script_that_a_test_calls_compiles_nothing_that_a_user_would_compile_again() {
    // Cargo sets it for this test, and ring's build script looks at it.
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some() && std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let shell = ". scripts/toolchain.sh; env";
    let output = Command::new("bash").args(["-c", shell]).current_dir(repository()).output().unwrap();
    let variables = String::from_utf8(output.stdout).unwrap();
    for name in ["CARGO_PKG_NAME", "CARGO_PKG_VERSION", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_LINKS"] {
        assert!(!variables.contains(&format!("\n{name}")), "{name} is set");
    }
    assert!(variables.contains("\nPATH="), "{variables}");
}

#[test]
fn a_build_that_takes_longer_says_what_it_compiles_and_one_that_fails_says_why() {
    let build = |cargo: &str| {
        let shell =
            format!(". scripts/toolchain.sh; cargo() {{ {cargo}; }}; long_build /bin/sh 'the host (x)' -p x");
        let output = Command::new("bash").args(["-c", &shell]).current_dir(repository()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (is_built, said) = build("echo '   Compiling ring v0.17.14 (there)'; sleep 4");
    assert!(
        is_built && said.contains("building the host again: 1 crates in 3 s: Compiling ring\n"),
        "{said}"
    );
    assert_eq!(build("echo '       Fresh ring v0.17.14'"), (true, String::new()), "nothing is compiled");
    let (is_built, said) = build("echo '   Compiling x v1'; echo 'error: no'; false");
    let reason = "error: no\nsekali: the build failed for the reason above\n";
    assert!(!is_built && said == reason, "{said}");
}

/// The bytes of an instance's memory that Spin keeps when it has ended.
const KEPT: &str = "SPIN_WASMTIME_LINEAR_MEMORY_KEEP_RESIDENT";

/// `scripts/up --spin` with its state in `state` of a directory, where the Spin on PATH has a version, and runs `does`
/// when it is called.
fn up_on_a_spin(directory: &Path, version: &str, does: &str) -> Command {
    let spin = directory.join("spin");
    let program = format!("#!/bin/sh\ncase $1 in --version) echo '{version}' ;; *) {does} ;; esac\n");
    fs::write(&spin, program).unwrap();
    fs::set_permissions(&spin, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(repository().join("scripts/up"));
    command.args(["--spin", "--state-dir", "state"]).current_dir(directory).env("PATH", path);
    command
}

/// A Spin that serves nothing until it is ended.
const WAITS: &str = "echo started; exec sleep 60";

/// The end of `scripts/up --spin` on a Spin that only prints how it was called.
fn up_on_spin(version: &str, options: &[&str]) -> Output {
    up_on_spin_in(tempfile::tempdir().unwrap().path(), version, options)
}

/// The same, in a directory.
fn up_on_spin_in(directory: &Path, version: &str, options: &[&str]) -> Output {
    let prints = format!("echo \"ran: $*\"; echo kept ${KEPT}");
    up_on_a_spin(directory, version, &prints).args(options).env_remove(KEPT).output().unwrap()
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
        let begins = "ran: up --from spin.toml --runtime-config-file /";
        assert!(output.starts_with(begins), "{version}: {output}");
        assert!(output.contains("/state/runtime-config.toml --state-dir /"), "{version}: {output}");
        assert!(output.ends_with("kept 0\n"), "{version}: {output}");
    }
    let given = ["--idle-instance-timeout=5s", "--max-instance-reuse-count", "9"];
    let output = String::from_utf8(up_on_spin("spin 4.1.0", &given).stdout).unwrap();
    assert!(output.starts_with("ran: up --from spin.toml --runtime-config-file /"), "{output}");
    assert!(output.contains(&format!("{}\n", given.join(" "))), "{output}");
}

#[test]
fn settings_that_the_component_finds_invalid_end_spin_and_unknown_ones_are_told() {
    let (directory, address) = (tempfile::tempdir().unwrap(), free_port().unwrap());
    let mut command = up_on_a_spin(directory.path(), "spin 4.1.0", WAITS);
    command
        .args(["--listen", &format!("localhost:{}", address.port())])
        .env("SPIN_VARIABLE_PUBLISHTOKEN", "s3cret")
        .env("SPIN_VARIABLE_READ_TOKEN", "s3cret");
    let mut process = Process::start(command).unwrap();
    eventually("it starts Spin", || process.log().contains("started").then_some(()));
    assert!(
        process.log().contains("SPIN_VARIABLE_PUBLISHTOKEN is set and has no effect"),
        "{}",
        process.log()
    );
    // In the place of Spin, which the script waits for. The first connection only looks whether somebody is there.
    let spin = std::net::TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for connection in spin.incoming() {
            let mut connection = connection.unwrap();
            // To the end of the head: what is not read would take the answer away with it.
            let head = BufReader::new(connection.try_clone().unwrap()).lines();
            head.map_while(Result::ok).take_while(|line| !line.is_empty()).count();
            let body = r#"{"status":"ok","invalid_settings":["variable max_topics must be a whole number from 1 on"]}"#;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    eventually("Spin is ended", || process.exit_status().unwrap());
    let log = process.log();
    assert!(
        log.contains("settings are invalid, so nothing is served: [\"variable max_topics must be"),
        "{log}"
    );
    assert!(!log.contains("s3cret") && !log.contains("READ_TOKEN is set and has"), "{log}");
}

#[test]
fn a_second_spin_on_a_state_directory_is_refused_and_told_who_uses_it() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = up_on_a_spin(directory.path(), "spin 4.1.0", WAITS);
        command.args(["--listen", &free_port().unwrap().to_string()]);
        Process::start(command).unwrap()
    };
    let first = start();
    eventually("it starts Spin", || first.log().contains("started").then_some(()));
    let mut second = start();
    assert!(!second.wait().unwrap().success());
    let expected = format!("in use by process {} (sleep): end it", first.id());
    assert!(second.log().contains(&expected) && !second.log().contains("started"), "{}", second.log());
    assert_eq!(mode(&directory.path().join("state")), 0o700);
}

/// The end of `scripts/backup`, called in `directory`.
fn back_up(directory: &Path, arguments: &[&str]) -> Output {
    run("backup", directory, arguments)
}

/// The end of a script, called in `directory`.
fn run(script: &str, directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(repository().join("scripts").join(script));
    command.args(arguments).current_dir(directory).output().unwrap()
}

fn stored_in(database: &Path) -> i64 {
    let database = rusqlite::Connection::open(database).unwrap();
    database.query_row("select count(*) from events", [], |row| row.get(0)).unwrap()
}

/// Asserts that a script fails for a reason.
#[track_caller]
fn refused(script: &str, directory: &Path, arguments: &[&str], reason: &str) {
    let ended = run(script, directory, arguments);
    let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success(), "{arguments:?}: {errors}");
    assert!(errors.contains(reason), "{arguments:?}: {errors}");
}

/// Makes a database that 0.2 has filled: twelve deliveries of eight events, of which five can be read.
fn database_of_0_2(path: &Path) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(path).unwrap();
    let fixture = repository().join("src/store/sqlite/fixtures/schema_31.sql");
    database.execute_batch(&fs::read_to_string(fixture).unwrap()).unwrap();
    database
}

/// Why the tests of backup and restore are skipped on PostgreSQL.
const OF_SQLITE: &str = "PostgreSQL has programs of its own for this";

#[test]
fn a_backup_under_load_has_every_event_that_was_acknowledged_before_and_serves() {
    if is_skipped_on_postgres(OF_SQLITE) {
        return;
    }
    let server = Server::start();
    let acknowledged = AtomicU64::new(0);
    let publish = |server: &Server| {
        let n = acknowledged.load(Relaxed);
        let events: Vec<_> =
            (0..100).map(|i| json!({"topic": "t", "event_id": format!("{n}-{i}")})).collect();
        assert_eq!(server.publish(&json!(events)).status, 200);
        acknowledged.fetch_add(100, Relaxed);
    };
    publish(&server);
    let directory = tempfile::tempdir().unwrap();
    let state = server.database().parent().unwrap().to_str().unwrap().to_owned();
    let is_over = AtomicBool::new(false);
    let (before, after) = std::thread::scope(|scope| {
        let (is_over, publish, server) = (&is_over, &publish, &server);
        let writer = scope.spawn(move || {
            while !is_over.load(Relaxed) {
                publish(server)
            }
        });
        let before = acknowledged.load(Relaxed) as i64;
        let ended = back_up(directory.path(), &["--state-dir", &state, "it's \\ \"a copy\".db"]);
        is_over.store(true, Relaxed);
        writer.join().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{errors}");
        assert!(errors.contains("events up to seq"), "{errors}");
        (before, acknowledged.load(Relaxed) as i64)
    });
    let copy = directory.path().join("it's \\ \"a copy\".db");
    let events = stored_in(&copy);
    assert!(after > before, "nothing was written meanwhile");
    assert!((before..=after).contains(&events) && events % 100 == 0, "{events} of {before} to {after}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the copy is all that is left");

    let restored = tempfile::tempdir().unwrap();
    fs::copy(&copy, database_in(restored.path())).unwrap();
    let (_process, address) = Setup::from_environment().unwrap().serve_at(restored.path()).unwrap();
    let stats = stats_at(address);
    assert_eq!(stats["unique_processed"], events);
    assert_eq!(stats["last_seq"], events);
}

#[test]
fn a_backup_replaces_nothing_and_keeps_nothing_that_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], reason: &str| refused("backup", directory.path(), arguments, reason);
    refused(&[], "<FILE>");
    refused(&["--state-dir", "state", "copy.db"], "there is no");

    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    let database = database_of_0_2(&state.join("events.db"));
    database.execute_batch("update topics set unique_processed = unique_processed - 1").unwrap();
    refused(&["--state-dir", "state", "copy.db"], "holds 5 events, and 3 were counted");
    fs::write(directory.path().join("old.db"), "an older copy").unwrap();
    refused(&["--state-dir", "state", "old.db"], "a backup replaces nothing");
    assert_eq!(fs::read(directory.path().join("old.db")).unwrap(), b"an older copy");
    refused(&["--state-dir", "state", "nowhere/copy.db"], "make it first");

    // A page whose content is lost, and a file of somebody else's.
    drop(database);
    let mut bytes = fs::read(state.join("events.db")).unwrap();
    bytes[4096..8192].fill(0xff);
    fs::write(state.join("events.db"), bytes).unwrap();
    refused(&["--state-dir", "state", "copy.db"], "damaged");
    fs::write(state.join("events.db"), "").unwrap();
    refused(&["--state-dir", "state", "copy.db"], "is no database of Sekali's");

    let mut left: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["old.db", "state"]);
}

/// A server whose state was backed up to `copy.db` in a directory after its first three events, and that has stored two
/// more since.
fn with_a_lost_time() -> (Server, tempfile::TempDir) {
    let server = Server::start();
    let publish = |ids: &[&str]| {
        let events: Vec<_> = ids.iter().map(|id| json!({"topic": "t", "event_id": id})).collect();
        assert_eq!(server.publish(&json!(events)).json()["stored"], ids.len());
    };
    publish(&["1", "2", "3"]);
    let directory = tempfile::tempdir().unwrap();
    let state = server.database().parent().unwrap().to_str().unwrap().to_owned();
    let ended = back_up(directory.path(), &["--state-dir", &state, "copy.db"]);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    publish(&["lost", "4"]);
    (server, directory)
}

#[test]
fn a_restored_store_hides_no_new_event_from_a_cursor_of_the_lost_time() {
    if is_skipped_on_postgres(OF_SQLITE) {
        return;
    }
    let (mut server, directory) = with_a_lost_time();
    let key = [("content-type", "application/json"), ("idempotency-key", "k")];
    let lost = json!({"topic": "t", "event_id": "with a key"}).to_string();
    assert_eq!(server.send("POST", "/publish", &key, lost.as_bytes()).status, 200);
    server.crash_while(|state| {
        let ended = run("restore", directory.path(), &["--state-dir", state.to_str().unwrap(), "copy.db"]);
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && errors.contains("has 3 events"), "{errors}");
        let left = |name: &str| state.join(name).exists();
        let old = ["events.db-wal", "sqlite_db.db-wal", "key-value.db", "sqlite_key_value.db"];
        assert!(!old.into_iter().any(left), "old state is in its place");
    });
    server.assert_books_balance();
    assert_eq!(server.stats()["unique_processed"], 3);
    // Producers deliver again what was lost, also under a key whose answer was saved.
    assert_eq!(server.publish(&json!({"topic": "t", "event_id": "lost"})).json()["stored"], 1);
    let again = server.send("POST", "/publish", &key, lost.as_bytes());
    assert_eq!((again.json()["stored"].as_i64(), again.header("idempotent-replayed")), (Some(1), None));

    // A reader that had all six events gets the new ones, and none twice.
    let first = (1_i64 << 32) + 4;
    let new: Vec<_> =
        server.get("/events?after=6").json().as_array().unwrap().iter().map(|e| e["seq"].clone()).collect();
    assert_eq!(new, [first, first + 1]);
    let page = server.get("/events?after=2&limit=2");
    let seqs: Vec<_> = page.json().as_array().unwrap().iter().map(|event| event["seq"].clone()).collect();
    assert_eq!(seqs, [3, first]);
    assert!(page.header("link").is_some_and(|link| link.contains(&format!("after={first}"))));
    let ahead = server.get(&format!("/events?after={}", first + 2)).problem(409, "cursor-ahead");
    assert_eq!(ahead["last_seq"], first + 1);
    server.assert_books_balance();
}

#[test]
fn a_restore_refuses_a_running_service_and_a_damaged_copy_and_changes_nothing() {
    if is_skipped_on_postgres(OF_SQLITE) {
        return;
    }
    let (server, directory) = with_a_lost_time();
    let state = server.database().parent().unwrap().to_str().unwrap().to_owned();
    let refused = |arguments: &[&str], reason: &str| refused("restore", directory.path(), arguments, reason);
    refused(&[], "<FILE>");
    refused(&["--state-dir", &state, "none.db"], "there is no");
    let follower = server.connect_follower("/events"); // Spin closes a database that no instance uses
    refused(&["--state-dir", &state, "copy.db"], "stop the service first");
    drop(follower);
    assert_eq!(server.stats()["unique_processed"], 5);

    let elsewhere = directory.path().join("state");
    refused(&["--state-dir", "state", "copy.db"], "there is no directory");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("events.db"), "what was there").unwrap();
    let mut bytes = fs::read(directory.path().join("copy.db")).unwrap();
    bytes[4096..8192].fill(0xff);
    fs::write(directory.path().join("damaged.db"), bytes).unwrap();
    refused(&["--state-dir", "state", "damaged.db"], "damaged");
    fs::write(directory.path().join("other.db"), "").unwrap();
    refused(&["--state-dir", "state", "other.db"], "is no database of Sekali's");
    assert_eq!(fs::read(elsewhere.join("events.db")).unwrap(), b"what was there");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1, "nothing is left of the attempts");
}

#[test]
fn a_backup_of_0_2_can_be_restored_and_one_of_a_version_without_a_way_is_refused() {
    if is_skipped_on_postgres(OF_SQLITE) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    for (version, remedy) in [(8, "start version 0.2 on it"), (1000, "use a newer program")] {
        let copy = database_of_0_2(&directory.path().join("other.db"));
        copy.execute("delete from schema_migrations where version > ?1", [version]).unwrap();
        copy.execute("insert or ignore into schema_migrations values (?1, '')", [version]).unwrap();
        drop(copy);
        refused("restore", directory.path(), &["--state-dir", "state", "other.db"], remedy);
        fs::remove_file(directory.path().join("other.db")).unwrap();
    }
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0, "nothing is left of the attempts");

    drop(database_of_0_2(&directory.path().join("copy.db")));
    let ended = run("restore", directory.path(), &["--state-dir", "state", "copy.db"]);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    // Spin, without a runtime config, looks for another name.
    if std::env::var_os("SPIN").is_some() {
        fs::rename(state.join("events.db"), state.join("sqlite_db.db")).unwrap();
    }
    let (_process, address) = Setup::from_environment().unwrap().serve_at(&state).unwrap();
    let stats = stats_at(address);
    assert_eq!((&stats["unique_processed"], &stats["received"]), (&json!(8), &json!(12)));
}

/// What a host serves at an address, in numbers.
fn stats_at(address: std::net::SocketAddr) -> serde_json::Value {
    let mut answer = ureq::get(format!("http://{address}/stats")).call().unwrap();
    serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
}

#[test]
fn the_host_and_its_copies_use_the_same_file_also_one_that_spin_named_and_never_one_of_two() {
    if is_skipped_on_postgres(OF_SQLITE) || is_skipped_on_spin("it has a name of its own") {
        return;
    }
    let (server, directory) = with_a_lost_time();
    assert_eq!(server.database().file_name().unwrap(), "events.db");
    drop(server);
    // An empty directory, in which the service begins with what was restored.
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    let restored = |name: &str| {
        let ended = run("restore", directory.path(), &["--state-dir", "state", "copy.db"]);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let setup = Setup::from_environment().unwrap();
        let (process, address) = setup.serve_at(&state).unwrap();
        assert_eq!(stats_at(address)["unique_processed"], 3);
        drop(process);
        let copy = format!("of {name}");
        let ended = run("backup", directory.path(), &["--state-dir", "state", &copy]);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(stored_in(&directory.path().join(copy)), 3 + 1, "with what is reserved");
        assert!(state.join(name).exists());
    };
    restored("events.db");
    // A restore that was killed where it had moved the old store away and had not put the new one in its place.
    fs::rename(state.join("events.db"), state.join("events.db.restoring")).unwrap();
    let error = Setup::from_environment().unwrap().serve_at(&state).err().unwrap();
    assert!(format!("{error:#}").contains("left of a restore that did not end"), "{error:#}");
    fs::remove_file(directory.path().join("of events.db")).unwrap();
    restored("events.db");
    for name in ["events.db", "key-value.db"] {
        let of_spin = if name == "events.db" { "sqlite_db.db" } else { "sqlite_key_value.db" };
        fs::rename(state.join(name), state.join(of_spin)).unwrap();
    }
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(state.join(format!("events.db{suffix}")));
    }
    restored("sqlite_db.db");
    assert!(!state.join("events.db").exists(), "a store keeps its name");

    // Spin is told the name that is there.
    let configured = |name: &str| {
        let ended = up_on_spin_in(directory.path(), "spin 4.1.0", &[]);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let config = fs::read_to_string(state.join("runtime-config.toml")).unwrap();
        assert!(config.contains(&format!("/state/{name}")), "{config}");
    };
    configured("sqlite_db.db");
    configured("sqlite_key_value.db");

    fs::copy(directory.path().join("copy.db"), state.join("events.db")).unwrap();
    let ended = up_on_spin_in(directory.path(), "spin 4.1.0", &[]);
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && errors.contains("has events.db and sqlite_db.db"), "{errors}");
    let both = "has a file sqlite_db.db, and events.db is to be used";
    refused("backup", directory.path(), &["--state-dir", "state", "another.db"], both);
    refused("restore", directory.path(), &["--state-dir", "state", "copy.db"], both);
    let error = Setup::from_environment().unwrap().serve_at(&state).err().unwrap();
    assert!(format!("{error:#}").contains(both), "{error:#}");
    // Also where the runtime config names one of them.
    let mut setup = Setup::from_environment().unwrap();
    let config = directory.path().join("runtime-config.toml");
    fs::write(&config, "[sqlite_database.default]\ntype = \"spin\"\npath = \"state/events.db\"\n").unwrap();
    setup.arguments = vec!["--runtime-config-file".into(), config.display().to_string()];
    let error = setup.serve_at(&state).err().unwrap();
    assert!(format!("{error:#}").contains(both), "{error:#}");
}

#[test]
fn what_is_restored_belongs_to_the_owner_of_the_directory_and_to_nobody_else() {
    if is_skipped_on_postgres(OF_SQLITE) {
        return;
    }
    let (server, directory) = with_a_lost_time();
    drop(server);
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o750)).unwrap();
    // Only root can give it to another user.
    let _ = chown(&state, Some(65534), Some(65534));
    let owner = |path: &Path| {
        let metadata = fs::metadata(path).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o777)
    };
    let (uid, gid, mode) = owner(&state);
    for attempt in 0..2 {
        let ended = run("restore", directory.path(), &["--state-dir", "state", "copy.db"]);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(owner(&state), (uid, gid, mode), "the directory is as it was");
        assert_eq!(owner(&state.join("events.db")), (uid, gid, 0o600));
        let replaced = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
        let replaced: Vec<_> = replaced.filter(|path| path.is_dir()).collect();
        assert_eq!(replaced.len(), attempt);
        for path in replaced {
            assert_eq!(owner(&path), (uid, gid, 0o700));
        }
    }
    assert_eq!(owner(&directory.path().join("copy.db")).2, 0o600, "a backup is its owner's");
}

#[test]
fn a_backup_of_a_directory_of_postgres_names_pg_dump() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("state/postgres/data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("PG_VERSION"), "15\n").unwrap();
    fs::write(data.join("postmaster.pid"), "12\n/data\n0\n54321\n").unwrap();
    let command = "pg_dump --format=custom --file=FILE --dbname=postgres://sekali@127.0.0.1:54321/postgres";
    refused("backup", directory.path(), &["--state-dir", "state", "copy.db"], command);
    assert!(!directory.path().join("copy.db").exists());
}

/// The permissions of a file or directory.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// `scripts/up` at an address, with its state in `state` of a directory, where everything may be read by everybody but for
/// what the script does about it.
fn up_openly(directory: &Path, address: std::net::SocketAddr, options: &[&str]) -> Process {
    let mut command = Command::new("sh");
    let script = repository().join("scripts/up");
    command.args(["-c", "umask 000; exec \"$@\"", "sh"]).arg(script).args([
        "--state-dir",
        "state",
        "--listen",
    ]);
    command.arg(address.to_string()).args(options).current_dir(directory).env_remove("DATABASE_URL");
    Process::start(command).unwrap()
}

/// Waits until a service answers, and publishes an event.
fn publish_one(process: &mut Process, address: std::net::SocketAddr, id: &str) {
    let body = json!({"topic": "t", "event_id": id}).to_string();
    let publish =
        || ureq::post(format!("http://{address}/publish")).content_type("application/json").send(&body);
    process.wait_until(|_| publish().ok()).unwrap();
}

/// How a second `scripts/up` on the same state ends, in words.
fn second_up(directory: &Path, options: &[&str]) -> String {
    let mut process = up_openly(directory, free_port().unwrap(), options);
    assert!(!process.wait().unwrap().success(), "it is not refused");
    process.log()
}

#[test]
fn a_second_service_on_a_state_directory_is_refused_and_told_who_uses_it() {
    if is_skipped_on_spin("the script starts sekali-host here") {
        return;
    }
    let (directory, address) = (tempfile::tempdir().unwrap(), free_port().unwrap());
    let mut process = up_openly(directory.path(), address, &[]);
    publish_one(&mut process, address, "1");
    let words = second_up(directory.path(), &[]);
    let user = format!("in use by process {} (sekali-host): end it, or name another", process.id());
    assert!(words.contains(&user) && !words.contains("Serving"), "{words}");

    let state = directory.path().join("state");
    assert_eq!(mode(&state), 0o700);
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        let is_secret = path.file_name().unwrap() != "runtime-config.toml";
        assert!(!is_secret || mode(&path) == 0o600, "{} is {:o}", path.display(), mode(&path));
    }
    process.kill();
    let mut process = up_openly(directory.path(), address, &[]);
    publish_one(&mut process, address, "2");
    assert_eq!(stats_at(address)["unique_processed"], 2, "after a crash, nobody uses it");
}

#[test]
fn a_service_on_a_postgres_of_its_own_comes_again_after_a_crash_and_shares_it_with_nobody() {
    if is_skipped_on_spin("the script starts sekali-host here") {
        return;
    }
    let (directory, address) = (tempfile::tempdir().unwrap(), free_port().unwrap());
    // As root, PostgreSQL is another user.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let own = ["--store", "postgres"];
    let mut process = up_openly(directory.path(), address, &own);
    publish_one(&mut process, address, "1");
    let words = second_up(directory.path(), &own);
    assert!(words.contains("/postgres is in use by process"), "{words}");
    assert!(words.contains("scripts/up): end it") || words.contains("(sekali-host): end it"), "{words}");
    publish_one(&mut process, address, "2");

    let server = directory.path().join("state/postgres/data/postmaster.pid");
    process.kill();
    let left = fs::read_to_string(&server).unwrap();
    let id = left.lines().next().unwrap();
    assert!(Path::new("/proc").join(id).exists(), "the PostgreSQL of a killed script has ended by itself");
    let mut process = up_openly(directory.path(), address, &own);
    publish_one(&mut process, address, "3");
    assert_eq!(stats_at(address)["unique_processed"], 3);
    process.signal(sekali_harness::process::Signal::TERM);
    process.wait().unwrap();
    assert!(!server.exists(), "the script ended without its PostgreSQL: {}", process.log());
}

#[test]
fn a_store_that_belongs_to_another_user_is_read_and_is_not_ready() {
    if is_skipped_on_postgres(OF_SQLITE) || is_skipped_on_spin("the test starts a host as another user") {
        return;
    }
    let (server, directory) = with_a_lost_time();
    drop(server);
    // Another user may not reach the repository, so all that is needed is copied.
    let root = directory.path();
    let is_root = fs::metadata(root).unwrap().uid() == 0;
    let components = "target/wasm32-wasip2/component";
    fs::create_dir_all(root.join(components)).unwrap();
    fs::create_dir(root.join("state")).unwrap();
    let host = Host::own().unwrap();
    let Host::Sekali(program) = &host else { panic!("it is another host") };
    fs::copy(program, root.join("sekali-host")).unwrap();
    for file in
        ["spin.toml", &format!("{components}/sekali.wasm"), &format!("{components}/sekali_pages.wasm")]
    {
        fs::copy(repository().join(file), root.join(file)).unwrap();
    }
    fs::rename(root.join("copy.db"), root.join("state/events.db")).unwrap();
    for (path, mode) in [("", 0o755), ("state", 0o777), ("state/events.db", 0o444)] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = Command::new(if is_root { "setpriv" } else { "env" });
    if is_root {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    let address = free_port().unwrap();
    command.arg(root.join("sekali-host")).args(["--state-dir", "state", "--listen", &address.to_string()]);
    command.current_dir(root).env("HOME", root);
    let mut process = Process::start(command).unwrap();
    let get = |path: &str| {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut answer = agent.get(format!("http://{address}{path}")).call().ok()?;
        Some((answer.status().as_u16(), answer.body_mut().read_to_string().unwrap()))
    };
    let (status, text) = process.wait_until(|_| get("/readyz")).unwrap();
    assert!(status == 503 && text.contains("the database cannot be written"), "{status} {text}");
    assert_eq!(get("/events").unwrap().0, 200, "{}", process.log());
    assert_eq!(get("/healthz").unwrap().0, 200);
}
