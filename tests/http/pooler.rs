//! Hosts that reach PostgreSQL by way of Debian's PgBouncer in transaction mode, whatever the store of the other tests is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sekali_harness::deployment::Setup;
use sekali_harness::pgbouncer::PgBouncer;
use sekali_harness::postgres::Postgres;
use sekali_harness::{Answer, Server, eventually, is_skipped_on_spin};
use serde_json::json;

use crate::hosts::{assert_exact, deliver};

/// Connections of the pooler to a database: fewer than its hosts use at once.
const CONNECTIONS: usize = 3;

const BOSS: [(&str, &str); 1] = [("authorization", "Bearer boss")];

/// A database behind a pooler.
struct Pooled {
    postgres: Postgres,
    pooler: PgBouncer,
    database: String,
}

impl Pooled {
    fn start() -> Self {
        let postgres = Postgres::start().unwrap();
        let pooler = PgBouncer::before(&postgres, CONNECTIONS).unwrap();
        let database = postgres.create_database().unwrap();
        Self { postgres, pooler, database }
    }

    fn host(&self) -> Server {
        self.host_with(&[])
    }

    /// A host with more arguments.
    fn host_with(&self, arguments: &[&str]) -> Server {
        let address = self.pooler.address();
        let mut setup = Setup::on_database(&self.postgres.url_by(&self.database, address), address).unwrap();
        setup.variables.push(("admin_token".into(), "boss".into()));
        setup.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Server::of(setup)
    }

    /// Ends the connections of the pooler that are in some state, and returns their number.
    fn end_connections(&self, state: &str) -> usize {
        let database = &self.database;
        let end = format!(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '{database}' and {state}"
        );
        self.postgres.query("postgres", &end).unwrap().parse().unwrap()
    }
}

/// True on Spin, which names its statements: that takes PgBouncer 1.21 or newer.
fn is_skipped() -> bool {
    is_skipped_on_spin("it names its statements, which this PgBouncer does not know")
}

#[test]
fn events_with_duplicates_sent_to_two_hosts_behind_a_pooler_are_exact() {
    if is_skipped() {
        return;
    }
    let it = Pooled::start();
    assert_exact(&[it.host(), it.host()], 7_000, 10_000);
    let connections = format!("select count(*) from pg_stat_activity where datname = '{}'", it.database);
    let connections: usize = it.postgres.query("postgres", &connections).unwrap().parse().unwrap();
    assert!(connections <= CONNECTIONS, "{connections} connections");
}

