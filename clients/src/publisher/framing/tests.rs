//! Records come whole, in whatever pieces they are read, and wherever reading begins anew.

use std::io::{self, Read};
use std::path::Path;

use clap::Parser;
use fastrand::Rng;

use super::*;
use crate::input::LineReader;

/// What is compared of a record: its place, its text, and whether it is an event.
type Seen = (u64, String, bool);

/// Bytes that are read in steps of random sizes.
struct Dribble<'a> {
    bytes: &'a [u8],
    most: usize,
    random: Rng,
}

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let take = self.random.usize(1..=self.most).min(self.bytes.len()).min(buffer.len());
        buffer[..take].copy_from_slice(&self.bytes[..take]);
        self.bytes = &self.bytes[take..];
        Ok(take)
    }
}

fn settings(arguments: &[&str]) -> Settings {
    let cli = Cli::parse_from([&["publisher", "--topic", "t"], arguments].concat());
    Settings::of(&cli).unwrap()
}

/// A file that is read from `start` on.
fn origin(bytes: &[u8], start: Position) -> Arc<Origin> {
    let head = bytes[..usize::try_from(start.offset).unwrap()].to_vec();
    Arc::new(Origin { start, head, is_file: true, ..Origin::stream(Path::new("app.log"), "app.log") })
}

/// The records of a file from `start` on, and the position behind them. The file is read in steps of at most so many
/// bytes; it ends, or goes on and is given up.
fn read(
    settings: &Settings,
    bytes: &[u8],
    (start, most, seed): (Position, usize, u64),
    is_over: bool,
) -> (Vec<Seen>, Position) {
    let mut framers = Framers::new(settings.clone());
    let origin = origin(bytes, start);
    let rest = &bytes[usize::try_from(start.offset).unwrap()..];
    let input = Dribble { bytes: rest, most, random: Rng::with_seed(seed) };
    let mut reader = LineReader::new(input, start).with_binary(settings.is_binary());
    let (mut seen, mut reached) = (Vec::new(), start);
    let mut take = |start, end, text| {
        let gathered = framers.take(&Chunk { origin: Arc::clone(&origin), start, end, text });
        for record in gathered.records {
            assert!(record.reached.offset >= reached.offset, "a position goes back");
            reached = record.reached;
            let text = String::from_utf8_lossy(&record.text).into_owned();
            match record.content {
                Content::Event => seen.push((record.start.offset, text, true)),
                Content::Broken(_) => seen.push((record.start.offset, text, false)),
                Content::Nothing => {}
            }
        }
        reached = gathered.reached.map_or(reached, |(_, position)| position);
    };
    while let Some((start, text)) = reader.next().unwrap() {
        take(start, reader.position(), text);
    }
    if is_over {
        while let Some((start, text)) = reader.rest() {
            take(start, start, text);
        }
        take(reader.position(), reader.position(), Text::Drained);
    }
    (seen, reached)
}

fn records(arguments: &[&str], text: &[u8]) -> Vec<Seen> {
    read(&settings(arguments), text, (Position::default(), usize::MAX, 0), true).0
}

/// The texts of the events.
#[track_caller]
fn events(arguments: &[&str], text: &str) -> Vec<String> {
    let seen = records(arguments, text.as_bytes());
    assert!(seen.iter().all(|(.., is_event)| *is_event), "{seen:?}");
    seen.into_iter().map(|(_, text, _)| text).collect()
}

const JAVA: &str =
    "java.lang.IllegalStateException: boom\n\tat a.B.c(B.java:1)\nCaused by: x.Y\n\t... 1 more\n";

