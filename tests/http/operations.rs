//! The rules of every route, the routes for operators, and the bounds of an instance.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use sekali_harness::deployment::{Setup, database_in, repository};
use sekali_harness::host::Host;
use sekali_harness::{Server, eventually, is_skipped_on_postgres, is_skipped_on_spin};
use serde_json::json;

use crate::database::Writer;

#[test]
fn an_unknown_path_is_404() {
    let server = Server::start();
    for path in ["/nothing", "/publish/", "/events/a", "/Stats", "//publish"] {
        server.get(path).problem(404, "not-found");
    }
}

#[test]
fn another_method_is_405_and_the_allowed_ones_are_listed() {
    let server = Server::start();
    for (method, path, allow) in [
        ("GET", "/publish", "POST, OPTIONS"),
        ("PUT", "/publish", "POST, OPTIONS"),
        ("POST", "/events", "GET, HEAD, DELETE, OPTIONS"),
        ("DELETE", "/stats", "GET, HEAD, OPTIONS"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
        ("PATCH", "/readyz", "GET, HEAD, OPTIONS"),
    ] {
        let answer = server.send(method, path, &[], b"");
        answer.problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}

/// Names of functions are a seventh of it, and came in unnoticed once. docs/decisions/logs.md has what its doors weigh.
#[test]
fn the_component_is_small() {
    let component = repository().join("target/wasm32-wasip2/component/sekali.wasm");
    let bytes = std::fs::metadata(component).unwrap().len();
    assert!(bytes < 2_100_000, "{bytes} bytes");
}

#[test]
fn health_is_200_while_the_process_answers_and_readiness_while_the_database_does() {
    let server = Server::start();
    assert_eq!(server.get("/healthz").json(), json!({"status": "ok"}));
    assert_eq!(server.get("/readyz").json(), json!({"status": "ready"}));
}

#[test]
fn a_database_that_cannot_be_read_is_not_ready() {
    let server = Server::start();
    match server.postgres() {
        Some((postgres, database)) => {
            postgres.query("postgres", &format!("drop database {database} with (force)")).unwrap();
        }
        None => {
            let text = "this is no database, and long enough to be seen as none".repeat(100);
            std::fs::write(server.database(), text).unwrap();
        }
    }
    server.get("/readyz").problem(503, "not-ready");
    // A server of databases that does not answer may come again.
    let (status, name) = if server.postgres().is_some() { (503, "busy") } else { (500, "internal") };
    server.publish(&json!({"topic": "t", "event_id": "e"})).problem(status, name);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn every_path_answers_head_like_get() {
    let server = Server::start();
    for path in ["/events", "/stats", "/healthz", "/readyz", "/nothing"] {
        let (head, get) = (server.head(path), server.get(path));
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[test]
fn invalid_settings_are_all_named_and_keep_sekali_host_from_serving() {
    let invalid = [("max_body_bytes", "8 MiB"), ("retention_days", "s3cret"), ("read_token", "  ")];
    let named = |text: &str| {
        for (name, _) in invalid {
            assert!(text.contains(&format!("variable {name} must")), "{name} is not named: {text}");
        }
        assert!(!text.contains("s3cret"), "{text}");
    };
    let mut setup = Setup::from_environment().unwrap();
    setup.variables.extend(invalid.map(|(name, value)| (name.to_owned(), value.to_owned())));
    if !setup.host.is_spin() {
        setup.arguments = vec!["--variable".into(), "nosuch=1".into()];
        let error = format!("{:#}", setup.start().err().unwrap());
        assert!(error.contains("settings are invalid") && !error.contains("Serving"), "{error}");
        assert!(error.contains("variable nosuch is none of the manifest's"), "{error}");
        return named(&error);
    }
    let server = Server::of(setup);
    named(&server.get("/readyz").problem(503, "not-ready")["detail"].to_string());
    assert_eq!(server.get("/healthz").status, 200);
    server.get("/stats").problem(500, "internal");
    named(&server.log());
}

#[test]
fn a_wrong_address_of_the_database_is_named_at_the_start_and_its_password_is_not_shown() {
    if is_skipped_on_spin("it does not look at addresses when it starts") {
        return;
    }
    for (url, reason) in [
        (
            "postgres://u:pass@s3cret@127.0.0.1:5432/d",
            "has an @ in its user or password, which must be written %40",
        ),
        ("postgres://u:s3cret@db.example/d", "names a server that the manifest does not allow"),
        ("mysql://u:s3cret@127.0.0.1/d", "must begin with postgres://"),
        ("", "must be set"),
    ] {
        let mut setup = Setup::on(Host::own().unwrap());
        setup.manifest = "spin.postgres.toml".into();
        setup.variables = vec![("database_url".into(), url.into()), ("max_topics".into(), "0".into())];
        let error = format!("{:#}", setup.serve_at(tempfile::tempdir().unwrap().path()).err().unwrap());
        assert!(error.contains(&format!("variable database_url {reason}")), "{error}");
        assert!(error.contains("variable max_topics must be"), "both are named: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_broken_runtime_config_is_named_with_its_place_and_its_token_is_not_shown() {
    if is_skipped_on_spin("it shows the line") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runtime-config.toml");
    for (token, place) in
        [("\"s3cret", "line 4, column 16"), ("s3cret", "line 4, column 9"), ("[\"s3cret\"]", "line 1")]
    {
        let config = format!(
            "[sqlite_database.default]\ntype = \"libsql\"\nurl = \"http://127.0.0.1:1\"\ntoken = {token}\n"
        );
        std::fs::write(&file, config).unwrap();
        let mut setup = Setup::on(Host::own().unwrap());
        setup.arguments = vec!["--runtime-config-file".into(), file.display().to_string()];
        let error = format!("{:#}", setup.serve_at(directory.path()).err().unwrap());
        assert!(error.contains("runtime-config.toml") && error.contains(place), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_misspelt_variable_is_told_when_the_host_starts() {
    if is_skipped_on_spin("it tells of none") {
        return;
    }
    let mut setup = Setup::from_environment().unwrap();
    setup.environment.push(("SPIN_VARIABLE_PUBLISHTOKEN".into(), "s3cret".into()));
    let server = Server::of(setup);
    eventually("it is told", || {
        let log = server.log();
        assert!(!log.contains("s3cret"), "{log}");
        let line = log.lines().find(|line| line.contains(" warning unknown-variable: "))?;
        assert!(line.contains("SPIN_VARIABLE_PUBLISHTOKEN is set and has no effect"), "{line}");
        assert!(line.ends_with("the nearest is SPIN_VARIABLE_PUBLISH_TOKEN"), "{line}");
        Some(())
    });
}

/// Each instance has its own bounds, so the server of a test that reaches one has a single instance.
const ONE_INSTANCE: [&str; 2] = ["--instances", "1"];

/// Answers that an instance streams at once.
const STREAMS: usize = 32;

#[test]
fn unfinished_bodies_hold_no_more_than_the_budget_of_an_instance() {
    if is_skipped_on_spin("it starts more instances, each with a budget of its own") {
        return;
    }
    let server = Server::with(&[], &ONE_INSTANCE);
    let batch = |name: &str| -> serde_json::Value {
        let large = "x".repeat(200_000);
        (0..10).map(|n| json!({"topic": "t", "event_id": format!("{name}-{n}"), "payload": large})).collect()
    };
    // Eight bodies of 8.3 MB leave less than a megabyte of the 64 MiB.
    let stalled: Vec<_> = (0..8).map(|_| server.stall(8_388_608, 8_300_000)).collect();
    let refused = eventually("a body is refused", || {
        Some(server.publish(&batch("refused"))).filter(|answer| answer.status == 503)
    });
    refused.problem(503, "overloaded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(server.peak_memory() < 400 << 20, "{} bytes", server.peak_memory());
    drop(stalled);
    eventually("the budget comes back when the clients go away", || {
        (server.publish(&batch("stored")).status == 200).then_some(())
    });
}

#[test]
fn the_number_of_unread_answers_is_bounded() {
    if is_skipped_on_spin("it starts more instances, each with a bound of its own") {
        return;
    }
    let server = with_fifty_megabytes();
    let unread: Vec<_> = (0..STREAMS).map(|_| unread_answer(&server)).collect();
    server.get("/events").problem(503, "overloaded");
    assert_eq!(server.publish(&json!({"topic": "t", "event_id": "meanwhile"})).status, 200);
    drop(unread);
    eventually("places are free again when the clients go away", || {
        (server.get("/events").status == 200).then_some(())
    });
}

#[test]
fn an_answer_that_is_not_read_for_a_minute_is_broken_off_and_does_not_look_complete() {
    if is_skipped_on_spin("it does not tell the component that a client does not read") {
        return;
    }
    let server = with_fifty_megabytes();
    let unread: Vec<_> = (0..STREAMS).map(|_| unread_answer(&server)).collect();
    // Once every place is taken again, all of the first answers have been broken off.
    let _anew: Vec<_> = (0..STREAMS).map(|_| unread_answer(&server)).collect();
    for mut stream in unread {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer); // a reset also ends the answer
        assert!(!answer.ends_with(b"0\r\n\r\n"), "a broken answer must not look complete");
    }
}

/// A server whose `/events` is larger than all buffers between it and a client that does not read.
fn with_fifty_megabytes() -> Server {
    let server = Server::with(&[], &ONE_INSTANCE);
    let large = "x".repeat(5_000);
    for batch in 0..10 {
        let events: serde_json::Value = (0..1000)
            .map(|n| json!({"topic": "t", "event_id": format!("{batch}-{n}"), "payload": large}))
            .collect();
        assert_eq!(server.publish(&events).status, 200);
    }
    server
}

/// Asks for `/events` until there is a place for the answer, and leaves the answer unread.
fn unread_answer(server: &Server) -> TcpStream {
    eventually("a place for an answer", || {
        let (status, stream) = server.ask("/events");
        (status == 200).then_some(stream)
    })
}

#[test]
fn sekali_host_prints_at_its_start_what_it_uses_and_keeps_secrets() {
    if is_skipped_on_spin("it prints other lines") {
        return;
    }
    let server = Server::with_variables(&[("publish_token", "s3cret"), ("max_batch_events", "7")]);
    let log = server.log();
    let (before, _) = log.split_once("Serving http://").unwrap();
    let database = match server.postgres() {
        Some(_) => "database_url is set".to_owned(),
        None => format!("sqlite default: {}", server.database().display()),
    };
    for part in ["max_batch_events=\"7\"", "publish_token is set", "read_token is not set", &database] {
        assert!(before.contains(part), "{part} is missing:\n{before}");
    }
    let access = before.lines().find(|line| line.starts_with("access: "));
    assert_eq!(access, Some("access: nobody may erase, publish_token is needed to publish, anyone may read"));
    assert!(!log.contains("s3cret"));
}

#[test]
fn an_incident_is_one_line_with_its_time_route_and_cause_however_often_it_happens() {
    if is_skipped_on_spin("its log has other lines, and a format of its own") {
        return;
    }
    let server = Server::with(&[("max_body_bytes", "100")], &["--instances", "1", "--log-format", "json"]);
    server.publish(&json!({"topic": "t", "event_id": "1"}));
    let other = Writer::begin(&server);
    std::thread::scope(|scope| {
        for n in 0..3 {
            let (server, event) = (&server, json!({"topic": "t", "event_id": format!("b{n}")}));
            scope.spawn(move || server.publish(&event).problem(503, "busy"));
        }
    });
    drop(other);
    server.get("/nothing").problem(404, "not-found");
    let log = server.log();
    let (_, log) = log.split_once("Serving http://").unwrap();
    let lines: Vec<serde_json::Value> =
        log.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let [line] = &lines[..] else { panic!("not one line: {log}") };
    assert_eq!(
        (&line["kind"], &line["route"], &line["level"]),
        (&json!("busy"), &json!("/publish"), &json!("error"))
    );
    assert!(line["cause"].as_str().unwrap().contains("the database is busy"), "{line}");
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
}

#[test]
fn metrics_of_the_process_count_all_instances_together() {
    if is_skipped_on_spin("it exports metrics of its process by OpenTelemetry") {
        return;
    }
    let server = Server::start();
    let publish = |n: usize| json!({"topic": "t", "event_id": format!("{n}")});
    for n in 0..20 {
        // Each on a connection of its own, so that every instance gets some.
        let request = ureq::post(server.url("/publish")).content_type("application/json");
        request.send(publish(n).to_string()).unwrap();
    }
    server.publish(&(20..50).map(publish).collect());
    server.get("/invented").problem(404, "not-found");
    let _follower = server.connect_follower("/events");
    let metrics = server.get("/metrics").text;
    for line in [
        r#"sekali_http_requests_total{route="publish",status="200"} 21"#,
        r#"sekali_http_requests_total{route="other",status="404"} 1"#,
        r#"sekali_http_request_seconds_count{route="publish"} 21"#,
        "sekali_http_requests_in_flight 1",
        "sekali_followers 1",
        "sekali_busy_total 0",
        "sekali_instances_replaced_total 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing:\n{metrics}");
    }
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is missing")).parse().unwrap()
    };
    if server.postgres().is_none() {
        assert!(value("sekali_write_rows_sum") >= 50.0);
        assert!(value("sekali_database_bytes") + value("sekali_wal_bytes") > 4096.0);
        assert!(value("sekali_free_disk_bytes") > 0.0);
    }
}

#[test]
fn alerts_and_the_dashboard_look_at_metrics_that_exist() {
    if is_skipped_on_spin("it has no metrics of its own")
        || is_skipped_on_postgres("a host has no files of the database")
    {
        return;
    }
    let hooks = json!({"code": {"kind": "github", "secrets": ["s"]}}).to_string();
    let server = Server::with_variables(&[("hooks", &hooks)]);
    server.publish(&json!({"topic": "t", "event_id": "1"}));
    server.send("POST", "/hooks/code", &[], b"{}").problem(401, "invalid-signature");
    assert_eq!(server.send("PUT", "/consumers/c", &[], b"{}").status, 201);
    let metrics = server.get("/metrics").text;
    for path in ["deploy/prometheus/alerts.yaml", "deploy/grafana/sekali.json"] {
        let text = std::fs::read_to_string(repository().join(path)).unwrap();
        let names = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        let names: Vec<_> = names.filter(|name| name.starts_with("sekali_")).collect();
        assert!(names.len() > 5, "{path}");
        for name in names {
            let has_sample = metrics
                .lines()
                .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
            assert!(has_sample, "{path} looks at {name}");
        }
    }
}

#[test]
fn metrics_tell_that_a_reader_of_the_database_stops_writing() {
    if is_skipped_on_postgres("a server has the log") {
        return;
    }
    let server = Server::start();
    let gauge = |name: &str| -> i64 {
        let metrics = server.get("/metrics").text;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is missing")).parse().unwrap()
    };
    server.publish(&json!({"topic": "t", "event_id": "first"}));
    assert_eq!((gauge("sekali_writes_stopped"), gauge("sekali_wal_kept_bytes")), (0, 0));
    let reader = rusqlite::Connection::open(server.database()).unwrap();
    reader.execute_batch("begin; select * from events").unwrap();
    let large = "x".repeat(200_000);
    let refused = (0..100).find_map(|batch| {
        let events: serde_json::Value = (0..35)
            .map(|n| json!({"topic": "t", "event_id": format!("{batch}-{n}"), "payload": large}))
            .collect();
        Some(server.publish(&events)).filter(|answer| answer.status != 200)
    });
    refused.expect("the log has a bound").problem(503, "busy");
    assert_eq!(gauge("sekali_writes_stopped"), 1);
    assert!(gauge("sekali_wal_kept_bytes") >= 176 << 20);
    reader.execute_batch("rollback").unwrap();
    assert_eq!(server.publish(&json!({"topic": "t", "event_id": "last"})).status, 200);
    assert_eq!((gauge("sekali_writes_stopped"), gauge("sekali_wal_kept_bytes")), (0, 0));
}

#[test]
fn a_whole_answer_that_is_not_read_for_a_minute_is_broken_off() {
    if is_skipped_on_spin("it does not tell the component that a client does not read") {
        return;
    }
    let server = Server::with_variables(&[("max_body_bytes", "20000000"), ("max_event_bytes", "20000000")]);
    // An answer with a length that is larger than all buffers between the server and a client that does not read.
    let event = json!({"topic": "t", "event_id": "1", "payload": "x".repeat(13_000_000)});
    assert_eq!(server.publish(&event).status, 200);
    let whole = server.get("/events/t/1").text.len();
    let steady = server.ask("/events/t/1").1;
    let steady = std::thread::spawn(move || read_steadily(steady));
    let mut unread = server.ask("/events/t/1").1;
    std::thread::sleep(Duration::from_secs(65));
    let mut answer = Vec::new();
    let _ = unread.read_to_end(&mut answer); // a reset also ends the answer
    assert!(answer.len() < whole, "all of {whole} bytes came");
    assert!(steady.join().unwrap() > whole, "a client that reads slowly but steadily gets all of it");
}

/// Reads to the end, at 200 kB a second, and returns the number of bytes.
fn read_steadily(mut stream: TcpStream) -> usize {
    let (mut bytes, mut part) = (0, vec![0; 64 << 10]);
    loop {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return bytes,
            Ok(read) => bytes += read,
        }
        std::thread::sleep(Duration::from_millis(320));
    }
}

#[test]
fn a_log_that_cannot_be_written_costs_no_answer() {
    let host = Host::from_environment().unwrap();
    if host.is_spin() {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let manifest = repository().join("spin.toml");
    let mut command = host.command(&manifest, host.free_address().unwrap(), state.path());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut child = command.stdout(Stdio::piped()).stderr(full).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.filter_map(|line| Some(line.strip_prefix("Serving ")?.to_owned())).next().unwrap();
    let publish = |id: &str| {
        let request = ureq::post(format!("{address}/publish")).content_type("application/json");
        let request = request.config().http_status_as_error(false).build();
        request.send(json!({"topic": "t", "event_id": id}).to_string()).unwrap().status().as_u16()
    };
    assert_eq!(publish("1"), 200);
    let other = rusqlite::Connection::open(database_in(state.path())).unwrap();
    other.execute_batch("begin immediate").unwrap();
    assert_eq!(publish("2"), 503, "which is logged");
    other.execute_batch("rollback").unwrap();
    assert_eq!(publish("2"), 200);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn metrics_have_the_counters_of_stats_for_each_topic() {
    let server = Server::start();
    server.publish(
        &json!([{"topic": "a \"quoted\" \\ one", "event_id": "1"}, {"topic": "b", "event_id": "1"}]),
    );
    server.publish(&json!({"topic": "b", "event_id": "1", "payload": 1}));
    let answer = server.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        r#"sekali_events_received_total{topic="a \"quoted\" \\ one"} 1"#,
        r#"sekali_events_received_total{topic="b"} 2"#,
        r#"sekali_events_stored_total{topic="b"} 1"#,
        r#"sekali_events_duplicate_total{topic="b"} 1"#,
        r#"sekali_events_conflict_total{topic="b"} 1"#,
        "sekali_last_seq 2",
        concat!("sekali_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(answer.text.lines().any(|found| found == line), "{line} is missing:\n{}", answer.text);
    }
    assert!(answer.text.contains("\nsekali_uptime_seconds "));
}
