//! A history that keeps all rules.

use std::time::Duration;

use sekali_model::{Lines, ReadBack, Stored};
use serde_json::{Value, json};

use crate::history::record::{
    Answer, End, Follow, History, NEVER, Outcome, Publish, Read, Selection, Snapshot, Span,
};
use crate::requests::identities::{
    Identities, TOPICS, event_id, payload, source, timestamp, topic, topic_number,
};
use crate::requests::{Request, Sent};

/// A service without a fault that carries out one request at a time, and its clients.
#[derive(Default)]
pub struct Scene {
    tick: u64,
    /// The stored events in the order of seq, which is the place in the list, from 1.
    pub stored: Vec<(usize, Stored)>,
    /// What the clients did and saw.
    pub history: History,
}

impl Scene {
    /// The time of the next operation.
    pub fn span(&mut self) -> Span {
        self.tick += 2;
        Span { began: self.tick - 1, ended: self.tick }
    }

    /// Carries out a request with events, each an identity and a payload, and an invalid one behind them if partial.
    fn publish(
        &mut self,
        key: Option<&str>,
        prefer: &'static str,
        is_partial: bool,
        events: &[(usize, usize)],
    ) {
        let request = request(prefer, is_partial, events);
        let results: Vec<_> = events.iter().enumerate().map(|(at, event)| self.deliver(at, *event)).collect();
        let answer = answer(prefer, is_partial, &results);
        let (span, key) = (self.span(), key.map(str::to_owned));
        self.history.publishes.push(Publish {
            span,
            key,
            request,
            outcome: Outcome::Answered(answer),
            took: Duration::ZERO,
        });
    }

    fn deliver(&mut self, index: usize, (identity, number): (usize, usize)) -> Value {
        let seq = self.stored.len() as u64 + 1;
        let known = self.stored.iter_mut().find(|(known, _)| *known == identity);
        let (status, seq) = match known {
            None => {
                let stored = Stored { seq, payload: number, deliveries: 1, conflicts: 0 };
                self.stored.push((identity, stored));
                ("stored", seq)
            }
            Some((_, stored)) => {
                stored.deliveries += 1;
                stored.conflicts += u64::from(stored.payload != number);
                (if stored.payload == number { "duplicate" } else { "conflict" }, stored.seq)
            }
        };
        let (topic, event_id) = (topic(identity), event_id(identity));
        json!({"index": index, "topic": topic, "event_id": event_id, "status": status, "seq": seq})
    }

    fn read(&mut self, is_descending: bool, is_complete: bool) {
        let mut events = self.stored.clone();
        if is_descending {
            events.reverse();
        }
        if !is_complete {
            events.pop();
        }
        let (span, selection) = (self.span(), Selection::default());
        self.history.reads.push(Read {
            span,
            selection,
            after: 0,
            is_descending,
            events,
            is_complete,
            is_late: false,
            took: Duration::ZERO,
        });
    }

    /// The account.
    pub fn stats(&self) -> Value {
        let account = |events: Vec<&Stored>| {
            let sum = |count: fn(&Stored) -> u64| events.iter().map(|stored| count(stored)).sum::<u64>();
            json!({
                "received": sum(|stored| stored.deliveries),
                "unique_processed": events.len(),
                "duplicate_dropped": sum(|stored| stored.deliveries - 1),
                "conflicts": sum(|stored| stored.conflicts),
            })
        };
        let of_topic = |topic: usize| {
            let of_it = self.stored.iter().filter(|(identity, _)| topic_number(*identity) == topic);
            of_it.map(|(_, stored)| stored).collect()
        };
        let mut stats = account(self.stored.iter().map(|(_, stored)| stored).collect());
        stats["last_seq"] = self.stored.len().into();
        stats["version"] = "".into();
        stats["by_topic"] = (0..TOPICS.len())
            .map(|topic| {
                let mut account = account(of_topic(topic));
                account["topic"] = TOPICS[topic].into();
                account
            })
            .collect();
        stats
    }

    fn look(&mut self) {
        let (span, stats) = (self.span(), serde_json::from_value(self.stats()).unwrap());
        self.history.snapshots.push(Snapshot { span, stats });
    }

    /// All events, as they are read back.
    pub fn lines(&self) -> Vec<Value> {
        let line = |(identity, stored): &(usize, Stored)| {
            let (identity, Stored { seq, payload: number, deliveries, conflicts }) = (*identity, *stored);
            json!({
                "topic": topic(identity), "event_id": event_id(identity), "source": source(identity),
                "timestamp": timestamp(identity), "payload": payload(identity, number),
                "seq": seq, "deliveries": deliveries, "conflicts": conflicts,
            })
        };
        self.stored.iter().map(line).collect()
    }

    fn end(&self) -> End {
        end(&self.lines(), self.stats())
    }
}

