//! `GET /metrics`: the counters in Prometheus' text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::borrow::Cow;
use std::fmt::Write;

use http::StatusCode;
use serde::Deserialize;

use crate::consumers::Status;
use crate::event::Timestamp;
use crate::http::access::Grant;
use crate::http::app::{App, Platform};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::store::{Ledger, LogState};

/// Counters of each topic.
const COUNTERS: usize = 4;

/// Bytes of a line of them, its label and the largest number aside from the name of the topic.
const LINE_BYTES: usize = 64;

/// Bytes of all of them and of the numbers of consumers. A thousand usual topics take less; names of quotes alone are twice as
/// long in a label.
const MAX_BYTES: usize = 2_000_000;

#[derive(Deserialize)]
struct Account<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    received: i64,
    unique_processed: i64,
    duplicate_dropped: i64,
    conflicts: i64,
}

/// The counters, the same consistent snapshot as in `/stats`, and what the host tells of its process.
///
/// # Errors
/// When not all topics may be read, or the store cannot be.
pub async fn get<P: Platform>(app: &App<P>, grant: Grant<'_>) -> Result<Reply, Problem> {
    grant.check_patterns(&[])?;
    let ledger = app.reader.ledger(&[]).await?;
    let mut accounts: Vec<Account<'_>> =
        serde_json::from_str(&ledger.by_topic).map_err(|error| Problem::Internal(error.to_string()))?;
    // Alerts on them would be quiet without them, and a scrape that fails is not.
    let consumers = render_consumers(&app.consumers.list(|_| true).await?);
    let mut room = MAX_BYTES.saturating_sub(consumers.len());
    accounts.retain(|account| {
        room = room.saturating_sub(COUNTERS * (label(&account.topic).len() + LINE_BYTES));
        room > 0
    });
    let uptime = app.started_at.whole_seconds_until(&Timestamp::now());
    let backlog = app.retention.backlog(ledger.unique_processed - ledger.expired - ledger.erased);
    // Only gauges: without them, the counters still have an answer.
    let log = app.reader.log().await.ok().flatten();
    let text = render(&accounts, &ledger, backlog, log, uptime) + &consumers + &P::host_metrics().await;
    Ok(Reply::new(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text))
}

fn render(
    accounts: &[Account<'_>],
    ledger: &Ledger,
    backlog: i64,
    log: Option<LogState>,
    uptime: u64,
) -> String {
    type Counter<'a> = (&'static str, &'static str, fn(&Account<'a>) -> i64);
    let counters: [Counter<'_>; COUNTERS] = [
        ("sekali_events_received_total", "Deliveries of events.", |account| account.received),
        ("sekali_events_stored_total", "Deliveries that were stored.", |account| account.unique_processed),
        ("sekali_events_duplicate_total", "Deliveries that were dropped as duplicates.", |account| {
            account.duplicate_dropped
        }),
        ("sekali_events_conflict_total", "Dropped deliveries whose payload differed.", |account| {
            account.conflicts
        }),
    ];
    let mut text = String::new();
    for (name, help, value) in counters {
        head(&mut text, name, help, "counter");
        for account in accounts {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}{{topic=\"{}\"}} {}", label(&account.topic), value(account));
        }
    }
    let uptime = i64::try_from(uptime).unwrap_or(i64::MAX);
    let gauges = [
        ("sekali_events_expired_total", "Events that retention took away.", "counter", ledger.expired),
        ("sekali_events_erased_total", "Events that were erased on demand.", "counter", ledger.erased),
        ("sekali_events_forgotten_total", "Identities that were forgotten.", "counter", ledger.forgotten),
        (
            "sekali_retention_backlog_events",
            "Events beyond retention_events that are still there.",
            "gauge",
            backlog,
        ),
        (
            "sekali_topics",
            "Topics, of which the latest active have counters here.",
            "gauge",
            ledger.topics_total,
        ),
        ("sekali_first_seq", "No event before this seq can be read.", "gauge", ledger.first_seq),
        ("sekali_last_seq", "The seq of the newest event.", "gauge", ledger.last_seq),
        ("sekali_uptime_seconds", "Seconds since the service started.", "gauge", uptime),
    ];
    let of_log = log.map(|log| {
        let kept = "Bytes of the write-ahead log that cannot be taken in, because of a reader.";
        let stopped = "1 while nothing is written, because a reader keeps the write-ahead log too long.";
        [
            ("sekali_wal_kept_bytes", kept, "gauge", log.kept_bytes),
            ("sekali_writes_stopped", stopped, "gauge", i64::from(log.stops_writes)),
        ]
    });
    for (name, help, kind, value) in gauges.into_iter().chain(of_log.into_iter().flatten()) {
        head(&mut text, name, help, kind);
        let _ = writeln!(text, "{name} {value}");
    }
    head(&mut text, "sekali_build_info", "What is running.", "gauge");
    let _ = writeln!(text, "sekali_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    text
}

