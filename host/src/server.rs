//! HTTP/1.1 with clients: accepts connections until it is told to end, then drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;

use crate::instance::{Instances, Request, Response};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long running requests have to finish once we are told to end.
const DRAIN: Duration = Duration::from_secs(10);

/// Takes the address.
pub fn bind(address: SocketAddr) -> Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket
        .bind(address)
        .with_context(|| format!("cannot listen on {address}: --listen takes another address"))?;
    Ok(socket.listen(BACKLOG)?)
}

/// Serves until SIGINT or SIGTERM, then finishes what is running.
pub async fn serve(listener: TcpListener, instances: Instances, mut end: End) {
    let instances = Arc::new(instances);
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.wait() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, for example: it may pass, but not at once.
                eprintln!("error: cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Answers must not wait for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let instances = Arc::clone(&instances);
        let service = service_fn(move |request| answer(Arc::clone(&instances), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A connection that breaks is the client's to know.
            let _ = connection.await;
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        eprintln!("error: some requests did not finish within {DRAIN:?}");
    }
    if let Some(instances) = Arc::into_inner(instances) {
        let _ = tokio::time::timeout(DRAIN, instances.stop()).await;
    }
}

/// The signals that end us.
pub struct End {
    interrupt: Signal,
    terminate: Signal,
}

impl End {
    /// Takes the signals over from now on.
    pub fn listen() -> Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for SIGINT or SIGTERM.
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn answer(instances: Arc<Instances>, request: Request) -> Result<Response, std::convert::Infallible> {
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
    let json = http::HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
