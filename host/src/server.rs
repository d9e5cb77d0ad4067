//! Accepts connections and deals them out to the workers, until a signal ends it.

use std::net::{self, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::FutureExt;
use futures::future::join_all;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::worker::Worker;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Listens on an address.
pub fn bind(address: SocketAddr) -> Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket
        .bind(address)
        .with_context(|| format!("cannot listen on {address}: choose another address with --listen"))?;
    Ok(socket.listen(BACKLOG)?)
}

/// Serves until SIGINT or SIGTERM, then finishes the running requests. A second signal cuts them off.
pub async fn serve(listener: TcpListener, workers: Vec<Worker>, mut end: End) {
    accept_until(&listener, &workers, end.wait()).await;
    let finish = async {
        let drained = join_all(workers.iter().map(Worker::drain));
        // A load balancer may still send requests: nobody is refused as long as others are answered.
        accept_until(&listener, &workers, drained).await;
        // The kernel may have taken connections that nobody has accepted yet.
        while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
            deal(&workers, stream.into_std());
        }
        drop(listener);
        join_all(workers.into_iter().map(Worker::stop)).await;
    };
    tokio::select! {
        () = finish => {}
        () = end.wait() => sekali_log::error("shutdown", "a second signal: running requests are cut off"),
    }
}

/// Accepts connections and deals them out to the workers until `end` is ready.
async fn accept_until<T>(listener: &TcpListener, workers: &[Worker], end: impl Future<Output = T>) {
    let mut end = pin!(end);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = end.as_mut() => return,
        };
        if !deal(workers, accepted.and_then(|(stream, _)| stream.into_std())) {
            // The process may be out of file descriptors, for example, until a connection ends.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Gives a connection to a worker, which registers it with a runtime of its own. Returns false if there is none.
fn deal(workers: &[Worker], accepted: std::io::Result<net::TcpStream>) -> bool {
    match accepted {
        Ok(stream) => {
            // A connection never moves, so a new one goes to the worker with the fewest.
            if let Some(worker) = workers.iter().min_by_key(|worker| worker.connections()) {
                worker.serve(stream);
            }
            true
        }
        Err(error) => {
            sekali_log::error("connection", format_args!("cannot accept a connection: {error}"));
            false
        }
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
