//! A test double of the service: all of it in memory, and broken in one way, now and then. It may also lose answers, as
//! networks do, which is no fault.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How the double is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not.
    None,
    /// An event is answered and counted, and not stored.
    Drop,
    /// An event is answered, and neither counted nor stored.
    Forget,
    /// An event is stored twice.
    Double,
    /// An event is stored a second time, in another topic.
    StoreElsewhere,
    /// An event is counted twice.
    DoubleCount,
    /// A duplicate is stored as a new event.
    StoreDuplicate,
    /// A duplicate is dropped, and not counted.
    MissDuplicate,
    /// A conflict is taken for a plain duplicate.
    MissConflict,
    /// A letter of a payload is another.
    AlterPayload,
    /// A timestamp is another.
    AlterTimestamp,
    /// Two events are read in the wrong order.
    Reorder,
    /// Two events have each other's place in the order.
    Exchange,
    /// An event is stored behind one that was acknowledged long before.
    StoreBehind,
    /// An event is answered with the id of another.
    AnswerForAnother,
}

/// Every fault there is.
pub const FAULTS: [Fault; 14] = [
    Fault::Drop,
    Fault::Forget,
    Fault::Double,
    Fault::StoreElsewhere,
    Fault::DoubleCount,
    Fault::StoreDuplicate,
    Fault::MissDuplicate,
    Fault::MissConflict,
    Fault::AlterPayload,
    Fault::AlterTimestamp,
    Fault::Reorder,
    Fault::Exchange,
    Fault::StoreBehind,
    Fault::AnswerForAnother,
];

/// How many chances pass before the fault strikes: once in so many events, duplicates or conflicts.
#[derive(Clone, Copy)]
pub struct Once {
    pub fault: Fault,
    pub every: u64,
}

struct State {
    once: Once,
    loses_answers: bool,
    requests: u64,
    chances: u64,
    next_seq: u64,
    /// A number that was left out, to be given later.
    spare_seq: Option<u64>,
    by_key: HashMap<(String, String), usize>,
    events: Vec<Value>,
    /// received, unique, duplicates, conflicts
    topics: HashMap<String, [u64; 4]>,
    /// The identity of the store; an earlier version has none.
    store_id: Option<String>,
    /// Events that were forgotten.
    forgotten: u64,
}

/// A store that can be looked into and changed.
pub struct Double {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Double {
    /// Serves until the test ends.
    pub fn start(store_id: Option<&str>) -> Self {
        let state = State { store_id: store_id.map(str::to_owned), ..State::new(Fault::None, 1, false) };
        let state = Arc::new(Mutex::new(state));
        Self { url: serve(Arc::clone(&state)), state }
    }

    /// The payloads, in the order of seq.
    pub fn payloads(&self) -> Vec<String> {
        self.state
            .lock()
            .unwrap()
            .events
            .iter()
            .map(|event| event["payload"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Loses the event with this payload; because of its age if it is forgotten, else as a restore from a backup does.
    pub fn lose(&self, payload: &str, is_forgotten: bool) {
        let mut state = self.state.lock().unwrap();
        let at = state.events.iter().position(|event| event["payload"] == payload).unwrap();
        state.by_key.retain(|_, index| *index != at);
        state.forgotten += u64::from(is_forgotten);
    }

    /// Has another identity from now on.
    pub fn become_another(&self, store_id: &str) {
        self.state.lock().unwrap().store_id = Some(store_id.into());
    }
}

/// Serves until the test ends; returns the address.
pub fn start(fault: Fault, every: u64, loses_answers: bool) -> String {
    serve(Arc::new(Mutex::new(State::new(fault, every, loses_answers))))
}

fn serve(state: Arc<Mutex<State>>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
    });
    url
}

/// An error closes the connection, without an answer.
async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut state = state.lock().unwrap();
    if !state.has(&path) {
        return Ok(Response::builder().status(404).body("{}".into()).unwrap());
    }
    let text = match path.as_str() {
        "/publish" => state.publish(&body).to_string(),
        "/stats" => state.stats().to_string(),
        "/events" => state.read(),
        _ => "{}".into(),
    };
    if path == "/publish" && state.loses_answer() {
        return Err("the answer is lost");
    }
    Ok(Response::new(text.into()))
}

impl State {
    fn new(fault: Fault, every: u64, loses_answers: bool) -> Self {
        Self {
            once: Once { fault, every },
            loses_answers,
            requests: 0,
            chances: 0,
            next_seq: 0,
            spare_seq: None,
            by_key: HashMap::new(),
            events: Vec::new(),
            topics: HashMap::new(),
            store_id: None,
            forgotten: 0,
        }
    }

    /// True if the event of `/events/{topic}/{event_id}` is there.
    fn has(&self, path: &str) -> bool {
        path.strip_prefix("/events/")
            .and_then(|path| path.split_once('/'))
            .is_none_or(|(topic, event_id)| self.by_key.contains_key(&(topic.into(), event_id.into())))
    }

    fn loses_answer(&mut self) -> bool {
        self.requests += 1;
        self.loses_answers && self.requests.is_multiple_of(20)
    }

    fn strikes(&mut self, fault: Fault) -> bool {
        if self.once.fault != fault {
            return false;
        }
        self.chances += 1;
        self.chances.is_multiple_of(self.once.every)
    }

