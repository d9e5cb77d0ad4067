//! Spin: the only room that knows its SDK.
//!
//! The entry is below. [`request`] and [`response`] translate between the host's HTTP and ours; [`sqlite`], [`postgres`],
//! [`key_value`], [`variables`], [`clock`] and [`uptime`] are what Spin offers a component; [`task`] lets requests wake
//! each other.

mod clock;
mod key_value;
mod postgres;
mod request;
mod response;
mod sqlite;
mod task;
mod uptime;
mod variables;

use std::cell::Cell;
use std::rc::Rc;

use http::Method;
use spin_sdk::wasip3::exports::http::handler::Guest;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use spin_sdk::wasip3::random::random::get_random_u64;
use spin_sdk::wasip3::wit_bindgen::backpressure_inc;
use tokio::sync::OnceCell;

use self::clock::SpinClock;
use self::key_value::DefaultKeyValue;
use self::postgres::RemoteDatabase;
use self::sqlite::DefaultDatabase;
use self::task::Task;
use crate::http::app::{App, Platform};
use crate::http::problem::Problem;
use crate::http::router;
use crate::http::settings::{InvalidSettings, StoreSetting};
use crate::store::chosen::{ChosenBackend, ChosenStore};
use crate::store::postgres::PostgresBackend;
use crate::store::sql::SqlStore;
use crate::store::sqlite::SqliteBackend;

/// Spin as a platform.
struct Spin;

impl Platform for Spin {
    type Store = ChosenStore<DefaultDatabase, RemoteDatabase, SpinClock>;
    type KeyValue = DefaultKeyValue;
    type Clock = SpinClock;

    async fn host_metrics() -> String {
        variables::host_metrics().await
    }
}

thread_local! {
    /// The service of this instance, started by its first request.
    static APP: Rc<OnceCell<App<Spin>>> = Rc::default();
    static HAS_RETIRED: Cell<bool> = const { Cell::new(false) };
}

/// The component. Its entry is `export!` and not the SDK's `#[http_service]`, whose conversion of a request asks the
/// host twice as much.
struct Component;

#[cfg(target_arch = "wasm32")]
spin_sdk::wasip3::http::service::export!(Component);

impl Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        retire_if_crowded();
        Task::new(answer(request)).await
    }
}

/// Lets the host give no further request to this instance, if there are too many instances. Spin starts one for each
/// request of a burst, and keeps all of them busy with a request each: then no two requests share a commit.
///
/// This has to come before the request first waits: the host gives a request to an instance only when all its others
/// wait, so at this moment none is on its way, which would have to wait for ever.
fn retire_if_crowded() {
    let app = APP.with(Rc::clone);
    if app.get().is_some_and(App::should_retire) && !HAS_RETIRED.replace(true) {
        backpressure_inc();
    }
}

async fn answer(request: Request) -> Result<Response, ErrorCode> {
    let (head, mut body) = match request::receive(request) {
        Ok(received) => received,
        Err(error) => {
            return response::send(Problem::MalformedRequest(format!("{error:#}")).into_reply(), false).await;
        }
    };
    let is_head = head.method == Method::HEAD;
    let touches_store = router::touches_store(head.uri.path());
    let app = APP.with(Rc::clone);
    let reply = match app.get_or_try_init(start).await {
        Ok(app) => router::answer(app, http::Request::from_parts(head, &mut body)).await,
        Err(invalid) => router::refuse(&head, &invalid),
    };
    let response = response::send(reply, is_head).await;
    if let Some(drained) = body.drain() {
        task::spawn(drained);
    }
    if touches_store && app.get().is_some_and(|app| app.retention.is_due()) {
        let app = Rc::clone(&app);
        task::spawn(async move {
            if let Some(app) = app.get() {
                app.retention.work().await;
            }
        });
    }
    if app.get().is_some_and(|app| app.history.is_due()) {
        task::spawn(async move {
            if let Some(app) = app.get() {
                app.history.record().await;
            }
        });
    }
    response
}

async fn start() -> Result<App<Spin>, InvalidSettings> {
    let settings = variables::settings().await?;
    sekali_common::log::set_format(settings.log_format);
    let started_at = match &settings.started_at {
        Some(moment) => moment.clone(),
        None => uptime::first_request().await,
    };
    let clock = SpinClock::start();
    let backend = match &settings.store {
        StoreSetting::Sqlite => {
            ChosenBackend::Sqlite(SqliteBackend::new(DefaultDatabase, clock, get_random_u64()))
        }
        StoreSetting::Postgres { database_url } => {
            ChosenBackend::Postgres(PostgresBackend::new(RemoteDatabase::new(database_url.clone()), clock))
        }
    };
    let store = SqlStore::on(backend);
    Ok(App::new(settings, started_at, store, DefaultKeyValue, clock, get_random_u64()))
}
