//! Retention and erasure.

use sekali_harness::{Server, eventually, is_skipped_on_postgres};
use serde_json::{Value, json};

use crate::database::query;

const BOSS: [(&str, &str); 1] = [("authorization", "Bearer boss")];

/// Publishes the events `first` to `last` of a topic, and asserts that all are new.
fn publish(server: &Server, topic: &str, first: usize, last: usize) {
    let events: Vec<_> = (first..=last)
        .map(|n| json!({"topic": topic, "event_id": n.to_string(), "payload": "secret"}))
        .collect();
    for batch in events.chunks(1000) {
        assert_eq!(server.publish(&json!(batch)).json()["stored"], batch.len());
    }
}

fn seqs(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["seq"].as_i64().unwrap()).collect()
}

#[test]
fn events_beyond_the_newest_that_are_kept_expire_while_others_come_and_the_books_balance() {
    let server = Server::with_variables(&[("retention_events", "500")]);
    publish(&server, "t", 1, 3000);
    eventually("the surplus expires", || {
        server.get("/readyz"); // retention works behind requests
        (server.stats()["expired"].as_i64() >= Some(2500)).then_some(())
    });
    let events = server.events();
    assert_eq!(seqs(&events), (2501..=3000).collect::<Vec<_>>());
    assert_eq!(server.stats()["first_seq"], 2501);
    server.assert_books_balance();

    server.get("/events/t/1").problem(410, "gone");
    let again = json!([{"topic": "t", "event_id": "1"}, {"topic": "t", "event_id": "3000"}, {"topic": "t", "event_id": "new"}]);
    let receipt = server.publish(&again).json();
    assert_eq!(receipt["processed"], json!(["new"]));
    assert_eq!((&receipt["duplicates"], &receipt["conflicts"]), (&json!(2), &json!(1)));
    // A reader that was away for long goes on with what there is.
    assert_eq!(seqs(server.get("/events?after=7&limit=2").json().as_array().unwrap()), [2501, 2502]);
    assert_eq!(
        seqs(server.get("/events?topic=t&order=desc&limit=2").json().as_array().unwrap()),
        [3001, 3000]
    );
    server.assert_books_balance();
}

#[test]
fn erased_events_are_gone_from_the_files_of_a_running_service() {
    if is_skipped_on_postgres("it keeps the bytes until it reuses their place") {
        return;
    }
    let server = Server::with_variables(&[("admin_token", "boss")]);
    publish(&server, "private", 1, 1500);
    publish(&server, "public", 1, 10);
    let is_in_a_file = |text: &str| {
        let directory = server.database().parent().unwrap().to_owned();
        std::fs::read_dir(directory).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).contains(text)
        })
    };
    let erase = |path: &str| server.send("DELETE", path, &BOSS, b"");
    assert_eq!(erase("/events?topic=private").json(), json!({"erased": 1000, "has_more": true}));
    assert_eq!(erase("/events?topic=private").json(), json!({"erased": 500, "has_more": false}));
    assert!(is_in_a_file("secret"), "of the other topic");
    for n in 1..=10 {
        assert_eq!(erase(&format!("/events/public/{n}")).status, 204);
    }
    assert!(!is_in_a_file("secret"));
    assert_eq!(server.events(), [] as [Value; 0]);
    server.get("/events/private/7").problem(410, "gone");
    assert_eq!(server.publish(&json!({"topic": "private", "event_id": "7"})).json()["duplicates"], 1);
    let stats = server.stats();
    assert_eq!((&stats["erased"], &stats["topics_total"]), (&json!(1510), &json!(2)));
    server.assert_books_balance();
}

#[test]
fn events_expire_by_their_age_and_are_forgotten_later() {
    let server = Server::with_variables(&[("retention_days", "30"), ("forget_days", "60")]);
    publish(&server, "t", 1, 30);
    let age = |days: u32, through: u32| {
        let format = "'%Y-%m-%dT%H:%M:%S', 'now'";
        let of_sqlite = format!(
            "update events set received_at = strftime({format}, '-{days} days') where seq <= {through}"
        );
        let of_postgres = format!(
            "update sekali.events
            set received_at = (extract(epoch from now() - interval '{days} days') * 1000000)::bigint
            where seq <= {through};
            update sekali.identities set received_on = now() - interval '{days} days' where seq <= {through}"
        );
        query(&server, &of_sqlite, &of_postgres);
    };
    age(40, 20);
    age(70, 10);
    eventually("the oldest are forgotten", || {
        server.get("/readyz"); // retention works behind requests
        (server.stats()["forgotten"] == 10).then_some(())
    });
    assert_eq!(seqs(&server.events()), (21..=30).collect::<Vec<_>>());
    let again = json!([{"topic": "t", "event_id": "10"}, {"topic": "t", "event_id": "11"}]);
    let receipt = server.publish(&again).json();
    assert_eq!((&receipt["processed"], &receipt["duplicate_ids"]), (&json!(["10"]), &json!(["11"])));
    server.assert_books_balance();
}
