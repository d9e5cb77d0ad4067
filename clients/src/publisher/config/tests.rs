use std::path::PathBuf;
use std::time::Duration;

use tempfile::tempdir;

use super::*;
use crate::cli::Format;

const NOTHING: Daemon =
    Daemon { config: None, check: false, state_dir: None, metrics: None, print_cursor: false };

/// Reads a text as a configuration, whose path is left out of mistakes.
fn read_text(text: &str, given: &Daemon) -> Result<Vec<Cli>, Mistakes> {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    let of_path = format!("{}:", path.display());
    read(&path, given)
        .map_err(|mistakes| mistakes.iter().map(|mistake| mistake.replace(&of_path, "")).collect())
}

#[track_caller]
fn mistakes(text: &str) -> Vec<String> {
    read_text(text, &NOTHING).unwrap_err()
}

#[test]
fn options_are_those_of_the_command_line() {
    let text = r#"
        state_dir = "/state"
        metrics = "127.0.0.1:9401"
        [service]
        url = "localhost:4000"
        timeout = "5s"
        [[input]]
        name = "orders"
        files = ["/a/*.json", "-b"]
        topic = "orders"
        id_field = "/order/id"
        batch_events = 10_000
        skip_invalid = true
        no_gzip = false
        [[input]]
        name = "old"
        files = "/old.csv"
        topic = "old"
        format = "csv"
        delimiter = "tab"
        source_from_path = true
        follow = false
        checkpoint = "old.pos"
    "#;
    let inputs = read_text(text, &NOTHING).unwrap();
    let [orders, old] = &inputs[..] else { panic!("{inputs:?}") };
    assert_eq!(orders.files, [PathBuf::from("/a/*.json"), "-b".into()]);
    assert_eq!((orders.topic.as_deref(), orders.label()), (Some("orders"), "orders"));
    assert_eq!((orders.format(), orders.batch_events), (Format::Json, 10_000));
    assert!(orders.follow && orders.skip_invalid && !orders.no_gzip && !orders.source_from_path);
    assert_eq!(orders.checkpoint().unwrap(), PathBuf::from("/state/orders.checkpoint"));
    assert_eq!(orders.rejects(), PathBuf::from("/state/orders.rejects.ndjson"));
    assert_eq!(orders.service.url, "http://localhost:4000");
    assert_eq!(orders.service.timeout, Duration::from_secs(5));
    assert_eq!(orders.give_up_after(), None);
    assert_eq!((old.format(), old.delimiter), (Format::Csv, b'\t'));
    assert!(!old.follow && old.source_from_path);
    assert_eq!(old.checkpoint().unwrap(), PathBuf::from("old.pos"));
    assert_eq!(old.daemon.metrics, Some("127.0.0.1:9401".parse().unwrap()));
}

#[test]
fn the_command_line_takes_precedence() {
    let text = "state_dir = '/state'\n[[input]]\nname = 'a'\nfiles = 'a'\ntopic = 't'\n";
    let given = Daemon { state_dir: Some("/other".into()), ..NOTHING };
    let inputs = read_text(text, &given).unwrap();
    assert_eq!(inputs[0].checkpoint().unwrap(), PathBuf::from("/other/a.checkpoint"));
}

#[test]
fn each_mistake_is_named_with_its_place() {
    let text = "\
        state_dirs = '/state'\n\
        state_dir = '/state'\n\
        metrics = 'here'\n\
        [service]\n\
        token = 'secret'\n\
        retries = 3\n\
        [[input]]\n\
        name = 'a'\n\
        files = ['-']\n\
        topic = 't'\n\
        topics = 't'\n\
        batch_events = 0\n\
        format = 'jsn'\n\
        skip_invalid = 'yes'\n\
        batch_wait = true\n\
        print_cursor = true\n\
        batch-wait = '1s'\n\
        [[input]]\n\
        topic = 't'\n";
    let found = mistakes(text);
    let begins = [
        "1: there is no state_dirs: there are state_dir, metrics, [service] and [[input]]",
        "3: metrics cannot be \"here\": invalid socket address syntax",
        "5: [service]: the token has a file of its own",
        "6: [service]: there is no retries: there are url, ",
        "9: input a: files are paths and patterns",
        "11: input a: there is no topics: there are format, id_field, ",
        "12: input a: batch_events cannot be \"0\": 0 is not in 1..",
        "13: input a: format cannot be \"jsn\": not one of lines, json, ",
        "14: input a: skip_invalid is true or false",
        "15: input a: batch_wait is a text or a number",
        "16: input a: there is no print_cursor: ",
        "17: input a: there is no batch-wait: ",
        "18: input 2: what is its name?",
        "18: input 2: which files?",
    ];
    assert_eq!(found.len(), begins.len(), "{found:#?}");
    for (mistake, begin) in found.iter().zip(begins) {
        assert!(mistake.starts_with(begin), "{mistake}, not {begin}");
    }
}

#[test]
fn contradictions_are_in_the_words_of_the_file() {
    let of = |options: &str| {
        let mut found = mistakes(&format!("state_dir = '/s'\n[[input]]\nname = 'a'\nfiles = 'a'\n{options}"));
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    };
    assert_eq!(of(""), "2: input a: which topic? Give topic NAME, or format events for lines with a topic");
    let text = of("topic = 't'\nformat = 'csv'\nmultiline = 'java'");
    assert_eq!(
        text,
        "2: input a: multiline is not for format csv and journald, which say where a record ends"
    );
    let text = of("topic = 't'\nsource = 'x'\nsource_from_path = true");
    assert!(text.contains("source_from_path") && text.contains("cannot be used with"), "{text}");
    let text = of("topic = 't'\nrejects = 'x'");
    assert!(text.contains("not provided: skip_invalid"), "{text}");
}

#[test]
fn an_input_has_a_name_and_a_checkpoint_of_its_own() {
    let input = |options: &str| format!("[[input]]\nfiles = 'a'\ntopic = 't'\n{options}\n");
    let found = mistakes(&(input("name = 'a'") + &input("name = 'a'\ncheckpoint = 'x'")));
    assert_eq!(
        found,
        ["1: input a: where is its checkpoint to be? Give state_dir, or the option --state-dir"]
    );
    let state = "state_dir = '/s'\n".to_owned();
    let found = mistakes(&(state.clone() + &input("name = 'a'") + &input("name = 'a'")));
    assert_eq!(found, ["6: input a: the input in line 2 has the name a, too"]);
    let found = mistakes(&(input("name = 'a'\ncheckpoint = 'x'") + &input("name = 'b'\ncheckpoint = 'x'")));
    assert_eq!(found, ["6: input b: the input in line 1 has the checkpoint x, too"]);
    let found = mistakes(&(state + &input("name = 'a/b'")));
    assert!(found[0].contains("without a slash"), "{found:?}");
}

#[test]
fn what_is_no_configuration_is_refused() {
    assert!(mistakes("state_dir = '/s'")[0].contains("there is no [[input]]"));
    assert!(mistakes("[input]\nname = 'a'").iter().any(|mistake| mistake.contains("inputs are tables")));
    assert!(mistakes("service = 1\n[[input]]").iter().any(|mistake| mistake.contains("[service]")));
    let text = mistakes("state_dir = '/s'\nfiles = [\n").remove(0);
    assert!(text.contains("line 2") || text.contains("line 3"), "{text}");
    assert!(read("/no/such/file".as_ref(), &NOTHING).unwrap_err()[0].contains("cannot be read"));
}
