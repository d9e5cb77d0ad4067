//! The publisher finds each line of a log once, however the log is rotated.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::place::Place;
use crate::program::{Ended, publisher, run, signal, wait};

/// Ships a file with a checkpoint.
#[track_caller]
fn ship(place: &Place, file: &str, code: i32) -> Ended {
    place.ship(&["--checkpoint", "pos", file], code)
}

fn stop(process: Child) -> Ended {
    signal(&process, "INT");
    wait(process)
}

/// Clocks of file systems are coarse.
fn a_tick() {
    std::thread::sleep(Duration::from_millis(20));
}

#[test]
fn two_rotations_while_it_was_away_are_found_whatever_the_names() {
    for names in [
        ["app-1.log", "app-2.log"],
        ["app-20261128.log", "app-20261129.log"],
        ["app.20261128-0100.log", "app.20261129-0100.log"],
        ["archive_a1.txt", "archive_a2.txt"],
    ] {
        let place = Place::new();
        place.append("app.log", "a1\n");
        place.append("app.pos.1", "of another\n");
        ship(&place, "app.log", 0);
        place.append("app.log", "a2\n");
        for (name, line) in names.iter().zip(["b1\n", "c1\n"]) {
            place.rename("app.log", name);
            a_tick();
            place.append("app.log", line);
            place.append("app-debug.log", "of another\n");
        }
        ship(&place, "app.log", 0);
        assert_eq!(place.stored(), ["a1", "a2", "b1", "c1"], "{names:?}");
        ship(&place, "app.log", 0);
        assert_eq!(place.server.stats()["duplicate_dropped"], 0, "{names:?}");
    }
}

#[test]
fn a_link_is_followed_from_file_to_file_in_another_directory() {
    let place = Place::new();
    fs::create_dir(place.at("logs")).unwrap();
    let lead_to = |name: &str| {
        let _ = fs::remove_file(place.at("current"));
        symlink(format!("logs/{name}"), place.at("current")).unwrap();
        a_tick();
    };
    place.append("logs/web.1.log", "one\n");
    lead_to("web.1.log");
    ship(&place, "current", 0);
    place.append("logs/web.1.log", "two\n");
    for (name, line) in [("web.2.log", "three\n"), ("web.3.log", "four\n")] {
        place.append(&format!("logs/{name}"), line);
        lead_to(name);
    }
    ship(&place, "current", 0);
    // A target that is rotated itself is found beside it.
    place.append("logs/web.3.log", "five\n");
    place.rename("logs/web.3.log", "logs/web.3.log.1");
    place.append("logs/web.3.log", "six\n");
    ship(&place, "current", 0);
    assert_eq!(place.stored(), ["one", "two", "three", "four", "five", "six"]);
}

#[test]
fn what_copytruncate_left_is_found_by_its_content() {
    for name in ["app.log.1", "app-1.log", "app-20261128.log", "kept elsewhere"] {
        let place = Place::new();
        place.append("app.log", "a1\n");
        place.append("unrelated-1.log", "x1\n");
        ship(&place, "app.log", 0);
        place.append("app.log", "a2\n");
        place.copy_and_truncate("app.log", name);
        place.append("app.log", "b1\n");
        ship(&place, "app.log", 0);
        assert_eq!(place.stored(), ["a1", "a2", "b1"], "{name}");
        ship(&place, "app.log", 0);
        assert_eq!(place.stored().len(), 3, "{name}");
    }
}

#[test]
fn what_cannot_be_found_is_said_and_is_no_success() {
    let place = Place::new();
    place.append("app.log", "one\n");
    ship(&place, "app.log", 0);
    // Truncated without a copy.
    place.append("app.log", "two\n");
    File::create(place.at("app.log")).unwrap();
    place.append("app.log", "three\n");
    let ended = ship(&place, "app.log", 3);
    assert!(
        ended.stderr.contains("app.log was truncated or overwritten after its line 1 was sent"),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("lines may be missing in 1 place"), "{ended:?}");
    assert_eq!(ship(&place, "app.log", 0).stderr, "", "it is said once");
    // Rotated away, and deleted.
    place.append("app.log", "four\n");
    fs::remove_file(place.at("app.log")).unwrap();
    place.append("app.log", "five\n");
    let ended = ship(&place, "app.log", 3);
    assert!(ended.stderr.contains("was rotated away and is gone"), "{ended:?}");
    assert_eq!(ship(&place, "app.log", 0).stderr, "", "it is said once");
    assert_eq!(place.stored(), ["one", "three", "five"]);
}

