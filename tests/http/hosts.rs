//! Several hosts on one database of PostgreSQL, whatever the store of the other tests is.

use std::thread;
use std::time::{Duration, Instant};

use sekali_harness::deployment::Setup;
use sekali_harness::postgres::Postgres;
use sekali_harness::process::Signal;
use sekali_harness::tcp_proxy::TcpProxy;
use sekali_harness::{Answer, Server, eventually, is_skipped_on_spin};
use serde_json::{Value, json};

use crate::consumers::assert_shared;
use crate::follow::Follower;

/// Three hosts on a database of the shared server.
fn three_hosts() -> [Server; 3] {
    let postgres = Postgres::shared().unwrap();
    let database = postgres.create_database().unwrap();
    [(); 3].map(|()| host(&postgres.url(&database), postgres.address()))
}

fn host(url: &str, database: std::net::SocketAddr) -> Server {
    Server::of(Setup::on_database(url, database).unwrap())
}

fn seqs(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["seq"].as_i64().unwrap()).collect()
}

/// Sends an event until the service stores or knows it, as a producer does.
pub fn deliver(server: &Server, id: &str) -> Answer {
    eventually("the event is acknowledged", || {
        let answer = server.publish(&json!({"topic": "t", "event_id": id}));
        (answer.status == 200).then_some(answer)
    })
}

/// Sends events with duplicates to all hosts at once, while a follower of each reads along, and asserts that every host
/// knows every event once, in order, and that the books balance.
pub fn assert_exact(hosts: &[Server], unique: usize, deliveries: usize) {
    let mut sent: Vec<_> = (0..deliveries)
        .map(|n| json!({"topic": format!("topic-{}", n % unique % 7), "event_id": (n % unique).to_string()}))
        .collect();
    fastrand::Rng::with_seed(1).shuffle(&mut sent);
    let mut followers: Vec<_> = hosts.iter().map(|host| Follower::start(host, "?after=0", "")).collect();
    thread::scope(|scope| {
        for (client, part) in sent.chunks(deliveries / (2 * hosts.len()) + 1).enumerate() {
            let host = &hosts[client % hosts.len()];
            scope.spawn(move || {
                for batch in part.chunks(40) {
                    assert_eq!(host.publish(&json!(batch)).status, 200);
                }
            });
        }
        for follower in &mut followers {
            scope.spawn(|| {
                assert_eq!(seqs(&follower.events(unique)), (1..=unique as i64).collect::<Vec<_>>())
            });
        }
    });
    for host in hosts {
        let stats = host.stats();
        let counts = ["received", "unique_processed", "duplicate_dropped", "conflicts", "last_seq"];
        let expected = [deliveries, unique, deliveries - unique, 0, unique];
        assert_eq!(counts.map(|name| stats[name].as_u64().unwrap() as usize), expected);
        assert_eq!(host.events().len(), unique);
        host.assert_books_balance();
    }
}

#[test]
fn twenty_thousand_events_with_duplicates_sent_to_three_hosts_at_once_are_exact() {
    assert_exact(&three_hosts(), 14_000, 20_000);
}

#[test]
fn workers_of_three_hosts_share_a_consumer_and_do_each_event_once() {
    assert_shared(&three_hosts());
}

