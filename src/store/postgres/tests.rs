//! The statements of the store, on Debian's PostgreSQL.

use std::time::Duration;

use futures::future::join_all;
use sekali_harness::postgres::Postgres;
use serde_json::Value as Json;

use super::*;
use crate::event::{Source, Timestamp, TopicPattern};
use crate::store::consume_tests;
use crate::store::sql::SqlStore;
use crate::store::{
    Filter, Found, Index, Layout, Ledger, Order, PageSize, ReadStore, RemoveStore, RequestKey, Span, Status,
    Window, WriteStore,
};
use crate::testing::postgres::{Remote, RemoteStore, fresh, open};
use crate::testing::{TokioClock, database, event, event_with, keep, read_in, readable_events};

use Status::{Conflict, Duplicate, Stored};

async fn append(store: &impl WriteStore, events: &[NewEvent]) -> Vec<(Seq, Status)> {
    let outcomes = store.append(&events.iter().collect::<Vec<_>>(), &[]).await.unwrap();
    outcomes.iter().map(|outcome| (outcome.seq, outcome.status)).collect()
}

async fn seqs(store: &RemoteStore) -> Vec<i64> {
    let events = read_in(store, &Filter::default(), Order::Ascending).await;
    events.iter().map(|event| event["seq"].as_i64().unwrap()).collect()
}

