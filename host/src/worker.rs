//! A thread that serves connections over HTTP/1.1 with instances of its own.
//!
//! Nothing of a request leaves its thread but what blocks: a wake-up of another thread costs about as
//! much as all else that happens to a small request.

use std::convert::Infallible;
use std::net;
use std::rc::Rc;
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

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long running requests have to finish once we are told to end.
const DRAIN: Duration = Duration::from_secs(10);

/// The handle of a worker's thread.
pub struct Worker {
    arrivals: mpsc::UnboundedSender<Arrival>,
    connections: GracefulShutdown,
    ended: oneshot::Receiver<()>,
}

/// A connection, and what tells it to end.
type Arrival = (net::TcpStream, Watcher);

impl Worker {
    /// Starts a thread with so many instances.
    pub fn start(program: Program, instances: usize) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (arrivals, arriving) = mpsc::unbounded_channel();
        let (ending, ended) = oneshot::channel();
        std::thread::Builder::new().name("worker".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, work(program, instances, arriving));
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

async fn work(program: Program, instances: usize, mut arriving: mpsc::UnboundedReceiver<Arrival>) {
    let instances = Rc::new(Instances::start(&program, instances));
    while let Some((stream, watcher)) = arriving.recv().await {
        let instances = Rc::clone(&instances);
        tokio::task::spawn_local(async move {
            if let Err(error) = serve(stream, watcher, instances).await {
                eprintln!("error: cannot take a connection: {error:#}");
            }
        });
    }
    // Connections that did not end in time still hold them, and are cut off.
    if let Some(instances) = Rc::into_inner(instances) {
        instances.stop().await;
    }
}

async fn serve(stream: net::TcpStream, watcher: Watcher, instances: Rc<Instances>) -> Result<()> {
    // Answers must not wait for the client's delayed acknowledgement.
    stream.set_nodelay(true).context("TCP_NODELAY")?;
    let stream = TcpStream::from_std(stream)?;
    let service = service_fn(move |request| answer(Rc::clone(&instances), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks is the client's to know.
    let _ = watcher.watch(connection).await;
    Ok(())
}

async fn answer(instances: Rc<Instances>, request: Request) -> Result<Response, Infallible> {
    Ok(instances.handle(request).await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        failed()
    }))
}

/// What a client gets when the component gave no answer (RFC 9457).
fn failed() -> Response {
    const BODY: &str = r#"{"type":"/problems/internal","title":"Internal error","status":500,"detail":"the request failed here, not because of what was sent; sending it again is safe"}"#;
    let body = Full::new(Bytes::from_static(BODY.as_bytes())).map_err(|never| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(body.map_err(|never: ErrorCode| never)));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