/// An input of each kind, with records of several lines, such that interleave, and such that are no records.
fn samples() -> Vec<(Vec<&'static str>, Vec<u8>)> {
    let docker = |stream: &str, log: &str| {
        format!("{}\n", serde_json::json!({"log": log, "stream": stream, "time": "2026-11-29T19:21:07Z"}))
    };
    let cri = |stream: &str, tag: &str, log: &str| format!("2026-11-29T19:21:07.1Z {stream} {tag} {log}\n");
    let mut dockers = String::new();
    let mut cris = String::new();
    for round in 0..5 {
        for line in JAVA.split_inclusive('\n') {
            dockers += &docker("stderr", line);
            dockers += &docker("stdout", &format!("part {round} of "));
            cris += &cri("stderr", "F", line.trim_end());
            cris += &cri("stdout", "P", "part of ");
            dockers += &docker("stdout", "a message\n");
            cris += &cri("stdout", "F", "a message");
            if round == 3 {
                dockers += "not JSON\n\n";
                cris += "nothing\n\n";
            }
        }
    }
    dockers += &docker("stdout", "never ends");
    cris += &cri("stderr", "P", "never ends");
    let mut journal = Vec::new();
    for number in 0..20u8 {
        let text = [b"\0\n\n__CURSOR=forged\n", vec![b'\n'; number.into()].as_slice(), &[0xff, 0]].concat();
        journal
            .extend_from_slice(format!("__CURSOR=c{number}\n__REALTIME_TIMESTAMP=1\nMESSAGE\n").as_bytes());
        journal.extend_from_slice(&(text.len() as u64).to_le_bytes());
        journal.extend_from_slice(&text);
        journal.extend_from_slice(b"\n_PID=1\n\n");
        journal.extend_from_slice(format!("{{\"__CURSOR\":\"j{number}\"}}\n").as_bytes());
    }
    journal.extend_from_slice(b"__CURSOR=cut\nMES");
    let csv = "\u{feff}id,text\n\n1,\"two\nlines\"\r\n2,\"a \"\"quote\"\"\r\n\r\n\"\n3,5\" disk\n4,\"\"\n,\n5,\"ends\nwithin";
    let lines = format!("\u{feff}INFO one\n{JAVA}INFO two\r\n\n{JAVA}{JAVA}\0\0INFO caf\u{e9}\n  more\nlast");
    vec![
        (vec!["--format", "docker"], dockers.clone().into_bytes()),
        (vec!["--format", "docker", "--multiline", "java"], dockers.into_bytes()),
        (vec!["--format", "cri"], cris.clone().into_bytes()),
        (vec!["--format", "cri", "--multiline", "java"], cris.into_bytes()),
        (vec!["--format", "csv"], csv.into()),
        (vec!["--format", "journald"], journal),
        (vec!["--multiline", "java"], lines.clone().into_bytes()),
        (vec!["--multiline", "^INFO"], [lines.as_bytes(), b"\xff\xfe\n\n \n"].concat()),
        (vec!["--format", "csv", "--delimiter", "tab"], b"a\tb\n1\t\"2\n\"\n3\t4\n".to_vec()),
    ]
}

#[test]
fn any_cut_into_reads_gives_the_same_records() {
    for (arguments, bytes) in samples() {
        let settings = settings(&arguments);
        let whole = read(&settings, &bytes, (Position::default(), usize::MAX, 0), true);
        assert!(whole.0.len() > 1, "{arguments:?}");
        for most in [1, 2, 3, 7, 60, 1_000] {
            for seed in 0..5 {
                let cut = read(&settings, &bytes, (Position::default(), most, seed), true);
                assert_eq!(cut, whole, "{arguments:?} in steps of {most}");
            }
        }
    }
}

#[test]
fn a_restart_anywhere_gives_the_same_records_and_a_checkpoint_is_never_within_one() {
    for (arguments, bytes) in samples() {
        let settings = settings(&arguments);
        let (whole, _) = read(&settings, &bytes, (Position::default(), usize::MAX, 0), true);
        for cut in 0..=bytes.len() {
            let from = (Position::default(), usize::MAX, 0);
            let (mut seen, reached) = read(&settings, &bytes[..cut], from, false);
            let (rest, _) = read(&settings, &bytes, (reached, usize::MAX, 0), true);
            // What comes again is the same, and so a duplicate.
            let again = |seen: &[Seen], record: &Seen| seen.iter().any(|known| known == record);
            let before = seen.clone();
            seen.extend(rest.into_iter().filter(|record| !again(&before, record)));
            let mut expected = whole.clone();
            seen.sort();
            expected.sort();
            assert_eq!(seen, expected, "{arguments:?} cut at {cut}, and read on from {}", reached.offset);
        }
    }
}

