//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a repeated request gets the answer of the first.
//!
//! A store that many hosts share keeps the outcomes of a request in the transaction that stores its events, so that each
//! of them can make the same answer again. Otherwise answers are in key-value, which is not transactional and may be
//! lost. Then the events table still makes the repetition safe: its answer only says that all events were duplicates.
//!
//! There, each answer is an entry of its own, so that two that are saved at the same moment cannot overwrite each
//! other. An index finds the expired ones: entries fall into a fixed number of slots, and noting an entry in its slot removes the
//! expired entries of the slot. If two instances note in one slot at the same moment, one note is lost; that costs a
//! forgotten entry, and never an answer.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::negotiate::JSON;
use super::prefer::PREFERENCE_APPLIED;
use super::problem::Problem;
use super::reply::Reply;
use crate::store::{ANSWERS_KEPT_MS as LIFETIME, Outcome, RequestKey, WriteStore};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Slots of the index.
const SLOTS: u64 = 1 << 16;

/// Bytes of answers in a slot. Beyond them, the oldest are removed before they expire.
const SLOT_BYTES: usize = 1 << 20;

/// The form of fingerprints, with which each of them begins. Answers under another form are ignored: nobody can tell
/// which request they belong to, and the events of a request that runs again are duplicates.
const FINGERPRINT_FORM: &str = "3:";

/// A store of values by key, without transactions.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait KeyValue: 'static {
    /// The value of a key, or the cause of the failure.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String>;

    /// Sets the value of a key.
    async fn set(&self, key: &str, value: &[u8]) -> Result<(), String>;

    /// Removes a key, if it is there.
    async fn delete(&self, key: &str) -> Result<(), String>;
}

/// An answer that can be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its `Preference-Applied`.
    pub preference: Option<String>,
    /// Its body, which is JSON.
    pub body: String,
}

impl Answer {
    /// The answer, sent for the first time.
    pub fn into_reply(self) -> Reply {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut reply = Reply::new(status, JSON, self.body);
        if let Some(preference) = self.preference.and_then(|value| HeaderValue::try_from(value).ok()) {
            reply.headers.insert(PREFERENCE_APPLIED, preference);
        }
        reply
    }

    /// The answer, sent again.
    pub fn into_repeated_reply(self) -> Reply {
        let mut reply = self.into_reply();
        reply.headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        reply
    }
}

/// The idempotency key of a request, if it has one.
///
/// # Errors
/// [`Problem::InvalidHeader`] when the key is too long, not printable, or given twice.
pub fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    // The draft has a string in quotes; many clients send it without.
    let bare = |key| without_quotes(key).unwrap_or(key);
    let printable = key.to_str().ok().map(str::trim).map(bare).filter(|key| {
        (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    });
    match (printable, keys.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Problem::InvalidHeader {
            name: "idempotency-key",
            message: "must be one value of 1 to 255 printable characters".into(),
        }),
    }
}

fn without_quotes(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

/// A hash of everything that gives a request its meaning. Requests with one key are the same if it is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of named terms, in any order, and a body.
    ///
    /// Names stand for the terms, and not numbers, so that a program of another version makes the same fingerprint.
    pub fn of<'t>(terms: impl IntoIterator<Item = (&'t str, &'t [u8])>, body: &[u8]) -> Self {
        let hash = |(name, value): (&str, &[u8])| xxh3_128(&[name.as_bytes(), b": ", value].concat());
        // A sum does not depend on the order of its parts.
        let terms = terms.into_iter().map(hash).fold(0, u128::wrapping_add);
        Self(format!("{FINGERPRINT_FORM}{terms:032x}{:032x}", xxh3_128(body)))
    }
}

/// The state of a key.
pub enum Lookup<'r> {
    /// Unknown: the request is to be carried out, and its answer saved.
    New(Running<'r>),
    /// Known from the same request, with its answer.
    Answered(Answer),
    /// Known from the same request, with the outcomes of its events.
    Committed(Vec<Outcome>),
}

