//! The publisher ships each line once, whatever happens meanwhile.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use sekali_harness::Server;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::place::Place;
use crate::program::{Ended, eventually, publisher, run, run_with, signal, stress_test, wait};

/// `count` lines that differ.
fn lines(count: usize) -> String {
    (0..count).map(|number| format!("line {number} says \"hello\" 漢\n")).collect()
}

#[track_caller]
fn assert_stored(place: &Place, expected: &str) {
    let (stored, expected) = (place.stored(), expected.lines().collect::<Vec<_>>());
    assert_eq!(stored.len(), expected.len());
    assert!(stored.iter().eq(expected.iter()), "the lines are not stored in their order");
}

/// What `--json` says: published, stored, duplicates, rejected.
#[track_caller]
fn counts(ended: &Ended) -> [u64; 4] {
    let report = ended.json();
    ["published", "stored", "duplicates", "rejected"].map(|name| report[name].as_u64().unwrap())
}

#[test]
fn a_file_is_shipped_once_however_often_it_is_shipped() {
    let place = Place::new();
    fs::write(place.at("app.log"), lines(5_000)).unwrap();
    let first = place.ship(&["app.log"], 0);
    assert!(first.stdout.contains("5,000 stored, 0 duplicates"), "{}", first.stdout);
    assert_stored(&place, &lines(5_000));
    assert_eq!(place.server.events()[0]["source"], "app.log");

    place.rename("app.log", "app.log.1");
    let second = place.ship(&["app.log.1"], 0);
    assert!(second.stdout.contains("0 stored, 5,000 duplicates"), "{}", second.stdout);
    assert!(!second.stdout.contains('\u{1b}'), "no colours without a terminal");
    assert_eq!(place.server.stats()["conflicts"], 0);

    // Another file is another file, even if it says the same.
    fs::copy(place.at("app.log.1"), place.at("copy.log")).unwrap();
    assert_eq!(counts(&place.ship(&["--json", "copy.log"], 0)), [5_000, 5_000, 0, 0]);
}

#[test]
fn a_line_that_grows_after_it_was_shipped_is_not_lost() {
    let place = Place::new();
    let path = place.at("app.log");
    fs::write(&path, "one\ntwo").unwrap();
    place.ship(&["--checkpoint", "pos", "app.log"], 0);
    fs::write(&path, "one\ntwo and a half\nthree\n").unwrap();
    assert_eq!(counts(&place.ship(&["--checkpoint", "pos", "--json", "app.log"], 0)), [2, 2, 0, 0]);
    assert_eq!(place.stored(), ["one", "two", "two and a half", "three"]);
    assert_eq!(place.server.stats()["conflicts"], 0);
}

#[test]
fn standard_input_is_told_apart_by_name() {
    let place = Place::new();
    let ship = |arguments: &[&str]| {
        let mut command = place.command(&[&["--json"], arguments].concat());
        counts(&run_with(&mut command, lines(10).as_bytes()))
    };
    assert_eq!(ship(&[]), [10, 10, 0, 0]);
    assert_eq!(ship(&["-"]), [10, 0, 10, 0]);
    assert_eq!(ship(&["--name", "other"]), [10, 10, 0, 0]);
    // The content alone is the same whoever says it.
    assert_eq!(ship(&["--id", "content"]), [10, 10, 0, 0]);
    assert_eq!(ship(&["--id", "content", "--name", "third"]), [10, 0, 10, 0]);
}

