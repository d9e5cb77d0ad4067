//! A history that keeps all rules, and many that each break one.

mod scene;

use sekali_model::Stored;
use serde_json::{Value, json};

use self::scene::{Scene, end, scene};
use super::check;
use crate::history::record::{Answer, Claimed, End, Erasure, History, NEVER, Outcome, Selection, Span, Turn};
use crate::requests::identities::topic_number;

#[test]
fn a_history_that_keeps_the_rules_passes() {
    let (scene, end) = scene();
    assert_eq!(check(&scene.history, &end), Vec::<String>::new());
}

/// Changes the body of an answered publish.
fn body(history: &mut History, number: usize, change: impl FnOnce(&mut Value)) {
    let Outcome::Answered(answer) = &mut history.publishes[number].outcome else {
        panic!("it has no answer")
    };
    let mut body = serde_json::from_str(&answer.body).unwrap();
    change(&mut body);
    answer.body = body.to_string();
}

fn answer_of(history: &mut History, number: usize) -> &mut Answer {
    match &mut history.publishes[number].outcome {
        Outcome::Answered(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn stored(end: &mut End, identity: usize) -> &mut Stored {
    end.read.stored.get_mut(&identity).unwrap()
}

type Break = fn(&mut History, &mut End);

/// Each rule, and ways to break it.
const BREAKS: &[(&str, Break)] = &[
    ("unexpected answer", |history, _| history.faults.push("GET /events -> 500".into())),
    ("an event is stored by one delivery", |history, _| {
        let first = answer_of(history, 0).clone();
        history.publishes[1].request = history.publishes[0].request.clone();
        *answer_of(history, 1) = first;
    }),
    ("an event is stored by one delivery", |history, _| {
        body(history, 3, |body| {
            body["stored"] = 1.into();
            body["duplicates"] = 1.into();
            body["duplicate_ids"] = json!([body["processed"][1]]);
            body["processed"] = json!([body["processed"][0]]);
            body["results"][1]["status"] = "duplicate".into();
        });
    }),
    ("an event is stored by its first delivery", |history, _| {
        history.publishes[0].span = Span { began: 90, ended: 91 };
    }),
    ("an event is stored by its first delivery", |history, _| {
        history.publishes[1].span = Span { began: 0, ended: 1 };
        history.publishes[0].span.began = 2;
    }),
    ("answers agree with what is stored", |history, _| {
        body(history, 3, |body| body["results"][1]["seq"] = 9.into())
    }),
    ("answers agree with what is stored", |_, end| stored(end, 0).payload = 2),
    ("answers agree with what is stored", |history, _| history.publishes[1].request.events[0].payload = 2),
    ("conflicts are counted", |history, _| body(history, 2, |body| body["conflicts"] = 0.into())),
    ("a request is carried out as a whole", |_, end| _ = end.read.stored.remove(&5)),
    ("reads show the events of their selection", |history, _| _ = history.reads[1].events.remove(2)),
    ("reads show the events of their selection", |history, _| _ = history.reads[1].events.pop()),
    ("reads show the events of their selection", |history, _| _ = history.reads[2].events.remove(0)),
    ("reads show the events of their selection", |history, _| history.reads[1].events.swap(1, 2)),
    ("reads show the events of their selection", |history, _| {
        let event = history.reads[2].events[1];
        history.reads[2].events.insert(1, event);
    }),
    ("reads show the events of their selection", |history, _| history.reads[1].selection.topics = vec![1]),
    ("reads show the events of their selection", |history, _| history.reads[1].events[0].1.payload = 2),
    ("reads show the counts of their time", |history, _| history.reads[0].events[0].1.deliveries -= 1),
    ("reads show the counts of their time", |history, _| history.reads[0].events[0].1.deliveries += 1),
    ("reads show the counts of their time", |history, _| history.reads[1].events[0].1.conflicts = 0),
    ("reads show the counts of their time", |history, _| {
        // An event that nobody had sent yet.
        history.reads[0].span = Span { began: 0, ended: 1 };
    }),
    ("reads show the counts of their time", |history, _| {
        let events = history.reads[0].events.clone();
        history.claims.push(Claimed { span: Span { began: 0, ended: 1 }, events });
    }),
    ("live streams show each event once", |history, _| _ = history.follows[0].events.remove(3)),
    ("live streams show each event once", |history, _| _ = history.follows[0].events.pop()),
    ("live streams show each event once", |history, _| _ = history.follows[1].events.remove(0)),
    ("live streams show each event once", |history, _| history.follows[1].events.clear()),
    ("live streams show each event once", |history, _| {
        let event = history.follows[0].events[3];
        history.follows[0].events.insert(3, event);
    }),
    ("live streams show each event once", |history, _| {
        history.follows[1].events = history.follows[0].events.clone();
    }),
    ("/stats balances", |history, _| history.snapshots[1].stats.total.received += 1),
    ("/stats balances", |history, _| history.snapshots[1].stats.total.conflicts += 1),
    ("/stats counts each delivery", |history, _| {
        let stats = &mut history.snapshots[1].stats;
        for account in [&mut stats.total, &mut stats.by_topic[0].account] {
            account.received += 1;
            account.duplicate_dropped += 1;
        }
    }),
    ("/stats counts each delivery", |history, _| {
        let snapshots = &mut history.snapshots;
        snapshots[2].stats = snapshots[0].stats.clone();
    }),
    ("/stats is one moment", |history, _| history.snapshots[2].stats.last_seq -= 1),
    ("/stats never shrinks", |history, _| {
        let snapshots = &mut history.snapshots;
        let first = snapshots[0].span;
        snapshots[0].span = snapshots[1].span;
        snapshots[1].span = first;
    }),
    ("/stats is the sum of its events", |_, end| end.stats.by_topic[0].account.conflicts += 1),
    ("a replayed answer belongs to its request", |history, _| {
        // A CloudEvent with the same data and other headers, which is lost.
        history.publishes[6].request.headers.push(("ce-id", "other".into()));
    }),
    ("a replayed answer belongs to its request", |history, _| answer_of(history, 6).body.push(' ')),
    ("a request is answered in time", |history, _| {
        history.publishes[4].outcome = Outcome::Late("30 s".into());
    }),
    ("a key is carried out once", |history, _| answer_of(history, 6).is_replayed = false),
    ("a key is carried out once", |history, _| {
        // At the same moment, by two hosts.
        answer_of(history, 6).is_replayed = false;
        history.publishes[6].span = history.publishes[5].span;
    }),
    ("each event counts its deliveries", |history, end| {
        // A request was carried out, and its answer was lost; then it was carried out again under its key.
        let mut lost = history.publishes[5].clone();
        lost.outcome = Outcome::Lost("killed".into());
        lost.span = Span { began: lost.span.began - 1, ended: NEVER };
        history.publishes.push(lost);
        stored(end, 3).deliveries += 1;
    }),
    ("a request is refused for a reason", |history, _| {
        history.publishes[7].request = history.publishes[5].request.clone();
    }),
    ("a request is refused for a reason", |history, _| answer_of(history, 7).status = 409),
    ("a request is refused for a reason", |history, _| history.publishes[9].request.invalid = 0),
    ("a request is refused for a reason", |history, _| answer_of(history, 9).status = 500),
    ("a request is refused for a reason", |history, _| {
        // For the moment, and it does not say for how long.
        answer_of(history, 9).status = 503;
    }),
    ("answers account for each event", |history, _| {
        body(history, 8, |body| body["total_received"] = 2.into())
    }),
    ("answers account for each event", |history, _| body(history, 8, |body| body["rejected"] = 0.into())),
    ("answers account for each event", |history, _| {
        body(history, 1, |body| body["duplicate_ids"] = json!([]))
    }),
    ("answers account for each event", |history, _| {
        body(history, 8, |body| body["processed"] = json!(["another"]));
    }),
    ("answers account for each event", |history, _| {
        body(history, 3, |body| body["results"][0]["event_id"] = "another".into());
    }),
    ("answers account for each event", |history, _| {
        body(history, 2, |body| body["processed"] = json!([]));
    }),
    ("answers account for each event", |history, _| answer_of(history, 8).status = 200),
    ("each event that was answered is stored", |_, end| _ = end.read.stored.remove(&1)),
    ("an acknowledged event is stored", |_, end| _ = end.read.stored.remove(&1)),
    ("an acknowledged event is stored", |history, _| {
        // A CloudEvent with the same data and another id, which got the answer of the first.
        history.publishes[6].request.events[0].identity = 9;
    }),
    ("an event is stored by its first delivery", |history, _| {
        // One that was acknowledged by the answer of another request, and stored when it came again.
        history.publishes[6].request.events[0].identity = 7;
    }),
    ("each event counts its deliveries", |_, end| stored(end, 1).deliveries += 1),
    ("each event counts its deliveries", |_, end| stored(end, 0).conflicts = 0),
    ("each event has the seq that was answered", |_, end| stored(end, 1).seq = 20),
    ("no event is stored behind an acknowledged one", |_, end| {
        let (first, last) = (stored(end, 1).seq, stored(end, 7).seq);
        stored(end, 1).seq = last;
        stored(end, 7).seq = first;
    }),
];

#[test]
fn each_broken_rule_is_found() {
    for (number, (name, broken)) in BREAKS.iter().enumerate() {
        let (mut scene, mut end) = scene();
        broken(&mut scene.history, &mut end);
        let found = check(&scene.history, &end);
        assert!(found.iter().any(|found| found.starts_with(name)), "{number} {name}: found {found:#?}");
    }
}

#[test]
fn each_fault_of_the_events_at_the_end_is_found() {
    type Break = fn(&mut Vec<Value>);
    let breaks: [(&str, Break); 6] = [
        ("each event is read once", |lines| lines.push(lines[1].clone())),
        ("events are read in the order of seq", |lines| lines.swap(0, 1)),
        ("only events that were sent are read", |lines| lines[1]["event_id"] = "another".into()),
        ("each event has the fields that were sent", |lines| lines[1]["payload"] = json!({"shared": false})),
        ("each event has the fields that were sent", |lines| {
            lines[1]["timestamp"] = "2027-01-01T00:00:00Z".into()
        }),
        ("each event has the fields that were sent", |lines| lines[1]["source"] = Value::Null),
    ];
    for (name, broken) in breaks {
        let (scene, _) = scene();
        let mut lines = scene.lines();
        broken(&mut lines);
        let found = check(&scene.history, &end(&lines, scene.stats()));
        assert!(found.iter().any(|found| found.starts_with(name)), "{name}: found {found:#?}");
    }
}

#[test]
fn unknown_outcomes_explain_what_is_missing_and_what_is_there() {
    let (mut scene, end) = scene();
    // The lost request 4 as one that was not carried out.
    scene.stored.retain(|(identity, _)| ![4, 5].contains(identity));
    let absent =
        |events: &mut Vec<(u64, usize, Stored)>| events.retain(|(_, identity, _)| ![4, 5].contains(identity));
    scene.history.follows.iter_mut().for_each(|follow| absent(&mut follow.events));
    for read in &mut scene.history.reads {
        read.events.retain(|(identity, _)| ![4, 5].contains(identity));
    }
    let mut stats = scene.stats();
    stats["last_seq"] = end.stats.last_seq.into();
    scene.history.snapshots.pop();
    assert_eq!(check(&scene.history, &scene::end(&scene.lines(), stats)), Vec::<String>::new());
}

#[test]
fn an_answer_that_was_lost_is_known_once_it_is_replayed() {
    let (mut scene, end) = scene();
    let first = &mut scene.history.publishes[5];
    first.outcome = Outcome::Lost("killed".into());
    first.span.ended = NEVER;
    assert_eq!(check(&scene.history, &end), Vec::<String>::new());
    // Another replay with another body belongs to no request.
    let mut other = scene.history.publishes[6].clone();
    other.span = scene.span();
    scene.history.publishes.push(other);
    let last = scene.history.publishes.len() - 1;
    answer_of(&mut scene.history, last).body.push(' ');
    let found = check(&scene.history, &end);
    assert!(found.iter().any(|found| found.starts_with("a replayed answer belongs")), "{found:#?}");
}

/// The scene, at whose end the event of identity 1 is gone: the second of seven.
fn scene_without_one(gone: &str) -> (Scene, End) {
    let (mut scene, _) = scene();
    let mut stats = scene.stats();
    let (last_seq, topic) = (stats["last_seq"].clone(), topic_number(1));
    scene.stored.retain(|(identity, _)| *identity != 1);
    for account in [topic, usize::MAX] {
        let account = match account {
            usize::MAX => &mut stats,
            topic => &mut stats["by_topic"][topic],
        };
        account[gone] = 1.into();
    }
    stats["last_seq"] = last_seq;
    let end = end(&scene.lines(), stats);
    (scene, end)
}

/// A request that erases it.
fn erase_one(scene: &mut Scene) {
    let selection = Selection { identity: Some(1), ..Selection::default() };
    let erasure = Erasure { span: scene.span(), selection, is_whole: true };
    scene.history.erasures.push(erasure);
}

#[test]
fn an_event_may_go_if_it_is_erased_and_nothing_of_it_comes_back() {
    let (mut scene, end) = scene_without_one("erased");
    assert_ne!(check(&scene.history, &end), Vec::<String>::new());
    erase_one(&mut scene);
    assert_eq!(check(&scene.history, &end), Vec::<String>::new());
    let breaks: [(&str, Break); 7] = [
        ("an acknowledged event is stored", |history, _| history.erasures.clear()),
        ("each event that was answered is stored", |history, _| {
            history.erasures[0].selection.identity = Some(3)
        }),
        ("reads show the events of their selection", |history, _| _ = history.reads[1].events.remove(1)),
        ("what is gone is known", |history, _| history.strangers.push((LATE, 1))),
        ("what was erased is nowhere", |_, end| _ = end.payloads.insert(1)),
        ("what is gone is not read", |history, _| {
            let mut read = history.reads[2].clone();
            read.span = LATE;
            history.reads.push(read);
        }),
        ("what is gone is not read", |history, _| {
            let events = history.reads[2].events.clone();
            history.claims.push(Claimed { span: LATE, events });
        }),
    ];
    for (name, broken) in breaks {
        let (mut scene, mut end) = scene_without_one("erased");
        erase_one(&mut scene);
        broken(&mut scene.history, &mut end);
        let found = check(&scene.history, &end);
        assert!(found.iter().any(|found| found.starts_with(name)), "{name}: found {found:#?}");
    }
}

#[test]
fn an_event_may_go_if_as_many_newer_ones_as_are_kept_were_stored() {
    let (mut scene, end) = scene_without_one("expired");
    for kept in 1..8 {
        scene.history.kept = Some(kept);
        let found = check(&scene.history, &end);
        assert_eq!(found.is_empty(), kept <= 5, "{kept}: {found:#?}");
    }
}

/// After everything else.
const LATE: Span = Span { began: 1_000, ended: 1_001 };

#[test]
fn an_event_may_go_if_it_became_too_old_and_must_if_it_was_known_before() {
    let (mut scene, end) = scene_without_one("expired");
    scene.history.turn = Turn::Aged(Span { began: 1, ended: LATE.began });
    assert_eq!(check(&scene.history, &end), Vec::<String>::new());
    scene.history.turn = Turn::Aged(Span { began: 1, ended: 2 });
    assert_ne!(check(&scene.history, &end), Vec::<String>::new());
    scene.history.turn = Turn::Aged(LATE);
    let found = check(&scene.history, &end);
    assert!(found.iter().any(|found| found.starts_with("what is too old expires")), "{found:#?}");
}
