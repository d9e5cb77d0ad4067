//! The host's side of an instance.

use std::sync::Arc;

use http::HeaderName;
use wasmtime::component::ResourceTable;
use wasmtime::{StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

use crate::stores::Stores;
use crate::stores::servers::AllowedServers;
use crate::variables::Variables;

/// The memory that one instance may use.
const MEMORY_BYTES: usize = 1 << 30;

/// The part of an answer that leaves the component before its client reads.
const CHUNK_BYTES: usize = 64 << 10;

/// The services that all instances of a component share.
pub struct Services {
    /// The component's variables.
    pub variables: Variables,
    /// The stores that it may open.
    pub stores: Stores,
    /// The database servers that it may connect to.
    pub servers: AllowedServers,
}

/// The host's side of an instance: its resources and services.
pub struct Guest {
    /// The resources that the instance has handles to.
    pub table: ResourceTable,
    /// Shared with the other instances of the component.
    pub services: Arc<Services>,
    /// Limits of its memory.
    pub limits: StoreLimits,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: HttpRules,
}

impl Guest {
    /// A guest that has opened nothing yet.
    pub fn new(services: Arc<Services>) -> Self {
        let mut wasi = WasiCtx::builder();
        #[cfg(feature = "faults")]
        wasi.wall_clock(crate::ahead::AheadClock::from_environment());
        Self {
            table: ResourceTable::new(),
            services,
            limits: StoreLimitsBuilder::new().memory_size(MEMORY_BYTES).build(),
            wasi: wasi.inherit_stdout().inherit_stderr().build(),
            http: WasiHttpCtx::new(),
            hooks: HttpRules,
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

/// The rules of the requests that an instance receives, which are the standard's, and of those that it sends, all of
/// which are refused.
pub struct HttpRules;

type Sending = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Sending), Error>;

impl WasiHttpHooks for HttpRules {
    /// The standard's list. The default asks for it once more for each header, and allocates each time.
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    /// The most bytes of an answer that are taken from the component at once. What it keeps is under its own limits.
    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Sending,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
