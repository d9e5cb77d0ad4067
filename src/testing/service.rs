//! The whole service without a host: requests go to the router, events to a database file of the test.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use futures::{StreamExt, stream};
use http::Request;
use sekali_harness::Answer;
use serde_json::Value;
use tempfile::TempDir;

use super::database::{Faults, Native, NativeStore};
use super::{NativePlatform, TokioClock};
use crate::event::Timestamp;
use crate::http::app::{App, Platform};
use crate::http::reply::{Reply, ReplyBody};
use crate::http::router;
use crate::http::saved_answers::KeyValue;
use crate::http::settings::Settings;
use crate::store::sql::SqlStore;
use crate::store::sqlite::SqliteBackend;

/// A key-value store in memory.
#[derive(Default)]
pub struct Memory {
    /// Its values.
    pub values: RefCell<HashMap<String, Vec<u8>>>,
    /// True while every call fails.
    pub broken: Cell<bool>,
    /// True if other tasks run while a call does.
    pub is_slow: bool,
}

impl KeyValue for Memory {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        self.call().await?;
        Ok(self.values.borrow().get(key).cloned())
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), String> {
        self.call().await?;
        self.values.borrow_mut().insert(key.into(), value.into());
        Ok(())
    }
}

impl Memory {
    async fn call(&self) -> Result<(), String> {
        if self.is_slow {
            tokio::task::yield_now().await;
        }
        if self.broken.get() { Err("broken".into()) } else { Ok(()) }
    }
}

/// The service with a store of its own.
pub struct Service {
    /// The service itself, for a test that looks inside.
    pub app: App<NativePlatform<NativeStore, Memory, TokioClock>>,
    /// The faults of its database.
    pub faults: Rc<Faults>,
    /// The file of its database.
    path: PathBuf,
    /// The place of a database that nobody else has.
    _directory: Option<TempDir>,
}

impl Service {
    /// The service with the settings of spin.toml.
    pub fn start() -> Self {
        Self::with_variables(&[])
    }

    /// The service with other settings.
    pub fn with_variables(variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = Native::at(directory.path().join("events.db"));
        Self { _directory: Some(directory), ..Self::on(database, variables, 1) }
    }

    /// The service on a database of the caller. `seed` must differ from service to service on it.
    pub fn on(database: Native, variables: &[(&str, &str)], seed: u64) -> Self {
        let (faults, path) = (Rc::clone(&database.faults), database.path.clone());
        let clock = TokioClock::start();
        let store = SqlStore::on(SqliteBackend::new(database, clock, seed));
        let started_at = Timestamp::parse("2026-11-21T01:00:00Z").unwrap();
        let app = App::new(settings(variables), started_at, store, Memory::default(), clock, seed);
        Self { app, faults, path, _directory: None }
    }

    /// Another connection to its database.
    pub fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(&self.path).unwrap()
    }

    /// The reply to a request, whose body is not read yet.
    pub async fn reply(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        reply(&self.app, method, target, headers, body).await
    }

    /// The answer to a request.
    pub async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        read(self.reply(method, target, headers, body).await).await
    }

    /// The answer to a GET.
    pub async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], "").await
    }

    /// The answer to `POST /publish` with a body of JSON.
    pub async fn publish(&self, events: &Value) -> Answer {
        self.send("POST", "/publish", &[("content-type", "application/json")], events.to_string()).await
    }
}

/// The settings of spin.toml, some of them changed.
pub fn settings(variables: &[(&str, &str)]) -> Settings {
    let mut values = vec![
        ("max_body_bytes", "8388608"),
        ("max_otlp_bytes", "67108864"),
        ("max_batch_events", "10000"),
        ("max_event_bytes", "262144"),
        ("max_topics", "100000"),
    ];
    values.retain(|(name, _)| !variables.iter().any(|(variable, _)| variable == name));
    values.extend(variables);
    let (own, lines): (Vec<_>, Vec<_>) =
        values.into_iter().partition(|(name, _)| ["hooks", "tokens"].contains(name));
    let text: String = lines.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let own = |wanted| own.iter().find(|(name, _)| *name == wanted).map_or("", |(_, text)| text);
    Settings::read(&text, own("hooks"), own("tokens")).unwrap()
}

/// The reply of the service on any platform, whose body is not read yet.
pub async fn reply<P: Platform>(
    app: &App<P>,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Reply {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = stream::iter([Ok(body.into())]);
    router::answer(app, request.body(body).unwrap()).await
}

/// Reads the body of a reply to its end.
pub async fn read(reply: Reply) -> Answer {
    let Reply { status, headers, body, .. } = reply;
    let mut bytes = Vec::new();
    match body {
        ReplyBody::Full(full) => bytes = full,
        ReplyBody::Stream(mut pieces, _) => {
            while let Some(piece) = pieces.next().await {
                bytes.extend(piece.unwrap());
            }
        }
    }
    Answer { status: status.as_u16(), headers, text: String::from_utf8(bytes).unwrap() }
}