#[test]
fn fields_and_events_are_mapped() {
    let place = Place::new();
    let line = r#"{"id":"a-1","at":1763686800,"data":{"amount":12.50}}"#;
    fs::write(place.at("orders.jsonl"), format!("{line}\n\n")).unwrap();
    place.ship(&["--id-field", "id", "--time-field", "at", "--payload", "/data", "orders.jsonl"], 0);
    let event = place.server.get("/events/log/a-1");
    assert!(event.text.contains(r#""payload":{"amount":12.50}"#), "{}", event.text);
    assert_eq!(event.json()["timestamp"], "2025-11-21T01:00:00Z");

    let events = "{\"topic\":\"own\",\"event_id\":\"1\",\"payload\":[1]}\n{\"payload\":null}\n";
    fs::write(place.at("events.ndjson"), events).unwrap();
    place.ship(&["--format", "events", "events.ndjson"], 0);
    assert_eq!(place.server.get("/events/own/1").json()["payload"], json!([1]));
    assert_eq!(place.server.events().last().unwrap()["topic"], "log");
    assert!(place.server.events().last().unwrap()["payload"].is_null());
}

#[test]
fn the_first_invalid_event_stops_the_publisher_and_is_named() {
    let place = Place::new();
    let events = "{\"event_id\":\"1\"}\n{\"event_id\":\"2\",\"timestamp\":\"never\"}\n{\"event_id\":\"3\"}\n";
    fs::write(place.at("events"), events).unwrap();
    let ended = place.ship(&["--format", "events", "--batch-events", "1", "events"], 1);
    assert!(ended.stderr.contains("events line 2: timestamp must be"), "{}", ended.stderr);
    assert!(ended.stderr.contains("never"), "the line is shown: {}", ended.stderr);
    assert!(ended.stdout.contains("stopped behind line 1, at byte 17"), "{}", ended.stdout);
    assert_eq!(place.server.events().len(), 1);

    // What is not even JSON does not reach the service, nor does what is behind it.
    fs::write(place.at("json"), "{\"id\":4}\n{\"id\"\n{\"id\":5}\n").unwrap();
    let ended = place.ship(&["--id-field", "id", "json"], 1);
    assert!(ended.stderr.contains("json line 2: is not JSON"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--skip-invalid writes such lines to a file"), "{}", ended.stderr);
    assert_eq!(place.server.get("/events/log/4").status, 200);
    assert_eq!(place.server.get("/events/log/5").status, 404);
}

#[test]
fn invalid_events_can_be_put_aside() {
    let place = Place::new();
    // More than an answer names, some at the ends, and some that are no JSON.
    let is_bad = |number: usize| number.is_multiple_of(3) || number == 999;
    let event = |number: usize| match number {
        _ if number.is_multiple_of(90) => format!("{{\"event_id\":\"{number}\"\n"),
        _ if is_bad(number) => format!("{{\"event_id\":\"{number}\",\"timestamp\":7}}\n"),
        _ => format!("{{\"event_id\":\"{number}\"}}\n"),
    };
    let text: String = (0..1_000).map(event).chain(["\n \n".into()]).collect();
    fs::write(place.at("events"), text).unwrap();
    let arguments = ["--format", "events", "--skip-invalid", "--json", "events"];
    let bad = (0..1_000).filter(|&number| is_bad(number)).count() as u64;
    let ended = place.ship(&arguments, 3);
    assert_eq!(counts(&ended), [1_000 - bad, 1_000 - bad, 0, bad]);
    let lines = json!({"new": 1_000 - bad, "again": 0, "refused": bad - 12, "skipped": 2, "undecodable": 12});
    assert_eq!(ended.json()["lines"], lines);

    let rejects = fs::read_to_string(place.at("rejects.ndjson")).unwrap();
    let rejects: Vec<Value> = rejects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rejects.len() as u64, bad);
    let of_line = |place: &str| rejects.iter().find(|reject| reject["place"] == place).unwrap();
    assert!(of_line("events line 1")["reason"].as_str().unwrap().starts_with("is not an event"));
    assert!(of_line("events line 4")["reason"].as_str().unwrap().starts_with("timestamp must be"));
    assert_eq!(of_line("events line 4")["line"], "{\"event_id\":\"3\",\"timestamp\":7}");
    let stored: Vec<_> =
        place.server.events().iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
    let good: Vec<_> =
        (0..1_000).filter(|&number| !is_bad(number)).map(|number| number.to_string()).collect();
    assert_eq!(stored, good, "the order is that of the file");
}

#[test]
fn a_line_that_is_too_large_is_found_among_others() {
    let place = Place::new();
    let large = "x".repeat(300 * 1024);
    let huge = "y".repeat(9 << 20);
    fs::write(place.at("log"), format!("{}{large}\nbetween\n{huge}\nlast", lines(100))).unwrap();
    let ended = place.ship(&["--skip-invalid", "--rejects", "aside", "--json", "log"], 3);
    assert_eq!(counts(&ended), [102, 102, 0, 2]);
    assert_stored(&place, &format!("{}between\nlast", lines(100)));
    let rejects = fs::read_to_string(place.at("aside")).unwrap();
    assert!(rejects.contains("max_event_bytes") && rejects.contains("is too long"), "{:.500}", rejects);
}

#[test]
fn a_file_is_followed_as_it_grows_and_is_rotated() {
    let place = Place::new();
    let log = place.at("app.log");
    let process = place.follow(&["app.log"]);

    // The file comes into being, grows by whole lines and by parts of lines.
    let mut file = File::create(&log).unwrap();
    file.write_all(b"one\ntwo\nthr").unwrap();
    place.has(2);
    file.write_all(b"ee\n").unwrap();
    place.has(3);
    // It is rotated by renaming, while its writer goes on for a while.
    fs::rename(&log, place.at("app.log.1")).unwrap();
    file.write_all(b"four\n").unwrap();
    place.has(4);
    let mut file = File::create(&log).unwrap();
    file.write_all(b"five\n").unwrap();
    place.has(5);
    // It is rotated by truncating, and begins as it did before.
    file.set_len(0).unwrap();
    std::thread::sleep(Duration::from_secs(2)); // long enough for the publisher to see the empty file
    fs::write(&log, b"six\n").unwrap();
    place.has(6);

    place.append("app.log", "seven\nunfinished");
    place.has(7);
    signal(&process, "INT");
    let ended = wait(process);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stdout.contains("app.log: stopped behind line 2, at byte 10"), "{}", ended.stdout);
    assert_eq!(place.stored(), ["one", "two", "three", "four", "five", "six", "seven"]);
}

#[test]
fn pipes_are_told_apart_by_their_order() {
    let place = Place::new();
    let paths = ["one", "two"].map(|name| place.at(name));
    for _ in 0..2 {
        for path in &paths {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }
        let writers = paths.clone().map(|path| std::thread::spawn(move || fs::write(path, lines(10))));
        let ended = place.ship(&["--json", "--checkpoint", "app.pos", "one", "two"], 0);
        assert_eq!(counts(&ended)[0], 20);
        writers.into_iter().for_each(|writer| writer.join().unwrap().unwrap());
        paths.iter().for_each(|path| fs::remove_file(path).unwrap());
    }
    assert_eq!(place.server.stats()["unique_processed"], 20);
    assert_eq!(place.server.stats()["duplicate_dropped"], 20);
}

#[test]
fn a_checkpoint_makes_a_restart_cheap_and_losing_it_harmless() {
    let mut place = Place::new();
    let log = place.at("app.log");
    let arguments = ["--checkpoint", "app.pos", "--json", "app.log"];
    let ship = |place: &Place| counts(&place.ship(&arguments, 0));
    fs::write(&log, lines(3_000)).unwrap();
    assert_eq!(ship(&place), [3_000, 3_000, 0, 0]);
    assert_eq!(ship(&place), [0, 0, 0, 0]);

    // What was written before and after a rotation is found under its new name.
    place.append("app.log", "last of the old\n");
    place.rename("app.log", "app.log.1");
    fs::write(&log, "first of the new\n").unwrap();
    assert_eq!(ship(&place), [2, 2, 0, 0]);
    assert_eq!(ship(&place), [0, 0, 0, 0]);

    fs::remove_file(place.at("app.pos")).unwrap();
    assert_eq!(ship(&place), [1, 0, 1, 0]);

    // A store that was replaced has nothing of what the checkpoint says.
    place.server.crash_and_forget();
    assert_eq!(ship(&place), [1, 1, 0, 0]);

    // It serves one topic of one service only.
    let url = place.server.url("");
    let arguments = ["--url", &url, "--topic", "other", "--checkpoint", "app.pos", "app.log"];
    let ended = run(&mut publisher(place.here.path(), &arguments));
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("app.pos is the checkpoint of http"), "{}", ended.stderr);

    fs::write(place.at("app.pos"), "{").unwrap();
    let ended =
        run(&mut publisher(place.here.path(), &["--topic", "log", "--checkpoint", "app.pos", "app.log"]));
    assert_eq!(ended.code, Some(2));
    let expected = "app.pos is not a checkpoint file of the publisher: name another file with --checkpoint, or remove it";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(place.at("app.pos")).unwrap(), "{", "it was changed");
}