#[test]
fn a_retry_that_reaches_another_host_gets_the_answer_of_the_first() {
    let hosts = three_hosts();
    let headers =
        [("content-type", "application/json"), ("idempotency-key", "k"), ("prefer", "return=representation")];
    hosts[0].publish(&json!({"topic": "t", "event_id": "known"}));
    let body = json!([{"topic": "t", "event_id": "new"}, {"topic": "t", "event_id": "known", "payload": 1}])
        .to_string();
    let send = |host: &Server| host.send("POST", "/publish", &headers, body.as_bytes());
    let first = send(&hosts[0]);
    for host in &hosts {
        let again = send(host);
        assert_eq!((again.status, &again.text), (200, &first.text));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        let other = host.send("POST", "/publish", &headers, b"[]");
        other.problem(422, "idempotency-key-mismatch");
    }
    assert_eq!(hosts[2].stats()["received"], 3, "the retries were not counted");
    // At the same moment, one of them is carried out, and the others get its answer.
    let headers = [("content-type", "application/json"), ("idempotency-key", "race")];
    let body = json!({"topic": "t", "event_id": "race"}).to_string();
    let answers: Vec<_> = thread::scope(|scope| {
        let send = |host: &Server| host.send("POST", "/publish", &headers, body.as_bytes());
        let sent: Vec<_> = hosts.iter().map(|host| scope.spawn(move || send(host))).collect();
        sent.into_iter().map(|sent| sent.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.json()["stored"] == 1), "{answers:?}");
    assert_eq!(hosts[0].stats()["received"], 4);
}

#[test]
fn an_event_is_seen_by_followers_of_every_host_within_a_second() {
    let hosts = three_hosts();
    let mut followers: Vec<_> = hosts.iter().map(|host| Follower::start(host, "", "")).collect();
    let mut latencies = Vec::new();
    for n in 0..10 {
        deliver(&hosts[n % 3], &n.to_string());
        let stored = Instant::now();
        for follower in &mut followers {
            assert_eq!(follower.events(1)[0]["event_id"], n.to_string());
        }
        latencies.push(stored.elapsed());
    }
    latencies.sort();
    assert!(latencies[5] < Duration::from_secs(1), "{latencies:?}");
}

/// A database with a replica, and a host that reaches it by a wire.
struct Replicated {
    database: String,
    primary: Postgres,
    replica: Postgres,
    /// Leads from the replica to the primary.
    replication: TcpProxy,
    /// Leads from the host to whatever is the primary.
    wire: TcpProxy,
    host: Server,
}

impl Replicated {
    fn start() -> Self {
        let primary = Postgres::start().unwrap();
        let replication = TcpProxy::to(primary.address()).unwrap();
        let replica = primary.replica_by("replica", replication.address()).unwrap();
        let database = primary.create_database().unwrap();
        let wire = TcpProxy::to(primary.address()).unwrap();
        let host = host(&primary.url_by(&database, wire.address()), wire.address());
        Self { database, primary, replica, replication, wire, host }
    }

    /// The machine of the database is lost, and the replica takes its place.
    fn fail_over(&mut self) {
        self.primary.stop(Signal::QUIT);
        self.replica.promote().unwrap();
        self.replica.wait_for_replica(None).unwrap();
        self.wire.lead_to(self.replica.address());
    }
}

#[test]
fn a_failover_to_a_synchronous_replica_loses_nothing_that_was_acknowledged() {
    let mut it = Replicated::start();
    it.primary.wait_for_replica(Some("replica")).unwrap();
    let mut follower = Follower::start(&it.host, "?after=0", "");
    let acknowledged: Vec<_> = (0..200).map(|n| n.to_string()).collect();
    for id in &acknowledged {
        deliver(&it.host, id);
    }
    it.fail_over();
    deliver(&it.host, "after");
    let stored: Vec<_> = it.host.events().iter().map(|event| event["event_id"].clone()).collect();
    let expected: Vec<_> =
        acknowledged.iter().map(String::as_str).chain(["after"]).map(Value::from).collect();
    assert_eq!(stored, expected);
    let followed: Vec<_> = follower.events(201).iter().map(|event| event["event_id"].clone()).collect();
    assert_eq!(followed, expected);
    it.host.assert_books_balance();
}

#[test]
fn a_failover_to_an_asynchronous_replica_may_lose_the_newest_events_but_hides_none_that_follow() {
    const RESERVED: i64 = 1 << 32;
    let mut it = Replicated::start();
    let mut follower = Follower::start(&it.host, "?after=0", "");
    deliver(&it.host, "kept");
    let has_it = "select count(*) = 0 from pg_stat_replication where replay_lsn >= pg_current_wal_lsn()";
    eventually("the replica has it", || (it.primary.query("postgres", has_it).unwrap() == "f").then_some(()));
    it.replication.cut();
    deliver(&it.host, "lost");
    assert_eq!(seqs(&follower.events(2)), [1, 2]);
    it.fail_over();
    assert_eq!(it.host.events().len(), 1, "what the replica did not have is lost");
    let again = deliver(&it.host, "lost").json();
    assert_eq!(again["stored"], 1, "its producer may send it again");
    deliver(&it.host, "new");
    // The follower had passed seq 2, which neither of them got.
    assert_eq!(seqs(&follower.events(2)), [RESERVED + 2, RESERVED + 3]);
    it.host.assert_books_balance();
}

#[test]
fn a_host_on_a_replica_reads_and_refuses_to_publish() {
    let it = Replicated::start();
    deliver(&it.host, "1");
    let reader = host(&it.replica.url(&it.database), it.replica.address());
    eventually("the replica has the event", || {
        let answer = reader.get("/events");
        (answer.status == 200 && answer.json().as_array().unwrap().len() == 1).then_some(())
    });
    assert_eq!(reader.get("/readyz").status, 200);
    reader.publish(&json!({"topic": "t", "event_id": "2"})).problem(503, "busy");
    assert_eq!(it.host.events().len(), 1);
}

#[test]
fn a_host_whose_connections_lead_to_a_standby_publishes_as_soon_as_the_name_leads_to_the_primary() {
    if is_skipped_on_spin("it keeps its connections as long as they last, to a standby, too") {
        return;
    }
    let it = Replicated::start();
    for id in ["1", "2"] {
        deliver(&it.host, id);
    }
    eventually("the replica has what the host needs", || {
        it.replica
            .query(&it.database, "select 1 from sekali.events where seq = 2")
            .is_ok_and(|it| it == "1")
            .then_some(())
    });
    it.wire.lead_to(it.replica.address());
    eventually("it publishes to the standby", || {
        let answer = it.host.publish(&json!({"topic": "t", "event_id": "3"}));
        (answer.status == 503).then_some(()) // another is that of a connection that broke
    });
    it.wire.lead_new_to(it.primary.address()); // the connections to the standby stay
    let answers: Vec<_> =
        (0..20).map(|n| it.host.publish(&json!({"topic": "t", "event_id": n.to_string()})).status).collect();
    // Each thread of the host finds out by itself.
    let refused = answers.iter().filter(|&&status| status == 503).count();
    assert!(refused <= 4 && answers[19] == 200, "{answers:?}");
    eventually("readers have left the standby, too", || {
        let sessions = format!("select count(*) from pg_stat_activity where datname = '{}'", it.database);
        it.host.get("/events?limit=1");
        (it.replica.query("postgres", &sessions).unwrap() == "0").then_some(())
    });
    it.host.assert_books_balance();
}

#[test]
fn a_host_with_two_servers_in_its_address_publishes_to_the_one_that_takes_writes_after_each_swap() {
    let mut primary = Postgres::start().unwrap();
    let mut replica = primary.replica("replica").unwrap();
    let database = primary.create_database().unwrap();
    let servers = [&primary, &replica].map(|server| server.address().to_string());
    let url = format!(
        "postgres://sekali@{}/{database}?sslmode=disable&target_session_attrs=read-write",
        servers.join(",")
    );
    let mut setup = Setup::on_database(&url, primary.address()).unwrap();
    setup.variables.push(("database_standby_host".into(), servers[1].clone()));
    let host = Server::of(setup);
    let mut follower = Follower::start(&host, "?after=0", "");
    deliver(&host, "0");
    for swap in 1..=3 {
        primary.stop(Signal::INT); // what it has committed goes to its replica before it ends
        replica.promote().unwrap();
        primary.follow(&replica).unwrap();
        std::mem::swap(&mut primary, &mut replica);
        deliver(&host, &swap.to_string());
        assert_eq!(host.events().len(), swap + 1);
    }
    let followed: Vec<_> = follower.events(4).iter().map(|event| event["event_id"].clone()).collect();
    assert_eq!(followed, ["0", "1", "2", "3"]);
    host.assert_books_balance();
}

#[test]
fn a_host_that_is_cut_off_answers_503_and_serves_again_as_soon_as_it_is_joined() {
    let postgres = Postgres::shared().unwrap();
    let database = postgres.create_database().unwrap();
    let wire = TcpProxy::to(postgres.address()).unwrap();
    let host = host(&postgres.url_by(&database, wire.address()), wire.address());
    deliver(&host, "before");
    wire.cut();
    // The first answer may be that of a connection which was lost with the write under way: nobody can tell what it did.
    let during = eventually("the host refuses", || {
        Some(host.publish(&json!({"topic": "t", "event_id": "during"}))).filter(|answer| answer.status == 503)
    });
    during.problem(503, "busy");
    assert_eq!(during.header("retry-after"), Some("1"));
    host.get("/readyz").problem(503, "not-ready");
    assert_eq!(host.get("/healthz").status, 200);
    wire.lead_to(postgres.address());
    assert_eq!(deliver(&host, "during").json()["stored"], 1);
    assert_eq!(host.get("/readyz").status, 200);
    host.assert_books_balance();
}

#[test]
fn a_database_that_may_lose_events_is_named_by_readyz_and_in_the_log() {
    let postgres = Postgres::shared().unwrap();
    let database = postgres.create_database().unwrap();
    postgres.query("postgres", &format!("alter database {database} set synchronous_commit = off")).unwrap();
    let host = host(&postgres.url(&database), postgres.address());
    assert_eq!(
        host.get("/readyz").json(),
        json!({"status": "ready", "risks": ["synchronous_commit is off"]})
    );
    assert!(
        host.log().contains("may lose events that were answered: synchronous_commit is off"),
        "{}",
        host.log()
    );
}

/// A host that stored eight events, of which a copy that was taken after three of them lacks five, and a follower that
/// has seen all of them.
struct Overtaken {
    primary: Postgres,
    database: String,
    wire: TcpProxy,
    host: Server,
    follower: Follower,
}

impl Overtaken {
    /// `copy` is taken after the third event.
    fn after<C>(settings: &[&str], copy: impl FnOnce(&Postgres, &str) -> C) -> (Self, C) {
        let primary = Postgres::with(settings).unwrap();
        let database = primary.create_database().unwrap();
        let wire = TcpProxy::to(primary.address()).unwrap();
        let host = host(&primary.url_by(&database, wire.address()), wire.address());
        let mut follower = Follower::start(&host, "?after=0", "");
        for n in 1..=3 {
            deliver(&host, &n.to_string());
        }
        let copy = copy(&primary, &database);
        for n in 4..=8 {
            deliver(&host, &n.to_string());
        }
        assert_eq!(seqs(&follower.events(8)), (1..=8).collect::<Vec<_>>());
        (Self { primary, database, wire, host, follower }, copy)
    }

    /// The wire leads to the copy now: what comes next is seen by whoever has passed what was lost.
    fn assert_that_nothing_is_hidden(mut self) {
        // Before anybody has written, a cursor of before is still one.
        assert_eq!(self.host.get("/events?after=8").json(), json!([]));
        deliver(&self.host, "new");
        let new = self.follower.events(1);
        assert_eq!(new[0]["event_id"], "new");
        assert!(seqs(&new)[0] > 1 << 32, "{new:?}");
        assert_eq!(self.host.get("/events?after=8").json().as_array().unwrap().len(), 1);
        assert_eq!(deliver(&self.host, "8").json()["stored"], 1, "its producer may send it again");
        self.host.assert_books_balance();
    }
}

#[test]
fn a_base_backup_that_is_started_as_it_is_hides_no_later_event() {
    let (it, copy) = Overtaken::after(&[], |primary, _| primary.copy().unwrap());
    it.wire.lead_to(copy.address());
    it.assert_that_nothing_is_hidden();
}

#[test]
fn a_restore_to_a_point_in_time_hides_no_later_event() {
    let (it, copy) = Overtaken::after(&[], |primary, _| primary.copy_at_this_moment().unwrap());
    it.wire.lead_to(copy.address());
    it.assert_that_nothing_is_hidden();
}

#[test]
fn a_dump_that_takes_the_place_of_its_database_hides_no_later_event() {
    let (it, ()) =
        Overtaken::after(&[], |primary, database| primary.restore_beside(database, "restored").unwrap());
    it.wire.cut();
    let sessions =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}'", it.database);
    it.primary.query("postgres", &sessions).unwrap();
    eventually("the database is renamed", || {
        it.primary.query("postgres", &format!("alter database {} rename to lost", it.database)).ok()
    });
    it.primary.query("postgres", &format!("alter database restored rename to {}", it.database)).unwrap();
    it.wire.lead_to(it.primary.address());
    it.assert_that_nothing_is_hidden();
}

