//! An endpoint that notes what it gets, and answers as a test says. It can be killed, and started again where it was.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::program::eventually;

/// A delivery.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    /// What it was answered.
    pub status: u16,
}

impl Delivery {
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The seq in its id.
    #[track_caller]
    pub fn seq(&self) -> u64 {
        self.header("webhook-id").strip_prefix("evt_").unwrap().parse().unwrap()
    }
}

type Answer = dyn Fn(&Delivery) -> Response<Full<Bytes>> + Send + Sync;

/// The endpoint.
pub struct Endpoint {
    address: SocketAddr,
    answer: Arc<Answer>,
    received: Arc<Mutex<Vec<Delivery>>>,
    running: Option<Runtime>,
}

impl Endpoint {
    /// One that takes everything.
    pub fn start() -> Self {
        Self::answering(|_| status(200))
    }

    pub fn answering(answer: impl Fn(&Delivery) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Self {
        let address = "127.0.0.1:0".parse().unwrap();
        let mut endpoint =
            Self { address, answer: Arc::new(answer), received: Arc::default(), running: None };
        endpoint.serve();
        endpoint
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Ends it in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.running.take().unwrap().shutdown_timeout(Duration::from_secs(1));
    }

    /// Starts it again at its address.
    pub fn serve(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = TcpListener::bind(self.address).unwrap();
        self.address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (answer, received) = (Arc::clone(&self.answer), Arc::clone(&self.received));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, received) = (Arc::clone(&answer), Arc::clone(&received));
                let service =
                    service_fn(move |request| take(request, Arc::clone(&answer), Arc::clone(&received)));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        self.running = Some(runtime);
    }

    pub fn received(&self) -> Vec<Delivery> {
        self.received.lock().unwrap().clone()
    }

    /// What it took.
    pub fn taken(&self) -> Vec<Delivery> {
        self.received().into_iter().filter(|delivery| delivery.status < 300).collect()
    }

    /// Waits until it took so many.
    #[track_caller]
    pub fn takes(&self, count: usize) -> Vec<Delivery> {
        eventually(&format!("{count} deliveries"), || self.taken().len() >= count);
        self.taken()
    }
}

/// An answer without a body.
pub fn status(status: u16) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::default()).unwrap()
}

async fn take(
    request: Request<Incoming>,
    answer: Arc<Answer>,
    received: Arc<Mutex<Vec<Delivery>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let mut delivery = Delivery { headers: headers.collect(), body, status: 0 };
    let response = answer(&delivery);
    delivery.status = response.status().as_u16();
    received.lock().unwrap().push(delivery);
    Ok(response)
}
