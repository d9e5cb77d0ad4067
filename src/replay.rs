//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): the same request gets the same answer.
//!
//! Saved answers live in key-value, which is not transactional and may be lost: then the events table still
//! makes the repetition safe, and its answer only says that all were duplicates. Keys fall into a fixed number
//! of slots by their hash. A slot holds the answers of its keys, and whoever adds one drops what has expired:
//! so nothing has to be listed, and what is kept is a day's answers and one slot's remains of earlier ones.

use std::cell::RefCell;
use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Slots in key-value.
const SLOTS: u64 = 1 << 16;

/// How long an answer is kept, in milliseconds.
const LIFETIME: i64 = 24 * 60 * 60 * 1000;

/// Bytes that a slot keeps; beyond them the oldest answers go before their time.
const SLOT_BYTES: usize = 1 << 20;

/// The form of fingerprints, with which each of them begins. Answers saved under another are not looked at: what
/// they were answers to cannot be told, and the events of a request that is carried out again are duplicates.
const FINGERPRINT_FORM: &str = "2:";

/// A store of values by key, without transactions.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait KeyValue: 'static {
    /// The value of a key; what went wrong otherwise.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String>;

    /// Sets the value of a key.
    async fn set(&self, key: &str, value: &[u8]) -> Result<(), String>;
}

/// An answer that can be given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its `Preference-Applied`.
    pub preference: Option<String>,
    /// Its body, which is JSON.
    pub body: String,
}

/// What is known of a request by its key.
pub enum Known<'r> {
    /// Nothing: it is to be carried out, and its answer saved.
    New(Running<'r>),
    /// It was answered.
    Answered(Answer),
    /// The key was used for another request.
    Mismatch,
    /// It is being carried out right now.
    InUse,
}

/// The answers of this service, and the requests with a key that this instance is carrying out.
pub struct Replays<K> {
    store: K,
    running: RefCell<HashSet<String>>,
}

/// A request that is being carried out. Dropped, its key is free for another try.
pub struct Running<'r> {
    key: String,
    fingerprint: String,
    running: &'r RefCell<HashSet<String>>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.running.borrow_mut().remove(&self.key);
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    key: String,
    fingerprint: String,
    /// Milliseconds since 1970.
    at: i64,
    answer: Answer,
}

impl<K: KeyValue> Replays<K> {
    /// The answers in a store.
    pub fn new(store: K) -> Self {
        Self { store, running: RefCell::default() }
    }

    /// What is known of the request with this key and meaning, `now` in milliseconds since 1970.
    pub async fn find(&self, key: &str, meaning: &[u8], now: i64) -> Known<'_> {
        if !self.running.borrow_mut().insert(key.to_owned()) {
            return Known::InUse;
        }
        let fingerprint = format!("{FINGERPRINT_FORM}{:032x}", xxh3_128(meaning));
        let running = Running { key: key.to_owned(), fingerprint, running: &self.running };
        let saved = self.slot(key, now).await.into_iter().find(|saved| saved.key == key);
        match saved {
            None => Known::New(running),
            Some(saved) if saved.fingerprint == running.fingerprint => Known::Answered(saved.answer),
            Some(_) => Known::Mismatch,
        }
    }

    /// Saves the answer to a request. If that fails, the answer is given all the same.
    pub async fn save(&self, running: Running<'_>, answer: Answer, now: i64) {
        let mut saved = self.slot(&running.key, now).await;
        saved.retain(|saved| saved.key != running.key);
        let (key, fingerprint) = (running.key.clone(), running.fingerprint.clone());
        saved.push(Saved { key, fingerprint, at: now, answer });
        let mut bytes: usize = saved.iter().map(|saved| saved.answer.body.len()).sum();
        while bytes > SLOT_BYTES && saved.len() > 1 {
            bytes -= saved.remove(0).answer.body.len();
        }
        // Nothing in it can fail to become JSON.
        let value = serde_json::to_vec(&saved).unwrap_or_default();
        if let Err(error) = self.store.set(&slot_of(&running.key), &value).await {
            eprintln!("error: key-value does not keep an answer: {error}");
        }
    }

    /// What the slot of a key holds and has not expired.
    async fn slot(&self, key: &str, now: i64) -> Vec<Saved> {
        let value = self.store.get(&slot_of(key)).await.unwrap_or_else(|error| {
            eprintln!("error: key-value does not give an answer back: {error}");
            None
        });
        let mut saved: Vec<Saved> =
            value.and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or_default();
        saved.retain(|saved| now - saved.at < LIFETIME && saved.fingerprint.starts_with(FINGERPRINT_FORM));
        saved
    }
}