/// The saved answers of the service, and the keys of the requests that are running in this instance.
pub struct SavedAnswers<K, S> {
    store: K,
    events: Rc<S>,
    running: RefCell<HashSet<String>>,
    /// Held while a slot is read, changed and written again.
    indexing: Mutex<()>,
}

/// A request that is running. Dropping it frees its key for another try.
pub struct Running<'r> {
    key: String,
    fingerprint: Fingerprint,
    /// True if the store of events keeps its answer.
    is_kept: bool,
    running: &'r RefCell<HashSet<String>>,
}

impl Running<'_> {
    /// The key for the store of events, if that keeps the answer.
    pub fn request_key(&self) -> Option<RequestKey> {
        self.is_kept.then(|| RequestKey { key: self.key.clone(), fingerprint: self.fingerprint.0.clone() })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.running.borrow_mut().remove(&self.key);
    }
}

/// An entry.
#[derive(Serialize, Deserialize)]
struct Saved {
    key: String,
    fingerprint: Fingerprint,
    /// Milliseconds since 1970.
    at: i64,
    answer: Answer,
}

impl Saved {
    fn is_valid(&self, now: i64) -> bool {
        !is_expired(self.at, now) && self.fingerprint.0.starts_with(FINGERPRINT_FORM)
    }
}

/// A note of an entry in its slot.
#[derive(Serialize, Deserialize)]
struct Note {
    entry: String,
    /// Milliseconds since 1970.
    at: i64,
    bytes: usize,
}

impl<K: KeyValue, S: WriteStore> SavedAnswers<K, S> {
    /// The answers in a key-value store, or beside the events if their store keeps answers.
    pub fn new(store: K, events: Rc<S>) -> Self {
        Self { store, events, running: RefCell::default(), indexing: Mutex::default() }
    }