#[test]
fn several_rotations_between_two_runs_lose_nothing() {
    let place = Place::new();
    let arguments = ["--checkpoint", "app.pos", "--json", "app.log"];
    place.append("app.log", "one\ntwo\n");
    place.ship(&arguments, 0);
    let earlier = SystemTime::now() - Duration::from_secs(60);
    place.append("app.log", "three\n");
    place.rename("app.log", "app.log.2");
    place.append("app.log", "four\nfive"); // its last line has no end
    place.rename("app.log", "app.log.1");
    place.append("app.log", "six\n");
    for rotated in ["app.log.1", "app.log.2"] {
        File::open(place.at(rotated)).unwrap().set_modified(earlier).unwrap(); // nobody writes to it any more
    }
    assert_eq!(counts(&place.ship(&arguments, 0)), [4, 4, 0, 0]);
    assert_eq!(place.stored(), ["one", "two", "three", "four", "five", "six"]);
    assert_eq!(counts(&place.ship(&arguments, 0)), [0, 0, 0, 0]);
}

#[test]
fn a_file_that_was_written_anew_is_read_from_its_beginning() {
    let place = Place::new();
    let path = place.at("app.log");
    let arguments = ["--checkpoint", "app.pos", "--json", "app.log"];
    fs::write(&path, lines(10)).unwrap();
    place.ship(&arguments, 0);
    // The same file, longer than before, and nothing of it as before.
    let anew: String = (0..100).map(|number| format!("another line {number}\n")).collect();
    fs::write(&path, &anew).unwrap();
    let ended = place.ship(&arguments, 3);
    assert_eq!(counts(&ended), [100, 100, 0, 0]);
    assert!(
        ended.stderr.contains("overwritten after its line 10"),
        "there may have been more: {}",
        ended.stderr
    );
    assert_stored(&place, &(lines(10) + &anew));
}

