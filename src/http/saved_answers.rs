//! The saved answers of requests with an idempotency key.
//!
//! The store of events keeps the outcomes of a request in the transaction that stores its events, so that every instance
//! and every host can make the same answer again, and a key is carried out once. Nobody looks for a key first: the write
//! itself finds that it was answered.
//!
//! An operator may have answers in Spin's key-value store instead. That is not transactional, and answers may be lost, or
//! make room for others: each has a place by the hash of its key. Then the events table still makes the repetition safe:
//! its answer only says that all events were duplicates. A third of the file are its tests.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use chrono::Utc;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::idempotency::Fingerprint;
use super::negotiate::JSON;
use super::prefer::PREFERENCE_APPLIED;
use super::problem::Problem;
use super::reply::Reply;
use super::settings::AnswersSetting;
use crate::store::{Outcome, RequestKey, WriteStore};

const SEKALI_IGNORED: HeaderName = HeaderName::from_static("sekali-ignored");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Places for answers in the key-value store.
const PLACES: u64 = 1 << 20;

/// Milliseconds for which an answer there is valid.
const LIFETIME: i64 = 24 * 60 * 60 * 1000;

/// A store of values by key, without transactions.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait KeyValue: 'static {
    /// The value of a key, or the cause of the failure.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String>;

    /// Sets the value of a key.
    async fn set(&self, key: &str, value: &[u8]) -> Result<(), String>;
}

/// An answer that can be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedAnswer {
    /// Its status.
    pub status: u16,
    /// Its `Preference-Applied`.
    pub preference: Option<String>,
    /// Its `Sekali-Ignored`.
    #[serde(default)]
    pub ignored: Option<String>,
    /// Its body, which is JSON.
    pub body: String,
}

