//! A client that sends each request once, and takes what comes back for what it is.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Request};
use ureq::{Agent, Body};

/// Time limit of an answer. The service promises one within seconds; on a busy machine that takes longer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A client with connections of its own.
pub struct Client {
    agent: Agent,
    addresses: Vec<SocketAddr>,
    /// Requests so far.
    requests: AtomicUsize,
}

/// The end of a request without an answer.
#[derive(Debug)]
pub enum Failure {
    /// There was no connection, so nothing was sent.
    Unsent,
    /// It was sent, and no answer came.
    Lost(String),
    /// It was sent, and no answer came for longer than anybody should wait.
    Late(String),
}

/// An answer as it came.
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as far as it came.
    pub body: Vec<u8>,
    /// True if the body came to its end.
    pub is_complete: bool,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text, for people.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// A client of the service at these addresses, each of which gets its requests in turn.
    pub fn new(addresses: &[SocketAddr]) -> Self {
        static CLIENTS: AtomicUsize = AtomicUsize::new(0);
        let config =
            Agent::config_builder().http_status_as_error(false).timeout_global(Some(REQUEST_TIMEOUT));
        let requests = AtomicUsize::new(CLIENTS.fetch_add(1, Ordering::Relaxed));
        Self { agent: config.build().into(), addresses: addresses.into(), requests }
    }

    /// Sends a request, and reads its whole answer.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, Failure> {
        let (head, mut body) = self.open(method, path, headers, body)?.into_parts();
        let mut bytes = Vec::new();
        let began = Instant::now();
        let is_complete = body.as_reader().read_to_end(&mut bytes).is_ok();
        if !is_complete && began.elapsed() >= REQUEST_TIMEOUT / 2 {
            return Err(Failure::Late(format!("{method} {path} -> {} without an end", head.status)));
        }
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body: bytes, is_complete })
    }

    /// Sends a request, and leaves the body of its answer to be read.
    pub fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<ureq::http::Response<Body>, Failure> {
        let turn = self.requests.fetch_add(1, Ordering::Relaxed);
        let address = self.addresses[turn % self.addresses.len()];
        let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = match body.is_empty() && method == "GET" {
            true => request.body(()).map(|request| self.agent.run(request)),
            false => request.body(body).map(|request| self.agent.run(request)),
        };
        match response {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(ureq::Error::ConnectionFailed)) => Err(Failure::Unsent),
            Ok(Err(ureq::Error::Io(error))) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Err(Failure::Unsent)
            }
            Ok(Err(ureq::Error::Timeout(_))) => Err(Failure::Late(format!(
                "{method} {path} of {address}, which is number {}",
                turn % self.addresses.len()
            ))),
            Ok(Err(error)) => Err(Failure::Lost(error.to_string())),
            Err(error) => Err(Failure::Lost(format!("the request cannot be made: {error}"))),
        }
    }
}
