//! A thread that serves connections over HTTP/1.1, with its own instances of every component.
//!
//! Only the blocking work of a request leaves the thread: waking another thread costs about as much as the
//! rest of a small request.

mod connection;
mod service;

use std::net;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};

pub use self::service::Application;

use self::connection::Arrival;
use self::service::{Service, Shared};
use crate::ending::Phase;
use crate::places::Place;

/// The time that running requests have to finish once the server ends.
const DRAIN: Duration = Duration::from_secs(10);

/// The time that the requests of the last connections have once the listener is closed.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// The handle of a worker's thread.
pub struct Worker {
    arrivals: mpsc::UnboundedSender<Arrival>,
    shared: Arc<Shared>,
    ended: oneshot::Receiver<()>,
}

impl Worker {
    /// Starts a thread with `instances` of each component that uses a store, and one of each other.
    pub fn start(application: Arc<Application>, instances: usize) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (arrivals, arriving) = mpsc::unbounded_channel();
        let (ending, ended) = oneshot::channel();
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("worker".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, work(application, instances, of_thread, arriving));
            let _ = ending.send(());
        })?;
        Ok(Self { arrivals, shared, ended })
    }

    /// The number of open connections.
    pub fn connections(&self) -> usize {
        self.shared.connections.len()
    }

    /// Serves a connection to its end.
    pub fn serve(&self, stream: net::TcpStream, place: Place) {
        // The thread outlives this handle, so it receives all that is sent.
        let _ = self.arrivals.send(Arrival { stream, place, counted: self.shared.connections.token() });
    }

    /// Finishes the running requests. New connections are still served, with one request each.
    pub async fn drain(&self) {
        self.shared.phase.send_replace(Phase::Draining);
        if tokio::time::timeout(DRAIN, self.shared.requests.wait()).await.is_err() {
            sekali_common::log::error(
                "shutdown",
                format_args!("some requests did not finish within {DRAIN:?} and are cut off"),
            );
        }
    }

    /// Ends live streams and the thread.
    pub async fn stop(self) {
        self.shared.phase.send_replace(Phase::Ending);
        drop(self.arrivals);
        let _ = tokio::time::timeout(LAST_REQUESTS * 2, self.ended).await;
    }
}

async fn work(
    application: Arc<Application>,
    instances: usize,
    shared: Arc<Shared>,
    mut arriving: mpsc::UnboundedReceiver<Arrival>,
) {
    let service = Rc::new(Service::start(application, instances, shared));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            arrival = arriving.recv() => match arrival {
                Some(arrival) => _ = connections.spawn_local(connection::run(arrival, Rc::clone(&service))),
                None => break,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    // The connections that were accepted last may still get an answer.
    let _ =
        tokio::time::timeout(LAST_REQUESTS, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
    if let Some(service) = Rc::into_inner(service) {
        service.stop().await;
    }
}
