//! What is more than a line is one event, in each format, however it comes and whenever the publisher is killed.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::place::Place;
use crate::program::{eventually, run_with, signal, wait};

/// The trace of so many lines.
fn trace(name: &str, lines: usize) -> String {
    let frames = (1..lines).map(|line| format!("\n\tat com.example.Frame.call(Frame.java:{line})"));
    format!("java.lang.IllegalStateException: {name}{}", frames.collect::<String>())
}

fn docker(stream: &str, log: &str) -> String {
    format!("{}\n", json!({"log": log, "stream": stream, "time": "2026-11-29T19:21:07.5Z"}))
}

fn payloads(place: &Place) -> Vec<Value> {
    place.server.events().iter().map(|event| event["payload"].clone()).collect()
}

fn kill(process: Child) {
    signal(&process, "KILL");
    wait(process);
}

#[test]
fn a_trace_of_forty_lines_is_one_event_however_it_comes() {
    let trace = trace("boom", 40);
    let place = Place::new();
    fs::write(place.at("app.log"), format!("before\n{trace}\nafter\n\n{trace}\n")).unwrap();
    let multiline = ["--multiline", "java", "--multiline-timeout", "300ms"];
    place.ship(&[&multiline[..], &["--checkpoint", "pos", "app.log"]].concat(), 0);
    assert_eq!(place.stored(), ["before", &trace, "after", &trace]);
    // The last one rested, and is done.
    let ended = place.ship(&[&multiline[..], &["--checkpoint", "pos", "--json", "app.log"]].concat(), 0);
    assert_eq!(ended.json()["published"], 0);

    // Through a pipe, and without a line end.
    let mut command = place.command(&[&multiline[..], &["--json"]].concat());
    let ended = run_with(&mut command, format!("{trace}\nafter\n{trace}").as_bytes());
    assert_eq!(ended.json()["lines"]["new"], 3);
}

#[test]
fn a_trace_that_comes_in_pieces_is_one_event_over_kills() {
    let place = Place::new();
    let follow = || {
        place.follow(&["--checkpoint", "pos", "--multiline", "java", "--multiline-timeout", "2s", "app.log"])
    };
    fs::write(place.at("app.log"), "").unwrap();
    let mut process = follow();
    let mut expected = Vec::new();
    for name in ["one", "two", "three"] {
        let trace = trace(name, 40);
        place.append("app.log", "before\n");
        for (number, piece) in trace.as_bytes().chunks(400).enumerate() {
            place.append("app.log", std::str::from_utf8(piece).unwrap());
            std::thread::sleep(Duration::from_millis(60));
            if number == 2 {
                kill(std::mem::replace(&mut process, follow()));
            }
        }
        place.append("app.log", "\n");
        expected.extend(["before".to_owned(), trace]);
    }
    place.has(expected.len());
    assert_eq!(place.stored(), expected);
    // What rested was recorded: the next run has nothing to send.
    kill(process);
    place.append("app.log", "after\n");
    let ended = place.ship(
        &["--checkpoint", "pos", "--multiline", "java", "--multiline-timeout", "2s", "app.log", "--json"],
        0,
    );
    assert!(ended.json()["stored"] == 1 && place.stored().last().unwrap() == "after", "{ended:?}");
}