#[test]
fn copies_of_a_log_are_not_taken_for_it() {
    let place = Place::new();
    let arguments = ["--checkpoint", "app.pos", "--json", "app.log"];
    let later = |seconds| SystemTime::now() + Duration::from_secs(seconds);
    fs::write(place.at("app.log"), "one\n").unwrap();
    place.ship(&arguments, 0);
    // As copytruncate does; then the log is renamed after all.
    fs::copy(place.at("app.log"), place.at("app.log.2")).unwrap();
    fs::write(place.at("app.log"), "two\n").unwrap();
    File::open(place.at("app.log")).unwrap().set_modified(later(60)).unwrap();
    place.rename("app.log", "app.log.1");
    fs::write(place.at("app.log"), "three\n").unwrap();
    assert_eq!(counts(&place.ship(&arguments, 0)), [2, 2, 0, 0]);
    assert_eq!(place.stored(), ["one", "two", "three"]);
    // Whoever writes the renamed file has not noticed yet.
    place.append("app.log.1", "late\n");
    File::open(place.at("app.log.1")).unwrap().set_modified(later(60)).unwrap();
    assert_eq!(counts(&place.ship(&arguments, 0)), [1, 1, 0, 0]);
}

#[test]
fn what_is_written_anew_while_the_service_is_away_is_read_from_its_beginning() {
    let text = |name: &str, count: usize| -> String {
        (0..count).map(|line| format!("{name} line {line} {}\n", "x".repeat(60))).collect()
    };
    let (old, new) = (text("old", 20_000), text("new", 60_000));
    for is_copied in [false, true] {
        let mut place = Place::new();
        let arguments = ["--follow", "--batch-events", "100", "app.log"];
        let [path, copy] = ["app.log", "app.log.1"].map(|name| place.at(name));
        let mut command = place.command(&arguments);
        fs::write(&path, &old).unwrap();
        let process = place.server.crash_while(|_| {
            let mut process = command.spawn().unwrap();
            let mut told = String::new();
            BufReader::new(process.stderr.take().unwrap()).read_line(&mut told).unwrap();
            if is_copied {
                fs::copy(&path, copy).unwrap();
            }
            fs::write(&path, &new).unwrap();
            process
        });
        let last = json!(new.lines().next_back());
        eventually("the last line is stored", || {
            place.server.get("/events?order=desc&limit=1").json()[0]["payload"] == last
        });
        signal(&process, "INT");
        wait(process);
        if is_copied {
            assert_stored(&place, &[old.as_str(), &new].concat());
        } else {
            // What was not read before is gone, but nothing of what is there now.
            let stored = place.stored();
            let begin = stored.iter().position(|line| line.starts_with("new")).unwrap();
            assert!((1..20_000).contains(&begin), "{begin} old lines were read");
            let difference = stored[begin..].iter().zip(new.lines()).find(|(stored, line)| stored != line);
            assert_eq!(difference, None, "behind {begin} old lines");
            assert_eq!(stored.len() - begin, 60_000);
        }
    }
}

#[test]
fn what_was_copied_and_truncated_between_two_runs_is_found() {
    let place = Place::new();
    let arguments = ["--checkpoint", "app.pos", "--json", "app.log"];
    fs::write(place.at("app.log"), lines(10)).unwrap();
    place.ship(&arguments, 0);
    place.append("app.log", "eleven\n");
    fs::copy(place.at("app.log"), place.at("app.log.2")).unwrap();
    fs::write(place.at("app.log"), "twelve\nhalf a line").unwrap();
    fs::copy(place.at("app.log"), place.at("app.log.1")).unwrap();
    fs::write(place.at("app.log"), "anew\n").unwrap();
    assert_eq!(counts(&place.ship(&arguments, 0)), [4, 4, 0, 0]);
    assert_eq!(counts(&place.ship(&arguments, 0)), [0, 0, 0, 0]);
    assert_stored(&place, &(lines(10) + "eleven\ntwelve\nhalf a line\nanew\n"));

    // The log may be another one: its copies are none of it.
    File::open(place.at("app.log"))
        .unwrap()
        .set_modified(SystemTime::now() + Duration::from_secs(60))
        .unwrap();
    place.ship(&["--checkpoint", "other.pos", "app.log"], 0);
    place.rename("app.log", "kept");
    fs::write(place.at("app.log"), "another\n").unwrap();
    fs::remove_file(place.at("kept")).unwrap();
    let ended = place.ship(&["--checkpoint", "other.pos", "--json", "app.log"], 3);
    assert_eq!(counts(&ended), [1, 1, 0, 0]);
    assert!(ended.stderr.contains("was rotated away and is gone"), "{}", ended.stderr);
}

