//! A thread that serves connections over HTTP/1.1, with its own instances of every component.
//!
//! Only the blocking work of a request leaves the thread: waking another thread costs about as much as the
//! rest of a small request.

use std::convert::Infallible;
use std::net;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use sekali_problems::{self as kinds, INTERNAL_DETAIL, Kind, MEDIA_TYPE, NOT_FOUND_DETAIL};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;

use crate::instance::{Instances, Program, Request, Response};
use crate::routes::Routes;

/// The time that a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The time that running requests have to finish once the server ends.
const DRAIN: Duration = Duration::from_secs(10);

/// The components of an application and its routes.
pub struct Application {
    /// The components.
    pub programs: Vec<Program>,
    /// Routes to indices of `programs`.
    pub routes: Routes,
}

/// The handle of a worker's thread.
pub struct Worker {
    arrivals: mpsc::UnboundedSender<Arrival>,
    connections: GracefulShutdown,
    ended: oneshot::Receiver<()>,
}

/// A new connection, and the watcher that tells it to end.
type Arrival = (net::TcpStream, Watcher);

impl Worker {
    /// Starts a thread with `instances` of each component that uses a store, and one of each other.
    pub fn start(application: Arc<Application>, instances: usize) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (arrivals, arriving) = mpsc::unbounded_channel();
        let (ending, ended) = oneshot::channel();
        std::thread::Builder::new().name("worker".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, work(application, instances, arriving));
            let _ = ending.send(());
        })?;
        Ok(Self { arrivals, connections: GracefulShutdown::new(), ended })
    }

    /// The number of open connections.
    pub fn connections(&self) -> usize {
        self.connections.count()
    }

    /// Serves a connection to its end.
    pub fn serve(&self, stream: net::TcpStream) {
        // The thread outlives this handle, so it receives all that is sent.
        let _ = self.arrivals.send((stream, self.connections.watcher()));
    }

    /// Finishes the running requests and ends the thread.
    pub async fn stop(self) {
        if tokio::time::timeout(DRAIN, self.connections.shutdown()).await.is_err() {
            eprintln!("error: some requests did not finish within {DRAIN:?} and are cut off");
        }
        drop(self.arrivals);
        let _ = tokio::time::timeout(DRAIN, self.ended).await;
    }
}

/// The application on one thread.
struct Service {
    application: Arc<Application>,
    /// The instances of each program, in the order of `application.programs`.
    instances: Vec<Instances>,
}

async fn work(
    application: Arc<Application>,
    instances: usize,
    mut arriving: mpsc::UnboundedReceiver<Arrival>,
) {
    // More instances of a component that only computes would gain nothing on one thread.
    let count = |program: &Program| if program.uses_stores() { instances } else { 1 };
    let start = |program: &Program| Instances::start(program, count(program));
    let instances = application.programs.iter().map(start).collect();
    let service = Rc::new(Service { application, instances });
    while let Some((stream, watcher)) = arriving.recv().await {
        let service = Rc::clone(&service);
        tokio::task::spawn_local(async move {
            if let Err(error) = serve(stream, watcher, service).await {
                eprintln!("error: cannot serve a connection: {error:#}");
            }
        });
    }
    // A connection that did not end in time still holds the service. The thread ends without it.
    if let Some(service) = Rc::into_inner(service) {
        futures::future::join_all(service.instances.into_iter().map(Instances::stop)).await;
    }
}

async fn serve(stream: net::TcpStream, watcher: Watcher, service: Rc<Service>) -> Result<()> {
    // With Nagle's algorithm an answer would wait for the client's delayed acknowledgement.
    stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    let stream = TcpStream::from_std(stream)?;
    let service = service_fn(move |request| answer(Rc::clone(&service), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // The client sees a connection that breaks, so the error is not logged.
    let _ = watcher.watch(connection).await;
    Ok(())
}

async fn answer(service: Rc<Service>, request: Request) -> Result<Response, Infallible> {
    let Some(component) = service.application.routes.find(request.uri().path()) else {
        return Ok(problem(kinds::NOT_FOUND, NOT_FOUND_DETAIL));
    };
    Ok(service.instances[component].handle(request).await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        problem(kinds::INTERNAL, INTERNAL_DETAIL)
    }))
}

/// The answer to a request that no component answered.
fn problem(kind: Kind, detail: &str) -> Response {
    let body = Full::new(Bytes::from(kind.document(detail))).map_err(|never| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(body.map_err(|never: ErrorCode| never)));
    *response.status_mut() = StatusCode::from_u16(kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}