fn slot_of(key: &str) -> String {
    format!("answers/{:04x}", xxh3_64(key.as_bytes()) % SLOTS)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[derive(Default)]
    struct Memory {
        values: RefCell<HashMap<String, Vec<u8>>>,
        broken: std::cell::Cell<bool>,
    }

    impl KeyValue for Memory {
        async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
            if self.broken.get() { Err("broken".into()) } else { Ok(self.values.borrow().get(key).cloned()) }
        }

        async fn set(&self, key: &str, value: &[u8]) -> Result<(), String> {
            if self.broken.get() {
                return Err("broken".into());
            }
            self.values.borrow_mut().insert(key.into(), value.into());
            Ok(())
        }
    }

    fn answer(body: &str) -> Answer {
        Answer { status: 200, preference: None, body: body.into() }
    }

    async fn carry_out(replays: &Replays<Memory>, key: &str, body: &[u8], now: i64) {
        let Known::New(running) = replays.find(key, body, now).await else { panic!("{key} is known") };
        replays.save(running, answer(&format!("\"{key}\"")), now).await;
    }

    #[tokio::test]
    async fn an_answer_is_given_again_for_a_day() {
        let replays = Replays::new(Memory::default());
        carry_out(&replays, "k", b"body", 0).await;
        assert!(
            matches!(replays.find("k", b"body", LIFETIME - 1).await, Known::Answered(a) if a == answer("\"k\""))
        );
        assert!(matches!(replays.find("k", b"other", 1).await, Known::Mismatch));
        assert!(matches!(replays.find("other", b"body", 1).await, Known::New(_)));
        assert!(matches!(replays.find("k", b"other", LIFETIME).await, Known::New(_)));
    }

    #[tokio::test]
    async fn a_request_that_runs_is_in_use_until_it_ends() {
        let replays = Replays::new(Memory::default());
        let running = replays.find("k", b"body", 0).await;
        assert!(matches!(running, Known::New(_)));
        assert!(matches!(replays.find("k", b"body", 0).await, Known::InUse));
        drop(running);
        assert!(
            matches!(replays.find("k", b"body", 0).await, Known::New(_)),
            "it failed, and may be tried again"
        );
    }

    #[tokio::test]
    async fn old_answers_go_as_new_ones_come() {
        let replays = Replays::new(Memory::default());
        for day in 0..3 {
            for n in 0..200_000 / 20 {
                carry_out(&replays, &format!("{day}-{n}"), b"", day * LIFETIME).await;
            }
        }
        {
            let values = replays.store.values.borrow();
            let count = |value: &Vec<u8>| serde_json::from_slice::<Vec<Saved>>(value).unwrap().len();
            let kept: usize = values.values().map(count).sum();
            assert!(kept < 30_000 && values.len() as u64 <= SLOTS, "{kept}");
        }
        let of_one_slot = Replays::new(Memory::default());
        let slot = slot_of("k");
        let same_slot = (0..).map(|n| n.to_string()).filter(|key| slot_of(key) == slot).take(5);
        for key in same_slot.collect::<Vec<_>>() {
            let Known::New(running) = of_one_slot.find(&key, b"", 0).await else { panic!() };
            of_one_slot.save(running, answer(&"x".repeat(SLOT_BYTES / 2)), 0).await;
        }
        assert!(of_one_slot.store.values.borrow()[&slot].len() < SLOT_BYTES + 10_000);
    }

    #[tokio::test]
    async fn an_answer_saved_under_another_form_of_fingerprint_is_not_looked_at() {
        let replays = Replays::new(Memory::default());
        let fingerprint = format!("{:032x}", xxh3_128(b"body"));
        let old = [Saved { key: "k".into(), fingerprint, at: 0, answer: answer("old") }];
        replays.store.set(&slot_of("k"), &serde_json::to_vec(&old).unwrap()).await.unwrap();
        assert!(matches!(replays.find("k", b"body", 1).await, Known::New(_)));
        assert!(matches!(replays.find("k", b"other", 1).await, Known::New(_)));
    }

    #[tokio::test]
    async fn a_broken_store_costs_the_replay_and_nothing_else() {
        let replays = Replays::new(Memory::default());
        carry_out(&replays, "k", b"body", 0).await;
        replays.store.broken.set(true);
        carry_out(&replays, "k", b"body", 1).await;
        replays.store.broken.set(false);
        replays.store.values.borrow_mut().insert(slot_of("k"), b"no json".to_vec());
        assert!(matches!(replays.find("k", b"body", 1).await, Known::New(_)));
    }
}