    /// The state of a key of the request with this fingerprint, `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// [`Problem::IdempotencyKeyMismatch`] when it belongs to another request, [`Problem::IdempotencyKeyInUse`] while the
    /// request runs in this instance, and when the store of events keeps the answers and cannot be read.
    pub async fn find(&self, key: &str, fingerprint: Fingerprint, now: i64) -> Result<Lookup<'_>, Problem> {
        if !self.running.borrow_mut().insert(key.to_owned()) {
            return Err(Problem::IdempotencyKeyInUse);
        }
        let is_kept = self.events.keeps_answers();
        let running = Running { key: key.to_owned(), fingerprint, is_kept, running: &self.running };
        if is_kept {
            return self.find_kept(running, now).await;
        }
        let saved: Option<Saved> = self.read(&entry_of(key)).await;
        match saved.filter(|saved| saved.key == key && saved.is_valid(now)) {
            None => Ok(Lookup::New(running)),
            Some(saved) if saved.fingerprint == running.fingerprint => Ok(Lookup::Answered(saved.answer)),
            Some(_) => Err(Problem::IdempotencyKeyMismatch),
        }
    }

    async fn find_kept<'r>(&self, mut running: Running<'r>, now: i64) -> Result<Lookup<'r>, Problem> {
        match self.events.answered(&running.key, now).await? {
            None => Ok(Lookup::New(running)),
            Some(answered) if answered.fingerprint == running.fingerprint.0 => {
                Ok(Lookup::Committed(answered.outcomes))
            }
            Some(answered) if answered.fingerprint.starts_with(FINGERPRINT_FORM) => {
                Err(Problem::IdempotencyKeyMismatch)
            }
            // Of another version of this program: the store would not take the key a second time.
            Some(_) => {
                running.is_kept = false;
                Ok(Lookup::New(running))
            }
        }
    }

    /// Saves the answer to a request, unless the store of events has kept it already. A failure is logged, and costs the
    /// client nothing.
    pub async fn save(&self, running: Running<'_>, answer: &Answer, now: i64) {
        if self.events.keeps_answers() {
            return;
        }
        let entry = entry_of(&running.key);
        let (key, fingerprint) = (running.key.clone(), running.fingerprint.clone());
        let bytes = answer.body.len();
        // The note comes first, so that another save of the slot does not take this entry for an expired one.
        self.note(&slot_of(&running.key), Note { entry: entry.clone(), at: now, bytes }).await;
        self.write(&entry, &Saved { key, fingerprint, at: now, answer: answer.clone() }).await;
    }

    /// Notes an entry in its slot, and removes the entries that have expired or exceed the bytes of the slot.
    async fn note(&self, slot: &str, note: Note) {
        let _guard = self.indexing.lock().await;
        // Without the old notes, writing the slot would forget their entries for ever.
        let Ok(value) = self.get(slot).await else { return };
        let notes: Vec<Note> =
            value.and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or_default();
        let mut bytes = note.bytes + notes.iter().map(|note| note.bytes).sum::<usize>();
        let mut kept = Vec::new();
        for old in notes.into_iter().filter(|old| old.entry != note.entry) {
            let is_surplus = bytes > SLOT_BYTES || is_expired(old.at, note.at);
            if is_surplus && self.remove(&old.entry).await {
                bytes -= old.bytes;
            } else {
                kept.push(old); // also if it was not removed: the next note tries again
            }
        }
        kept.push(note);
        self.write(slot, &kept).await;
    }

    /// Removes an entry, and returns true if that succeeded.
    async fn remove(&self, entry: &str) -> bool {
        let removed = self.store.delete(entry).await;
        if let Err(error) = &removed {
            sekali_log::error("key-value", format_args!("an expired answer cannot be removed: {error}"));
        }
        removed.is_ok()
    }

    /// The value of a key, if it can be read.
    async fn read<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_json::from_slice(&self.get(key).await.ok()??).ok()
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, ()> {
        self.store.get(key).await.map_err(|error| {
            sekali_log::error("key-value", format_args!("saved answers cannot be read: {error}"))
        })
    }

    async fn write(&self, key: &str, value: &impl Serialize) {
        // Strings and numbers cannot fail to become JSON.
        let value = serde_json::to_vec(value).unwrap_or_default();
        if let Err(error) = self.store.set(key, &value).await {
            sekali_log::error("key-value", format_args!("an answer cannot be saved: {error}"));
        }
    }
}

fn is_expired(at: i64, now: i64) -> bool {
    now - at >= LIFETIME
}

fn entry_of(key: &str) -> String {
    format!("answer/{:032x}", xxh3_128(key.as_bytes()))
}