#[test]
fn a_file_that_hides_its_length_is_read() {
    let place = Place::new();
    assert_eq!(counts(&place.ship(&["--json", "/proc/version"], 0)), [1, 1, 0, 0]);
}

#[test]
fn rotations_while_the_service_is_away_lose_nothing() {
    let mut place = Place::new();
    let [log, newer, older] = ["app.log", "app.log.1", "app.log.2"].map(|name| place.at(name));
    let arguments = ["--follow", "--batch-events", "100", "app.log"];
    // More than fits between the reader and the service, three times.
    let text = |part: usize| -> String {
        (0..20_000).map(|line| format!("part {part} line {line} {}\n", "x".repeat(60))).collect()
    };
    fs::write(&log, text(0)).unwrap();
    let mut command = place.command(&arguments);
    let process = place.server.crash_while(|_| {
        let mut process = command.spawn().unwrap();
        let mut told = String::new();
        // Then it is alone with what it has to say, which is no reason to stop.
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut told).unwrap();
        assert!(told.contains("cannot be reached"), "{told}");
        fs::rename(&log, &older).unwrap();
        fs::write(&log, text(1)).unwrap();
        fs::rename(&log, &newer).unwrap();
        fs::write(&log, text(2)).unwrap();
        process
    });
    eventually("all lines are stored", || place.server.stats()["unique_processed"] == 60_000);
    signal(&process, "INT");
    wait(process);
    assert_stored(&place, &[text(0), text(1), text(2)].concat());
}

#[test]
fn the_end_at_any_moment_leaves_one_copy_of_each_line() {
    let place = Place::new();
    let text = lines(200_000);
    fs::write(place.at("app.log"), &text).unwrap();
    let url = place.server.url("");
    for (checkpoint, seed) in [(false, 1), (true, 2)] {
        let topic = format!("checkpoint-{checkpoint}");
        let mut arguments = vec!["--url", &url, "--topic", &topic, "app.log"];
        if checkpoint {
            arguments.extend(["--checkpoint", "app.pos"]);
        }
        let account = || {
            let stats = place.server.stats();
            let topics = stats["by_topic"].as_array().unwrap();
            let account =
                topics.iter().find(|account| account["topic"] == topic).cloned().unwrap_or_default();
            ["received", "unique_processed"].map(|name| account[name].as_u64().unwrap_or(0))
        };
        let mut random = fastrand::Rng::with_seed(seed);
        let mut killed_midway = 0;
        for _ in 0..8 {
            let mut process = publisher(place.here.path(), &arguments).spawn().unwrap();
            // Not before it has got somewhere, and then at a random moment.
            let [before, _] = account();
            eventually("something is sent", || {
                account()[0] > before || process.try_wait().unwrap().is_some()
            });
            std::thread::sleep(Duration::from_millis(random.u64(..200)));
            process.kill().unwrap();
            process.wait().unwrap();
            killed_midway += usize::from(account()[1] < 200_000);
        }
        assert!(killed_midway >= 3, "killed midway only {killed_midway} times");
        let ended = run(&mut publisher(place.here.path(), &arguments));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let [received, unique] = account();
        assert_eq!(unique, 200_000);
        // With a checkpoint few batches come twice.
        assert!(received < 220_000 || !checkpoint, "{received} were sent");
        let events = place.server.get(&format!("/events?topic={topic}")).json();
        let stored = events.as_array().unwrap().iter().map(|event| event["payload"].as_str().unwrap());
        assert!(stored.eq(text.lines()), "each line once, in the order of the file");
    }
    assert_eq!(place.server.stats()["conflicts"], 0);
}

#[test]
fn ctrl_c_sends_what_was_read_and_says_where_it_stopped() {
    let place = Place::new();
    // A batch that would wait for more.
    let arguments = ["--batch-wait", "1h"];
    let mut process = place.command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = process.stdin.take().unwrap();
    input.write_all(b"one\ntwo\n").unwrap();
    eventually("all is read", || rustix::io::ioctl_fionread(&input) == Ok(0));
    assert_eq!(place.server.events().len(), 0);
    signal(&process, "TERM");
    let ended = wait(process);
    assert_eq!(ended.code, Some(143), "{ended:?}");
    assert!(ended.stdout.contains("stdin: stopped behind line 2, at byte 8"), "{}", ended.stdout);
    assert_stored(&place, "one\ntwo\n");
}

