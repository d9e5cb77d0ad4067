//! Where Spin enters.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http::Method;
use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::wasip3::random::random::get_random_u64;
use tokio::sync::OnceCell;

use crate::app::App;
use crate::problem::Problem;
use crate::settings::Settings;
use crate::store::Clock;
use crate::store::spin::DefaultDatabase;
use crate::store::sqlite::SqliteStore;
use crate::{reply, router, uptime};

type Service = App<SqliteStore<DefaultDatabase, SpinClock>, SpinClock>;

thread_local! {
    /// Made by the first request of the instance, shared by all.
    static SERVICE: Rc<OnceCell<Service>> = Rc::default();
}

#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
async fn handle(request: Request) -> impl IntoResponse {
    let is_head = request.method() == Method::HEAD;
    let service = SERVICE.with(Rc::clone);
    let reply = match service.get_or_try_init(start).await {
        Ok(service) => router::answer(service, request).await,
        Err(error) => Problem::Internal(format!("{error:#}")).into_reply(),
    };
    reply::send(reply, is_head).await
}

async fn start() -> Result<Service> {
    let mut variables = HashMap::new();
    for name in Settings::VARIABLES {
        let value = spin_sdk::variables::get(name).await;
        variables.insert(name, value.with_context(|| format!("variable {name}"))?);
    }
    let settings = Settings::read(|name| variables.get(name).cloned().unwrap_or_default())?;
    let started_at = match settings.started_at {
        Some(moment) => moment,
        None => uptime::since_mark().await,
    };
    let clock = SpinClock(Instant::now());
    let store = SqliteStore::new(DefaultDatabase, clock, get_random_u64());
    Ok(App::new(settings.limits, started_at, store, clock, get_random_u64()))
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
}
