//! One connection: its requests one after another, until it ends or is asked to.

use std::cell::Cell;
use std::convert::Infallible;
use std::net;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http::{HeaderValue, header};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::service::Service;
use crate::ending::Phase;
use crate::following::Following;
use crate::instance::Response;
use crate::metrics::{Counted, METRICS};
use crate::places::Place;

/// The time that a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The time in which a client has to take some of its answer. A component has the same limit, but does not know what is
/// in the buffers of the connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// The time after which a client that acknowledges nothing is gone. The kernel's own is a quarter of an hour. A live
/// stream has a comment every 15 seconds, so a follower that vanishes without a word holds its place for less than a
/// minute. A client that lives, but whose buffers have been full for so long, counts as gone, too.
const SILENCE: Duration = Duration::from_secs(40);

/// The time that the first request of a new connection may take to come once the listener is closed.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// A connection that nobody serves yet.
pub struct Arrival {
    /// Its socket.
    pub stream: net::TcpStream,
    /// Its place among the connections of the host.
    pub place: Place,
    /// Counts the connection until it ends, or its task panics.
    pub counted: TaskTrackerToken,
}

/// Serves a connection to its end.
pub async fn run(arrival: Arrival, service: Rc<Service>) {
    let Arrival { stream, place, counted: _counted } = arrival;
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
    let mut response = service.respond(request).await;
    drop(waiting);
    METRICS.answered(&path, &response, began);
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

/// True for server-sent events, which have no end of their own (HTML standard, section 9.2).
fn is_live_stream(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;
    use crate::places::Places;
    use crate::worker::LAST_REQUESTS;

    fn service() -> Rc<Service> {
        Rc::new(Service::without_programs())
    }

    /// Connects to a service.
    async fn connect(service: &Rc<Service>) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = listener.accept().await.unwrap().0.into_std().unwrap();
        let place = Places::new(1).take().await;
        let arrival = Arrival { stream, place, counted: service.shared.connections.token() };
        tokio::task::spawn_local(run(arrival, Rc::clone(service)));
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
                let connections = || service.shared.connections.len();
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
