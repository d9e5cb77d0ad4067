//! What the places of consumers promise, on any database.

use super::consume::{Change, Failure, FailureState, Which};
use super::{Seq, Span, Store};
use crate::event::TopicPattern;
use crate::testing::{event, event_with};

use FailureState::{Dead, Parked, Waiting};

fn failure(seq: Seq, lane: &str, state: FailureState, due_at: i64) -> Failure {
    Failure {
        seq,
        lane: lane.into(),
        topic: lane.into(),
        event_id: format!("{seq} \"ü\\"),
        state,
        attempts: 3,
        due_at,
        reason: "500 \"Oh\"\n\u{1}".into(),
        first_failed_at: 7,
        last_failed_at: 8,
    }
}

async fn seqs(store: &impl Store, which: Which<'_>) -> Vec<Seq> {
    let found = store.failures("c", which, 100).await.unwrap();
    found.into_iter().map(|failure| failure.seq).collect()
}

/// A change is done once, by whoever saw the present version, with all that belongs to it.
pub async fn changes_are_whole(store: &impl Store) {
    let (none, now) = store.consumer("c").await.unwrap();
    assert!(none.is_none() && now > 1_790_000_000_000, "{now}");
    assert!(store.create_consumer("c", "{}", 2).await.unwrap());
    assert!(!store.create_consumer("c", "other", 2).await.unwrap(), "it is there");
    assert!(store.create_consumer("b", "{}", 2).await.unwrap());
    assert!(!store.create_consumer("d", "{}", 2).await.unwrap(), "there are two");

    let stored = store.consumer("c").await.unwrap().0.unwrap();
    let dead = vec![event_with("dead.c", "1-2", "{\"seq\":2}"), event_with("dead.c", "1-3", "{}")];
    let kept = vec![failure(1, "a", Parked, 50), failure(2, "b", Dead, 0), failure(3, "a", Waiting, 0)];
    let version = stored.version;
    let change = Change { version, state: "{\"x\":1}".into(), kept, dead, ..Change::default() };
    assert!(store.change_consumer("c", &change).await.unwrap().is_some());
    for name in ["c", "none"] {
        assert!(store.change_consumer(name, &change).await.unwrap().is_none(), "another was faster");
    }
    let ledger = store.ledger(&[TopicPattern::parse("dead.c").unwrap()]).await.unwrap();
    assert_eq!((ledger.unique_processed, ledger.duplicate_dropped), (2, 0));
    let changed = store.consumer("c").await.unwrap().0.unwrap();
    assert_eq!((changed.state.as_str(), changed.version != version), ("{\"x\":1}", true));
    assert_eq!(store.failures("c", Which::Of(&[2]), 9).await.unwrap(), change.kept[1..2]);

    let again = Change {
        version: changed.version,
        removed: vec![1],
        kept: vec![failure(2, "b", Parked, 60)],
        is_claim: true,
        ..change
    };
    assert!(store.change_consumer("c", &again).await.unwrap().is_some());
    let ledger = store.ledger(&[]).await.unwrap();
    assert_eq!((ledger.unique_processed, ledger.duplicate_dropped), (2, 2), "each is stored once");
    assert_eq!(seqs(store, Which::Behind(0)).await, [2, 3]);
    let version = store.consumer("c").await.unwrap().0.unwrap().version;
    let cleared = Change { version, clears: true, ..Change::default() };
    assert!(store.change_consumer("c", &cleared).await.unwrap().is_some());
    assert_eq!(seqs(store, Which::Behind(0)).await, [0; 0]);

    let names = store.consumers().await.unwrap().0.into_iter().map(|stored| stored.name);
    assert_eq!(names.collect::<Vec<_>>(), ["b", "c"]);
    let version = store.consumer("c").await.unwrap().0.unwrap().version;
    let kept = Change { version, kept: again.kept, ..Change::default() };
    assert!(store.change_consumer("c", &kept).await.unwrap().is_some());
    assert!(store.delete_consumer("c").await.unwrap() && !store.delete_consumer("c").await.unwrap());
    assert!(store.create_consumer("c", "{}", 2).await.unwrap());
    assert_eq!(seqs(store, Which::Behind(0)).await, [0; 0], "nothing of it is left");
}

