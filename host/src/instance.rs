//! Components in a few long-lived instances, each of which serves many requests at once.
//!
//! Spin starts an instance whenever all others compute. Here their number is fixed: what makes a
//! component with a database fast is that requests of one instance share a write, and more instances than
//! cores only contend for the write lock.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use wasmtime::component::{Accessor, Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Cache, CacheConfig, Config, Engine, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::WasiHttpCtx;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};
use wasmtime_wasi_http::p3::{self, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::runtime_config::Stores;
use crate::variables::Variables;

wasmtime::component::bindgen!({
    path: "wit",
    world: "sekali:host/spin",
    imports: {
        "spin:key-value/key-value.[method]store.get-keys": trappable,
    },
    with: {
        "spin:sqlite/sqlite.connection": crate::sqlite::Connection,
        "spin:key-value/key-value.store": crate::key_value::KeyValueStore,
    },
});

/// Requests that wait for one instance before clients have to.
const QUEUE: usize = 1024;

/// Requests that run in one instance at once.
const CONCURRENT: usize = 1024;

/// What one instance may use of memory.
const MEMORY_BYTES: usize = 1 << 30;

/// A request on its way to a component.
pub type Request = http::Request<Incoming>;
/// An answer of a component.
pub type Response = http::Response<UnsyncBoxBody<Bytes, ErrorCode>>;

/// What the instances of a component share of the world outside.
pub struct Services {
    /// Its variables.
    pub variables: Variables,
    /// Its stores.
    pub stores: Stores,
}

/// A component, ready to be instantiated.
#[derive(Clone)]
pub struct Program {
    service: ServicePre<Guest>,
    services: Arc<Services>,
}

impl Program {
    /// Compiles the component, or takes it from the cache.
    pub fn load(engine: &Engine, source: &Path, services: Services) -> Result<Self> {
        let component = compile(engine, source)?;
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        p3::add_to_linker(&mut linker)?;
        Spin::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest: &mut Guest| guest)?;
        let service = linker
            .instantiate_pre(&component)
            .and_then(ServicePre::new)
            .map_err(anyhow::Error::from)
            .with_context(|| format!("{} needs something that this host does not have", source.display()))?;
        Ok(Self { service, services: Arc::new(services) })
    }

    /// Whether it only computes: then more instances on a thread would gain nothing.
    pub fn is_static(&self) -> bool {
        self.services.stores.sqlite.is_empty() && self.services.stores.key_value.is_empty()
    }
}

/// Running instances of one component, all on the thread that started them.
pub struct Instances {
    queues: Vec<mpsc::Sender<Job>>,
    next: Cell<usize>,
    tasks: Vec<JoinHandle<()>>,
}

struct Job {
    request: Request,
    response: oneshot::Sender<Result<Response>>,
}

impl Instances {
    /// Starts so many instances as tasks of this thread.
    pub fn start(program: &Program, count: usize) -> Self {
        let (mut queues, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (queue, jobs) = mpsc::channel(QUEUE);
            queues.push(queue);
            tasks.push(tokio::task::spawn_local(run(program.clone(), jobs)));
        }
        Self { queues, next: Cell::new(0), tasks }
    }

    /// Has one of the instances answer, in turn.
    pub async fn handle(&self, request: Request) -> Result<Response> {
        let turn = self.next.get();
        self.next.set((turn + 1) % self.queues.len());
        let (response, answered) = oneshot::channel();
        let job = Job { request, response };
        self.queues[turn].send(job).await.map_err(|_| anyhow!("the instance has ended"))?;
        answered.await.context("the instance trapped")?
    }

    /// Lets the instances finish what they have and ends them, so that their databases are closed.
    pub async fn stop(self) {
        drop(self.queues);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// What compiles and runs components.
pub fn engine() -> Result<Engine> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    // A machine without a home directory has no cache, and only starts more slowly.
    if let Ok(cache) = Cache::new(CacheConfig::new()) {
        config.cache(Some(cache));
    }
    Ok(Engine::new(&config)?)
}

fn compile(engine: &Engine, source: &Path) -> Result<Component> {
    let bytes = std::fs::read(source)
        .with_context(|| format!("cannot read {}: build the component first", source.display()))?;
    Component::new(engine, bytes)
        .map_err(anyhow::Error::from)
        .with_context(|| format!("{} is no component", source.display()))
}

/// Runs instances one after another: a trap ends one, and with it its requests, but no more than that.
async fn run(program: Program, mut jobs: mpsc::Receiver<Job>) {
    while let Err(error) = run_one(&program, &mut jobs).await {
        eprintln!("error: an instance ended and is replaced: {error:?}");
    }
}

/// Runs one instance until there are no more requests to come.
async fn run_one(program: &Program, jobs: &mut mpsc::Receiver<Job>) -> wasmtime::Result<()> {
    // Not before the first request: an instance that fails to start must not be started in a loop.
    let Some(first) = jobs.recv().await else { return Ok(()) };
    let Program { service, services } = program;
    let mut store = Store::new(service.engine(), Guest::new(Arc::clone(services)));
    store.limiter(|guest| &mut guest.limits);
    let service = service.instantiate_async(&mut store).await?;
    store
        .run_concurrent(async |accessor| {
            let mut running = FuturesUnordered::new();
            running.push(answer(accessor, &service, first));
            let mut open = true;
            while open || !running.is_empty() {
                tokio::select! {
                    Some(result) = running.next() => result?,
                    job = jobs.recv(), if open && running.len() < CONCURRENT => match job {
                        Some(job) => running.push(answer(accessor, &service, job)),
                        None => open = false,
                    },
                }
            }
            Ok(())
        })
        .await?
}

/// Answers one request. An error of the guest is its answer; an error of this function is a trap.
async fn answer(accessor: &Accessor<Guest>, service: &Service, job: Job) -> wasmtime::Result<()> {
    let request =
        job.request.map(|body| body.map_err(|error| ErrorCode::InternalError(Some(error.to_string()))));
    let (request, sent) = p3::Request::from_http(request);
    let response = match service.handle(accessor, request).await? {
        Ok(response) => {
            accessor.with(|mut store| response.into_http(&mut store, sent)).map_err(anyhow::Error::from)
        }
        Err(code) => Err(anyhow!("the component answered with the error {code:?}")),
    };
    // Whoever asked may have gone away.
    let _ = job.response.send(response);
    Ok(())
}

/// What an instance holds on the host's side.
pub struct Guest {
    /// The host's resources that it has handles to.
    pub table: ResourceTable,
    /// What it shares with the other instances.
    pub services: Arc<Services>,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: NothingOut,
    limits: StoreLimits,
}

impl Guest {
    fn new(services: Arc<Services>) -> Self {
        Self {
            table: ResourceTable::new(),
            services,
            wasi: WasiCtx::builder().inherit_stdout().inherit_stderr().build(),
            http: WasiHttpCtx::new(),
            hooks: NothingOut,
            limits: StoreLimitsBuilder::new().memory_size(MEMORY_BYTES).build(),
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Refuses every request that the component would send.
struct NothingOut;

type Sent = Box<dyn Future<Output = Result<(), ErrorCode>> + Send>;
type Refused = Result<(Response, Sent), wasmtime_wasi::TrappableError<ErrorCode>>;

impl WasiHttpHooks for NothingOut {
    fn send_request(
        &mut self,
        _: http::Request<UnsyncBoxBody<Bytes, ErrorCode>>,
        _: Option<p3::RequestOptions>,
        _: Sent,
    ) -> Box<dyn Future<Output = Refused> + Send> {
        Box::new(async { Err(ErrorCode::HttpRequestDenied.into()) })
    }
}