/// A random event of few identities.
fn any_event(random: &mut fastrand::Rng) -> NewEvent {
    let topic = ["a", "b", "a \"c\\", "ü", "p.a", "p.a.b", "p.c"][random.usize(..7)];
    let mut event = event_with(topic, random.u32(..80).to_string(), &random.u32(..3).to_string());
    let moment = format!("2026-11-{:02}T00:00:00", random.u32(1..29));
    event.timestamp = Some(Timestamp::parse(&moment).unwrap());
    event.source =
        ["x", "y\u{0}\"\\", ""].get(random.usize(..4)).map(|source| Source::parse(*source).unwrap());
    event.attributes = random.bool().then(|| r#"{"subject":"s"}"#.to_owned());
    event
}

fn patterns(names: &[&str]) -> Vec<TopicPattern> {
    let mut patterns = Vec::new();
    names.iter().for_each(|name| TopicPattern::parse(*name).unwrap().add_to(&mut patterns));
    patterns
}

fn any_filter(random: &mut fastrand::Rng) -> Filter {
    let mut some =
        |names: &[&'static str]| names.iter().copied().filter(|_| random.u32(..3) == 0).collect::<Vec<_>>();
    let (topics, sources) = (some(&["a", "ü", "none", "p.*", "p.a.*"]), some(&["x", "y\u{0}\"\\"]));
    Filter {
        topics: patterns(&topics),
        sources: sources.into_iter().map(|source| Source::parse(source).unwrap()).collect(),
        since: random.bool().then(|| Timestamp::parse("2026-11-10T00:00:00Z").unwrap()),
        until: random.bool().then(|| Timestamp::parse("2026-11-20T00:00:00Z").unwrap()),
        has_conflicts: random.u32(..3) == 0,
    }
}

/// What a store holds, without the moments of receipt.
async fn contents(store: &impl ReadStore, filter: &Filter, order: Order) -> (Ledger, Json, Vec<Json>) {
    let mut ledger = store.ledger(&[]).await.unwrap();
    ledger.store_id.clear(); // each has its own
    let mut accounts: Json = serde_json::from_str(&std::mem::take(&mut ledger.by_topic)).unwrap();
    for account in accounts.as_array_mut().unwrap() {
        account.as_object_mut().unwrap().remove("last_received_at");
    }
    let mut events = read_in(store, filter, order).await;
    for event in &mut events {
        event.as_object_mut().unwrap().remove("received_at");
    }
    (ledger, accounts, events)
}

async fn erase(store: &(impl ReadStore + RemoveStore), filter: &Filter) {
    let readable = store.readable().await.unwrap();
    let window = store.window(filter, readable, Order::Ascending).await.unwrap();
    store.erase(filter, window, 3).await.unwrap();
}

/// Lets the oldest event expire, if another stays.
async fn expire_one(store: &(impl ReadStore + RemoveStore)) {
    let readable = readable_events(store).await;
    if readable > 1 {
        store.expire(keep(readable as u32 - 1), 1).await.unwrap();
    }
}

#[tokio::test]
async fn whatever_happens_it_has_what_the_store_on_sqlite_has() {
    let (server, name, remote) = fresh();
    let (native, directory) = database::fresh();
    let file = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    for step in 0..120 {
        match random.u32(..10) {
            0 => {
                let filter = Filter { topics: vec![TopicPattern::parse("a").unwrap()], ..Filter::default() };
                erase(&native, &filter).await;
                erase(&remote, &filter).await;
            }
            1 => {
                expire_one(&native).await;
                expire_one(&remote).await;
            }
            2 if step > 60 => {
                file.execute("update events set received_at = '2020-01-01' where gone is not null", [])
                    .unwrap();
                server.query(&name, "update sekali.identities set received_on = '2020-01-01'").unwrap();
                assert_eq!(remote.forget(1, 1).await, native.forget(1, 1).await);
            }
            _ => {
                let count = if random.bool() { 1 } else { random.usize(2..90) };
                let events: Vec<_> = (0..count).map(|_| any_event(&mut random)).collect();
                assert_eq!(append(&remote, &events).await, append(&native, &events).await, "step {step}");
            }
        }
        let filter = if step % 3 == 0 { Filter::default() } else { any_filter(&mut random) };
        let order = if random.bool() { Order::Ascending } else { Order::Descending };
        let (here, there) =
            (contents(&remote, &filter, order).await, contents(&native, &filter, order).await);
        assert_eq!(here, there, "step {step}: {filter:?} {order:?}");
        let (topic, id) = (Topic::parse("a").unwrap(), EventId::parse(random.u32(..80).to_string()).unwrap());
        let kind = |found: Option<Found>| found.map(|found| found == Found::Gone);
        assert_eq!(
            kind(remote.event(&topic, &id).await.unwrap()),
            kind(native.event(&topic, &id).await.unwrap())
        );
    }
}

#[tokio::test]
async fn blocks_pass_over_what_is_not_of_the_time_of_a_filter_in_either_order() {
    let (_, _, remote) = fresh();
    let (native, _directory) = database::fresh();
    let mut random = fastrand::Rng::with_seed(2);
    for batch in 0..8 {
        let events: Vec<_> = (0..700)
            .map(|n| {
                let late = if random.u32(..200) == 0 { 5 } else { 0 };
                let moment = format!("2026-11-{:02}T00:00:00.{n:03}", 10 + batch - late);
                let mut event = event_with(["a", "b", "b.c", "b.d"][n % 4], format!("{batch}-{n}"), "{}");
                event.timestamp = Some(Timestamp::parse(&moment).unwrap());
                event
            })
            .collect();
        append(&remote, &events).await;
        append(&native, &events).await;
    }
    for (since, until) in [(Some(11), Some(12)), (Some(16), None), (None, Some(8)), (Some(4), Some(5))] {
        let moment = |day: Option<u32>| {
            day.map(|day| Timestamp::parse(&format!("2026-11-{day:02}T00:00:00Z")).unwrap())
        };
        for topics in
            [vec![], vec![TopicPattern::parse("b").unwrap()], vec![TopicPattern::parse("b.*").unwrap()]]
        {
            let filter = Filter { topics, since: moment(since), until: moment(until), ..Filter::default() };
            for order in [Order::Ascending, Order::Descending] {
                let (here, there) =
                    (contents(&remote, &filter, order).await.2, contents(&native, &filter, order).await.2);
                assert_eq!(here, there, "{filter:?} {order:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_store_is_migrated_once_however_many_hosts_come_at_the_same_moment() {
    let (server, database, _) = fresh();
    let stores: Vec<_> = (0..10).map(|_| open(&server.url(&database))).collect();
    let spans = join_all(stores.iter().map(|store| store.readable())).await;
    assert!(spans.iter().all(|span| *span == Ok(Span { after: 0, through: 0 })), "{spans:?}");
    let versions =
        server.query(&database, "select count(*), max(version) from sekali.schema_migrations").unwrap();
    assert_eq!(versions, format!("1|{}", sekali_common::schema::POSTGRES.version));
}

#[tokio::test]
async fn a_database_of_a_version_without_a_way_is_left_as_it_is() {
    for (version, remedy) in
        [(24, "start version 0.2 on it"), (26, "use the program that made it"), (1000, "newer program")]
    {
        let (server, database, _) = fresh();
        fill_as_0_2(server, &database);
        let change = format!(
            "delete from sekali.schema_migrations; insert into sekali.schema_migrations values ({version}, now())"
        );
        server.query(&database, &change).unwrap();
        let refused = open(&server.url(&database)).append(&[&event("a")], &[]).await;
        assert!(matches!(&refused, Err(StoreError::Failed(cause)) if cause.contains(remedy)), "{refused:?}");
        let count = "select count(*) from sekali.events where digest is not null"; // a column of 0.2
        assert_eq!(server.query(&database, count).unwrap(), "4");
    }
}

#[tokio::test]
async fn a_reader_misses_nothing_while_many_hosts_write() {
    let (server, database, reader) = fresh();
    reader.readable().await.unwrap();
    let url = server.url(&database);
    let writers = join_all((0..6).map(|writer| {
        let store = open(&url);
        async move {
            for n in 0..40 {
                let events: Vec<_> =
                    (0..1 + n % 5).map(|part| event(format!("{writer}-{n}-{part}"))).collect();
                append(&store, &events).await;
            }
        }
    }));
    let follow = async {
        let mut seen = 0;
        while seen < 6 * 40 * 3 {
            let readable = reader.readable().await.unwrap();
            let span = Span { after: seen, through: readable.through };
            let window = Window { span, index: Index::Seq };
            let limit = u32::try_from(span.len()).unwrap() + 1;
            let matches = reader.matches(&Filter::default(), window, Order::Ascending, limit).await.unwrap();
            assert_eq!(i64::from(matches.count), span.len(), "none of {span:?} comes later");
            seen = readable.through;
        }
    };
    futures::join!(writers, follow);
    let ledger = reader.ledger(&[]).await.unwrap();
    assert_eq!((ledger.unique_processed, ledger.duplicate_dropped), (720, 0));
}

#[tokio::test]
async fn a_request_with_a_key_is_carried_out_once_by_all_hosts_together() {
    let (server, database, one) = fresh();
    let other = open(&server.url(&database));
    let key = RequestKey { key: "k".into(), fingerprint: "f".into() };
    append(&one, &[event("known")]).await;
    let events =
        [event("before"), event("a"), event_with("t", "known", "1"), event("a"), event("b"), event("after")];
    let events: Vec<_> = events.iter().collect();
    let keys = [Keyed { key: &key, events: 1..5 }];
    let outcomes = one.append(&events, &keys).await.unwrap();
    let repeated = || Err(StoreError::Repeated(vec!["k".into()]));
    assert_eq!(other.append(&events[1..5], &[Keyed { key: &key, events: 0..4 }]).await, repeated());
    let answered = other.answered("k").await.unwrap().unwrap();
    assert_eq!((answered.fingerprint.as_str(), &answered.outcomes[..]), ("f", &outcomes[1..5]));
    assert_eq!(
        outcomes[1..5].iter().map(|it| it.status).collect::<Vec<_>>(),
        [Stored, Conflict, Duplicate, Stored]
    );
    let ledger = other.ledger(&[]).await.unwrap();
    assert_eq!((ledger.unique_processed, ledger.duplicate_dropped), (5, 2), "the repetition was not counted");
    assert_eq!(other.append(&[], &[Keyed { key: &key, events: 0..0 }]).await, repeated());
    let empty = RequestKey { key: "empty".into(), fingerprint: "e".into() };
    assert_eq!(one.append(&[], &[Keyed { key: &empty, events: 0..0 }]).await, Ok(vec![]));
    assert_eq!(other.answered("empty").await.unwrap().unwrap().outcomes, []);
    server.query(&database, "update sekali.answers set answered_at = now() - interval '1 day'").unwrap();
    assert_eq!(other.answered("k").await.unwrap(), None);
    assert!(one.append(&[], &[Keyed { key: &key, events: 0..0 }]).await.is_ok(), "a day later");
    assert_eq!(one.forget_answers(1).await, Ok(Step { events: 1, has_more: false }));
    assert_eq!(server.query(&database, "select key from sekali.answers").unwrap(), "k");
}

#[tokio::test]
async fn a_thousand_keys_of_a_group_cost_about_as_much_as_a_thousand_events() {
    let (_, _, store) = fresh();
    append(&store, &[event("first")]).await;
    let time = async |prefix: &str, with_keys: bool| {
        let events: Vec<_> = (0..1000).map(|n| event(format!("{prefix}{n}"))).collect();
        let keys: Vec<_> =
            (0..1000).map(|n| RequestKey { key: format!("{prefix}{n}"), fingerprint: "f".into() }).collect();
        let keyed = keys.iter().enumerate().map(|(n, key)| Keyed { key, events: n..n + 1 });
        let keyed: Vec<_> = keyed.filter(|_| with_keys).collect();
        let began = std::time::Instant::now();
        store.append(&events.iter().collect::<Vec<_>>(), &keyed).await.unwrap();
        began.elapsed()
    };
    time("warm", true).await;
    let (with, without) = (time("a", true).await, time("b", false).await);
    assert!(with < 4 * without + Duration::from_millis(20), "{with:?} and {without:?}");
}

#[tokio::test]
async fn no_new_event_gets_the_seq_of_one_that_a_failover_or_a_restore_lost() {
    const RESERVED: i64 = 1 << 32;
    let (server, database, store) = fresh();
    append(&store, &[event("a"), event("b")]).await;
    // Another start of the server, as that of a copy.
    let restart = "update sekali.place set started_at = now(), written_by = pg_current_xact_id()::xid::text";
    server.query(&database, restart).unwrap();
    assert_eq!(append(&store, &[event("c"), event("a")]).await, [(RESERVED + 3, Stored), (1, Duplicate)]);
    assert_eq!(append(&store, &[event("d")]).await, [(RESERVED + 4, Stored)]);
    // Rows that come from a dump.
    server
        .query(
            &database,
            "begin; delete from sekali.place where false; update sekali.place set id = id; commit",
        )
        .unwrap();
    assert_eq!(store.newest().await, Ok(2 * RESERVED + 4), "it reserves before a cursor is refused");
    assert_eq!(append(&store, &[event("e")]).await, [(2 * RESERVED + 5, Stored)]);
    assert_eq!(store.newest().await, Ok(2 * RESERVED + 5));
    // A copy beside it, on the same server.
    let copy = format!("create database copy_of_{database} template {database}");
    while server.query("postgres", &copy).is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await; // connections are about to end
    }
    assert_eq!(append(&store, &[event("f")]).await, [(2 * RESERVED + 6, Stored)]);
    let elsewhere = open(&server.url(&format!("copy_of_{database}")));
    assert_eq!(append(&elsewhere, &[event("f")]).await, [(3 * RESERVED + 6, Stored)]);
    let expected = [1, 2, RESERVED + 3, RESERVED + 4, 2 * RESERVED + 5, 2 * RESERVED + 6];
    assert_eq!(seqs(&store).await, expected);
    let descending = read_in(&store, &Filter::default(), Order::Descending).await;
    assert_eq!(descending.len(), 6);
    // Nor do the gaps cost a reader anything, whatever the filter.
    let since = Some(Timestamp::parse("2026-11-21T00:00:00Z").unwrap());
    let topics = vec![TopicPattern::parse("t").unwrap()];
    for filter in [
        Filter { since: since.clone(), ..Filter::default() },
        Filter { since, topics, ..Filter::default() },
        Filter { topics: patterns(&["t", "t.*"]), ..Filter::default() },
    ] {
        for order in [Order::Ascending, Order::Descending] {
            let began = std::time::Instant::now();
            assert_eq!(read_in(&store, &filter, order).await.len(), 6);
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        }
    }
    assert_eq!(store.ledger(&[]).await.unwrap().unique_processed, 6);
}

#[tokio::test]
async fn the_partitions_of_expired_events_are_dropped_and_their_identities_stay() {
    let (server, database, store) = fresh();
    append(&store, &[event("a"), event("b")]).await;
    server.query(&database, "select sekali.reserve()").unwrap();
    append(&store, &[event("c")]).await;
    let partitions = || {
        let tables =
            "select relname from pg_class where relname like 'events\\__%' and relkind = 'r' order by 1";
        server.query(&database, tables).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(partitions(), ["events_0", "events_4096"]);
    store.expire(keep(1), 1).await.unwrap();
    assert_eq!(partitions(), ["events_0", "events_4096"], "there is room for more events in it");
    append(&store, &[event("d")]).await;
    store.expire(keep(1), 1).await.unwrap();
    assert_eq!(partitions(), ["events_4096"], "the newest stays in use");
    assert_eq!(append(&store, &[event("a"), event("e")]).await[0], (1, Duplicate));
    assert_eq!(store.ledger(&[]).await.unwrap().expired, 3);
    assert_eq!(seqs(&store).await.len(), 2);
}

#[tokio::test]
async fn a_partition_that_is_read_is_dropped_later() {
    let (server, database, store) = fresh();
    append(&store, &[event("a")]).await;
    server.query(&database, "select sekali.reserve()").unwrap();
    append(&store, &[event("b"), event("c")]).await;
    let reader = Remote { url: server.url(&database) }.open().await.unwrap();
    reader.batch_execute("begin; select count(*) from sekali.events").await.unwrap();
    append(&store, &[event("d")]).await;
    store.expire(keep(1), 1).await.unwrap();
    assert_eq!(seqs(&store).await.len(), 1, "what has expired cannot be read");
    assert_eq!(server.query(&database, "select count(*) from sekali.partitions").unwrap(), "2");
    reader.batch_execute("commit").await.unwrap();
    append(&store, &[event("e")]).await;
    store.expire(keep(1), 1).await.unwrap();
    assert_eq!(server.query(&database, "select count(*) from sekali.partitions").unwrap(), "1");
}

#[tokio::test]
async fn a_database_that_is_locked_or_away_is_busy_and_one_that_may_lose_events_is_named() {
    let (server, database, store) = fresh();
    append(&store, &[event("a")]).await;
    let other = Remote { url: server.url(&database) }.open().await.unwrap();
    other.batch_execute("begin; select pg_advisory_xact_lock(126879430437993)").await.unwrap();
    assert_eq!(store.append(&[&event("b")], &[]).await, Err(StoreError::Busy));
    assert_eq!(seqs(&store).await, [1], "reads still work");
    other.batch_execute("commit").await.unwrap();
    assert_eq!(store.risks().await, Ok(vec![]));
    server.query("postgres", &format!("alter database {database} set synchronous_commit = off")).unwrap();
    assert_eq!(store.risks().await, Ok(vec!["synchronous_commit is off".to_owned()]));

    let away = open("postgres://sekali@127.0.0.1:1/none?sslmode=disable");
    assert_eq!(away.append(&[&event("b")], &[]).await, Err(StoreError::Busy));
}

#[tokio::test]
async fn a_write_whose_connection_was_lost_is_uncertain_and_the_next_has_another() {
    let (server, database, store) = fresh();
    append(&store, &[event("a")]).await;
    let other = Remote { url: server.url(&database) }.open().await.unwrap();
    other.batch_execute("begin; select pg_advisory_xact_lock(126879430437993)").await.unwrap();
    let terminate = async {
        let waiting = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}' and wait_event = 'advisory'"
        );
        while server.query("postgres", &waiting).unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let second = event("b");
    let events = [&second];
    let (result, ()) = futures::join!(store.append(&events, &[]), terminate);
    assert!(matches!(result, Err(StoreError::Uncertain(_))), "{result:?}");
    other.batch_execute("commit").await.unwrap();
    assert_eq!(append(&store, &[event("b")]).await, [(2, Stored)]);
}

/// Connections that lead to one server and the other by turns, as a load balancer's do.
struct Balanced {
    servers: [Remote; 2],
    turn: std::cell::Cell<usize>,
}

impl Database for Balanced {
    type Connection = <Remote as Database>::Connection;

    async fn open(&self) -> Result<Self::Connection, StoreError> {
        self.turn.set(1 - self.turn.get());
        self.servers[self.turn.get()].open().await
    }
}

#[tokio::test]
async fn a_reader_behind_two_servers_misses_nothing_while_one_of_them_is_behind() {
    let primary = Postgres::start().unwrap();
    let replica = primary.replica("replica").unwrap();
    let writer = open(&primary.url("postgres"));
    append(&writer, &[event("first")]).await;
    let servers = [&primary, &replica].map(|server| Remote { url: server.url("postgres") });
    let reader = SqlStore::on(PostgresBackend::new(
        Balanced { servers, turn: Default::default() },
        TokioClock::start(),
    ));
    let has_all = "select count(*) from sekali.events";
    while replica.query("postgres", has_all).ok().as_deref() != Some("1") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    replica.query("postgres", "select pg_wal_replay_pause()").unwrap();
    let events: Vec<_> = (0..60).map(|n| event(n.to_string())).collect();
    append(&writer, &events).await;
    let since = Some(Timestamp::parse("2026-11-21T00:00:00Z").unwrap());
    let topics = vec![TopicPattern::parse("t").unwrap()];
    let filters = [
        Filter::default(),
        Filter { topics: topics.clone(), ..Filter::default() },
        Filter { since: since.clone(), ..Filter::default() },
        Filter { topics, since, ..Filter::default() },
    ];
    for filter in filters {
        for order in [Order::Ascending, Order::Descending] {
            // As two servers may answer them: the end is that of the primary.
            let mut rest = Span { after: 0, through: 61 };
            let mut seen = 0;
            while !rest.is_empty() {
                let window = reader.window(&filter, rest, order).await.unwrap();
                let page = reader.page(&filter, window, order, Layout::Lines, PageSize::LARGE).await.unwrap();
                seen += page.map_or(0, |page| page.text.lines().count());
                let matches = reader.matches(&filter, window, order, 100).await.unwrap();
                assert!(!matches.has_more);
                rest = rest.behind(window.span, order);
            }
            assert_eq!(seen, 61, "{filter:?} {order:?}");
        }
    }
    assert_eq!(reader.newest().await, Ok(61), "only a server that writes says so");
    let by_both = event("by way of both");
    while reader.append(&[&by_both], &[]).await == Err(StoreError::Busy) {}
    assert_eq!(append(&writer, &[by_both]).await, [(62, Duplicate)]);
    replica.query("postgres", "select pg_wal_replay_resume()").unwrap();
}

#[tokio::test]
async fn an_erasure_reaches_the_rows_of_expired_events_and_a_sweep_the_rest() {
    let (server, database, store) = fresh();
    append(&store, &(0..10).map(|n| event_with("t", n.to_string(), "\"secret\"")).collect::<Vec<_>>()).await;
    store.expire(keep(2), 1).await.unwrap();
    let rows = || {
        server.query(&database, "select string_agg(seq::text, ',' order by seq) from sekali.events").unwrap()
    };
    assert_eq!(rows(), "1,2,3,4,5,6,7,8,9,10", "they cannot be read any more, and their partition lives");
    let (topic, id) = (Topic::parse("t").unwrap(), |id: &str| EventId::parse(id).unwrap());
    assert_eq!(store.erase_event(&topic, &id("3")).await, Ok(true));
    assert_eq!(store.erase_event(&topic, &id("9")).await, Ok(true));
    assert_eq!(store.erase_event(&topic, &id("none")).await, Ok(false));
    assert_eq!(rows(), "1,2,3,5,6,7,8,9");
    let ledger = store.ledger(&[]).await.unwrap();
    assert_eq!((ledger.expired, ledger.erased), (8, 1), "what had expired is not counted again");

    let later = "update sekali.upkeep set sweep_at = now() - interval '20 minutes'";
    for (left, swept) in [("1,2,3,5,6,7,8,9", 0), ("9", 7), ("9", 0)] {
        server.query(&database, later).unwrap();
        assert_eq!(store.sweep(1).await.unwrap().events, swept);
        assert_eq!(rows(), left);
    }
    let group = [event_with("t", "0", "9"), event_with("t", "9", "9"), event_with("t", "8", "9")];
    assert_eq!(append(&store, &group).await, [(1, Duplicate), (10, Duplicate), (9, Conflict)]);
}

#[tokio::test]
async fn forgetting_goes_on_where_it_was_and_finds_what_was_erased_behind() {
    let (server, database, store) = fresh();
    append(&store, &(0..3000).map(|n| event(n.to_string())).collect::<Vec<_>>()).await;
    store.expire(keep(100), 2).await.unwrap();
    let id = EventId::parse("2950").unwrap();
    store.erase_event(&Topic::parse("t").unwrap(), &id).await.unwrap();
    server.query(&database, "update sekali.identities set received_on = received_on - 40").unwrap();
    assert_eq!(store.forget(50, 1).await, Ok(Step { events: 0, has_more: false }));
    assert_eq!(store.forget(30, 1).await, Ok(Step { events: 2048, has_more: true }));
    let passed = "select forgotten_through from sekali.upkeep";
    assert_eq!(server.query(&database, passed).unwrap(), "2048");
    assert_eq!(store.forget(30, 1).await, Ok(Step { events: 853, has_more: false }));
    assert_eq!(store.ledger(&[]).await.unwrap().forgotten, 2901);
    assert_eq!(append(&store, &[event("2950"), event("0"), event("2999")]).await[2], (3000, Duplicate));
}

#[tokio::test]
async fn a_host_whose_clock_is_wrong_keeps_what_is_to_be_kept() {
    let (server, database, one) = fresh();
    let other = open(&server.url(&database));
    append(&one, &(0..5000).map(|n| event(n.to_string())).collect::<Vec<_>>()).await;
    let minute = Duration::from_secs(60);
    assert_eq!((one.claim(minute).await, other.claim(minute).await), (Ok(true), Ok(false)));
    // Even if two believe to be at work, none of them takes what is to stay.
    for _ in 0..10 {
        let steps = futures::join!(one.expire(keep(1000), 1), other.expire(keep(1000), 1));
        assert!(steps.0.is_ok() && steps.1.is_ok(), "{steps:?}");
    }
    assert_eq!((readable_events(&one).await, seqs(&other).await.len()), (1000, 1000));
}

#[tokio::test]
async fn moments_come_back_as_they_were_sent() {
    let (_, _, store) = fresh();
    let moments = [
        "0000-01-01T00:00:00Z",
        "0000-12-31T23:59:59.5Z",
        "0001-01-01T00:00:00Z",
        "1582-10-10T00:00:00Z",
        "1969-12-31T23:59:59.999999999Z",
        "2016-12-31T23:59:60Z",
        "2016-12-31T23:59:60.25Z",
        "2026-11-21T01:00:00.120034Z",
        "2026-11-21T01:00:10Z",
        "9999-12-31T23:59:59.999999999Z",
    ];
    let of = |moment: &str| NewEvent { timestamp: Some(Timestamp::parse(moment).unwrap()), ..event(moment) };
    append(&store, &moments.map(of)).await;
    let events = read_in(&store, &Filter::default(), Order::Ascending).await;
    assert_eq!(events.iter().map(|event| event["timestamp"].as_str().unwrap()).collect::<Vec<_>>(), moments);
    for (n, moment) in moments.iter().enumerate() {
        let moment = Some(Timestamp::parse(moment).unwrap());
        let since = Filter { since: moment.clone(), ..Filter::default() };
        let until = Filter { until: moment, ..Filter::default() };
        let count = async |filter| read_in(&store, &filter, Order::Ascending).await.len();
        assert_eq!((count(since).await, count(until).await), (moments.len() - n, n));
    }
}

#[tokio::test]
async fn a_partition_that_cannot_be_attached_now_stops_nobody_while_there_is_room() {
    let (server, database, store) = fresh();
    append(&store, &[event("a")]).await;
    // Small partitions, of which the next is due.
    let reserve = "insert into sekali.identities (seq, topic, event_id, received_on, erased)
                   values (786431, '', 'near the end', current_date, true)";
    server.query(&database, reserve).unwrap();
    let analyze = Remote { url: server.url(&database) }.open().await.unwrap();
    // What an ANALYZE holds.
    analyze.batch_execute("begin; lock table sekali.events in share update exclusive mode").await.unwrap();
    let began = std::time::Instant::now();
    for n in 0..20 {
        assert_eq!(append(&store, &[event(format!("during {n}"))]).await[0].1, Stored);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "it is tried once: {:?}", began.elapsed());
    analyze.batch_execute("commit").await.unwrap();
    server.query(&database, "update sekali.upkeep set room_retry = 0").unwrap();
    append(&store, &[event("after")]).await;
    assert_eq!(server.query(&database, "select count(*) from sekali.partitions").unwrap(), "2");
}

#[tokio::test]
async fn transactions_that_are_not_read_committed_are_refused_by_name() {
    let (server, database, _) = fresh();
    let set = format!("alter database {database} set default_transaction_isolation = 'repeatable read'");
    server.query("postgres", &set).unwrap();
    let refused = open(&server.url(&database)).append(&[&event("a")], &[]).await;
    assert!(
        matches!(&refused, Err(StoreError::Failed(cause)) if cause.contains("default_transaction_isolation")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn hosts_that_wait_for_a_schema_hold_no_connection() {
    let (server, database, _) = fresh();
    let other = Remote { url: server.url(&database) }.open().await.unwrap();
    other.batch_execute("begin; select pg_advisory_xact_lock(126879430437993)").await.unwrap();
    let stores: Vec<_> = (0..10).map(|_| open(&server.url(&database))).collect();
    let began = std::time::Instant::now();
    let results = join_all(stores.iter().map(|store| store.readable())).await;
    let waited = [Err(StoreError::Busy), Err(StoreError::Overloaded)];
    assert!(results.iter().all(|result| waited.contains(result)), "{results:?}");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let waiting = format!(
        "select count(*) from pg_stat_activity where datname = '{database}' and wait_event_type = 'Lock'"
    );
    let waiting: u32 = server.query("postgres", &waiting).unwrap().parse().unwrap();
    assert!(waiting <= 1, "{waiting}");
    other.batch_execute("commit").await.unwrap();
    assert!(stores[0].readable().await.is_ok());
}

/// Fills a database as version 0.2 has done.
fn fill_as_0_2(server: &Postgres, database: &str) {
    let mut psql = server.psql(database).unwrap();
    let fixture =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres/fixtures/schema_25.sql");
    assert!(psql.arg("--file").arg(fixture).output().unwrap().status.success());
}

#[tokio::test]
async fn a_database_of_version_0_2_is_brought_up_to_date_with_its_events_its_books_and_its_keys() {
    let (server, database, store) = fresh();
    fill_as_0_2(server, &database);
    let others: Vec<_> = (0..4).map(|_| open(&server.url(&database))).collect();
    let spans = join_all(others.iter().map(|store| store.readable())).await;
    assert!(spans.iter().all(|span| *span == Ok(Span { after: 0, through: 5 })), "{spans:?}");

    let ledger = store.ledger(&[]).await.unwrap();
    let totals = [ledger.unique_processed, ledger.duplicate_dropped, ledger.conflicts, ledger.erased];
    assert_eq!((totals, ledger.last_seq, ledger.topics_total), ([5, 2, 1, 1], 5, 2));
    let events = read_in(&store, &Filter::default(), Order::Ascending).await;
    let field = |name: &str| events.iter().map(|event| event[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("event_id"), ["a-1", "a-2", "bank#1", "a-3"]);
    assert_eq!(
        field("timestamp"),
        [
            "2026-11-21T01:00:00Z",
            "2026-11-21T01:00:01.5Z",
            "2016-12-31T23:59:60.25Z",
            "0000-02-29T00:00:00.000000001Z"
        ]
    );
    assert_eq!(
        (field("deliveries"), field("conflicts")),
        (vec![3.into(), 1.into(), 1.into(), 1.into()], vec![1.into(), 0.into(), 0.into(), 0.into()])
    );
    assert_eq!(events[0]["received_at"], "2026-11-28T22:18:55.386Z");
    assert_eq!(events[2]["attributes"]["subject"], "s");
    let of_shop = Filter { sources: vec![Source::parse("shop").unwrap()], ..Filter::default() };
    assert_eq!(read_in(&store, &of_shop, Order::Descending).await.len(), 2);

    let moved = 1 << 32; // a dump is a copy
    let again = [
        event_with("orders", "a-1", r#"{ "n": 1 }"#),
        event_with("orders", "a-2", "2"),
        event_with("orders", "gone", "2"),
        event_with("orders", "a-4", "1"),
    ];
    let outcomes = append(&store, &again).await;
    assert_eq!(outcomes[..3], [(1, Duplicate), (2, Conflict), (5, Duplicate)]);
    assert!([6, moved + 6].contains(&outcomes[3].0), "{outcomes:?}");
    server.query(&database, "update sekali.answers set answered_at = now()").unwrap();
    let kept = store.answered("k").await.unwrap().unwrap().outcomes;
    assert_eq!(kept.iter().map(|it| (it.seq, it.status)).collect::<Vec<_>>(), [(4, Stored), (1, Conflict)]);
    let left = "select count(*) from pg_namespace where nspname = 'sekali_0_2'";
    assert_eq!(server.query(&database, left).unwrap(), "0");
}

/// All that a schema consists of, a line each.
fn schema_of(server: &Postgres, database: &str) -> String {
    let parts = "
        select concat_ws(' ', 'table', relname, relkind, reloptions) from pg_class
        where relnamespace = 'sekali'::regnamespace
        union all
        select concat_ws(' ', 'column', attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod),
            attcollation::regcollation, attnotnull, pg_get_expr(adbin, adrelid))
        from pg_attribute join pg_class on pg_class.oid = attrelid and relnamespace = 'sekali'::regnamespace
        left join pg_attrdef on adrelid = attrelid and adnum = attnum where attnum > 0
        union all
        select 'index ' || indexdef from pg_indexes where schemaname = 'sekali'
        union all
        select concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
        from pg_constraint where connamespace = 'sekali'::regnamespace
        union all
        select 'function ' || pg_get_functiondef(oid) from pg_proc where pronamespace = 'sekali'::regnamespace
        order by 1";
    server.query(database, parts).unwrap()
}

#[tokio::test]
async fn a_database_of_version_0_2_gets_the_schema_of_a_new_one_and_what_was_gone_stays_gone() {
    let (server, database, store) = fresh();
    fill_as_0_2(server, &database);
    server.query(&database, "select sekali.expire(2); select sekali.forget('2027-01-01', 1)").unwrap();
    let ledger = store.ledger(&[]).await.unwrap();
    let counted =
        [ledger.unique_processed, ledger.duplicate_dropped, ledger.expired, ledger.erased, ledger.forgotten];
    assert_eq!((counted, ledger.first_seq), ([5, 2, 2, 1, 1], 3));
    assert_eq!(seqs(&store).await, [3, 4]);
    let again = ["a-1", "a-2", "gone"].map(|id| event_with("orders", id, "9"));
    let outcomes = append(&store, &again).await;
    assert_eq!((outcomes[0].1, &outcomes[1..]), (Stored, &[(2, Duplicate), (5, Duplicate)][..]));

    let (_, new, new_store) = fresh();
    append(&new_store, &[event("a")]).await; // makes the partition that the other one has
    let (upgraded, new) = (schema_of(server, &database), schema_of(server, &new));
    assert!(
        new.contains("table events_0 r ")
            && new.contains("function CREATE OR REPLACE FUNCTION sekali.append(")
    );
    assert!(upgraded == new, "{upgraded}\n\nand not\n\n{new}");
}

#[tokio::test]
async fn consumers_changes_are_whole() {
    let (_server, _name, store) = fresh();
    consume_tests::changes_are_whole(&store).await;
}

#[tokio::test]
async fn consumers_failures_are_found() {
    let (_server, _name, store) = fresh();
    consume_tests::failures_are_found(&store).await;
}

#[tokio::test]
async fn consumers_what_is_erased_is_told() {
    let (_server, _name, store) = fresh();
    consume_tests::what_is_erased_is_told(&store).await;
}