#[test]
fn the_same_lines_after_a_truncation_are_other_events() {
    let place = Place::new();
    place.append("app.log", "job done\n");
    let process = place.follow(&["--checkpoint", "pos", "app.log"]);
    place.has(1);
    for count in [2, 3] {
        place.copy_and_truncate("app.log", &format!("app.log.{count}"));
        std::thread::sleep(Duration::from_millis(500)); // so long that the empty file is seen
        place.append("app.log", "job done\n");
        place.has(count);
    }
    assert_eq!(stop(process).code, Some(130));
    ship(&place, "app.log", 0);
    assert_eq!(place.stored().len(), 3, "a restart goes on with the content that it knows");

    // Between two runs, with two copies, of which one was made of lines that were never read.
    place.append("app.log", "job begun\n");
    place.copy_and_truncate("app.log", "app.log.4");
    a_tick();
    place.append("app.log", "job done\n");
    place.copy_and_truncate("app.log", "app.log.5");
    a_tick();
    place.append("app.log", "job done\njob begun\n");
    ship(&place, "app.log", 0);
    assert_eq!(place.stored()[3..], ["job begun", "job done", "job done", "job begun"]);
    ship(&place, "app.log", 0);
    assert_eq!(place.server.stats()["duplicate_dropped"], 0);
}

#[test]
fn a_crash_after_a_truncation_doubles_and_loses_nothing() {
    let place = Place::new();
    place.append("app.log", "job done\n");
    ship(&place, "app.log", 0);
    place.append("app.log", "rest\n");
    place.copy_and_truncate("app.log", "app.log.1");
    place.append("app.log", "job done\n");
    // What the first run has sent, it has not saved.
    let before = fs::read(place.at("pos")).unwrap();
    ship(&place, "app.log", 0);
    fs::write(place.at("pos"), before).unwrap();
    ship(&place, "app.log", 0);
    assert_eq!(place.stored(), ["job done", "rest", "job done"]);
    assert_eq!(place.server.stats()["duplicate_dropped"], 2);
}