    fn publish(&mut self, body: &[u8]) -> Value {
        let values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
        let events = values.flat_map(|value| match value.unwrap() {
            Value::Array(events) => events,
            event => vec![event],
        });
        let results: Vec<_> = events.enumerate().map(|(index, event)| self.take(index, event)).collect();
        let count = |status: &str| results.iter().filter(|result| result["status"] == status).count();
        let (stored, conflicts) = (count("stored"), count("conflict"));
        json!({
            "status": "ok",
            "total_received": results.len(),
            "stored": stored,
            "duplicates": results.len() - stored,
            "conflicts": conflicts,
            "results": results,
        })
    }

    fn take(&mut self, index: usize, mut event: Value) -> Value {
        let topic = event["topic"].as_str().unwrap().to_owned();
        let event_id = event["event_id"].as_str().unwrap().to_owned();
        let key = (topic.clone(), event_id.clone());
        let result = |status: &str, seq: &Value| json!({"index": index, "topic": topic, "event_id": event_id, "status": status, "seq": seq});
        if let Some(&at) = self.by_key.get(&key)
            && !self.strikes(Fault::StoreDuplicate)
        {
            let is_conflict = self.events[at]["payload"] != event["payload"];
            let is_conflict = is_conflict && !self.strikes(Fault::MissConflict);
            let count = if self.strikes(Fault::MissDuplicate) { 0 } else { 1 };
            let stored = &mut self.events[at];
            for (field, more) in [("deliveries", count), ("conflicts", u64::from(is_conflict))] {
                stored[field] = (stored[field].as_u64().unwrap() + more).into();
            }
            let seq = stored["seq"].clone();
            let account = self.topics.entry(topic.clone()).or_default();
            account[0] += count;
            account[2] += count;
            account[3] += u64::from(is_conflict);
            return result(if is_conflict { "conflict" } else { "duplicate" }, &seq);
        }

        if self.strikes(Fault::StoreBehind) {
            // One number is left out here, and given to the event that is stored a thousand later.
            self.next_seq += 1;
            self.spare_seq = Some(self.next_seq);
        }
        let is_late = self.spare_seq.is_some_and(|spare| self.next_seq > spare + 1_000);
        self.next_seq += u64::from(!is_late);
        let seq = if is_late { self.spare_seq.take().unwrap() } else { self.next_seq };
        let count = if self.strikes(Fault::DoubleCount) { 2 } else { 1 };
        let is_forgotten = self.strikes(Fault::Forget);
        if !is_forgotten {
            let account = self.topics.entry(topic.clone()).or_default();
            account[0] += count;
            account[1] += count;
        }
        event["seq"] = seq.into();
        event["deliveries"] = 1.into();
        event["conflicts"] = 0.into();
        if self.strikes(Fault::AlterPayload) {
            event["payload"]["note"] = format!("{}.", event["payload"]["note"].as_str().unwrap()).into();
        }
        if self.strikes(Fault::AlterTimestamp) {
            event["timestamp"] = "2026-11-21T01:00:00Z".into();
        }
        let mut answer = result("stored", &event["seq"]);
        if self.strikes(Fault::AnswerForAnother) {
            answer["event_id"] = "another".into();
        }
        if is_forgotten || self.strikes(Fault::Drop) {
            return answer;
        }
        if self.strikes(Fault::Exchange) {
            let before = self.events.len() - 1;
            event["seq"] = self.events[before]["seq"].take();
            self.events[before]["seq"] = seq.into();
        }
        self.by_key.insert(key, self.events.len());
        self.events.push(event.clone());
        let is_elsewhere = self.strikes(Fault::StoreElsewhere);
        if is_elsewhere || self.strikes(Fault::Double) {
            self.next_seq += 1;
            event["seq"] = self.next_seq.into();
            if is_elsewhere {
                event["topic"] = "elsewhere".into();
                self.topics.insert("elsewhere".into(), [1, 1, 0, 0]);
            }
            self.events.push(event);
        }
        answer
    }

    fn read(&mut self) -> String {
        let mut events: Vec<_> = self.events.iter().collect();
        events.sort_by_key(|event| event["seq"].as_u64());
        for at in 1..events.len() {
            if self.once.fault == Fault::Reorder && (at as u64).is_multiple_of(self.once.every) {
                events.swap(at - 1, at);
            }
        }
        events.iter().map(|event| format!("{event}\n")).collect()
    }

    fn stats(&self) -> Value {
        let account = |[received, unique, duplicates, conflicts]: [u64; 4]| {
            json!({
                "received": received,
                "unique_processed": unique,
                "duplicate_dropped": duplicates,
                "conflicts": conflicts,
            })
        };
        let by_topic = self.topics.iter().map(|(topic, counts)| {
            let mut account = account(*counts);
            account["topic"] = topic.as_str().into();
            account["forgotten"] = self.forgotten.into();
            account
        });
        let total =
            self.topics.values().fold([0; 4], |sum, counts| std::array::from_fn(|at| sum[at] + counts[at]));
        let mut stats = account(total);
        stats["last_seq"] = self.next_seq.into();
        stats["version"] = "double".into();
        stats["store_id"] = json!(self.store_id);
        stats["by_topic"] = by_topic.collect();
        stats
    }
}