#[test]
fn messages_in_parts_are_joined_by_stream() {
    let text = "t {\"log\"\n";
    assert_eq!(records(&["--format", "docker"], text.as_bytes()).len(), 1);
    let part =
        |log: &str, stream: &str| format!("{{\"log\":\"{log}\",\"stream\":\"{stream}\",\"time\":\"t\"}}\n");
    let text =
        part("a", "stdout") + &part("x\\n", "stderr") + &part("b\\n", "stdout") + &part("c\\n", "stdout");
    let found = events(&["--format", "docker"], &text);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(found, [lines[1].to_owned(), format!("{}\n{}", lines[0], lines[2]), lines[3].to_owned()]);

    let text = "2026T1 stdout P a\r\n2026T1 stderr F x\n2026T1 stdout F b\n2026T1 stdout F\n";
    let found = events(&["--format", "cri"], text);
    assert_eq!(found, ["2026T1 stderr F x", "2026T1 stdout P a\n2026T1 stdout F b", "2026T1 stdout F"]);
}

#[test]
fn the_trace_of_a_container_is_one_event_beside_another_stream() {
    let mut text = String::new();
    for line in JAVA.lines() {
        text += &format!("2026T1 stderr F {line}\n2026T1 stdout F GET / 200\n");
    }
    text += "2026T1 stderr F after: it\n";
    let found = events(&["--format", "cri", "--multiline", "java"], &text);
    assert_eq!(found.len(), 4 + 2);
    let trace: String = JAVA.lines().map(|line| format!("2026T1 stderr F {line}\n")).collect();
    assert!(found.contains(&trace.trim_end().to_owned()));
}

#[test]
fn a_trace_that_rests_is_one_event_and_ends_there_again() {
    let settings = settings(&["--multiline", "java"]);
    let bytes = JAVA.as_bytes();
    let chunk = |origin: &Arc<Origin>, start: usize, text: Text| {
        let at = |offset: usize| Position { offset: offset as u64, lines: 0 };
        let end = if let Text::Lines(lines) = &text { start + lines.len() } else { start };
        Chunk { origin: Arc::clone(origin), start: at(start), end: at(end), text }
    };
    let (first, more) = bytes.split_at(JAVA.find("\tat").unwrap());
    let file = origin(bytes, Position::default());
    let mut framers = Framers::new(settings.clone());
    let gathered = framers.take(&chunk(&file, 0, Text::Lines(first.to_vec())));
    assert!(gathered.records.is_empty());
    assert_eq!(gathered.reached.unwrap().1.offset, 0);
    let gathered = framers.take(&chunk(&file, first.len(), Text::Rest));
    assert_eq!(gathered.records[0].text, first.trim_ascii_end());
    let (_, rest) = gathered.rest.unwrap();
    assert_eq!((rest, gathered.reached.unwrap().1.offset), (first.len() as u64, first.len() as u64));
    // Then the file grows, and is read once more by a run that does not know that it was stored.
    let file = Arc::new(Origin { rests: vec![rest], ..Origin::clone(&file) });
    let mut framers = Framers::new(settings);
    let gathered = framers.take(&chunk(&file, 0, Text::Lines([first, more].concat())));
    assert_eq!(gathered.records[0].text, first.trim_ascii_end());
}

#[test]
fn events_of_several_lines_are_bounded_and_nothing_of_them_is_lost() {
    let line = format!("\tat {}\n", "x".repeat(1_000));
    let text = format!("Error:\n{}", line.repeat(5_000));
    let found = events(&["--multiline", "java"], &text);
    assert_eq!(found.len(), 5);
    assert!(found.iter().all(|event| event.len() <= 1 << 20));
    assert_eq!(found.join("\n") + "\n", text);
}

#[test]
fn a_record_that_is_too_long_is_refused_with_all_its_parts_and_the_next_is_not() {
    let part = |text: &str, tag| format!("2026T1 stdout {tag} {text}\n");
    let long = part(&"x".repeat(1 << 20), "P").repeat(20) + &part("end", "F");
    let text = part("before", "F") + &long + &part("after", "F");
    let seen = records(&["--format", "cri"], text.as_bytes());
    let (good, bad): (Vec<_>, Vec<_>) = seen.into_iter().partition(|(.., is_event)| *is_event);
    assert_eq!(
        good.iter().map(|(_, text, _)| text.as_str()).collect::<Vec<_>>(),
        ["2026T1 stdout F before", "2026T1 stdout F after"]
    );
    assert!(bad.iter().all(|(place, text, _)| *place == 23 && text.len() < 9 << 20), "{}", bad.len());

    // A quote without an end takes no more than that.
    let rows = "1,x\n".repeat(3 << 20);
    let seen = records(&["--format", "csv"], format!("a,b\n1,\"{rows}").as_bytes());
    assert!(!seen[0].2 && !seen[1].2, "what was given up, and the rest of its line");
    assert!(seen[2..].iter().all(|(_, text, is_event)| *is_event && text == "1,x"));
}

