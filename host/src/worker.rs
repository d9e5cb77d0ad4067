//! A thread that serves connections over HTTP/1.1, with its own instances of every component.
//!
//! Only the blocking work of a request leaves the thread: waking another thread costs about as much as the
//! rest of a small request.

use std::cell::Cell;
use std::convert::Infallible;
use std::net;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderValue, Method, StatusCode, Version, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sekali_common::problems::{self as kinds, INTERNAL_DETAIL, Kind, MEDIA_TYPE, NOT_FOUND_DETAIL};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio_io_timeout::TimeoutStream;
use wasmtime_wasi_http::Error;

use crate::ending::{Phase, Requests};
use crate::following::Following;
use crate::instance::{Instances, Program, Response, SharedBody, Unanswered};
use crate::metrics::{Counted, METRICS};
use crate::places::Place;
use crate::routes::Routes;

/// The time that a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The time in which a client has to take some of its answer. A component has the same limit, but does not know what is
/// in the buffers of the connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// The time after which a client that acknowledges nothing is gone. The kernel's own is a quarter of an hour. A live
/// stream has a comment every 15 seconds, so a follower that vanishes without a word holds its place for less than a
/// minute. A client that lives, but whose buffers have been full for so long, counts as gone, too.
const SILENCE: Duration = Duration::from_secs(40);

/// The time that running requests have to finish once the server ends.
const DRAIN: Duration = Duration::from_secs(10);

/// The time that the first request of a new connection may take to come once the listener is closed.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// The time that the requests of the last connections have once the listener is closed.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

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
    shared: Arc<Shared>,
    ended: oneshot::Receiver<()>,
}

/// The state that a thread shares with its handle.
struct Shared {
    phase: watch::Sender<Phase>,
    requests: Requests,
    connections: AtomicUsize,
}

impl Shared {
    fn new() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Serving),
            requests: Requests::new(),
            connections: AtomicUsize::new(0),
        }
    }
}

/// A connection that nobody serves yet.
struct Arrival {
    stream: net::TcpStream,
    place: Place,
    _counted: Connected,
}

/// A connection in the count of its worker until this is dropped: when it ends, or its task panics.
struct Connected(Arc<Shared>);

impl Connected {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    /// Starts a thread with `instances` of each component that uses a store, and one of each other.
    pub fn start(application: Arc<Application>, instances: usize) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (arrivals, arriving) = mpsc::unbounded_channel();
        let (ending, ended) = oneshot::channel();
        let shared = Arc::new(Shared::new());
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("worker".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, work(application, instances, of_thread, arriving));
            let _ = ending.send(());
        })?;
        Ok(Self { arrivals, shared, ended })
    }

    /// The number of open connections.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Serves a connection to its end.
    pub fn serve(&self, stream: net::TcpStream, place: Place) {
        // The thread outlives this handle, so it receives all that is sent.
        let _ = self.arrivals.send(Arrival { stream, place, _counted: Connected::new(&self.shared) });
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

/// The application on one thread.
struct Service {
    application: Arc<Application>,
    shared: Arc<Shared>,
    /// The instances of each program, in the order of `application.programs`.
    instances: Vec<Instances>,
}

async fn work(
    application: Arc<Application>,
    instances: usize,
    shared: Arc<Shared>,
    mut arriving: mpsc::UnboundedReceiver<Arrival>,
) {
    // More instances of a component that only computes would gain nothing on one thread.
    let count = |program: &Program| if program.uses_stores() { instances } else { 1 };
    let start = |program: &Program| Instances::start(program, count(program));
    let instances = application.programs.iter().map(start).collect();
    let service = Rc::new(Service { application, instances, shared });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            arrival = arriving.recv() => match arrival {
                Some(arrival) => _ = connections.spawn_local(connection(arrival, Rc::clone(&service))),
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
        futures::future::join_all(service.instances.into_iter().map(Instances::stop)).await;
    }
}

async fn connection(arrival: Arrival, service: Rc<Service>) {
    let Arrival { stream, place, _counted } = arrival;
    if let Err(error) = serve(stream, Arc::new(place), &service).await {
        sekali_common::log::error("connection", format_args!("cannot serve a connection: {error:#}"));
    }
}

async fn serve(stream: net::TcpStream, place: Arc<Place>, service: &Rc<Service>) -> Result<()> {
    // With Nagle's algorithm an answer would wait for the client's delayed acknowledgement.
    stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    give_up_after(&stream, SILENCE).context("cannot set TCP_USER_TIMEOUT")?;
    let mut stream = TimeoutStream::new(TcpStream::from_std(stream)?);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let state = Rc::new(Cell::new(State::Fresh));
    let answer = service_fn(|request| {
        // The request runs until its answer has been sent.
        let busy = place.begin();
        let answer = answer(Rc::clone(service), Rc::clone(&state), request);
        async { answer.await.map(|response| until_sent(response, busy)) }
    });
    let mut phases = service.shared.phase.subscribe();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(Box::pin(stream)), answer);
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            // The client sees a connection that breaks, so the error is not logged.
            _ = connection.as_mut() => return Ok(()),
            _ = phases.changed() => {}
            () = place.asked_to_leave() => {
                match state.get() {
                    // Where no request has come, there is nothing to finish.
                    State::Fresh => return Ok(()),
                    State::Used => connection.as_mut().graceful_shutdown(),
                    State::Live => {}
                }
                continue;
            }
        }
        match (*phases.borrow_and_update(), state.get()) {
            (Phase::Ending, State::Live) => return Ok(()),
            // Its request may be on the way, and its answer will close it.
            (Phase::Draining, State::Fresh) => {}
            (Phase::Ending, State::Fresh) => {
                let ended = tokio::time::timeout(LAST_MOMENT, connection.as_mut()).await;
                if ended.is_ok() || state.get() == State::Fresh {
                    return Ok(());
                }
            }
            _ => connection.as_mut().graceful_shutdown(),
        }
    }
}

