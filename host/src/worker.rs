//! A thread that serves connections over HTTP/1.1 with instances of its own of every component.
//!
//! Nothing of a request leaves its thread but what blocks: a wake-up of another thread costs about as
//! much as all else that happens to a small request.

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
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;

use crate::instance::{Instances, Program, Request, Response};
use crate::routes::Routes;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long running requests have to finish once we are told to end.
const DRAIN: Duration = Duration::from_secs(10);

/// The components of an application, and which of them answers what.
pub struct Application {
    /// The components.
    pub programs: Vec<Program>,
    /// Each route leads to the place of one of them.
    pub routes: Routes,
}

/// The handle of a worker's thread.
pub struct Worker {
    arrivals: mpsc::UnboundedSender<Arrival>,
    connections: GracefulShutdown,
    ended: oneshot::Receiver<()>,
}

/// A connection, and what tells it to end.
type Arrival = (net::TcpStream, Watcher);

impl Worker {
    /// Starts a thread with so many instances of each component that uses a store, and one of the others.
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

    /// How many connections it has.
    pub fn connections(&self) -> usize {
        self.connections.count()
    }

    /// Serves a connection to its end.
    pub fn serve(&self, stream: net::TcpStream) {
        // A worker ends only after this handle.
        let _ = self.arrivals.send((stream, self.connections.watcher()));
    }

    /// Finishes what is running and ends the thread.
    pub async fn stop(self) {
        if tokio::time::timeout(DRAIN, self.connections.shutdown()).await.is_err() {
            eprintln!("error: some requests did not finish within {DRAIN:?}");
        }
        drop(self.arrivals);
        let _ = tokio::time::timeout(DRAIN, self.ended).await;
    }
}

/// The application on this thread.
struct Service {
    application: Arc<Application>,
    /// Of each of its components, in the same order.
    instances: Vec<Instances>,
}

async fn work(
    application: Arc<Application>,
    instances: usize,
    mut arriving: mpsc::UnboundedReceiver<Arrival>,
) {
    let start =
        |program: &Program| Instances::start(program, if program.is_static() { 1 } else { instances });
    let instances = application.programs.iter().map(start).collect();
    let service = Rc::new(Service { application, instances });
    while let Some((stream, watcher)) = arriving.recv().await {
        let service = Rc::clone(&service);
        tokio::task::spawn_local(async move {
            if let Err(error) = serve(stream, watcher, service).await {
                eprintln!("error: cannot take a connection: {error:#}");
            }
        });
    }
    // Connections that did not end in time still hold them, and are cut off.
    if let Some(service) = Rc::into_inner(service) {
        futures::future::join_all(service.instances.into_iter().map(Instances::stop)).await;
    }
}

async fn serve(stream: net::TcpStream, watcher: Watcher, service: Rc<Service>) -> Result<()> {
    // Answers must not wait for the client's delayed acknowledgement.
    stream.set_nodelay(true).context("TCP_NODELAY")?;
    let stream = TcpStream::from_std(stream)?;
    let service = service_fn(move |request| answer(Rc::clone(&service), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks is the client's to know.
    let _ = watcher.watch(connection).await;
    Ok(())
}

async fn answer(service: Rc<Service>, request: Request) -> Result<Response, Infallible> {
    let Some(component) = service.application.routes.find(request.uri().path()) else {
        return Ok(problem(StatusCode::NOT_FOUND, "not-found", "Not found", "there is nothing at this path"));
    };
    Ok(service.instances[component].handle(request).await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        let detail = "the request failed here, not because of what was sent; sending it again is safe";
        problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }))
}

/// What a client gets when no component gave an answer (RFC 9457).
fn problem(status: StatusCode, name: &str, title: &str, detail: &str) -> Response {
    let code = status.as_u16();
    let body =
        format!(r#"{{"type":"/problems/{name}","title":"{title}","status":{code},"detail":"{detail}"}}"#);
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(body.map_err(|never: ErrorCode| never)));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