impl SavedAnswer {
    /// The answer, sent for the first time.
    pub fn into_reply(self) -> Reply {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut reply = Reply::new(status, JSON, self.body);
        if let Some(preference) = self.preference.and_then(|value| HeaderValue::try_from(value).ok()) {
            reply.headers.insert(PREFERENCE_APPLIED, preference);
        }
        if let Some(ignored) = self.ignored.and_then(|value| HeaderValue::try_from(value).ok()) {
            reply.headers.insert(SEKALI_IGNORED, ignored);
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

/// The saved answers of the service, and the keys of the requests that are running in this instance.
pub struct SavedAnswers<K, S> {
    place: AnswersSetting,
    key_value: K,
    events: Rc<S>,
    running: RefCell<HashSet<String>>,
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
        self.is_kept
            .then(|| RequestKey { key: self.key.clone(), fingerprint: self.fingerprint.as_str().to_owned() })
    }

    /// Carries it out like a request without a key.
    pub fn forgo_keeping(&mut self) {
        self.is_kept = false;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.running.borrow_mut().remove(&self.key);
    }
}

/// An entry of the key-value store.
#[derive(Serialize, Deserialize)]
struct Saved {
    key: String,
    fingerprint: Fingerprint,
    /// Milliseconds since 1970.
    at: i64,
    answer: SavedAnswer,
}

impl<K: KeyValue, S: WriteStore> SavedAnswers<K, S> {
    /// The answers beside the events, or in a key-value store.
    pub fn new(place: AnswersSetting, key_value: K, events: Rc<S>) -> Self {
        Self { place, key_value, events, running: RefCell::default() }
    }

    /// Takes a key for a request.
    ///
    /// # Errors
    /// [`Problem::IdempotencyKeyInUse`] while another request with it runs in this instance.
    pub fn begin(&self, key: &str, fingerprint: Fingerprint) -> Result<Running<'_>, Problem> {
        if !self.running.borrow_mut().insert(key.to_owned()) {
            return Err(Problem::IdempotencyKeyInUse);
        }
        let is_kept = self.place == AnswersSetting::Store;
        Ok(Running { key: key.to_owned(), fingerprint, is_kept, running: &self.running })
    }

    /// The answer of the key-value store to the request.
    ///
    /// # Errors
    /// [`Problem::IdempotencyKeyMismatch`] when the key belongs to another request, here and below.
    pub async fn find(&self, request: &Running<'_>) -> Result<Option<SavedAnswer>, Problem> {
        if request.is_kept {
            return Ok(None);
        }
        let now = Utc::now().timestamp_millis();
        let Some(saved) = self.read(&request.key).await else { return Ok(None) };
        let is_valid = now - saved.at < LIFETIME && Fingerprint::has_form(saved.fingerprint.as_str());
        match saved {
            Saved { key, fingerprint, answer, .. } if key == request.key && is_valid => {
                match fingerprint == request.fingerprint {
                    true => Ok(Some(answer)),
                    false => Err(Problem::IdempotencyKeyMismatch),
                }
            }
            _ => Ok(None),
        }
    }

    /// The outcomes that the store of events keeps of the request; `None` if it keeps none. An answer of another version
    /// of this program is no longer one: the store does not take its key a second time, and is not given it again.
    pub async fn committed(&self, request: &mut Running<'_>) -> Result<Option<Vec<Outcome>>, Problem> {
        if !request.is_kept {
            return Ok(None);
        }
        match self.events.answered(&request.key).await? {
            None => Ok(None),
            Some(answered) if answered.fingerprint == request.fingerprint.as_str() => {
                Ok(Some(answered.outcomes))
            }
            Some(answered) if Fingerprint::has_form(&answered.fingerprint) => {
                Err(Problem::IdempotencyKeyMismatch)
            }
            Some(_) => {
                request.is_kept = false;
                Ok(None)
            }
        }
    }

    /// Saves the answer to a request, unless the store of events has kept it already. A failure is logged, and costs the
    /// client nothing.
    pub async fn save(&self, request: Running<'_>, answer: &SavedAnswer) {
        if self.place == AnswersSetting::Store {
            return;
        }
        let (key, fingerprint) = (request.key.clone(), request.fingerprint.clone());
        let saved = Saved { key, fingerprint, at: Utc::now().timestamp_millis(), answer: answer.clone() };
        // Strings and numbers cannot fail to become JSON.
        let value = serde_json::to_vec(&saved).unwrap_or_default();
        if let Err(error) = self.key_value.set(&place_of(&request.key), &value).await {
            sekali_common::log::error("key-value", format_args!("an answer cannot be saved: {error}"));
        }
    }

    async fn read(&self, key: &str) -> Option<Saved> {
        match self.key_value.get(&place_of(key)).await {
            Ok(value) => serde_json::from_slice(&value?).ok(),
            Err(error) => {
                sekali_common::log::error("key-value", format_args!("saved answers cannot be read: {error}"));
                None
            }
        }
    }
}

/// The place of an answer. Where two keys have the same, the newer answer stays.
fn place_of(key: &str) -> String {
    format!("answer/{:05x}", xxh3_64(key.as_bytes()) % PLACES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::database::{NativeStore, open};
    use crate::testing::service::Memory;

    type Answers = SavedAnswers<Memory, NativeStore>;

    fn saved() -> Answers {
        // The database is not opened: it keeps no answers.
        let events = Rc::new(open(std::path::Path::new("."), 1).0);
        SavedAnswers::new(AnswersSetting::KeyValue, Memory::default(), events)
    }

    fn answer(body: &str) -> SavedAnswer {
        SavedAnswer { status: 200, preference: None, ignored: None, body: body.into() }
    }

    fn of(body: &[u8]) -> Fingerprint {
        Fingerprint::of([("partial", &b"false"[..])], body)
    }

    async fn carry_out(answers: &Answers, key: &str, body: &[u8]) {
        let running = answers.begin(key, of(body)).unwrap();
        assert_eq!(answers.find(&running).await.unwrap(), None, "{key} is known");
        answers.save(running, &answer(&format!("\"{key}\""))).await;
    }

    async fn find(answers: &Answers, key: &str, body: &[u8]) -> Result<Option<SavedAnswer>, Problem> {
        answers.find(&answers.begin(key, of(body))?).await
    }

    #[tokio::test]
    async fn an_answer_in_the_key_value_store_is_sent_again_for_a_day() {
        let answers = saved();
        carry_out(&answers, "k", b"body").await;
        assert_eq!(find(&answers, "k", b"body").await.unwrap(), Some(answer("\"k\"")));
        assert!(matches!(find(&answers, "k", b"other").await, Err(Problem::IdempotencyKeyMismatch)));
        assert_eq!(find(&answers, "other", b"body").await.unwrap(), None);
        let mut old: serde_json::Value =
            serde_json::from_slice(&answers.key_value.values.borrow()[&place_of("k")]).unwrap();
        old["at"] = (old["at"].as_i64().unwrap() - LIFETIME).into();
        answers.key_value.set(&place_of("k"), old.to_string().as_bytes()).await.unwrap();
        assert_eq!(find(&answers, "k", b"other").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_request_that_runs_is_in_use_until_it_ends() {
        let answers = saved();
        let running = answers.begin("k", of(b"body")).unwrap();
        assert!(matches!(answers.begin("k", of(b"body")), Err(Problem::IdempotencyKeyInUse)));
        drop(running);
        assert!(answers.begin("k", of(b"body")).is_ok(), "it failed, and may be tried again");
    }

    #[tokio::test]
    async fn answers_in_the_key_value_store_take_bounded_room_and_none_is_taken_for_another() {
        let answers = saved();
        let same: Vec<_> =
            (0..).map(|n| n.to_string()).filter(|key| place_of(key) == place_of("k")).take(1).collect();
        carry_out(&answers, "k", b"body").await;
        carry_out(&answers, &same[0], b"body").await;
        assert_eq!(answers.key_value.values.borrow().len(), 1);
        assert_eq!(find(&answers, "k", b"body").await.unwrap(), None, "the newer one has its place");
        assert!(find(&answers, &same[0], b"body").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn an_answer_under_another_form_of_fingerprint_is_ignored() {
        let answers = saved();
        let fingerprint = serde_json::from_value(of(b"body").as_str().replace("4:", "").into()).unwrap();
        let at = Utc::now().timestamp_millis();
        let old = Saved { key: "k".into(), fingerprint, at, answer: answer("old") };
        answers.key_value.set(&place_of("k"), &serde_json::to_vec(&old).unwrap()).await.unwrap();
        assert_eq!(find(&answers, "k", b"body").await.unwrap(), None);
        assert_eq!(find(&answers, "k", b"other").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_broken_store_costs_the_saved_answer_and_nothing_else() {
        let answers = saved();
        carry_out(&answers, "k", b"body").await;
        answers.key_value.broken.set(true);
        carry_out(&answers, "k", b"body").await;
        answers.key_value.broken.set(false);
        answers.key_value.values.borrow_mut().insert(place_of("k"), b"no json".to_vec());
        assert_eq!(find(&answers, "k", b"body").await.unwrap(), None);
    }
}