#[test]
fn a_replica_that_was_behind_and_is_promoted_hides_no_later_event() {
    let (it, (_replication, replica)) = Overtaken::after(&[], |primary, database| {
        let replication = TcpProxy::to(primary.address()).unwrap();
        let replica = primary.replica_by("replica", replication.address()).unwrap();
        await_identities(&replica, database, 3);
        replication.cut();
        (replication, replica)
    });
    replica.promote().unwrap();
    it.wire.lead_to(replica.address());
    it.assert_that_nothing_is_hidden();
}

/// Waits until a replica has so many identities.
fn await_identities(replica: &Postgres, database: &str, count: u32) {
    eventually("the replica has all events", || {
        let found = replica.query(database, "select count(*) from sekali.identities");
        found.is_ok_and(|found| found == count.to_string()).then_some(())
    });
}

#[test]
fn a_primary_that_is_rewound_and_promoted_again_hides_no_later_event() {
    let (mut it, mut replica) =
        Overtaken::after(&["wal_log_hints=on", "wal_keep_size=64MB"], |primary, _| {
            primary.replica("replica").unwrap()
        });
    await_identities(&replica, &it.database, 8);
    replica.promote().unwrap();
    // The old primary goes on for a while, as one that was cut off does, and its follower sees what will be lost.
    deliver(&it.host, "lost");
    assert_eq!(seqs(&it.follower.events(1)), [9]);
    it.wire.cut();
    it.primary.stop(Signal::INT);
    it.primary.rewind(&replica).unwrap();
    replica.stop(Signal::INT);
    it.primary.promote().unwrap();
    it.wire.lead_to(it.primary.address());
    assert_eq!(it.host.get("/events?after=9").json(), json!([]));
    deliver(&it.host, "new");
    assert_eq!(it.follower.events(1)[0]["event_id"], "new");
    assert_eq!(it.host.events().len(), 9, "what the old primary had alone is lost");
    it.host.assert_books_balance();
}

#[test]
fn a_server_that_crashes_and_starts_again_loses_nothing_and_hides_nothing() {
    let (mut it, ()) = Overtaken::after(&[], |_, _| ());
    it.primary.stop(Signal::QUIT);
    it.primary.run().unwrap();
    deliver(&it.host, "new");
    assert_eq!(it.follower.events(1)[0]["event_id"], "new");
    assert_eq!(it.host.events().len(), 9);
    it.host.assert_books_balance();
}
