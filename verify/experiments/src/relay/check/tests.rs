//! Each rule tells what breaks it.

use std::time::Duration;

use serde_json::json;

use super::*;

/// An arrival of an event of `scene`, which is well but for its fate.
fn arrival(seq: u64, fate: Fate) -> Arrival {
    let stored = &scene_of(vec![]).stored[&seq];
    Arrival {
        id: format!("evt_{seq}"),
        topic: stored.topic.clone(),
        body: stored.payload.to_string(),
        is_signed: true,
        at: Duration::ZERO,
        fate,
    }
}

/// Four events, of which the second is poisoned and has died, which is the fifth; the sixth is in another topic.
fn scene_of(arrivals: Vec<Arrival>) -> Evidence {
    let ids = [(1, "a", "t"), (2, "b-poisoned", "t"), (3, "c", "t"), (4, "d", "u"), (6, "e", "u")];
    let payload = |id| json!({"id": id});
    let events = ids
        .map(|(seq, id, topic)| (seq, Stored { topic: topic.into(), id: id.into(), payload: payload(id) }));
    let sent = ids.map(|(_, id, topic)| {
        (id.to_owned(), Sent { topic: topic.into(), payload: payload(id), acknowledged: 1 })
    });
    let mut stored = BTreeMap::from(events);
    stored.insert(5, Stored { topic: dead_topic(), id: "1-2".into(), payload: json!({"seq": 2}) });
    let failure =
        json!({"seq": 2, "event_id": "b-poisoned", "state": "dead", "attempts": 2, "reason": "400"});
    let consumer = json!({
        "name": NAME, "specification": {}, "position": 6, "settled": 6, "lag": 0, "behind_seconds": 0, "parked": 0,
        "waiting": 0, "dead": 1, "delivered": 4, "redelivered": 0, "claims": [], "blocked": false,
    });
    Evidence {
        sent: BTreeMap::from(sent),
        stored,
        failed: vec![serde_json::from_value(failure).unwrap()],
        parked: BTreeMap::from([(2, "400".into())]),
        consumer: serde_json::from_value(consumer).unwrap(),
        arrivals,
    }
}

/// A round in which all went well: the last event was taken twice, and its first answer was lost.
fn scene() -> Evidence {
    use Fate::{Dropped, Refused, Taken, TakenInSilence};
    let arrivals = [
        (1, Refused(500)),
        (1, Taken),
        (2, Refused(400)),
        (4, Taken),
        (2, Dropped),
        (2, Refused(400)),
        (3, Taken),
        (6, TakenInSilence),
        (1, Dropped),
        (6, Taken),
    ];
    scene_of(arrivals.map(|(seq, fate)| arrival(seq, fate)).into())
}

/// A change breaks a promise, which names a seq, or an id.
#[track_caller]
fn breaks(expected: &str, change: impl Fn(&mut Evidence)) {
    let mut evidence = scene();
    change(&mut evidence);
    let broken = check(&evidence);
    assert!(broken.iter().any(|broken| broken.contains(expected)), "{broken:?}");
}

#[test]
fn what_went_well_breaks_no_promise() {
    assert_eq!(check(&scene()), [""; 0]);
}

#[test]
fn what_is_lost_or_strange_is_named() {
    breaks("d was acknowledged, and is not stored", |evidence| _ = evidence.stored.remove(&4));
    breaks("a is stored twice: seq 1 and seq 4", |evidence| {
        let first = evidence.stored[&1].clone();
        evidence.stored.insert(4, first);
    });
    breaks("seq 3 is Stored", |evidence| _ = evidence.sent.remove("c"));
    breaks("seq 4, d, never arrived", |evidence| _ = evidence.arrivals.remove(3));
    breaks("seq 4, d, never arrived", |evidence| evidence.arrivals[3].fate = Fate::Refused(500));
}

#[test]
fn copies_that_differ_are_named() {
    breaks("no event has the webhook-id", |evidence| evidence.arrivals[3].id = "evt_7".into());
    breaks("seq 1 is Stored", |evidence| evidence.arrivals[3].id = "evt_1".into());
    breaks("seq 6 arrived as", |evidence| evidence.arrivals[9].body = r#"{"id" : "e"}"#.into());
    breaks("seq 6 is not signed", |evidence| evidence.arrivals[9].is_signed = false);
}

#[test]
fn what_passes_another_of_its_topic_is_named() {
    breaks("t: seq 2 came behind seq 3", |evidence| evidence.arrivals.swap(5, 6));
    breaks("u: seq 4 came behind seq 6", |evidence| evidence.arrivals.swap(3, 7));
    // A copy may come at any time.
    let mut evidence = scene();
    evidence.arrivals.push(arrival(1, Fate::Taken));
    assert_eq!(check(&evidence), [""; 0]);
}

#[test]
fn attempts_and_deaths_that_should_not_be_are_named() {
    breaks("seq 2 has failed", |evidence| evidence.failed[0].attempts = 3);
    breaks("seq 1 has failed", |evidence| evidence.failed[0].seq = 1);
    breaks("seq 2 is poisoned, arrived 3 times, and has not", |evidence| evidence.failed.clear());
    breaks("seq 3 waited", |evidence| _ = evidence.parked.insert(3, "500".into()));
    breaks("the death of seq 2 is told 0 times", |evidence| _ = evidence.stored.remove(&5));
    breaks("the death of seq 2 is told 2 times", |evidence| {
        let death = evidence.stored[&5].clone();
        evidence.stored.insert(7, death);
        (evidence.consumer.position, evidence.consumer.settled) = (7, 7);
    });
    breaks("seq 5 tells the death of another", |evidence| {
        evidence.stored.get_mut(&5).unwrap().payload = json!({"seq": 3});
    });
}

#[test]
fn a_consumer_that_is_not_at_the_end_is_named() {
    breaks("Some(6)", |evidence| evidence.consumer.position = 5);
    breaks("Some(6)", |evidence| evidence.consumer.lag = 1);
}
