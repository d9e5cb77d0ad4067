//! A deployment as a test wants it. All of it panics where a test has failed.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::deployment::{Deployment, Setup, Store};
use crate::postgres::Postgres;

/// True if the component is tested on a real Spin.
pub fn is_on_spin() -> bool {
    std::env::var_os("SPIN").is_some()
}

/// True on a Spin, after telling why a test is skipped there.
pub fn is_skipped_on_spin(reason: &str) -> bool {
    let is_spin = is_on_spin();
    if is_spin {
        tell_skipped("on Spin", reason);
    }
    is_spin
}

/// True where the store is PostgreSQL, after telling why a test is skipped there.
pub fn is_skipped_on_postgres(reason: &str) -> bool {
    let is_postgres = Store::from_environment().is_ok_and(|store| store == Store::Postgres);
    if is_postgres {
        tell_skipped("on PostgreSQL", reason);
    }
    is_postgres
}

/// Tells where the present test is skipped, and why.
///
/// What a test prints is hidden where it passes, so it is also written to the file that the variable
/// `SEKALI_SKIPPED` names: `scripts/test` shows it at its end.
pub fn tell_skipped(place: &str, reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("skipped {place}: {test}: {reason}");
    if let Some(path) = std::env::var_os("SEKALI_SKIPPED") {
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        // Of one piece: other tests write, too.
        file.write_all(format!("{test} ({place}: {reason})\n").as_bytes()).unwrap();
    }
}

/// Tries something until it succeeds, for as long as a loaded machine may need.
#[track_caller]
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "not within two minutes: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running Sekali with state of its own.
pub struct Server {
    deployment: Deployment,
    agent: ureq::Agent,
}

/// An answer of a server.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: ureq::http::HeaderMap,
    /// Its body.
    pub text: String,
}

impl Answer {
    /// Its body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }

    /// The value of a header, if it has one.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Asserts that this is a problem of this kind, in the form of RFC 9457, and returns its body.
    #[track_caller]
    pub fn problem(&self, status: u16, name: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{name}"));
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }
}

impl Server {
    /// A server with the settings of spin.toml.
    pub fn start() -> Self {
        Self::with_variables(&[])
    }

    /// A server with other settings.
    pub fn with_variables(variables: &[(&str, &str)]) -> Self {
        Self::with(variables, &[])
    }

    /// A server with other settings, and more arguments for its host.
    pub fn with(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut setup = Setup::from_environment().unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        setup.variables = variables.iter().map(owned).collect();
        setup.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self::of(setup)
    }

