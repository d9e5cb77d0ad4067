//! Accepts connections and deals them out to the workers, until a signal ends it.

use std::io;
use std::net::{self, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use futures::future::join_all;
use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::places::{Place, Places};
use crate::worker::Worker;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// The socket that systemd listens on for this service (sd_listen_fds(3)), else a new one that listens on `address`.
///
/// systemd's outlives this process: connections that come while it restarts wait in it.
///
/// # Errors
/// When systemd passes more than one socket, or another kind; when the address cannot be used.
pub fn listen(address: SocketAddr) -> Result<TcpListener> {
    let mut passed = ListenFd::from_env();
    ensure!(passed.len() < 2, "systemd passes {} sockets, and there may be one ListenStream=", passed.len());
    let listener = passed.take_tcp_listener(0).context("systemd passes a socket that is not of TCP")?;
    let Some(listener) = listener else { return bind(address) };
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener)?)
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket
        .bind(address)
        .with_context(|| format!("cannot listen on {address}: choose another address with --listen"))?;
    Ok(socket.listen(BACKLOG)?)
}

/// Serves until SIGINT or SIGTERM, then finishes the running requests. A second signal cuts them off.
pub async fn serve(listener: TcpListener, workers: Vec<Worker>, places: Arc<Places>, mut end: End) {
    accept_until(&listener, &workers, &places, end.wait()).await;
    let finish = async {
        let drained = join_all(workers.iter().map(Worker::drain));
        // A load balancer may still send requests: nobody is refused as long as others are answered.
        accept_until(&listener, &workers, &places, drained).await;
        // The kernel may have taken connections that nobody has accepted yet.
        while let Some((place, Ok(stream))) = accept(&listener, &places).now_or_never() {
            deal(&workers, place, stream);
        }
        drop(listener);
        join_all(workers.into_iter().map(Worker::stop)).await;
    };
    tokio::select! {
        () = finish => {}
        () = end.wait() => sekali_common::log::error("shutdown", "a second signal: running requests are cut off"),
    }
}

/// Accepts connections and deals them out to the workers until `end` is ready.
async fn accept_until<T>(
    listener: &TcpListener,
    workers: &[Worker],
    places: &Arc<Places>,
    end: impl Future<Output = T>,
) {
    let mut end = pin!(end);
    loop {
        let accepted = tokio::select! {
            accepted = accept(listener, places) => accepted,
            _ = end.as_mut() => return,
        };
        match accepted {
            (place, Ok(stream)) => deal(workers, place, stream),
            (_, Err(error)) => {
                sekali_common::log::error("connection", format_args!("cannot accept a connection: {error}"));
                // The system may be out of file descriptors, for example, until a connection ends.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Accepts a connection once there is a place for it: until then it waits in the kernel.
async fn accept(listener: &TcpListener, places: &Arc<Places>) -> (Place, io::Result<net::TcpStream>) {
    let place = places.take().await;
    (place, listener.accept().await.and_then(|(stream, _)| stream.into_std()))
}

/// Gives a connection to a worker, which registers it with a runtime of its own.
fn deal(workers: &[Worker], place: Place, stream: net::TcpStream) {
    // A connection never moves, so a new one goes to the worker with the fewest.
    if let Some(worker) = workers.iter().min_by_key(|worker| worker.connections()) {
        worker.serve(stream, place);
    }
}

/// The signals that end the server.
pub struct End {
    interrupt: Signal,
    terminate: Signal,
}

impl End {
    /// Handles the signals from now on.
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