/// Lets the kernel end a connection whose client acknowledges nothing for so long (RFC 5482).
#[cfg(target_os = "linux")]
fn give_up_after(stream: &net::TcpStream, silence: Duration) -> std::io::Result<()> {
    let milliseconds = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds)?)
}

#[cfg(not(target_os = "linux"))]
fn give_up_after(_: &net::TcpStream, _: Duration) -> std::io::Result<()> {
    Ok(())
}

/// The state of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No request has come yet.
    Fresh,
    /// It has answered a request, or is answering one.
    Used,
    /// It sends a live stream.
    Live,
}

async fn answer(
    service: Rc<Service>,
    state: Rc<Cell<State>>,
    request: http::Request<Incoming>,
) -> Result<Response, Infallible> {
    state.set(State::Used);
    let running = service.shared.requests.begin();
    let (path, began) = (request.uri().path().to_owned(), Instant::now());
    let waiting = Counted::new(&METRICS.waiting);
    let mut response = respond(&service, request).await;
    drop(waiting);
    METRICS.answered(&path, response.status(), began);
    if *service.shared.phase.borrow() != Phase::Serving {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if is_live_stream(&response) {
        state.set(State::Live);
        return Ok(response.map(|body| UnsyncBoxBody::new(Following::new(body))));
    }
    Ok(until_sent(response, (running, Counted::new(&METRICS.answering))))
}

/// Holds something until the body of a response has been sent.
fn until_sent(response: Response, held: impl Send + 'static) -> Response {
    response.map(|body| UnsyncBoxBody::new(body.map_frame(move |frame| (frame, &held).0)))
}

/// The answer of the component that the path leads to, or the host's own.
async fn respond(service: &Service, request: http::Request<Incoming>) -> Response {
    let fault = fault(&request);
    let request = SharedBody::of(request);
    let body = request.body().clone();
    let component = service.application.routes.find(request.uri().path());
    let refusal = match (fault, component) {
        (Some((kind, detail)), _) => problem(kind, detail),
        (None, Some(component)) => match service.instances[component].handle(request).await {
            Ok(response) => return response,
            Err(Unanswered::Overloaded) => {
                sekali_common::log::error(kinds::OVERLOADED.name, "too many requests wait for an instance");
                overloaded()
            }
            Err(Unanswered::Failed(error)) => {
                sekali_common::log::error("request", format_args!("a request got no answer: {error:#}"));
                problem(kinds::INTERNAL, INTERNAL_DETAIL)
            }
        },
        (None, None) => problem(kinds::NOT_FOUND, NOT_FOUND_DETAIL),
    };
    body.drain();
    refusal
}

/// The fault of a request that no component may see: it has no host, or it is not clear which (RFC 9112, section 3.2),
/// or it asks for a proxy.
fn fault<B>(request: &http::Request<B>) -> Option<(Kind, &'static str)> {
    if request.method() == Method::CONNECT {
        return Some((kinds::MALFORMED_REQUEST, "the method CONNECT asks for a proxy, and this is none"));
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let is_valid = |host: &HeaderValue| host.is_empty() || Authority::try_from(host.as_bytes()).is_ok();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Some((kinds::INVALID_HEADER, "header 'host' is given more than once")),
        (Some(host), _) if !is_valid(host) => {
            Some((kinds::INVALID_HEADER, "header 'host' is neither a name nor an address"))
        }
        (None, _) if request.version() > Version::HTTP_10 && request.uri().authority().is_none() => {
            Some((kinds::INVALID_HEADER, "header 'host' is required"))
        }
        _ => None,
    }
}

/// True for server-sent events, which have no end of their own (HTML standard, section 9.2).
fn is_live_stream(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// The answer to a request that no component answered.
fn problem(kind: Kind, detail: &str) -> Response {
    let document = Bytes::from(kind.document(detail));
    let length = document.len();
    let body = Full::new(document).map_err(|never| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(body.map_err(|never: Error| never)));
    *response.status_mut() = StatusCode::from_u16(kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}

/// The answer to a request for which no instance has room.
fn overloaded() -> Response {
    let mut response =
        problem(kinds::OVERLOADED, "the host has no room for more requests at the moment; try again in 1 s");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::places::Places;

    /// A service whose routes lead to nothing, but for `/ended`, which leads to an instance that has ended, `/busy`, to
    /// one whose queue is full, and `/gone`, whose instances do not exist.
    fn service() -> Rc<Service> {
        let mut routes = Routes::default();
        routes.add("/ended", 0).unwrap();
        routes.add("/busy", 1).unwrap();
        routes.add("/gone", 2).unwrap();
        Rc::new(Service {
            application: Arc::new(Application { programs: vec![], routes }),
            shared: Arc::new(Shared::new()),
            instances: vec![Instances::ended(), Instances::busy()],
        })
    }

    /// Connects to a service.
    async fn connect(service: &Rc<Service>) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = listener.accept().await.unwrap().0.into_std().unwrap();
        let place = Places::new(1).take().await;
        let arrival = Arrival { stream, place, _counted: Connected::new(&service.shared) };
        tokio::task::spawn_local(connection(arrival, Rc::clone(service)));
        client
    }

    /// Sends a request to its end, and reads until the connection ends.
    async fn ask(service: &Rc<Service>, head: &str, body: &[u8]) -> String {
        let mut client = connect(service).await;
        let head = format!("{head}\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(body).await.expect("the server takes the whole body");
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_secs(30), client.read_to_string(&mut answer)).await;
        read.expect("the connection ends").expect("it ends in order");
        answer
    }

    #[tokio::test]
    async fn an_answer_of_the_host_before_the_end_of_the_body_is_heard() {
        let body = vec![b' '; 9 << 20];
        LocalSet::new()
            .run_until(async {
                for (path, status) in [("/nothing", 404), ("/ended", 500), ("/busy", 503)] {
                    let head = format!("POST {path} HTTP/1.1\r\nconnection: close");
                    let answer = ask(&service(), &head, &body).await;
                    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
                    assert!(answer.contains("\"type\":\"/problems/"), "{answer}");
                    assert!(answer.contains("\r\ncontent-length: "), "{answer}");
                    assert_eq!(answer.contains("\r\nretry-after: 1\r\n"), status == 503, "{answer}");
                }
            })
            .await;
    }

    #[test]
    fn a_request_without_one_host_is_refused_and_so_is_one_for_a_proxy() {
        let named = |version, method, hosts: &[&str]| {
            let mut request = http::Request::builder().version(version).method(method).uri("/");
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            fault(&request.body(()).unwrap()).map(|(kind, _)| kind.name)
        };
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        for (version, method, hosts, expected) in [
            (new, "GET", &["a.example:80"][..], None),
            (new, "GET", &[""], None),
            (old, "GET", &[], None),
            (new, "GET", &[], Some("invalid-header")),
            (new, "GET", &["a", "a"], Some("invalid-header")),
            (old, "GET", &["a", "b"], Some("invalid-header")),
            (new, "GET", &["a/b"], Some("invalid-header")),
            (new, "CONNECT", &["a"], Some("malformed-request")),
        ] {
            assert_eq!(named(version, method, hosts), expected, "{version:?} {method} {hosts:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_waits_for_100_continue_is_not_asked_for() {
        LocalSet::new()
            .run_until(async {
                let mut client = connect(&service()).await;
                let head =
                    "POST /nothing HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
                client.write_all(head.as_bytes()).await.unwrap();
                let (mut answer, asked) = (String::new(), Instant::now());
                client.read_to_string(&mut answer).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 404 ") && asked.elapsed() < LAST_REQUESTS, "{answer}");
            })
            .await;
    }

    #[tokio::test]
    async fn an_answer_of_the_host_ends_its_connection_while_the_server_ends() {
        LocalSet::new()
            .run_until(async {
                for path in ["/nothing", "/ended"] {
                    let service = service();
                    service.shared.phase.send_replace(Phase::Draining);
                    let answer = ask(&service, &format!("GET {path} HTTP/1.1"), b"").await;
                    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
                }
            })
            .await;
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_kernel_gives_up_a_client_that_acknowledges_nothing() {
        LocalSet::new()
            .run_until(async {
                let (service, places) = (service(), Places::new(1));
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let stream = listener.accept().await.unwrap().0.into_std().unwrap();
                let same = stream.try_clone().unwrap();
                let served = tokio::task::spawn_local(async move {
                    serve(stream, Arc::new(places.take().await), &service).await
                });
                client.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
                client.readable().await.unwrap();
                let silence = rustix::net::sockopt::tcp_user_timeout(&same).unwrap();
                assert_eq!(u128::from(silence), SILENCE.as_millis());
                drop(client);
                served.await.unwrap().unwrap();
            })
            .await;
    }

    #[tokio::test]
    async fn a_connection_is_counted_until_it_ends_also_by_a_panic() {
        LocalSet::new()
            .run_until(async {
                let service = service();
                let connections = || service.shared.connections.load(Ordering::Relaxed);
                let idle = connect(&service).await;
                assert_eq!(connections(), 1);
                assert_eq!(ask(&service, "GET /gone HTTP/1.1", b"").await, "", "its task panics");
                assert_eq!(connections(), 1);
                drop(idle);
                while connections() > 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
    }
}