#[test]
fn keys_erasure_and_every_way_to_read_work_behind_a_pooler() {
    if is_skipped() {
        return;
    }
    let it = Pooled::start();
    let hosts = [it.host(), it.host()];
    let publish = |host: &Server, key: usize| {
        let headers = [("content-type", "application/json"), ("idempotency-key", &*format!("key {key}"))];
        let event = json!({"topic": format!("t{}", key % 3), "event_id": key.to_string(), "source": "s", "payload": key});
        host.send("POST", "/publish", &headers, event.to_string().as_bytes())
    };
    let keys = 0..300;
    let first: Vec<Answer> = thread::scope(|scope| {
        let clients: Vec<_> = (0..10)
            .map(|client| {
                let (host, keys) = (&hosts[client % 2], keys.clone());
                scope.spawn(move || {
                    keys.skip(client).step_by(10).map(|key| publish(host, key)).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    for answer in &first {
        assert_eq!((answer.status, &answer.json()["stored"]), (200, &json!(1)), "{}", answer.text);
    }
    for key in keys.clone().step_by(17) {
        let again = publish(&hosts[1 - key % 2], key);
        assert_eq!(
            (again.status, again.header("idempotent-replayed")),
            (200, Some("true")),
            "{}",
            again.text
        );
    }
    for host in &hosts {
        let number = |path: &str| host.get(path).json().as_array().unwrap().len();
        assert_eq!(number("/events?topic=t1&limit=1000"), 100);
        assert_eq!(number("/events?source=s&order=desc&limit=7"), 7);
        assert_eq!(number("/events?since=2020-01-01T00:00:00Z&limit=1000"), 300);
        assert_eq!(host.get("/events/t1/4").json()["payload"], 4);
        host.get("/events/t1/none").problem(404, "not-found");
        assert_eq!(host.get("/readyz").status, 200);
        host.assert_books_balance();
    }
    let erase = |host: &Server, path: &str| host.send("DELETE", path, &BOSS, b"");
    assert_eq!(erase(&hosts[0], "/events/t0/0").status, 204);
    assert_eq!(erase(&hosts[1], "/events?topic=t1").json(), json!({"erased": 100, "has_more": false}));
    for host in &hosts {
        host.get("/events/t1/4").problem(410, "gone");
        assert_eq!(host.events().len(), 199);
        assert_eq!(host.stats()["erased"], 101);
        host.assert_books_balance();
    }
}

#[test]
fn writes_that_a_pooler_reports_as_lost_after_their_commit_are_not_written_again() {
    const GROUP: usize = 10;
    if is_skipped() {
        return;
    }
    let it = Pooled::start();
    let host = it.host_with(&["--instances", "1"]);
    deliver(&host, "before");
    let publish = |id: &str| host.publish(&json!({"topic": "t", "event_id": id}));
    let waits = "select pid from pg_stat_activity where wait_event = 'SyncRep'";
    let waiting = || it.postgres.query("postgres", waits).unwrap();
    // Ends the connection of a write that waits, and waits until it is gone.
    let end_write = || {
        let pid = eventually("a write waits", || Some(waiting()).filter(|pid| !pid.is_empty()));
        it.end_connections("wait_event = 'SyncRep'");
        eventually("its connection has ended", || (waiting() != pid).then_some(()));
    };
    // A commit is on the disk, and waits for a replica that does not exist. This takes effect a moment later.
    it.postgres.wait_for_replica(Some("nobody")).unwrap();
    let (before, answers): (usize, Vec<Answer>) = thread::scope(|scope| {
        let publish = &publish;
        let first =
            scope.spawn(move || (0..).find(|n| publish(&format!("first-{n}")).status != 200).unwrap());
        eventually("it waits", || (!waiting().is_empty()).then_some(()));
        let group = (0..GROUP).map(|n| scope.spawn(move || publish(&n.to_string())));
        let group: Vec<_> = group.collect();
        // Nobody outside sees that they wait for the one before them, and then for one commit.
        thread::sleep(Duration::from_millis(500));
        end_write();
        end_write();
        it.postgres.wait_for_replica(None).unwrap();
        (first.join().unwrap(), group.into_iter().map(|sent| sent.join().unwrap()).collect())
    });
    // Of those that were lost nobody knows whether they are stored.
    let (lost, known): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 500);
    for answer in known {
        assert_eq!((answer.status, &answer.json()["stored"]), (200, &json!(1)), "sent once: {}", answer.text);
    }
    assert!(lost.len() > 1, "no group was lost: {answers:?}");
    let stats = host.stats();
    let received = 1 + before + 1 + GROUP;
    assert_eq!((&stats["received"], &stats["duplicate_dropped"]), (&json!(received), &json!(0)));
    let again = deliver(&host, &format!("first-{before}")).json();
    assert_eq!((&again["stored"], &again["duplicates"]), (&json!(0), &json!(1)));
    host.assert_books_balance();
}

#[test]
fn events_are_counted_once_while_the_connections_of_a_pooler_end_in_the_midst_of_writes() {
    const CLIENTS: usize = 8;
    const KILLS: usize = 40;
    if is_skipped() {
        return;
    }
    let it = Pooled::start();
    let hosts = [it.host(), it.host()];
    let is_over = AtomicBool::new(false);
    let attempts: Vec<(String, u64)> = thread::scope(|scope| {
        let (hosts, is_over) = (&hosts, &is_over);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let mut sent = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        let id = format!("{client}-{}", sent.len());
                        let attempts = publish_until_stored(&hosts[client % 2], &id);
                        sent.push((id, attempts));
                    }
                    sent
                })
            })
            .collect();
        let mut kills = 0;
        let began = Instant::now();
        while kills < KILLS && began.elapsed() < Duration::from_secs(60) {
            kills += it.end_connections("state = 'active'");
            thread::sleep(Duration::from_millis(20));
        }
        is_over.store(true, Ordering::Relaxed);
        let sent = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        assert!(kills >= KILLS, "{kills} connections were ended");
        sent
    });
    let events: HashMap<_, _> = hosts[0]
        .events()
        .into_iter()
        .map(|event| (event["event_id"].as_str().unwrap().to_owned(), event["deliveries"].as_u64().unwrap()))
        .collect();
    assert_eq!(events.len(), attempts.len());
    for (id, attempts) in &attempts {
        assert!(
            (1..=*attempts).contains(&events[id]),
            "{id}: {attempts} attempts, counted as {}",
            events[id]
        );
    }
    for host in &hosts {
        host.assert_books_balance();
    }
}

/// Sends an event until it is acknowledged, and returns how often. An event that was sent once is no duplicate.
fn publish_until_stored(host: &Server, id: &str) -> u64 {
    let mut attempts = 0;
    eventually("the event is acknowledged", || {
        attempts += 1;
        let answer = host.publish(&json!({"topic": "t", "event_id": id}));
        assert!([200, 500, 503].contains(&answer.status), "{}", answer.text);
        (answer.status == 200).then(|| {
            let receipt = answer.json();
            assert!(attempts > 1 || receipt["stored"] == 1, "it was sent once: {receipt}");
        })
    });
    attempts
}