#[test]
fn a_token_opens_a_service_that_asks_for_one() {
    let server = Server::with_variables(&[("publish_token", "secret")]);
    let place = Place { server, here: tempdir().unwrap() };
    fs::write(place.at("log"), lines(10)).unwrap();
    let ended = place.ship(&["--skip-invalid", "log"], 1);
    assert!(ended.stderr.contains("401"), "{}", ended.stderr);
    assert!(!place.at("rejects.ndjson").exists(), "the events are not at fault");
    place.ship(&["--token", "secret", "log"], 0);
    // A reader's right is another: the checkpoint is trusted.
    for _ in 0..2 {
        place.ship(&["--token", "secret", "--checkpoint", "pos", "log"], 0);
    }
    assert_stored(&place, &lines(10));
}

#[test]
fn a_conflict_is_told() {
    let place = Place::new();
    fs::write(place.at("a"), "{\"id\":1,\"n\":1}\n{\"id\":2}\n{\"id\":1,\"n\":2}\n").unwrap();
    let ended = place.ship(&["--id-field", "id", "a"], 0);
    assert!(ended.stderr.contains("event \"1\" is stored with another payload"), "{}", ended.stderr);
    assert!(ended.stdout.contains("1 of the duplicates had another payload"), "{}", ended.stdout);
}

#[test]
fn the_demonstration_runs_and_has_duplicates() {
    let place = Place::new();
    let url = place.server.url("");
    let demo = ["--demo", "--for", "2s", "--rate", "300", "--duplicates", "0.3", "--json", "--url", &url];
    let ended = run(&mut publisher(place.here.path(), &demo));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let [published, stored, duplicates, _] = counts(&ended);
    assert!(published > 100 && duplicates > 10, "{published} {duplicates}");
    assert_eq!(place.server.stats()["topics"], json!(["payments", "sensors", "weblog"]));
    assert_eq!(place.server.stats()["unique_processed"], stored);
    let times: Vec<_> = place.server.events().iter().map(|event| event["timestamp"].to_string()).collect();
    assert!(!times.is_sorted(), "some events are late");
}

#[test]
fn wrong_use_is_explained() {
    let here = tempdir().unwrap();
    fs::write(here.path().join("log"), "x\n").unwrap();
    for (arguments, said) in [
        (["log", "--url", "http://127.0.0.1:1"].as_slice(), "which topic?"),
        (&["--topic", "t", "missing"], "missing cannot be read"),
        (&["--topic", "t", "."], "is a directory"),
        (&["--topic", "t", "--url", "inbox.example.org", "log"], "is not an http or https address"),
        (&["--topic", "t", "--format", "events", "--id-field", "id", "log"], "are for --format json"),
        (&["--topic", " ", "log"], "a topic has 1 to 255 bytes"),
        (&["--topic", "t", "--timeout", "0s", "log"], "must be more than nothing"),
        (&["--topic", "t", "--rejects", "bad", "log"], "--skip-invalid"),
        (&["--topic", "t", "--rate", "5", "log"], "say how --demo goes"),
        (&["--topic", "t", "-", "-"], "name - once"),
        (&["--demo", "log"], "cannot be used with"),
    ] {
        let ended = run(&mut publisher(here.path(), arguments));
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(said), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn nobody_there_is_tried_for_a_while() {
    let here = tempdir().unwrap();
    fs::write(here.path().join("log"), "x\n").unwrap();
    let arguments = ["--topic", "t", "--url", "http://127.0.0.1:1", "--give-up-after", "1s", "log"];
    let ended = run(&mut publisher(here.path(), &arguments));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("gave up: the service cannot be reached"), "{}", ended.stderr);
}

/// When a request was answered, and its body.
type Request = (Instant, Vec<u8>);

/// Answers one connection after the other, each with the next of these, and returns the requests and their times. An
/// empty answer closes the connection instead.
fn scripted(answers: &'static [&'static str]) -> (String, JoinHandle<Vec<Request>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let answer = |answer: &&str| {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&mut stream);
            let answered = Instant::now();
            stream.write_all(answer.as_bytes()).unwrap();
            (answered, request)
        };
        answers.iter().map(answer).collect()
    });
    (url, thread)
}

fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the request ended early");
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let body = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            if request.len() - body == length.parse::<usize>().unwrap() {
                return request.split_off(body);
            }
        }
    }
}