/// The numbers of each consumer; nothing where there is none.
fn render_consumers(consumers: &[Status]) -> String {
    type Metric = (&'static str, &'static str, &'static str, fn(&Status) -> i64);
    let metrics: [Metric; 10] = [
        (
            "sekali_consumer_lag_events",
            "Events after the position; above a thousand an estimate.",
            "gauge",
            |of| of.standing.lag,
        ),
        ("sekali_consumer_behind_seconds", "Age of the oldest event that is not done.", "gauge", |of| {
            of.behind_seconds
        }),
        ("sekali_consumer_parked_events", "Failed events that come again.", "gauge", |of| of.parked),
        ("sekali_consumer_waiting_events", "Events that wait for one which failed.", "gauge", |of| {
            of.state.held - of.parked
        }),
        ("sekali_consumer_dead_events", "Events that come no more by themselves.", "gauge", |of| {
            of.state.dead
        }),
        ("sekali_consumer_blocked", "1 while too many events have failed for new ones.", "gauge", |of| {
            of.state.is_blocked().into()
        }),
        ("sekali_consumer_claims", "Claims that are out.", "gauge", |of| {
            of.state.live(of.now).count() as i64
        }),
        ("sekali_consumer_position", "The seq up to which events are done or have failed.", "gauge", |of| {
            of.standing.position
        }),
        ("sekali_consumer_delivered_total", "Events that were given out the first time.", "counter", |of| {
            of.state.delivered
        }),
        ("sekali_consumer_redelivered_total", "Events that were given out again.", "counter", |of| {
            of.state.redelivered
        }),
    ];
    let mut text = String::new();
    for (name, help, kind, value) in metrics.into_iter().filter(|_| !consumers.is_empty()) {
        head(&mut text, name, help, kind);
        for consumer in consumers {
            let _ = writeln!(text, "{name}{{consumer=\"{}\"}} {}", label(&consumer.name), value(consumer));
        }
    }
    text
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// The value of a label, escaped as the format requires.
fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::service::Service;

    #[test]
    fn every_counter_has_a_line_for_each_topic_with_its_name_escaped() {
        let accounts = [Account {
            topic: Cow::Borrowed("a\"b\\c"),
            received: 5,
            unique_processed: 3,
            duplicate_dropped: 2,
            conflicts: 1,
        }];
        let ledger = Ledger {
            store_id: String::new(),
            unique_processed: 3,
            duplicate_dropped: 2,
            conflicts: 1,
            expired: 4,
            erased: 5,
            forgotten: 6,
            first_seq: 2,
            last_seq: 3,
            topics_total: 8,
            topics: String::new(),
            by_topic: String::new(),
        };
        let log = LogState { kept_bytes: 10, stops_writes: true };
        let text = render(&accounts, &ledger, 9, Some(log), 7);
        for line in [
            r#"sekali_events_received_total{topic="a\"b\\c"} 5"#,
            r#"sekali_events_stored_total{topic="a\"b\\c"} 3"#,
            r#"sekali_events_duplicate_total{topic="a\"b\\c"} 2"#,
            r#"sekali_events_conflict_total{topic="a\"b\\c"} 1"#,
            "sekali_events_expired_total 4",
            "sekali_events_erased_total 5",
            "sekali_events_forgotten_total 6",
            "sekali_retention_backlog_events 9",
            "sekali_topics 8",
            "sekali_first_seq 2",
            "sekali_last_seq 3",
            "sekali_uptime_seconds 7",
            "sekali_wal_kept_bytes 10",
            "sekali_writes_stopped 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
        }
        assert!(text.ends_with('\n'));
        assert!(!render(&accounts, &ledger, 9, None, 7).contains("_stopped"), "a server has the log");
    }

    #[tokio::test]
    async fn the_counters_are_those_of_stats() {
        let service = Service::start();
        let event = |payload: i64| json!({"topic": "t", "event_id": "1", "payload": payload});
        service.publish(&json!([event(1), event(1), event(2)])).await;
        let answer = service.get("/metrics").await;
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert!(answer.text.ends_with("# of the host\n"));
        for (name, value) in [("received", 3), ("stored", 1), ("duplicate", 2), ("conflict", 1)] {
            let line = format!("sekali_events_{name}_total{{topic=\"t\"}} {value}");
            assert!(answer.text.lines().any(|found| found == line), "{line} is missing:\n{}", answer.text);
        }
    }

    #[tokio::test]
    async fn each_consumer_has_its_numbers() {
        let service = Service::start();
        let events: Vec<_> = "aabaa"
            .char_indices()
            .map(|(n, topic)| json!({"topic": topic, "event_id": n.to_string()}))
            .collect();
        service.publish(&json!(events)).await;
        assert!(!service.get("/metrics").await.text.contains("sekali_consumer"), "there is none");
        let send = async |method: &str, path: &str, body: serde_json::Value| {
            let answer = service.send(method, path, &[], body.to_string()).await;
            assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
            answer.json()
        };
        send("PUT", "/consumers/c", json!({"topics": ["a"]})).await;
        send("PUT", "/consumers/idle", json!({"from": "now"})).await;
        let claim = send("POST", "/consumers/c/claim", json!({"holder": "h", "limit": 3})).await;
        let failed = json!([{"seq": 1, "dead": true}, {"seq": 2, "retry_in": 60}]);
        let commit = json!({"claim": claim["claim"], "upto": 2, "failed": failed});
        send("POST", "/consumers/c/commit", commit).await;
        let metrics = service.get("/metrics").await.text;
        for (name, value) in [
            ("lag_events", 2),
            ("parked_events", 1),
            ("waiting_events", 0),
            ("dead_events", 1),
            ("blocked", 0),
            ("claims", 1),
            ("position", 2),
            ("delivered_total", 3),
            ("redelivered_total", 0),
        ] {
            let line = format!("sekali_consumer_{name}{{consumer=\"c\"}} {value}\n");
            assert!(metrics.contains(&line), "{line} is missing:\n{metrics}");
            assert!(metrics.contains(&format!("sekali_consumer_{name}{{consumer=\"idle\"}} ")), "{name}");
        }
        let age = "update events set received_at = '2020-01-01T00:00:00.000000Z' where seq = 2";
        service.database().execute(age, []).unwrap();
        let metrics = service.get("/metrics").await.text;
        let behind = "sekali_consumer_behind_seconds{consumer=\"c\"} ";
        let behind: i64 =
            metrics.lines().find_map(|line| line.strip_prefix(behind)).unwrap().parse().unwrap();
        assert!(behind > 86_400, "the parked one is the oldest:\n{metrics}");
    }

    #[tokio::test]
    async fn the_backlog_is_what_retention_has_not_taken_yet() {
        let line = async |service: &Service| {
            let text = service.get("/metrics").await.text;
            text.lines().find(|line| line.starts_with("sekali_retention_backlog")).unwrap().to_owned()
        };
        let events: Vec<_> = (0..10).map(|n| json!({"topic": "t", "event_id": n.to_string()})).collect();
        for (variables, backlog) in [(vec![], 0), (vec![("retention_events", "4")], 6)] {
            let service = Service::with_variables(&variables);
            service.publish(&json!(events)).await;
            assert_eq!(line(&service).await, format!("sekali_retention_backlog_events {backlog}"));
            service.app.retention.work().await;
            assert_eq!(line(&service).await, "sekali_retention_backlog_events 0");
        }
    }

    #[tokio::test]
    async fn names_that_are_long_in_a_label_leave_others_out() {
        let service = Service::start();
        let events: Vec<_> = (0..1000)
            .map(|n| json!({"topic": format!("{n:04}{}", "\"".repeat(251)), "event_id": "1"}))
            .collect();
        service.publish(&json!(events)).await;
        let text = service.get("/metrics").await.text;
        assert!((1_800_000..2 << 20).contains(&text.len()), "{}", text.len());
        assert!(text.contains("sekali_topics 1000\n"));
        let lines = |name: &str| text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count();
        assert_eq!(lines("sekali_events_received_total"), lines("sekali_events_conflict_total"));
    }
}