fn slot_of(key: &str) -> String {
    format!("answers/{:04x}/notes", xxh3_64(key.as_bytes()) % SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::database::{NativeStore, open};
    use crate::testing::service::Memory;

    fn saved(store: Memory) -> SavedAnswers<Memory, NativeStore> {
        // The database is not opened: it keeps no answers.
        SavedAnswers::new(store, Rc::new(open(std::path::Path::new("."), 1).0))
    }

    fn answer(body: &str) -> Answer {
        Answer { status: 200, preference: None, body: body.into() }
    }

    fn of(body: &[u8]) -> Fingerprint {
        Fingerprint::of([("partial", &b"false"[..])], body)
    }

    async fn carry_out(answers: &SavedAnswers<Memory, NativeStore>, key: &str, body: &[u8], now: i64) {
        let Lookup::New(running) = answers.find(key, of(body), now).await.unwrap() else {
            panic!("{key} is known")
        };
        answers.save(running, &answer(&format!("\"{key}\"")), now).await;
    }

    #[tokio::test]
    async fn an_answer_is_sent_again_for_a_day() {
        let answers = saved(Memory::default());
        carry_out(&answers, "k", b"body", 0).await;
        assert!(
            matches!(answers.find("k", of(b"body"), LIFETIME - 1).await.unwrap(), Lookup::Answered(a) if a == answer("\"k\""))
        );
        assert!(matches!(answers.find("k", of(b"other"), 1).await, Err(Problem::IdempotencyKeyMismatch)));
        assert!(matches!(answers.find("other", of(b"body"), 1).await.unwrap(), Lookup::New(_)));
        assert!(matches!(answers.find("k", of(b"other"), LIFETIME).await.unwrap(), Lookup::New(_)));
    }

    #[tokio::test]
    async fn a_request_that_runs_is_in_use_until_it_ends() {
        let answers = saved(Memory::default());
        let running = answers.find("k", of(b"body"), 0).await.unwrap();
        assert!(matches!(running, Lookup::New(_)));
        assert!(matches!(answers.find("k", of(b"body"), 0).await, Err(Problem::IdempotencyKeyInUse)));
        drop(running);
        assert!(
            matches!(answers.find("k", of(b"body"), 0).await.unwrap(), Lookup::New(_)),
            "it failed, and may be tried again"
        );
    }

    #[tokio::test]
    async fn old_answers_go_as_new_ones_come() {
        let answers = saved(Memory::default());
        for day in 0..3 {
            for n in 0..200_000 / 20 {
                carry_out(&answers, &format!("{day}-{n}"), b"", day * LIFETIME).await;
            }
        }
        {
            let values = answers.store.values.borrow();
            let entries = values.keys().filter(|key| key.starts_with("answer/")).count();
            assert!(entries < 30_000 && values.len() - entries <= SLOTS as usize, "{entries}");
        }
        let of_one_slot = saved(Memory::default());
        let slot = slot_of("k");
        let same_slot = (0..).map(|n| n.to_string()).filter(|key| slot_of(key) == slot).take(5);
        for key in same_slot.collect::<Vec<_>>() {
            let Lookup::New(running) = of_one_slot.find(&key, of(b""), 0).await.unwrap() else { panic!() };
            of_one_slot.save(running, &answer(&"x".repeat(SLOT_BYTES / 2)), 0).await;
        }
        let bytes: usize = of_one_slot.store.values.borrow().values().map(Vec::len).sum();
        assert!(bytes < SLOT_BYTES + 10_000, "{bytes}");
    }

    #[tokio::test]
    async fn two_answers_of_one_slot_that_are_saved_at_the_same_moment_are_both_kept() {
        let slow = saved(Memory { is_slow: true, ..Memory::default() });
        let slot = slot_of("k");
        let keys: Vec<_> = (0..).map(|n| n.to_string()).filter(|key| slot_of(key) == slot).take(3).collect();
        futures::future::join_all(keys.iter().map(|key| carry_out(&slow, key, b"", 0))).await;
        for key in &keys {
            assert!(matches!(slow.find(key, of(b""), 1).await.unwrap(), Lookup::Answered(_)), "{key}");
        }
        let notes: Vec<Note> = slow.read(&slot).await.unwrap();
        assert_eq!(notes.len(), 3);
    }

    #[tokio::test]
    async fn an_answer_under_another_form_of_fingerprint_is_ignored() {
        let answers = saved(Memory::default());
        let fingerprint = Fingerprint(of(b"body").0[FINGERPRINT_FORM.len()..].to_owned());
        let old = Saved { key: "k".into(), fingerprint, at: 0, answer: answer("old") };
        answers.store.set(&entry_of("k"), &serde_json::to_vec(&old).unwrap()).await.unwrap();
        assert!(matches!(answers.find("k", of(b"body"), 1).await.unwrap(), Lookup::New(_)));
        assert!(matches!(answers.find("k", of(b"other"), 1).await.unwrap(), Lookup::New(_)));
    }

    #[tokio::test]
    async fn a_broken_store_costs_the_saved_answer_and_nothing_else() {
        let answers = saved(Memory::default());
        carry_out(&answers, "k", b"body", 0).await;
        answers.store.broken.set(true);
        carry_out(&answers, "k", b"body", 1).await;
        answers.store.broken.set(false);
        answers.store.values.borrow_mut().insert(entry_of("k"), b"no json".to_vec());
        assert!(matches!(answers.find("k", of(b"body"), 1).await.unwrap(), Lookup::New(_)));
    }
}