#[test]
fn the_last_trace_of_a_pipe_that_stays_open_is_sent() {
    let place = Place::new();
    let arguments = ["--follow", "--multiline", "java", "--multiline-timeout", "300ms"];
    let mut process = place.command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = process.stdin.take().unwrap();
    let trace = trace("boom", 40);
    for piece in trace.as_bytes().chunks(500) {
        std::io::Write::write_all(&mut input, piece).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    std::io::Write::write_all(&mut input, b"\n").unwrap();
    place.has(1);
    assert_eq!(place.stored(), [trace]);
    drop(input);
    assert_eq!(wait(process).code, Some(0));
}

#[test]
fn an_event_begins_where_a_pattern_says() {
    let place = Place::new();
    fs::write(place.at("app.log"), "lost\n2026-11-29 one\r\n  more\r\n\r\n2026-11-30 two\n").unwrap();
    let arguments = ["--multiline", r"^\d{4}-\d\d-\d\d ", "--multiline-timeout", "0s", "app.log"];
    place.ship(&arguments, 0);
    assert_eq!(place.stored(), ["lost", "2026-11-29 one\n  more", "2026-11-30 two"]);
    // JSON over several lines, too.
    fs::write(place.at("pretty"), "{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}\n").unwrap();
    place.ship(&["--format", "json", "--multiline", r"^\{", "--multiline-timeout", "0s", "pretty"], 0);
    assert_eq!(payloads(&place)[3..], [json!({"a": 1}), json!({"a": 2})]);
    for (arguments, told) in [
        (["--multiline", "("], "regex parse error"),
        (["--multiline", "java"], "which say where a record ends"),
    ] {
        let ended = place.ship(&[&arguments[..], &["--format", "csv", "app.log"]].concat(), 2);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
}

#[test]
fn the_messages_of_containers_are_whole_over_kills() {
    let place = Place::new();
    let long = "x".repeat(40_000);
    let trace = trace("boom", 40);
    // Parts of two streams and the lines of a trace, interleaved.
    let mut pieces = Vec::new();
    for _ in 0..3 {
        for (number, line) in trace.split_inclusive('\n').enumerate() {
            let line = format!("{}\n", line.trim_end());
            pieces.push(docker("stderr", &line));
            pieces.push(docker("stdout", &long[..[16_384, 16_384, 7_232][number % 3]]));
            if number % 3 == 2 {
                pieces.push(docker("stdout", "\n"));
            }
        }
        pieces.push(docker("stdout", "end\n"));
        pieces.push(docker("stderr", "after\n"));
    }
    let follow = || {
        let arguments = ["--format", "docker", "--multiline", "java", "--multiline-timeout", "3s"];
        place.follow(&[&arguments[..], &["--checkpoint", "pos", "app-json.log"]].concat())
    };
    fs::write(place.at("app-json.log"), "").unwrap();
    let mut process = follow();
    for (number, piece) in pieces.iter().enumerate() {
        let (one, other) = piece.split_at(piece.len() / 2);
        place.append("app-json.log", one);
        place.append("app-json.log", other);
        std::thread::sleep(Duration::from_millis(5));
        if number % 50 == 49 {
            kill(std::mem::replace(&mut process, follow()));
        }
    }
    let expected_of = |stream: &str, log: &str| json!({"log": log, "stream": stream});
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(expected_of("stderr", &trace));
        expected.push(expected_of("stderr", "after"));
        expected.extend((0..13).map(|_| expected_of("stdout", &long)));
        expected.push(expected_of("stdout", &format!("{}end", &long[..16_384])));
    }
    eventually("all messages are stored", || payloads(&place).len() >= expected.len());
    kill(process);
    let sorted = |mut payloads: Vec<Value>| {
        payloads.sort_by_key(Value::to_string);
        payloads
    };
    assert!(sorted(payloads(&place)) == sorted(expected), "a message is not whole, or there twice");
    assert_eq!(place.server.events()[0]["timestamp"], "2026-11-29T19:21:07.5Z");
}

#[test]
fn parts_of_kubernetes_are_joined_and_what_is_cut_off_is_sent() {
    let place = Place::new();
    let line = |stream: &str, rest: &str| format!("2026-11-29T19:21:07.123456789Z {stream} {rest}\n");
    let text = line("stdout", "P one ")
        + &line("stderr", "F other")
        + &line("stdout", "F two")
        + &line("stdout", "P cut");
    fs::write(place.at("0.log"), text).unwrap();
    let arguments =
        ["--format", "cri", "--multiline-timeout", "0s", "--checkpoint", "pos", "--payload", "log", "0.log"];
    place.ship(&arguments, 0);
    assert_eq!(place.stored(), ["other", "one two", "cut"]);
    // A part that rested is an event, and what follows is another.
    place.append("0.log", &line("stdout", "F off"));
    place.ship(&arguments, 0);
    assert_eq!(place.stored()[3..], ["off"]);
    place.append("0.log", "no line of a runtime\n");
    let ended = place.ship(&arguments, 1);
    assert!(ended.stderr.contains("0.log line 6: is not a line of a container runtime"), "{}", ended.stderr);
}

#[test]
fn a_table_in_a_file_is_read_on_in_its_middle() {
    let place = Place::new();
    fs::write(place.at("a.csv"), "\u{feff}id;at;text\r\n1;1763686800;\"two\r\nlines; \"\"quoted\"\"\"\r\n")
        .unwrap();
    let arguments = [
        "--format",
        "csv",
        "--delimiter",
        ";",
        "--id-field",
        "id",
        "--time-field",
        "at",
        "--checkpoint",
        "pos",
        "a.csv",
    ];
    let ended = place.ship(&[&arguments[..], &["--json"]].concat(), 0);
    assert_eq!(
        ended.json()["lines"],
        json!({"new": 1, "again": 0, "refused": 0, "skipped": 1, "undecodable": 0})
    );
    let process = place.follow(&arguments);
    place.append("a.csv", "2;1763686801;\"not ");
    std::thread::sleep(Duration::from_millis(300));
    place.append("a.csv", "yet\n");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(place.server.events().len(), 1, "a record was sent before its end");
    kill(process);
    let process = place.follow(&arguments);
    place.append("a.csv", "whole\"\n3;1763686802;\n");
    place.has(3);
    kill(process);
    let events = place.server.events();
    assert_eq!(
        events[0]["payload"],
        json!({"id": "1", "at": "1763686800", "text": "two\r\nlines; \"quoted\""})
    );
    assert_eq!(events[1]["payload"]["text"], "not yet\nwhole");
    assert_eq!(
        (&events[2]["event_id"], &events[2]["timestamp"]),
        (&json!("3"), &json!("2025-11-21T01:00:02Z"))
    );
    assert_eq!(place.server.stats()["duplicate_dropped"], 0);
    // Rows of another width are named, and the others are sent.
    place.append("a.csv", "4;5\n6;1763686802;x\n");
    let ended = place.ship(&[&arguments[..], &["--skip-invalid", "--json"]].concat(), 3);
    assert_eq!((&ended.json()["stored"], &ended.json()["lines"]["undecodable"]), (&json!(1), &json!(1)));
    assert!(
        fs::read_to_string(place.at("rejects.ndjson")).unwrap().contains("has 2 fields, and the header 3")
    );
}

/// An entry, as `journalctl -o export` writes it.
fn entry(number: usize) -> Vec<u8> {
    let message = format!("entry\n{number}");
    let mut entry =
        format!("__CURSOR=s=1;i={number:x}\n__REALTIME_TIMESTAMP=1763686800{number:06}\nMESSAGE\n")
            .into_bytes();
    entry.extend_from_slice(&(message.len() as u64).to_le_bytes());
    entry.extend_from_slice(message.as_bytes());
    entry.extend_from_slice(b"\nPRIORITY=6\n\n");
    entry
}

#[test]
fn the_journal_is_read_on_behind_the_last_entry_that_was_acknowledged() {
    let place = Place::new();
    let cursor = || place.ship(&["--checkpoint", "pos", "--print-cursor"], 0).stdout;
    assert_eq!(cursor(), "--no-tail\n");
    let arguments = ["--format", "journald", "--checkpoint", "pos", "--json"];
    let ship = |entries: std::ops::Range<usize>| {
        let input: Vec<u8> = entries.flat_map(entry).collect();
        run_with(&mut place.command(&arguments), &input)
    };
    assert_eq!(ship(0..100).json()["stored"], 100);
    assert_eq!(cursor(), "--after-cursor=s=1;i=63\n");
    // Entries that come again are the same, in either format.
    assert_eq!(ship(90..110).json()["lines"]["again"], 10);
    let json = json!({"__CURSOR": "s=1;i=6d", "__REALTIME_TIMESTAMP": "1763686800000109", "MESSAGE": "entry\n109", "PRIORITY": "6"});
    let ended = run_with(&mut place.command(&arguments), format!("{json}\n").as_bytes());
    assert_eq!(
        (&ended.json()["duplicates"], &ended.json()["conflicts"]),
        (&json!(1), &json!(0)),
        "{ended:?}"
    );
    let event = &place.server.events()[7];
    assert_eq!(
        (&event["event_id"], &event["timestamp"]),
        (&json!("s=1;i=7"), &json!("2025-11-21T01:00:00.000007Z"))
    );
    // One that is cut off, because journalctl was killed, is not taken for the whole.
    let mut cut = entry(110);
    cut.truncate(cut.len() - 4);
    let ended = run_with(&mut place.command(&arguments), &cut);
    assert!(ended.code == Some(1) && ended.stderr.contains("is cut off"), "{ended:?}");
    assert_eq!(cursor(), "--after-cursor=s=1;i=6d\n");
}

#[test]
fn syslog_is_read_as_it_stands_in_files() {
    let place = Place::new();
    let text = "<165>1 2026-11-29T19:21:07Z host app 7 ID47 [x@1 a=\"b\"] text\n\
                2026-11-29T19:21:08.5+01:00 host cron[9]: (root) CMD (true)\n\
                Jun 14 15:16:01 combo kernel: Out of memory\n";
    fs::write(place.at("syslog"), text).unwrap();
    place.ship(&["--format", "syslog", "syslog"], 0);
    let events = place.server.events();
    let field = |name: &str| events.iter().map(|event| event["payload"][name].clone()).collect::<Vec<_>>();
    assert_eq!(field("appname"), ["app", "cron", "kernel"]);
    assert_eq!(field("message"), ["text", "(root) CMD (true)", "Out of memory"]);
    assert_eq!(events[1]["timestamp"], "2026-11-29T18:21:08.5Z");
}

/// `journalctl -f` in front of the publisher, as the documentation says. Where there is no journal, nothing is shown.
#[test]
fn the_option_is_one_of_journalctl() {
    let Ok(output) = Command::new("journalctl").args(["--no-tail", "--lines=0", "--output=export"]).output()
    else {
        return;
    };
    assert!(output.status.success(), "{output:?}");
    let output =
        Command::new("journalctl").args(["--after-cursor=s=1;i=63", "--output=json"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("unrecognized option"), "{output:?}");
}