#[test]
fn what_fails_for_the_moment_is_sent_again_as_it_was() {
    let (url, requests) = scripted(&[
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 408 Request Timeout\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "", // closed without an answer
        "HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\
         {\"total_received\":2,\"stored\":0,\"duplicates\":2,\"conflicts\":0}",
    ]);
    let here = tempdir().unwrap();
    fs::write(here.path().join("log"), "one\ntwo\n").unwrap();
    let ended = run(&mut publisher(here.path(), &["--topic", "t", "--url", &url, "--json", "log"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = ended.json();
    assert_eq!((&report["retries"], &report["uncertain_retries"]), (&json!(5), &json!(3)));

    let requests = requests.join().unwrap();
    for pair in requests[..4].windows(2) {
        assert!(pair[1].0 - pair[0].0 >= Duration::from_secs(1), "retry-after is honoured");
    }
    assert!(requests.iter().all(|(_, body)| *body == requests[0].1), "the same events with the same ids");
    assert!(requests[0].1.starts_with(&[0x1f, 0x8b]), "compressed by gzip");
}

#[test]
fn a_silent_service_does_not_hold_whoever_wants_to_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let here = tempdir().unwrap();
    fs::write(here.path().join("log"), "one\n").unwrap();
    let process = publisher(here.path(), &["--topic", "t", "--url", &url, "log"]).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    read_request(&mut stream);
    let asked = Instant::now();
    signal(&process, "INT");
    let ended = wait(process);
    assert!(asked.elapsed() < Duration::from_secs(25), "{:?}", asked.elapsed());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("trying for 10 s more"), "{}", ended.stderr);
    assert!(ended.stderr.contains("gave up: the answer was lost"), "{}", ended.stderr);
}

#[test]
fn a_batch_has_a_limit_of_events_and_of_bytes() {
    let answer = |events: usize| {
        let body = format!(r#"{{"total_received":{events},"stored":{events},"duplicates":0,"conflicts":0}}"#);
        let answer: &str = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}").leak();
        answer
    };
    let here = tempdir().unwrap();
    fs::write(here.path().join("log"), lines(25)).unwrap();
    // An event that is larger than a batch goes alone.
    for (limit, sizes) in
        [(["--batch-events", "10"], [10, 10, 5].as_slice()), (["--batch-bytes", "1"], &[1; 25])]
    {
        let answers: Vec<_> = sizes.iter().map(|&size| answer(size)).collect();
        let (url, requests) = scripted(answers.leak());
        let arguments = [["--topic", "t"], ["--url", &url], limit].concat();
        let ended = run(&mut publisher(here.path(), &[&arguments, ["--no-gzip", "log"].as_slice()].concat()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let lines_of = |(_, body): &Request| body.iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(requests.join().unwrap().iter().map(lines_of).collect::<Vec<_>>(), sizes);
    }
}

#[test]
fn a_service_that_does_not_answer_stops_the_reading() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let here = tempdir().unwrap();
    fs::write(here.path().join("log"), lines(4_000_000)).unwrap();
    let mut process = publisher(here.path(), &["--topic", "t", "--url", &url, "log"]).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    read_request(&mut stream);
    // Whatever it would read without an answer, it has read by then.
    std::thread::sleep(Duration::from_secs(2));
    let ask = |file: &str, name: &str| -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/{file}", process.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    assert!(ask("io", "rchar:") < 16 << 20, "{} bytes were read", ask("io", "rchar:"));
    assert!(ask("status", "VmHWM:") < 64 << 10, "{} kB", ask("status", "VmHWM:"));
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn what_is_refused_is_not_sent_again() {
    let (url, requests) =
        scripted(&["HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"]);
    let here = tempdir().unwrap();
    fs::write(here.path().join("log"), "one\n").unwrap();
    let ended = run(&mut publisher(here.path(), &["--topic", "t", "--url", &url, "--no-gzip", "log"]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("404"), "{}", ended.stderr);
    let requests = requests.join().unwrap();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].1.starts_with(b"{\"topic\":\"t\""));
}

#[test]
fn no_line_and_no_name_commands_the_terminal() {
    let place = Place::new();
    let name = "log \u{1b}[2J";
    // What is no JSON, what the service refuses, and a conflict.
    for (arguments, text, code) in [
        (["--format", "json"], "{\"x\":\u{1b}[2J}\n", 1),
        (["--format", "events"], "{\"event_id\":\"1\",\"timestamp\":\"\u{9b}2J\"}\n", 1),
        (["--id-field", "id"], "{\"id\":\"\u{9b}2J\"}\n{\"id\":\"\u{9b}2J\",\"n\":1}\n", 1),
        (["--time-field", "at"], "{\"at\":\"\u{9b}2J\"}\n", 1),
    ] {
        fs::write(place.at(name), text).unwrap();
        let ended = place.ship(&[&arguments[..], &[name]].concat(), code);
        assert!(!ended.stderr.is_empty());
        for told in [ended.stderr, ended.stdout] {
            assert!(!told.contains(['\u{1b}', '\u{9b}']), "{arguments:?}: {told:?}");
        }
    }
}

#[test]
fn many_malformed_events_cost_little() {
    let place = Place::new();
    // What only the service finds: lone surrogates, and fields of a wrong type.
    let line = |number: usize| match number % 4 {
        0 | 2 => format!("{{\"event_id\":\"{number}\"}}\n"),
        1 => format!("{{\"event_id\":\"{number}\",\"payload\":\"\\ud800\"}}\n"),
        _ => format!("{{\"event_id\":{number}}}\n"),
    };
    fs::write(place.at("events"), (0..10_000).map(line).collect::<String>()).unwrap();
    let requests = || {
        let metrics = place.server.get("/metrics").text;
        let of_publish = metrics
            .lines()
            .filter(|line| line.starts_with("sekali_http_requests_total{") && line.contains("publish"));
        of_publish.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>()
    };
    let before = requests();
    let arguments = ["--format", "events", "--skip-invalid", "--json", "events"];
    assert_eq!(counts(&place.ship(&arguments, 3)), [5_000, 5_000, 0, 5_000]);
    // One request for each batch of a thousand, and one for each hundred errors.
    let requests = requests() - before;
    assert!((10.0..100.0).contains(&requests), "{requests} requests");
    let rejects = fs::read_to_string(place.at("rejects.ndjson")).unwrap();
    let rejects: Vec<Value> = rejects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rejects.len(), 5_000);
    for reject in rejects {
        let place = reject["place"].as_str().unwrap().strip_prefix("events line ").unwrap();
        let number = place.parse::<usize>().unwrap() - 1;
        assert_eq!(reject["line"], line(number).trim_end());
        let expected = if number % 4 == 1 { "lone surrogate" } else { "event_id must be a string" };
        assert!(reject["reason"].as_str().unwrap().contains(expected), "{reject}");
    }
}

#[test]
fn a_line_that_is_too_long_is_told_what_helps() {
    let place = Place::new();
    for bytes in [300_000, 9 << 20] {
        fs::write(place.at("log"), "x".repeat(bytes) + "\n").unwrap();
        let ended = place.ship(&["log"], 1);
        assert!(ended.stderr.contains("--skip-invalid"), "{}", ended.stderr);
    }
}

#[test]
fn times_of_the_journal_are_taken() {
    let place = Place::new();
    let entry = "{\"__CURSOR\":\"c\",\"__REALTIME_TIMESTAMP\":\"1763686800123456\",\"MESSAGE\":\"m\"}\n";
    fs::write(place.at("journal"), entry).unwrap();
    let arguments = ["--id-field", "__CURSOR", "--time-field", "__REALTIME_TIMESTAMP", "journal"];
    place.ship(&arguments, 0);
    assert_eq!(place.server.events()[0]["timestamp"], "2025-11-21T01:00:00.123456Z");
}

#[test]
fn an_address_is_taken_without_its_scheme_and_is_the_same_for_a_checkpoint() {
    let place = Place::new();
    fs::write(place.at("log"), "one\n").unwrap();
    let (with, without) = (place.server.url(""), place.server.address().to_string());
    for url in [with, without] {
        let ended = run(&mut publisher(
            place.here.path(),
            &["--topic", "t", "-u", &url, "--checkpoint", "pos", "log"],
        ));
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert_eq!(place.server.stats()["received"], 1);
    let ended = run(&mut stress_test(&["--preset", "smoke", "-u", &place.server.address().to_string()]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_field_that_the_service_ignores_is_told_once() {
    let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\nsekali-ignored: payloads, foo\r\n\r\n\
         {\"total_received\":1,\"stored\":1,\"duplicates\":0,\"conflicts\":0}";
    let partly = "HTTP/1.1 207 Multi-Status\r\nconnection: close\r\n\r\n\
         {\"total_received\":1,\"stored\":1,\"duplicates\":0,\"conflicts\":0,\"ignored\":[\"payloads\"]}";
    let here = tempdir().unwrap();
    let line = r#" {"topic":"t","event_id":"1","payloads":1,"foo":[2]} "#;
    fs::write(here.path().join("events"), format!("{line}\n{line}\n")).unwrap();
    for (answers, foos) in [([answer, answer], 1), ([partly, partly], 0)] {
        let (url, requests) = scripted(answers.to_vec().leak());
        let arguments =
            ["--url", &url, "--format", "events", "--batch-events", "1", "--no-gzip", "--json", "events"];
        let ended = run(&mut publisher(here.path(), &arguments));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        // It reaches the service, which may also refuse it.
        let body = String::from_utf8(requests.join().unwrap()[0].1.clone()).unwrap();
        assert!(body.contains(r#""payloads":1,"foo":[2]"#), "{body}");
        assert_eq!(ended.stderr.matches("does not know the field \"payloads\"").count(), 1, "{ended:?}");
        assert_eq!(ended.stderr.matches("does not know the field \"foo\"").count(), foos, "{ended:?}");
        assert_eq!(ended.json()["ignored_fields"].as_array().unwrap().len(), foos + 1);
    }
}
