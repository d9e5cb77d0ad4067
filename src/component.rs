//! Where Spin enters.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use http::Method;
use spin_sdk::wasip3::exports::http::handler::Guest;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use spin_sdk::wasip3::random::random::get_random_u64;
use tokio::sync::OnceCell;

use crate::app::{App, Platform};
use crate::problem::Problem;
use crate::replay::KeyValue;
use crate::settings::Settings;
use crate::store::Clock;
use crate::store::spin::DefaultDatabase;
use crate::store::sqlite::SqliteStore;
use crate::{reply, request, router, uptime};

type Service = App<Spin>;

/// What Spin offers.
struct Spin;

impl Platform for Spin {
    type Store = SqliteStore<DefaultDatabase, SpinClock>;
    type KeyValue = DefaultKeyValue;
    type Clock = SpinClock;
}

thread_local! {
    /// Made by the first request of the instance, shared by all.
    static SERVICE: Rc<OnceCell<Service>> = Rc::default();
}

/// The component as Spin calls it. The SDK's `#[http_service]` would do, but for the price of its
/// conversion: see [`request`].
struct Component;

#[cfg(target_arch = "wasm32")]
spin_sdk::wasip3::http::service::export!(Component);

impl Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let request =
            request::receive(request).map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
        let is_head = request.method() == Method::HEAD;
        let service = SERVICE.with(Rc::clone);
        let reply = match service.get_or_try_init(start).await {
            Ok(service) => router::answer(service, request).await,
            Err(error) => Problem::Internal(format!("{error:#}")).into_reply(),
        };
        reply::send(reply, is_head).await
    }
}

async fn start() -> anyhow::Result<Service> {
    let mut variables = HashMap::new();
    for name in Settings::VARIABLES {
        let value = spin_sdk::variables::get(name).await;
        variables.insert(name, value.with_context(|| format!("variable {name}"))?);
    }
    let settings = Settings::read(|name| variables.get(name).cloned().unwrap_or_default())?;
    let started_at = match &settings.started_at {
        Some(moment) => moment.clone(),
        None => uptime::since_mark().await,
    };
    let clock = SpinClock(Instant::now());
    let store = SqliteStore::new(DefaultDatabase, clock, get_random_u64());
    Ok(App::new(settings, started_at, store, DefaultKeyValue, clock, get_random_u64()))
}

/// The key-value store that the manifest calls `default`.
struct DefaultKeyValue;

impl KeyValue for DefaultKeyValue {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        let store = spin_sdk::key_value::Store::open_default().await.map_err(|error| error.to_string())?;
        store.get(key).await.map_err(|error| error.to_string())
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), String> {
        let store = spin_sdk::key_value::Store::open_default().await.map_err(|error| error.to_string())?;
        store.set(key, value).await.map_err(|error| error.to_string())
    }
}

/// The host's clock, from the start of the instance.
#[derive(Clone, Copy)]
struct SpinClock(Instant);

impl Clock for SpinClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        spin_sdk::time::sleep(duration).await;
    }

    async fn yield_now(&self) {
        spin_sdk::wasip3::wit_bindgen::yield_async().await;
    }
}