    /// A server as a setup describes it.
    pub fn of(setup: Setup) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        Self { deployment: setup.start().unwrap(), agent }
    }

    /// Kills the server as a crash would, and starts it again on the same state.
    pub fn crash_and_restart(&mut self) {
        self.crash_while(|_| ());
    }

    /// Kills the server, calls `meanwhile` with the directory of its state, and starts it again where it was.
    pub fn crash_while<T>(&mut self, meanwhile: impl FnOnce(&Path) -> T) -> T {
        self.deployment.crash_while(meanwhile).unwrap()
    }

    /// Kills the server, removes all that it stored, and starts it again where it was.
    pub fn crash_and_forget(&mut self) {
        let database = self.postgres();
        self.crash_while(|state| {
            if let Some((postgres, name)) = database {
                postgres.query(&name, "drop schema sekali cascade").unwrap();
            }
            for entry in fs::read_dir(state).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
            }
        });
    }

    /// Sends SIGTERM to the server.
    pub fn ask_to_end(&self) {
        self.deployment.ask_to_end();
    }

    /// Waits until the server has ended.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        self.deployment.wait_for_end().unwrap()
    }

    /// The address that it serves at.
    pub fn address(&self) -> SocketAddr {
        self.deployment.address()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// The database of its events on PostgreSQL: its server and name. `None` on SQLite.
    pub fn postgres(&self) -> Option<(&'static Postgres, String)> {
        self.deployment.postgres()
    }

    /// The file of its database.
    pub fn database(&self) -> PathBuf {
        self.deployment.database()
    }

    /// The file of its key-value store.
    pub fn key_value(&self) -> PathBuf {
        self.deployment.key_value()
    }

    /// All that the server has printed since its last start.
    pub fn log(&self) -> String {
        self.deployment.log()
    }

    /// The id of its process.
    pub fn process_id(&self) -> u32 {
        self.deployment.process_id()
    }

    /// The most memory that the server ever held, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.deployment.memory().unwrap().peak
    }

    /// A connection of its own.
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).unwrap()
    }

    /// Sends a GET.
    pub fn get(&self, path: &str) -> Answer {
        read(self.agent.get(self.url(path)).call())
    }

    /// Sends a HEAD.
    pub fn head(&self, path: &str) -> Answer {
        read(self.agent.head(self.url(path)).call())
    }

    /// Publishes an event or an array of events as JSON.
    pub fn publish(&self, events: &Value) -> Answer {
        self.publish_as("application/json", events.to_string())
    }

    /// Publishes a body of another content type.
    pub fn publish_as(&self, content_type: &str, body: impl AsRef<[u8]>) -> Answer {
        let request = self.agent.post(self.url("/publish")).header("content-type", content_type);
        read(request.send(body.as_ref()))
    }

    /// Sends a request with any method and headers, and a body of its own making.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).unwrap();
        let request = self.agent.configure_request(request).allow_non_standard_methods(true).build();
        read(self.agent.run(request))
    }

    /// Sends bytes as they are, closes that direction and returns all that comes back.
    pub fn send_raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer); // a reset is an answer, too
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a GET, reads the status and leaves the rest of the answer unread.
    pub fn ask(&self, path: &str) -> (u16, TcpStream) {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut start = [0; "HTTP/1.1 200".len()];
        stream.read_exact(&mut start).unwrap();
        (std::str::from_utf8(&start[9..]).unwrap().parse().unwrap(), stream)
    }

    /// A live stream that has begun.
    pub fn connect_follower(&self, path: &str) -> TcpStream {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n").unwrap();
        let mut start = [0; "HTTP/1.1 200".len()];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        stream
    }

    /// Begins to publish a body of `length` bytes, and stops after so many.
    pub fn stall(&self, length: usize, sent: usize) -> TcpStream {
        let mut stream = self.connect();
        write!(stream, "POST /publish HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n").unwrap();
        stream.write_all(&vec![b' '; sent]).unwrap();
        stream
    }

    /// All events that are stored, in the order of seq.
    pub fn events(&self) -> Vec<Value> {
        let answer = self.get("/events");
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json().as_array().unwrap().clone()
    }

    /// The answer of `/stats`.
    pub fn stats(&self) -> Value {
        let answer = self.get("/stats");
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// Asserts that every delivery is accounted for, in total and by topic, and that the account
    /// agrees with the events that can be read back, which are fewer when some have expired or were erased.
    #[track_caller]
    pub fn assert_books_balance(&self) {
        let (stats, events) = (self.stats(), self.events());
        let number = |value: &Value| value.as_i64().unwrap();
        let check = |account: &Value, events: &[&Value]| {
            let sum = |field: &str| events.iter().map(|event| number(&event[field])).sum::<i64>();
            let gone = number(&account["expired"]) + number(&account["erased"]);
            assert_eq!(number(&account["unique_processed"]) - gone, events.len() as i64, "{account}");
            if gone == 0 {
                assert_eq!(number(&account["received"]), sum("deliveries"), "{account}");
                assert_eq!(number(&account["conflicts"]), sum("conflicts"), "{account}");
            }
            assert_eq!(
                number(&account["received"]),
                number(&account["unique_processed"]) + number(&account["duplicate_dropped"]),
                "{account}"
            );
            let last_seq = events.last().map_or(0, |event| number(&event["seq"]));
            assert!(number(&account["last_seq"]) == last_seq || gone > 0, "{account}");
        };
        check(&stats, &events.iter().collect::<Vec<_>>());
        for account in stats["by_topic"].as_array().unwrap() {
            let of_topic: Vec<_> = events.iter().filter(|event| event["topic"] == account["topic"]).collect();
            check(account, &of_topic);
        }
        let named: Vec<_> =
            stats["by_topic"].as_array().unwrap().iter().map(|account| account["topic"].clone()).collect();
        assert_eq!(stats["topics"], Value::from(named));
    }
}

#[track_caller]
fn read(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let (head, mut body) = response.unwrap().into_parts();
    let text = body.with_config().limit(u64::MAX).read_to_string().unwrap();
    Answer { status: head.status.as_u16(), headers: head.headers, text }
}