#[test]
fn a_field_of_the_journal_can_forge_no_entry_however_long_it_is() {
    let mut bytes = b"__CURSOR=a\n__REALTIME_TIMESTAMP=1\nMESSAGE\n".to_vec();
    let forged = b"\n\n__CURSOR=forged\n__REALTIME_TIMESTAMP=1\nMESSAGE=x\n\n".repeat(400_000);
    bytes.extend_from_slice(&(forged.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&forged);
    bytes.extend_from_slice(b"\n\n__CURSOR=b\n__REALTIME_TIMESTAMP=1\n\n");
    let seen = records(&["--format", "journald"], &bytes);
    let good: Vec<_> = seen.iter().filter(|(.., is_event)| *is_event).collect();
    assert_eq!(good.len(), 1);
    assert!(good[0].1.starts_with("__CURSOR=b"));
    // Also if it has no line ends.
    let mut bytes = b"__CURSOR=a\nMESSAGE\n".to_vec();
    bytes.extend_from_slice(&(9u64 << 20).to_le_bytes());
    bytes.extend_from_slice(&vec![b'x'; 9 << 20]);
    bytes.extend_from_slice(b"\n\n__CURSOR=b\n\n");
    let seen = records(&["--format", "journald"], &bytes);
    assert_eq!(seen.iter().filter(|(.., is_event)| *is_event).count(), 1, "{:?}", seen.len());
}

#[test]
fn the_columns_of_a_file_are_known_in_its_middle() {
    let settings = settings(&["--format", "csv"]);
    let bytes = b"\xef\xbb\xbf\n\"a\nb\",c\n1,2\n3,4\n";
    let mut framers = Framers::new(settings);
    let start = Position { offset: 16, lines: 4 };
    let file = origin(bytes, start);
    let chunk = Chunk { origin: file, start, end: start, text: Text::Lines(bytes[16..].to_vec()) };
    let gathered = framers.take(&chunk);
    assert_eq!(gathered.records[0].text, b"3,4");
    assert_eq!(**gathered.records[0].header.as_ref().unwrap(), ["a\nb", "c"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_trace_of_a_stream_comes_when_nothing_follows() {
    let origin = Arc::new(Origin::stream(Path::new("stdin"), "stdin"));
    let mut framers = Framers::new(settings(&["--multiline", "java", "--multiline-timeout", "2s"]));
    let at = Position::default();
    let chunk = |text| Chunk { origin: Arc::clone(&origin), start: at, end: at, text };
    assert!(framers.due().is_none());
    framers.take(&chunk(Text::Lines(b"Error:\n".to_vec())));
    tokio::time::sleep_until(framers.due().unwrap()).await;
    let gathered = framers.expire();
    assert_eq!(gathered.records[0].text, b"Error:");
    assert!(gathered.rest.is_none() && framers.due().is_none());
}

#[test]
fn a_line_that_is_too_long_ends_what_was_open_and_the_next_is_read() {
    let long = "x".repeat(9 << 20);
    let text = format!("Error:\n{long}\n\tat a.B.c(B.java:1)\n");
    let mut framers = Framers::new(settings(&["--multiline", "java"]));
    let origin = origin(text.as_bytes(), Position::default());
    let mut reader = LineReader::new(text.as_bytes(), Position::default());
    let mut seen = Vec::new();
    while let Some((start, text)) = reader.next().unwrap() {
        let chunk = Chunk { origin: Arc::clone(&origin), start, end: reader.position(), text };
        let gathered = framers.take(&chunk);
        seen.extend(gathered.records.into_iter().map(|record| record.text));
        assert_eq!(
            gathered.reached.unwrap().1.offset,
            if seen.is_empty() { 0 } else { reader.position().offset }
        );
    }
    assert_eq!(seen, [&b"Error:"[..], b"\tat a.B.c(B.java:1)"]);
}