/// Failures are found by what a step asks for.
pub async fn failures_are_found(store: &impl Store) {
    assert!(store.create_consumer("c", "{}", 9).await.unwrap());
    let kept = vec![
        failure(1, "a", Parked, 90),
        failure(2, "b", Parked, 30),
        failure(3, "a", Waiting, 0),
        failure(4, "b", Waiting, 0),
        failure(5, "a", Waiting, 0),
        failure(6, "c", Dead, 0),
        failure(7, "d", Parked, 60),
    ];
    let version = store.consumer("c").await.unwrap().0.unwrap().version;
    let change = Change { version, kept, state: "{}".into(), ..Change::default() };
    assert!(store.change_consumer("c", &change).await.unwrap().is_some());
    let lanes = ["a".to_owned(), "b".to_owned()];
    for (which, expected) in [
        (Which::Heads { but: &[] }, &[2, 7, 1][..]),
        (Which::Heads { but: &[7] }, &[2, 1]),
        (Which::Lanes(&lanes), &[1, 2, 3, 4, 5]),
        (Which::Lanes(&lanes[..1]), &[1, 3, 5]),
        (Which::Lowest { lanes: &lanes, but: &[] }, &[1, 2]),
        (Which::Lowest { lanes: &lanes, but: &[1, 3] }, &[2, 5]),
        (Which::Of(&[5, 9, 2]), &[2, 5]),
        (Which::Of(&[]), &[]),
        (Which::Held(5), &[7]),
        (Which::Behind(5), &[6, 7]),
        (Which::State(Parked, 1), &[2, 7]),
        (Which::State(Waiting, 3), &[4, 5]),
        (Which::State(Dead, 0), &[6]),
    ] {
        assert_eq!(seqs(store, which).await, expected, "{which:?}");
    }
    let told = store.failures("c", Which::Behind(0), 9).await.unwrap();
    assert_eq!(told, change.kept, "what has become of each follows from its lane");
    assert_eq!(store.lanes("c").await.unwrap(), 3);
    assert_eq!(store.failures("c", Which::Behind(0), 2).await.unwrap().len(), 2);
    assert!(store.failures("none", Which::Behind(0), 2).await.unwrap().is_empty());
}

/// What was erased is counted by topic, and an event is found by its seq until then.
pub async fn what_is_erased_is_told(store: &impl Store) {
    let events: Vec<_> =
        (1..=4).map(|id| event(id.to_string())).chain([event_with("p.a", "5", "{}")]).collect();
    store.append(&events.iter().collect::<Vec<_>>(), &[]).await.unwrap();
    let found = store.events_of(&[5, 1, 2]).await.unwrap();
    assert!(
        found.len() == 3 && found[0].starts_with("{\"seq\":1,") && found[2].contains("\"p.a\""),
        "{found:?}"
    );
    for event in [&events[1], &events[4]] {
        store.erase_event(&event.topic, &event.event_id).await.unwrap();
    }
    assert_eq!(store.events_of(&[1, 2, 5]).await.unwrap(), found[..1]);
    assert!(store.events_of(&[]).await.unwrap().is_empty());
    let erased = async |topics: &[&str], through| {
        let topics: Vec<_> = topics.iter().map(|topic| TopicPattern::parse(*topic).unwrap()).collect();
        store.erased(&topics, Span { after: 0, through }).await.unwrap()
    };
    assert_eq!([erased(&[], 5).await, erased(&[], 4).await, erased(&["p.*"], 5).await], [2, 1, 1]);
    assert_eq!([erased(&["t"], 5).await, erased(&["t", "q.*"], 1).await], [1, 0]);
}
