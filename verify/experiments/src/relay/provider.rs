//! Providers: two that sign each in their way, and whose events have four topics each. They deliver at least once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use sekali_harness::webhooks::{PROVIDERS, Provider, now};
use serde_json::{Value, json};

use super::{CATCH_UP, LOOK};
use crate::attacks::raw_client::{RawAnswer, RawClient};

/// Those that deliver at the same time.
pub const COUNT: usize = 6;

/// One in so many events is refused by the endpoint at each attempt. The first provider has one soon.
const POISONED: u32 = 300;
const SOON: usize = 10;

const KINDS: [&str; 4] = ["made", "paid", "sent", "void"];

/// The topics of all of them, as a consumer names them.
pub const TOPICS: [&str; 2] = ["code.*", "post.*"];

/// What was delivered of an event.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Value,
    /// How often it was acknowledged.
    pub acknowledged: u64,
}

/// Their receivers, as the variable `hooks`.
pub fn hooks() -> String {
    let receivers = providers().map(|provider| {
        let mut receiver = provider.receiver();
        receiver["topic"] = "{hook}.{json:/kind}".into();
        (provider.name.to_owned(), receiver)
    });
    Value::Object(receivers.into_iter().collect()).to_string()
}

fn providers() -> [&'static Provider; 2] {
    [&PROVIDERS[1], &PROVIDERS[2]]
}

/// True for an event that the endpoint refuses.
pub fn is_poisoned(id: &str) -> bool {
    id.ends_with("-poisoned")
}

/// Delivers new events, and some old ones again, until a time, with a rest between two of up to `rest`. Returns what was
/// delivered, by id, and what must not be.
pub fn deliver(
    address: SocketAddr,
    number: usize,
    mut rng: Rng,
    until: Instant,
    rest: Duration,
) -> (BTreeMap<String, Sent>, Vec<String>) {
    let (mut client, mut sent, mut broken) = (None, BTreeMap::new(), Vec::new());
    let mut ids = Vec::new();
    for n in 0.. {
        if Instant::now() >= until {
            break;
        }
        let mut id = format!("{number}-{n}");
        if rng.u32(..POISONED) == 0 || (number, n) == (0, SOON) {
            id.push_str("-poisoned");
        }
        let mut delivery = Delivery::random(&id, &mut rng);
        broken.extend(delivery.send(address, &mut client));
        sent.insert(id.clone(), delivery);
        ids.push(id);
        if rng.u8(..8) == 0
            && let Some(old) = sent.get_mut(&ids[rng.usize(..ids.len())])
        {
            broken.extend(old.send(address, &mut client));
        }
        thread::sleep(rest.mul_f64(rng.f64()));
    }
    (sent.into_iter().map(|(id, delivery)| (id, delivery.sent)).collect(), broken)
}

/// Delivers one event.
pub fn deliver_one(address: SocketAddr, id: &str, rng: &mut Rng) -> (Sent, Option<String>) {
    let mut delivery = Delivery::random(id, rng);
    let broken = delivery.send(address, &mut None);
    (delivery.sent, broken)
}

struct Delivery {
    provider: &'static Provider,
    id: String,
    sent: Sent,
}

impl Delivery {
    fn random(id: &str, rng: &mut Rng) -> Self {
        let provider = providers()[rng.usize(..2)];
        let kind = KINDS[rng.usize(..KINDS.len())];
        let payload = json!({"id": id, "kind": kind, "fill": "é".repeat(rng.usize(..20))});
        let topic = format!("{}.{kind}", provider.name);
        Self { provider, id: id.to_owned(), sent: Sent { topic, payload, acknowledged: 0 } }
    }

    /// Delivers it until it is acknowledged, signed anew each time. Returns an answer that no signed delivery may get.
    fn send(&mut self, address: SocketAddr, client: &mut Option<RawClient>) -> Option<String> {
        let body = self.sent.payload.to_string().into_bytes();
        let began = Instant::now();
        while began.elapsed() < CATCH_UP {
            let headers = self.provider.headers(&self.id, now(), &body);
            let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let lines = format!("content-type: application/json\r\n{lines}");
            match post(address, client, self.provider.path, &lines, &body) {
                Ok(RawAnswer { status: 200, .. }) => {
                    self.sent.acknowledged += 1;
                    return None;
                }
                Ok(RawAnswer { status: 503, .. }) => {}
                Ok(answer) => return Some(format!("the delivery of {} is answered {answer:?}", self.id)),
                Err(_) => *client = None,
            }
            thread::sleep(LOOK);
        }
        Some(format!("the delivery of {} was not acknowledged within {CATCH_UP:?}", self.id))
    }
}

fn post(
    address: SocketAddr,
    client: &mut Option<RawClient>,
    path: &str,
    lines: &str,
    body: &[u8],
) -> std::io::Result<RawAnswer> {
    let client = match client {
        Some(client) => client,
        None => client.insert(RawClient::connect(address)?),
    };
    client.post(path, lines, body)
}