/// The end of a history, with these events and this account.
pub fn end(lines: &[Value], stats: Value) -> End {
    let mut read = ReadBack::new(TOPICS.len(), 0);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Lines::default().push(text.as_bytes(), |event| read.take(&Identities, event)).unwrap();
    let (payloads, found) = Default::default();
    End { read, payloads, stats: serde_json::from_value(stats).unwrap(), found }
}

fn request(prefer: &'static str, is_partial: bool, events: &[(usize, usize)]) -> Request {
    let sent = events.iter().enumerate();
    let sent = sent.map(|(index, &(identity, payload))| Sent { index, identity, payload });
    Request {
        forgery: None,
        path: if is_partial { "/publish?partial=true" } else { "/publish" },
        headers: if prefer.is_empty() { vec![] } else { vec![("prefer", prefer.to_owned())] },
        body: format!("{events:?}").into_bytes(),
        events: sent.collect(),
        invalid: is_partial.into(),
    }
}

fn answer(prefer: &str, is_partial: bool, results: &[Value]) -> Answer {
    let ids = |wanted: &[&str]| -> Vec<&Value> {
        let is_wanted = |result: &&Value| wanted.contains(&result["status"].as_str().unwrap());
        results.iter().filter(is_wanted).map(|result| &result["event_id"]).collect()
    };
    let [stored, dropped, conflicts] =
        [ids(&["stored"]), ids(&["duplicate", "conflict"]), ids(&["conflict"])];
    let mut body = json!({
        "status": "ok", "total_received": results.len() + usize::from(is_partial), "stored": stored.len(),
        "duplicates": dropped.len(), "conflicts": conflicts.len(),
    });
    if is_partial {
        body["rejected"] = 1.into();
    }
    if prefer != MINIMAL {
        body["processed"] = json!(stored);
        body["duplicate_ids"] = json!(dropped);
        body["conflict_ids"] = json!(conflicts);
    }
    if prefer == FULL {
        body["results"] = json!(results);
    }
    let status = if is_partial { 207 } else { 200 };
    Answer { status, is_replayed: false, names_retry: false, body: body.to_string() }
}

const MINIMAL: &str = "return=minimal";
const FULL: &str = "return=representation";

/// A refusal of a request.
fn refusal(scene: &mut Scene, key: Option<&str>, request: Request, (status, name): (u16, &str)) {
    let body = json!({"type": format!("/problems/{name}")}).to_string();
    let outcome = Outcome::Answered(Answer { status, is_replayed: false, names_retry: false, body });
    let (span, key) = (scene.span(), key.map(str::to_owned));
    scene.history.publishes.push(Publish { span, key, request, outcome, took: Duration::ZERO });
}

/// A history with each kind of operation, which keeps all rules. Its publishes by number:
/// 0 stores 0; 1 is a duplicate and 2 a conflict of it; 3 stores 1 and 2; 4 stores 4 and 5, and its answer is lost;
/// 5 stores 3 under a key; 6 replays it; 7 is refused under the key; 8 is partial, stores 7 and drops 0; 9 is invalid.
pub fn scene() -> (Scene, End) {
    let mut scene = Scene::default();
    scene.look();
    scene.publish(None, FULL, false, &[(0, 1)]);
    scene.publish(None, "", false, &[(0, 1)]);
    scene.look();
    scene.publish(None, MINIMAL, false, &[(0, 2)]);
    scene.read(false, true);
    let began = scene.span();
    scene.publish(None, FULL, false, &[(1, 0), (2, 0)]);
    scene.publish(None, FULL, false, &[(4, 0), (5, 0)]);
    scene.history.publishes[4].outcome = Outcome::Lost("killed".into());
    scene.history.publishes[4].span.ended = NEVER;
    scene.publish(Some("k"), FULL, false, &[(3, 0)]);
    let mut replayed = scene.history.publishes[5].clone();
    replayed.span = scene.span();
    if let Outcome::Answered(answer) = &mut replayed.outcome {
        answer.is_replayed = true;
    }
    scene.history.publishes.push(replayed);
    refusal(&mut scene, Some("k"), request("", false, &[(6, 0)]), (422, "idempotency-key-mismatch"));
    scene.publish(None, "", true, &[(7, 1), (0, 1)]);
    let mut invalid = request("", true, &[]);
    invalid.path = "/publish";
    refusal(&mut scene, None, invalid, (422, "invalid-event"));
    scene.read(false, true);
    scene.read(true, true);
    scene.read(true, false);
    scene.look();
    let seen = |from: usize| scene.stored[from..].iter().map(|(identity, stored)| (100, *identity, *stored));
    for (after, start, from) in [(Some(0), Span { began: 1, ended: 2 }, 0), (None, began, 1)] {
        let events = seen(from).collect();
        scene.history.follows.push(Follow {
            selection: Selection::default(),
            after,
            start,
            is_late: false,
            events,
        });
    }
    let end = scene.end();
    (scene, end)
}
