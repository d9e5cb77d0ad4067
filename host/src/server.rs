//! Accepts connections and deals them out to the workers, until it is told to end.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::worker::Worker;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

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
pub async fn serve(listener: TcpListener, workers: Vec<Worker>, mut end: End) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.wait() => break,
        };
        // Its worker has a reactor of its own.
        match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => {
                // A connection stays where it is, so each goes to whoever has the fewest.
                if let Some(worker) = workers.iter().min_by_key(|worker| worker.connections()) {
                    worker.serve(stream);
                }
            }
            Err(error) => {
                // Out of file descriptors, for example: it may pass, but not at once.
                eprintln!("error: cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    futures::future::join_all(workers.into_iter().map(Worker::stop)).await;
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
