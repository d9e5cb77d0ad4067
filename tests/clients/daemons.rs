//! docs/INTEGRATIONS.md, rsyslog and syslog-ng: its configurations ship a file that grows, to a server that is killed
//! meanwhile. Only the paths and the port are others. With ids each line is there once; without, equal ones may be merged.
//!
//! With `SEKALI_LOG` the lines are those of that file, and the server is killed ten times.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sekali_harness::Server;

use crate::shippers::{program, with};
use crate::{installed, run};

/// The file of the configurations.
const LOG: &str = "/var/log/shop.log";

/// The directory of rsyslog's state.
const SPOOL: &str = "/var/spool/rsyslog";

/// The log that is shipped, without line ends.
fn lines() -> Vec<String> {
    match std::env::var("SEKALI_LOG") {
        Ok(path) => fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect(),
        Err(_) => generated(),
    }
}

/// Lines of which each is there twice: equal lines are two events.
fn generated() -> Vec<String> {
    (0..5_000).map(|n| format!("line {} <\"é\\>", n / 2)).collect()
}

/// A daemon of Debian's that ships [`LOG`], with its configuration and state in a directory. It is killed on drop.
struct Daemon {
    process: Child,
    directory: tempfile::TempDir,
}

impl Daemon {
    /// Starts a daemon by its configuration in the documentation, which says `localhost:3000`.
    fn start(configuration: &str, server: &Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        fs::write(path("shop.log"), "").unwrap();
        let configuration = with(configuration, "localhost:3000", &server.address().to_string());
        let configuration = with(&configuration, LOG, &path("shop.log"));
        let is_rsyslog = configuration.contains("omelasticsearch");
        let configuration = configuration.replace(SPOOL, &directory.path().display().to_string());
        fs::write(path("conf"), configuration).unwrap();
        let shippers = installed("shippers");
        let mut command = if is_rsyslog {
            let mut rsyslog = Command::new(shippers.join("usr/sbin/rsyslogd"));
            rsyslog.arg("-n").args(["-f", &path("conf"), "-i", &path("pid")]);
            rsyslog.arg("-M").arg(shippers.join("modules/rsyslog"));
            rsyslog
        } else {
            let mut syslog_ng = Command::new(shippers.join("usr/sbin/syslog-ng"));
            syslog_ng.args([
                "--foreground",
                "--no-caps",
                "--cfgfile",
                &path("conf"),
                "--pidfile",
                &path("pid"),
            ]);
            syslog_ng.args(["--persist-file", &path("persist"), "--control", &path("control")]);
            syslog_ng.arg("--module-path").arg(shippers.join("modules/syslog-ng"));
            syslog_ng
        };
        let output = File::create(path("output")).unwrap();
        command.current_dir(directory.path()).env("LD_LIBRARY_PATH", shippers.join("libraries"));
        command.env("NO_PROXY", "127.0.0.1").stdout(output.try_clone().unwrap()).stderr(output);
        Self { process: command.stdin(Stdio::null()).spawn().unwrap(), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Adds lines to the log, at a pace that takes about a second for each `pace` of them.
    fn log(&self, lines: &[String], pace: usize) {
        let mut log = File::options().append(true).open(self.path("shop.log")).unwrap();
        for some in lines.chunks(pace.div_ceil(50)) {
            let text: String = some.iter().map(|line| format!("{line}\n")).collect();
            log.write_all(text.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the server has so many events, or nothing new for ten seconds, and ends the daemon in order.
    fn end(mut self, server: &Server, count: usize) -> tempfile::TempDir {
        wait_for(server, count);
        run(Command::new("kill").arg(self.process.id().to_string()));
        self.process.wait().unwrap();
        std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Waits until the server has so many events, or nothing new for ten seconds.
fn wait_for(server: &Server, count: usize) {
    let (mut last, mut since) = (0, Instant::now());
    while last < count && since.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(100));
        let now = usize::try_from(server.stats()["unique_processed"].as_u64().unwrap()).unwrap();
        if now > last {
            (last, since) = (now, Instant::now());
        }
    }
}

/// How often the server has each line more than the log has it: less than 0 is a loss, more is a double.
fn differences(server: &Server, lines: &[String]) -> Vec<i64> {
    let mut times = BTreeMap::<String, i64>::new();
    for line in lines {
        *times.entry(line.clone()).or_default() -= 1;
    }
    for event in server.events() {
        *times.entry(event["payload"]["message"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    times.into_values().filter(|difference| *difference != 0).collect()
}

/// Ships the log, killing the server meanwhile. Nothing of it is doubled, and nothing lost, but for equal lines that are
/// merged: returns how many.
#[track_caller]
fn assert_doubles_nothing(configuration: &str, hooks: &str) -> i64 {
    let (lines, kills) = (lines(), if std::env::var("SEKALI_LOG").is_ok() { 10 } else { 3 });
    let mut server = Server::with_variables(&[("publish_token", "p"), ("hooks", hooks)]);
    let daemon = Daemon::start(configuration, &server);
    thread::scope(|scope| {
        scope.spawn(|| daemon.log(&lines, lines.len() / kills));
        for _ in 0..kills {
            thread::sleep(Duration::from_millis(700));
            server.crash_and_restart();
        }
    });
    let state = daemon.end(&server, lines.len());
    let output = fs::read_to_string(state.path().join("output")).unwrap();
    let differences = differences(&server, &lines);
    assert!(differences.iter().all(|difference| *difference < 0), "{differences:?}\n{output}");
    let distinct: BTreeSet<_> = lines.iter().map(String::as_str).collect();
    let events = server.events();
    let stored: BTreeSet<_> =
        events.iter().map(|event| event["payload"]["message"].as_str().unwrap()).collect();
    assert_eq!(stored.len(), distinct.len(), "{output}");
    let stats = server.stats();
    assert_eq!((&stats["topics"][0], &stats["conflicts"]), (&"shop".into(), &0.into()));
    server.assert_books_balance();
    let merged = -differences.iter().sum::<i64>();
    let (received, again) = (&stats["received"], &stats["duplicate_dropped"]);
    println!("{} lines, {kills} kills: {received} received, {again} again, {merged} merged", lines.len());
    merged
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn rsyslog_ships_each_line_once_with_ids_and_doubles_none_without() {
    let configuration = program("rsyslog", "rsyslog");
    assert_eq!(assert_doubles_nothing(&configuration, "{}"), 0);
    // Lines that are read at once may have the same time, so equal ones in two requests are one event.
    let without = with(&configuration, r#"writeoperation="create" dynbulkid="on" bulkid="id""#, "");
    assert_doubles_nothing(&without, "{}");
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn syslog_ng_ships_each_line_once_by_the_bulk_api_with_ids_and_doubles_none_without() {
    let configuration = program("syslog-ng", "syslog-ng");
    assert_eq!(assert_doubles_nothing(&configuration, "{}"), 0);
    assert_doubles_nothing(&with(&configuration, r#",\"_id\":\"${UNIQID}\""#, ""), "{}");
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn syslog_ng_ships_each_line_once_to_a_receiver_with_ids_and_doubles_none_without() {
    let section = "A shipper that only speaks HTTP";
    let (hooks, configuration) = (program(section, "json"), program(section, "syslog-ng"));
    assert_eq!(assert_doubles_nothing(&configuration, &hooks), 0);
    let content = with(&hooks, "{json:/id}", "{sha256}");
    assert_doubles_nothing(&with(&configuration, "id=${UNIQID} ", ""), &content);
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn what_rsyslog_gave_up_while_the_database_was_locked_is_sent_again_by_the_line_of_the_documentation() {
    let server = Server::with_variables(&[("publish_token", "p")]);
    let daemon = Daemon::start(&program("rsyslog", "rsyslog"), &server);
    let lines = generated();
    let (before, during) = lines.split_at(1_000);
    daemon.log(before, 10_000);
    wait_for(&server, before.len());
    let lock = rusqlite::Connection::open(server.database()).unwrap();
    lock.execute_batch("begin immediate").unwrap();
    daemon.log(during, 10_000);
    thread::sleep(Duration::from_secs(8));
    lock.execute_batch("rollback").unwrap();
    let state = daemon.end(&server, lines.len());
    let again = with(&program("rsyslog", "sh"), "localhost:3000", &server.address().to_string());
    let again = with(&again, SPOOL, &state.path().display().to_string());
    let lost = differences(&server, &lines);
    for _ in 0..2 {
        run(Command::new("bash").args(["-c", &again]).env("NO_PROXY", "127.0.0.1"));
        assert_eq!(differences(&server, &lines), Vec::<i64>::new(), "before it: {lost:?}");
    }
    assert!(!lost.is_empty(), "this rsyslog sends again what got 503: tell so in the documentation");
    server.assert_books_balance();
}