/// A command as a user who may not read everything, also when root runs the tests.
fn unprivileged(command: &Command) -> Command {
    if !rustix::process::getuid().is_root() {
        let mut same = Command::new(command.get_program());
        same.args(command.get_args());
        return same;
    }
    let mut without = Command::new("setpriv");
    without.args(["--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]);
    without.arg(command.get_program()).args(command.get_args());
    without
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_is_unreadable_for_a_while_keeps_no_other_from_being_followed() {
    let place = Place::new();
    place.append("a.log", "one\n");
    place.append("b.log", "of b\n");
    place.append("c.log", "of c\n");
    set_mode(&place.at("c.log"), 0);
    let command = place.command(&["--follow", "--batch-wait", "20ms", "a.log", "b.log", "c.log"]);
    let mut command = unprivileged(&command);
    command.current_dir(place.here.path()).stderr(std::process::Stdio::piped());
    let process = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    place.has(2);
    // As a writer does that rotates and then sets the mode.
    place.rename("a.log", "a.log.1");
    place.append("a.log", "two\n");
    set_mode(&place.at("a.log"), 0);
    std::thread::sleep(Duration::from_millis(300));
    place.append("b.log", "more of b\n");
    place.append("a.log.1", "late\n");
    place.has(4);
    set_mode(&place.at("a.log"), 0o644);
    set_mode(&place.at("c.log"), 0o600);
    place.has(6);
    let ended = stop(process);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    for said in [
        "a.log cannot be read: Permission denied",
        "trying again",
        "a.log is read again",
        "c.log is read again",
    ] {
        assert_eq!(
            ended.stderr.matches(said).count().min(2),
            if said == "trying again" { 2 } else { 1 },
            "{ended:?}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_keeps_no_other_from_being_sent() {
    let place = Place::new();
    place.append("a.log", "one\n");
    ship(&place, "a.log", 0);
    place.append("b.log", "of b\n");
    // What was rotated away cannot be read: nothing of this log is sent, and nothing is lost.
    place.append("a.log", "two\n");
    place.rename("a.log", "a.log.1");
    place.append("a.log", "three\n");
    set_mode(&place.at("a.log.1"), 0);
    let mut command = unprivileged(&place.command(&["--checkpoint", "pos", "a.log", "b.log"]));
    let output = command.current_dir(place.here.path()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("a.log.1 cannot be read: Permission denied"), "{told}");
    assert_eq!(place.stored(), ["one", "of b"]);
    set_mode(&place.at("a.log.1"), 0o644);
    ship(&place, "a.log", 0);
    assert_eq!(place.stored(), ["one", "of b", "two", "three"]);
}

#[test]
fn nuls_that_a_truncation_leaves_are_skipped_and_counted() {
    let place = Place::new();
    let path = place.at("app.log");
    let first = format!("{}\n", "x".repeat(200_000));
    fs::write(&path, &first).unwrap();
    let process = place.follow(&["--json", "app.log"]);
    place.has(1);
    // A writer that does not append goes on where it was.
    let writer = File::options().write(true).open(&path).unwrap();
    writer.set_len(0).unwrap();
    writer.write_all_at(b"after\n", 200_001).unwrap();
    place.has(2);
    let ended = stop(process);
    assert_eq!(place.stored()[1], "after");
    assert_eq!(ended.json()["nul_bytes_skipped"], 200_001, "{ended:?}");

    // More than could be held, between lines.
    let hole = place.at("hole.log");
    fs::write(&hole, "before\n").unwrap();
    File::options().write(true).open(&hole).unwrap().write_all_at(b"behind\nlast\n", 1 << 30).unwrap();
    assert!(fs::metadata(&hole).unwrap().blocks() < 1_000, "it is sparse");
    let ended = ship(&place, "hole.log", 0);
    assert_eq!(place.stored()[2..], ["before", "behind", "last"]);
    assert!(ended.stdout.contains("1,073,741,817 NUL bytes skipped"), "{}", ended.stdout);
    let ended = ship(&place, "hole.log", 0);
    assert!(ended.stdout.contains("0 events sent"), "{}", ended.stdout);
}

#[test]
fn a_file_with_a_byte_order_mark_is_the_same_file_in_the_next_run() {
    let place = Place::new();
    place.append("app.log", "\u{feff}one\n");
    ship(&place, "app.log", 0);
    place.append("app.log", "two\n");
    ship(&place, "app.log", 0);
    assert_eq!(place.stored(), ["one", "two"]);
    assert_eq!(place.server.stats()["received"], 2);
}

#[test]
fn the_checkpoint_of_an_earlier_version_goes_on() {
    let place = Place::new();
    place.append("app.log", "one\n");
    ship(&place, "app.log", 0);
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(place.at("pos")).unwrap()).unwrap();
    state.as_object_mut().unwrap().remove("store_id");
    let file = state["files"][0].as_object_mut().unwrap();
    file.remove("generation").unwrap();
    file.remove("first").unwrap();
    fs::write(place.at("pos"), state.to_string()).unwrap();
    place.append("app.log", "two\n");
    ship(&place, "app.log", 0);
    assert_eq!(place.stored(), ["one", "two"]);
    assert_eq!(place.server.stats()["received"], 2);
}

/// Reads what a program says until it has said all of this.
fn hear(process: &mut Child, expected: &[&str]) {
    let mut heard = String::new();
    let mut said = BufReader::new(process.stderr.take().unwrap());
    while !expected.iter().all(|expected| heard.contains(expected)) {
        assert!(said.read_line(&mut heard).unwrap() > 0, "{heard}");
    }
    process.stderr = Some(said.into_inner());
}

#[test]
fn a_pattern_is_followed_as_files_appear_and_a_missing_name_is_waited_for() {
    let place = Place::new();
    let mut process = place.follow(&["--checkpoint", "pos", "*.log", "later.txt"]);
    hear(
        &mut process,
        &["no file matches *.log yet: waiting for one", "later.txt is not there yet: waiting for it"],
    );
    place.append("a.log", "a1\n");
    place.append("later.txt", "t1\n");
    place.append("other.txt", "of another\n");
    place.has(2);
    place.append("b.log", "b1\n");
    place.has(3);
    // What a file becomes by rotation matches, too, and is no other file.
    place.append("a.log", "a2\n");
    place.has(4);
    place.rename("a.log", "a-1.log");
    place.append("a-1.log", "a3\n");
    place.append("a.log", "a4\n");
    place.has(6);
    place.copy_and_truncate("b.log", "b-1.log");
    std::thread::sleep(Duration::from_millis(300));
    place.append("b.log", "b2\n");
    place.has(7);
    std::thread::sleep(Duration::from_secs(7)); // until the renamed file and the copy are closed
    place.append("a.log", "a5\n");
    place.has(8);
    assert_eq!(stop(process).code, Some(130));
    let process = place.follow(&["--checkpoint", "pos", "*.log", "later.txt"]);
    place.append("b.log", "b3\n");
    place.has(9);
    stop(process);
    let mut stored = place.stored();
    stored.sort();
    assert_eq!(stored, ["a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "t1"]);
    assert_eq!(place.server.stats()["duplicate_dropped"], 0);
}

#[test]
fn a_pattern_in_quotes_is_also_taken_without_follow() {
    let place = Place::new();
    place.append("a.log", "one\n");
    place.append("b.log", "two\n");
    place.append("b[1].txt", "three\n"); // a file of this name is that file
    let url = place.server.url("");
    for (file, code) in [("*.log", 0), ("b[1].txt", 0), ("*.nothing", 2)] {
        let ended = run(&mut publisher(place.here.path(), &["--url", &url, "--topic", "log", file]));
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(code == 0 || ended.stderr.contains("no file matches *.nothing"), "{ended:?}");
    }
    assert_eq!(place.stored(), ["one", "two", "three"]);
}

#[test]
fn a_header_that_all_files_of_a_log_share_makes_none_a_copy_of_another() {
    for is_followed in [false, true] {
        let place = Place::new();
        place.append("app.log.1", "#header\nold\n");
        std::thread::sleep(Duration::from_millis(1_200)); // longer than clocks differ
        place.append("app.log", "#header\n");
        if is_followed {
            let process = place.follow(&["app.log"]);
            place.has(1);
            File::create(place.at("app.log")).unwrap();
            std::thread::sleep(Duration::from_millis(500));
            place.append("app.log", "#header\nnew\n");
            place.has(3);
            let ended = stop(process);
            assert!(ended.stderr.contains("no copy of it was found"), "{ended:?}");
            assert_eq!(place.stored(), ["#header", "#header", "new"]);
        } else {
            ship(&place, "app.log", 0);
            place.append("app.log", "new\n");
            ship(&place, "app.log", 0);
            assert_eq!(place.stored(), ["#header", "new"]);
        }
    }
}

#[test]
fn a_file_that_was_rotated_before_anything_of_it_was_acknowledged_is_found() {
    let place = Place::new();
    place.append("app.log", "one\n");
    let nobody =
        ["--url", "http://127.0.0.1:1", "--topic", "log", "--checkpoint", "pos", "--give-up-after", "1ms"];
    let ended = run(&mut publisher(place.here.path(), &[&nobody[..], &["app.log"]].concat()));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    place.rename("app.log", "app.log.1");
    place.append("app.log", "two\n");
    // The checkpoint is that of another address, which matters nothing here.
    let pos = fs::read_to_string(place.at("pos")).unwrap();
    fs::write(place.at("pos"), pos.replace("http://127.0.0.1:1,", &format!("{},", place.server.url(""))))
        .unwrap();
    ship(&place, "app.log", 0);
    assert_eq!(place.stored(), ["one", "two"]);
}

#[test]
fn copies_that_follow_one_that_was_read_to_its_end_are_found() {
    let place = Place::new();
    place.append("app.log", "one\n");
    ship(&place, "app.log", 0);
    place.append("app.log", "two\n");
    place.copy_and_truncate("app.log", "app.log.1");
    a_tick();
    ship(&place, "app.log", 0); // the copy, and nothing of the empty file
    for (copy, line) in [("app.log.2", "three\n"), ("app.log.3", "four\n")] {
        place.append("app.log", line);
        place.copy_and_truncate("app.log", copy);
        a_tick();
    }
    place.append("app.log", "five\n");
    ship(&place, "app.log", 0);
    assert_eq!(place.stored(), ["one", "two", "three", "four", "five"]);
    assert_eq!(place.server.stats()["duplicate_dropped"], 0);
}

#[test]
fn a_tree_is_followed_whatever_becomes_of_its_files() {
    let place = Place::new();
    fs::create_dir_all(place.at("logs/a/b")).unwrap();
    let header = "# one header for all logs\n";
    for log in ["logs/one.log", "logs/a/two.log", "logs/a/b/three.log"] {
        place.append(log, &format!("{header}first of {log}\n"));
    }
    let follow = ["--checkpoint", "pos", "logs/**/*.log*"];
    let process = place.follow(&follow);
    place.has(6);
    // Before it has acknowledged what comes now, it is killed, and the files are other ones.
    for log in ["logs/one.log", "logs/a/two.log", "logs/a/b/three.log"] {
        place.append(log, &format!("second of {log}\n"));
    }
    signal(&process, "KILL");
    wait(process);
    let compressed = crate::compress::gzip(&fs::read(place.at("logs/one.log")).unwrap());
    fs::write(place.at("logs/one.log.1.gz"), compressed).unwrap();
    fs::remove_file(place.at("logs/one.log")).unwrap();
    place.copy_and_truncate("logs/a/two.log", "logs/a/b/two.log.1");
    place.rename("logs/a/b/three.log", "logs/a/moved.log");
    fs::create_dir(place.at("logs/late")).unwrap();
    for log in ["logs/one.log", "logs/a/two.log", "logs/late/four.log"] {
        place.append(log, &format!("{header}third of {log}\n"));
    }
    let process = place.follow(&follow);
    place.has(15);
    std::thread::sleep(Duration::from_millis(500));
    stop(process);
    let mut stored = place.stored();
    stored.sort();
    let count = |begin: &str| stored.iter().filter(|line| line.starts_with(begin)).count();
    assert_eq!(["#", "first", "second", "third"].map(count), [6, 3, 3, 3], "{stored:?}");
}

#[test]
fn lines_that_were_acknowledged_after_the_checkpoint_was_saved_are_the_same_in_a_compressed_file() {
    let place = Place::new();
    place.append("app.log", "one\ntwo\n");
    let follow = ["--checkpoint", "pos", "*.log*"];
    let process = place.follow(&follow);
    place.has(2);
    stop(process);
    // As if it had been killed between the answer and the checkpoint: nothing is known but the beginning.
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(place.at("pos")).unwrap()).unwrap();
    let file = &mut state["files"][0];
    (file["position"], file["line"]) =
        (serde_json::json!({"offset": 0, "lines": 0}), serde_json::Value::Null);
    fs::write(place.at("pos"), state.to_string()).unwrap();
    fs::write(place.at("app.log.1.gz"), crate::compress::gzip(b"one\ntwo\nthree\n")).unwrap();
    fs::remove_file(place.at("app.log")).unwrap();
    let process = place.follow(&follow);
    place.has(3);
    stop(process);
    assert_eq!(place.stored(), ["one", "two", "three"]);
    assert_eq!(place.server.stats()["duplicate_dropped"], 2);
}

#[test]
fn the_end_of_a_file_is_a_place_to_begin_and_is_kept() {
    let place = Place::new();
    place.append("app.log", "old\nhalf");
    let follow = ["--from", "end", "--checkpoint", "pos", "*.log"];
    let mut process = place.follow(&follow);
    let saved = || fs::read_to_string(place.at("pos")).is_ok_and(|state| state.contains("app.log"));
    crate::program::eventually("the place is saved", saved);
    place.append("app.log", " a line\n");
    place.has(1);
    place.append("later.log", "of a file that came later\n");
    place.has(2);
    signal(&process, "KILL");
    wait(process);
    place.append("app.log", "while it was away\n");
    place.append("new.log", "also of a new file\n");
    process = place.follow(&follow);
    place.has(4);
    stop(process);
    let mut stored = place.stored();
    stored[2..].sort();
    assert_eq!(
        stored,
        ["half a line", "of a file that came later", "also of a new file", "while it was away"]
    );
}

#[test]
fn more_files_than_a_process_may_open_are_followed() {
    let place = Place::new();
    fs::create_dir(place.at("logs")).unwrap();
    let names: Vec<_> = (0..1_500).map(|number| format!("logs/{number}.log")).collect();
    for name in &names {
        place.append(name, "one\n");
    }
    let mut command = Command::new("sh");
    let publisher = place.command(&["--follow", "--batch-wait", "20ms", "--checkpoint", "pos", "logs/*.log"]);
    command.args(["-c", "ulimit -n 700; exec \"$@\"", "sh"]).arg(publisher.get_program());
    command.args(publisher.get_args()).current_dir(place.here.path());
    let process = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let count = || place.server.stats()["unique_processed"].clone();
    crate::program::eventually("the first lines are stored", || count() == 1_500);
    for name in &names {
        place.append(name, "two\n");
    }
    crate::program::eventually("the second lines are stored", || count() == 3_000);
    stop(process);
    assert_eq!(place.server.stats()["duplicate_dropped"], 0);
}

#[test]
fn two_logs_that_begin_alike_are_two() {
    let place = Place::new();
    let banner = "=".repeat(300) + "\n";
    let follow = ["--checkpoint", "pos", "*.log"];
    let process = place.follow(&follow);
    for begin in ["# header\n", &banner] {
        let names = if begin == banner { ["c.log", "d.log"] } else { ["a.log", "b.log"] };
        let before = place.stored().len();
        place.append(names[0], begin);
        place.has(before + 1);
        // It has all that is known of the other, and goes on in another way, and then as that does.
        place.append(names[1], &format!("{begin}x\n"));
        place.append(names[0], "y\n");
        place.has(before + 4);
        for name in names {
            place.append(name, "z\n");
        }
        place.has(before + 6);
    }
    signal(&process, "KILL");
    wait(process);
    let process = place.follow(&follow);
    place.append("a.log", "end\n");
    place.has(13);
    stop(process);
    assert_eq!(place.stored().len(), 13);
}

#[test]
fn a_renamed_file_in_another_encoding_is_read_for_as_long_as_it_is_written() {
    let place = Place::new();
    place.append("app.log", "one\n");
    let process = place.follow(&["--encoding", "windows-1252", "--checkpoint", "pos", "app.log"]);
    place.has(1);
    place.rename("app.log", "app.log.1");
    place.append("app.log", "two\n");
    place.has(2);
    place.append("app.log.1", "half");
    std::thread::sleep(Duration::from_millis(500));
    place.append("app.log.1", " a line\n");
    place.has(3);
    stop(process);
    assert_eq!(place.stored(), ["one", "two", "half a line"]);
}

#[test]
fn a_compressed_file_beside_the_next_log_is_read_on() {
    let place = Place::new();
    place.append("app.log", "one\n");
    let follow = ["--checkpoint", "pos", "app.log*"];
    let process = place.follow(&follow);
    place.has(1);
    stop(process);
    place.append("app.log", "two\n");
    let compressed = crate::compress::gzip(&fs::read(place.at("app.log")).unwrap());
    fs::remove_file(place.at("app.log")).unwrap();
    fs::write(place.at("app.log.gz"), compressed).unwrap();
    a_tick();
    place.append("app.log", "three\n");
    let process = place.follow(&follow);
    place.has(3);
    let ended = stop(process);
    assert!(!ended.stderr.contains("not sent"), "{ended:?}");
    // It was read to its end: when it goes, nothing is lost.
    fs::remove_file(place.at("app.log.gz")).unwrap();
    let process = place.follow(&follow);
    std::thread::sleep(Duration::from_secs(7));
    let ended = stop(process);
    assert!(!ended.stderr.contains("gone"), "{ended:?}");
    assert_eq!(place.stored().len(), 3);
}

#[test]
fn what_came_after_the_first_run_is_not_skipped_to_its_end() {
    let place = Place::new();
    let follow = ["--from", "end", "--checkpoint", "pos", "*.log"];
    let mut process = place.follow(&follow);
    hear(&mut process, &["no file matches *.log yet"]);
    stop(process);
    place.append("app.log", "one\n");
    let process = place.follow(&follow);
    place.has(1);
    stop(process);
}

#[test]
fn a_log_in_another_encoding_that_begins_like_a_quiet_one_is_read() {
    let place = Place::new();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let banner = format!("\u{feff}{}\n", "=".repeat(300));
    fs::write(place.at("a.log"), utf16(&banner)).unwrap();
    let process = place.follow(&["--checkpoint", "pos", "*.log"]);
    place.has(1);
    fs::write(place.at("b.log"), utf16(&format!("{banner}x\n"))).unwrap();
    place.has(3); // after the ten seconds in which it may be a copy that is being made
    stop(process);
    assert_eq!(place.stored()[2], "x");
}
