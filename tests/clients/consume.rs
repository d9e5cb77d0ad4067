//! docs/CONSUMERS.md, and the consumers of examples/: each is killed between an effect and its commit, loses an answer and
//! a claim, and has done everything once.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sekali_harness::postgres::Postgres;
use sekali_harness::process::Signal;
use sekali_harness::{Answer, Server, eventually};
use serde_json::{Value, json};

use crate::produce::compile;
use crate::readme::assert_examples;
use crate::{installed, repository};

/// What happens at a commit, in their order. Later ones pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The consumer is killed before the service hears of it: its effects are done, and come again.
    KillBefore,
    /// It is killed before it hears that it is kept.
    KillBehind,
    /// It gets no answer, and has to ask again.
    LoseAnswer,
    Pass,
}

const TURNS: [Turn; 6] =
    [Turn::KillBefore, Turn::Pass, Turn::KillBehind, Turn::LoseAnswer, Turn::KillBefore, Turn::Pass];

/// Customers and cents, by what a consumer did for its events.
type Sums = BTreeMap<String, i64>;

/// Somebody for whom nothing can be done at first.
const NOBODY: &str = "nobody";

/// A consumer of examples/, and what it does.
struct Example<'a> {
    /// The name of its consumer.
    name: &'a str,
    /// The program; it gets the URL of the service, and then the rest.
    program: Vec<String>,
    rest: Vec<String>,
    /// What was done.
    sums: &'a (dyn Fn(&Server) -> Sums + Sync),
    /// Lets what failed for [`NOBODY`] succeed; none if it does not fail.
    mend: Option<&'a (dyn Fn() + Sync)>,
}

/// A request as it came: its method, path and body.
struct Request(String, String, Vec<u8>);

impl Request {
    /// Reads one; `None` at a connection without.
    fn read(stream: &TcpStream) -> Option<(Self, Vec<String>)> {
        let mut reader = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut length = 0;
        for line in &lines {
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let mut words = lines[0].split(' ').map(str::to_owned);
        Some((Self(words.next()?, words.next()?, body), lines))
    }
}

/// The consumer at work, behind a proxy.
struct Proxied<'a> {
    example: &'a Example<'a>,
    server: &'a Server,
    address: SocketAddr,
    process: Mutex<Option<Child>>,
    commits: Mutex<Vec<u16>>,
    /// While it is set, the answer to a claim waits until another holder has done all of it.
    holds_claims: AtomicBool,
    /// True when it waits.
    holds_one: AtomicBool,
    has_ended: AtomicBool,
}

impl Proxied<'_> {
    fn start(&self) {
        let child = start(self.example, &format!("http://{}", self.address), "first");
        *self.process.lock().unwrap() = Some(child);
    }

    fn kill(&self) {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Takes one request to its end.
    fn take(&self, stream: TcpStream) {
        let Some((Request(method, path, body), _)) = Request::read(&stream) else { return };
        let turn = match path.ends_with("/commit") {
            true => TURNS.get(self.commits.lock().unwrap().len()).copied().unwrap_or(Turn::Pass),
            false => Turn::Pass,
        };
        if turn == Turn::KillBefore {
            self.commits.lock().unwrap().push(0);
            self.kill();
            return self.start();
        }
        let headers = [("content-type", "application/json")];
        let answer = self.server.send(&method, &path, &headers, &body);
        if path.ends_with("/commit") {
            self.commits.lock().unwrap().push(answer.status);
        }
        if path.ends_with("/claim") && answer.status == 200 && self.holds_claims.load(Ordering::SeqCst) {
            self.holds_one.store(true, Ordering::SeqCst);
            eventually("another holder does all of it", || {
                let status = self.status();
                (status["lag"] == 0 && status["claims"] == json!([])).then_some(())
            });
        }
        match turn {
            Turn::KillBehind => {
                self.kill();
                self.start();
            }
            Turn::LoseAnswer => {}
            _ => respond(&stream, &answer),
        }
    }

    fn status(&self) -> Value {
        self.server.get(&format!("/consumers/{}", self.example.name)).json()
    }
}

fn start(example: &Example<'_>, url: &str, holder: &str) -> Child {
    let mut command = Command::new(&example.program[0]);
    command.args(&example.program[1..]).arg(url).args(&example.rest);
    command.env("NO_PROXY", "127.0.0.1").env("HOLDER", holder).stderr(Stdio::null()).spawn().unwrap()
}

fn respond(mut stream: &TcpStream, answer: &Answer) {
    let (status, length) = (answer.status, answer.text.len());
    let kind = answer.header("content-type").unwrap_or("text/plain");
    let retry = answer.header("retry-after").map(|value| format!("retry-after: {value}\r\n"));
    let head = format!("HTTP/1.1 {status} Passed\r\ncontent-type: {kind}\r\nconnection: close\r\n");
    let length = if status == 204 { String::new() } else { format!("content-length: {length}\r\n") };
    // It may have been killed.
    let _ = write!(stream, "{head}{length}{}\r\n{}", retry.unwrap_or_default(), answer.text);
}

/// However a test ends, its processes and its proxy end with it.
struct End<'a>(&'a Proxied<'a>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::SeqCst);
        self.0.kill();
        let _ = TcpStream::connect(self.0.address);
        // A claim that waits would keep the proxy for so long.
        self.0.server.send("DELETE", &format!("/consumers/{}", self.0.example.name), &[], b"");
    }
}

/// Orders of four customers in three topics. One of them is of nobody.
fn orders(ids: std::ops::Range<i64>) -> Vec<Value> {
    let order = |id: i64| {
        let customer = if id == 13 { NOBODY } else { ["ann", "bob", "cem", "dee"][id as usize % 4] };
        let payload = json!({"customer": customer, "cents": id * id + 1});
        json!({"topic": format!("orders.{}", ["web", "shop", "phone"][id as usize % 3]), "event_id": id.to_string(),
            "timestamp": "2026-11-21T08:00:00Z", "payload": payload})
    };
    ids.map(order).collect()
}

/// What has to be done for orders.
fn sums_of<'a>(orders: impl IntoIterator<Item = &'a Value>) -> Sums {
    let mut sums = Sums::new();
    for order in orders {
        let payload = &order["payload"];
        let customer = payload["customer"].as_str().unwrap().to_owned();
        *sums.entry(customer).or_default() += payload["cents"].as_i64().unwrap();
    }
    sums
}

#[track_caller]
fn assert_each_once(example: &Example<'_>) {
    let server = Server::start();
    let first = orders(0..40);
    server.publish(&json!(first));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxied = &Proxied {
        example,
        server: &server,
        address: listener.local_addr().unwrap(),
        process: Mutex::default(),
        commits: Mutex::default(),
        holds_claims: AtomicBool::default(),
        holds_one: AtomicBool::default(),
        has_ended: AtomicBool::default(),
    };
    thread::scope(|scope| {
        scope.spawn(move || {
            for stream in listener.incoming() {
                if proxied.has_ended.load(Ordering::SeqCst) {
                    return;
                }
                scope.spawn(move || proxied.take(stream.unwrap()));
            }
        });
        let _end = End(proxied);
        proxied.start();
        if let Some(mend) = example.mend {
            let failed = eventually("one order fails, and the others behind it wait", || {
                let status = proxied.status();
                let is_behind = status["lag"] == 0 || status["specification"]["order"] == "total";
                let is_idle = status["claims"] == json!([]) && status["parked"] == 1 && is_behind;
                is_idle.then(|| failures(&server, example.name))
            });
            let done =
                first.iter().zip(1..).filter(|(_, seq)| !failed.contains_key(seq) && is_tried(proxied, *seq));
            assert_eq!((example.sums)(&server), sums_of(done.map(|(order, _)| order)));
            assert!(failed[&14].contains(NOBODY), "{failed:?}");
            mend();
            let path = format!("/consumers/{}/retry", example.name);
            server.send("POST", &path, &[], br#"{"state":"parked"}"#);
        }
        settled(proxied);
        assert_eq!((example.sums)(&server), sums_of(&first));
        let commits = proxied.commits.lock().unwrap().len();
        assert!(commits >= TURNS.len(), "{commits} commits");

        // A holder goes on with a claim that it has lost, of which another one has done all.
        let lease = br#"{"lease":1}"#;
        assert_eq!(server.send("PUT", &format!("/consumers/{}", example.name), &[], lease).status, 200);
        proxied.holds_claims.store(true, Ordering::SeqCst);
        let second = orders(40..48);
        server.publish(&json!(second));
        eventually("the first has a claim", || proxied.holds_one.load(Ordering::SeqCst).then_some(()));
        let mut other = start(example, &server.url(""), "other");
        settled(proxied);
        proxied.holds_claims.store(false, Ordering::SeqCst);
        eventually("it hears that its claim is lost", || {
            proxied.commits.lock().unwrap().contains(&409).then_some(())
        });
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!((example.sums)(&server), sums_of(first.iter().chain(&second)));
    });
    server.assert_books_balance();
}

/// The reasons of failures by their seqs.
fn failures(server: &Server, name: &str) -> BTreeMap<i64, String> {
    let listed = server.get(&format!("/consumers/{name}/failed")).json()["failed"].clone();
    let reason = |failure: &Value| (failure["seq"].as_i64().unwrap(), failure["reason"].to_string());
    listed.as_array().unwrap().iter().map(reason).collect()
}

/// True for an event that was given out.
fn is_tried(proxied: &Proxied<'_>, seq: i64) -> bool {
    proxied.status()["position"].as_i64() >= Some(seq)
}

/// Waits until everything is done.
fn settled(proxied: &Proxied<'_>) {
    eventually("everything is done", || {
        let status = proxied.status();
        let is_done = ["lag", "parked", "waiting"].iter().all(|name| status[*name] == 0);
        (is_done && status["claims"] == json!([])).then_some(())
    });
}

fn python(example: &str) -> Vec<String> {
    vec!["python3".into(), repository(example).display().to_string()]
}

#[test]
#[ignore = "needs Python"]
fn effects_in_sqlite_are_there_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accounts.db");
    let database = || rusqlite::Connection::open(&path).unwrap();
    database()
        .execute_batch(
            "create table accounts (customer text primary key, owed integer not null default 0);
            insert into accounts (customer) values ('ann'), ('bob'), ('cem'), ('dee')",
        )
        .unwrap();
    let sums = |_: &Server| {
        let database = database();
        let mut statement = database.prepare("select customer, owed from accounts where owed > 0").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let mend = || _ = database().execute("insert into accounts (customer) values (?1)", [NOBODY]).unwrap();
    assert_each_once(&Example {
        name: "accounts",
        program: python("examples/consume.py"),
        rest: vec![path.display().to_string()],
        sums: &sums,
        mend: Some(&mend),
    });
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn effects_in_postgresql_are_there_once_and_in_order() {
    // Beside the driver, which it imports.
    let built = tempfile::tempdir_in(installed("node_modules").parent().unwrap()).unwrap();
    let source = built.path().join("consume.mts");
    std::fs::copy(repository("examples/consume.mts"), &source).unwrap();
    compile(&source, built.path());

    let postgres = Postgres::shared().unwrap();
    let database = postgres.create_database().unwrap();
    let query = |text: &str| postgres.query(&database, text).unwrap();
    query("create table accounts (customer text primary key, owed bigint not null default 0)");
    query("insert into accounts (customer) values ('ann'), ('bob'), ('cem'), ('dee')");
    let sums = |_: &Server| {
        let sums = "select json_object_agg(customer, owed) filter (where owed > 0) from accounts";
        serde_json::from_str(&query(sums)).unwrap()
    };
    let mend = || _ = query(&format!("insert into accounts (customer) values ('{NOBODY}')"));
    assert_each_once(&Example {
        name: "ledger",
        program: vec!["node".into(), built.path().join("consume.mjs").display().to_string()],
        rest: vec![postgres.url(&database)],
        sums: &sums,
        mend: Some(&mend),
    });
}

/// An example at work, until the test ends.
struct Running(Child);

impl Running {
    fn start(server: &Server, program: Vec<String>, rest: Vec<String>) -> Self {
        let sums = |_: &Server| Sums::new();
        Self(start(&Example { name: "", program, rest, sums: &sums, mend: None }, &server.url(""), "one"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Waits until a consumer has done everything. Nothing failed, and nothing was taken from it but what it gave back.
#[track_caller]
fn all_is_done(server: &Server, name: &str, redelivered: bool) {
    let status = eventually("everything is done", || {
        let status = server.get(&format!("/consumers/{name}")).json();
        let failed = ["parked", "waiting", "dead"].map(|name| status[name].as_i64().unwrap_or_default());
        assert_eq!(failed, [0; 3], "{status}");
        (status["lag"] == 0 && status["claims"] == json!([])).then_some(status)
    });
    assert_eq!(status["redelivered"] != 0, redelivered, "{status}");
}

#[test]
#[ignore = "needs Python"]
fn effects_that_take_longer_than_the_lease_are_done_all_the_same() {
    let server = Server::start();
    server.publish(&json!(orders(0..10)));
    let specification = br#"{"topics":["orders.*"],"lease":2}"#;
    assert_eq!(server.send("PUT", "/consumers/mails", &[], specification).status, 201);
    let endpoint = Endpoint::start(Duration::from_millis(500));
    let url = format!("http://{}/send", endpoint.address);
    let _example = Running::start(&server, python("examples/notify.py"), vec![url]);
    all_is_done(&server, "mails", false);
    assert_eq!(endpoint.calls.lock().unwrap().len(), 10);
}

#[test]
#[ignore = "needs Python"]
fn an_endpoint_that_is_away_is_waited_for() {
    let server = Server::start();
    server.publish(&json!(orders(0..10)));
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}/send");
    let _example = Running::start(&server, python("examples/notify.py"), vec![url]);
    // It has tried more than once.
    eventually("it gave its claim back", || {
        (server.get("/consumers/mails").json()["redelivered"].as_i64() > Some(0)).then_some(())
    });
    let endpoint = Endpoint::at(TcpListener::bind(address).unwrap(), Duration::ZERO);
    all_is_done(&server, "mails", true);
    assert_eq!(sums_of(&endpoint.done()), sums_of(&orders(0..10)));
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn a_database_that_is_away_is_waited_for() {
    let built = tempfile::tempdir_in(installed("node_modules").parent().unwrap()).unwrap();
    let source = built.path().join("consume.mts");
    std::fs::copy(repository("examples/consume.mts"), &source).unwrap();
    compile(&source, built.path());
    let mut postgres = Postgres::start().unwrap();
    let database = postgres.create_database().unwrap();
    let query = |postgres: &Postgres, text: &str| postgres.query(&database, text).unwrap();
    query(&postgres, "create table accounts (customer text primary key, owed bigint not null default 0)");
    query(&postgres, "insert into accounts (customer) values ('ann'), ('bob'), ('cem'), ('dee')");
    let server = Server::start();
    let program = vec!["node".into(), built.path().join("consume.mjs").display().to_string()];
    let _example = Running::start(&server, program, vec![postgres.url(&database)]);
    eventually("it has begun", || (server.get("/consumers/ledger").status == 200).then_some(()));
    postgres.stop(Signal::QUIT);
    server.publish(&json!(orders(0..10)));
    eventually("it gave its claim back", || {
        (server.get("/consumers/ledger").json()["redelivered"].as_i64() > Some(0)).then_some(())
    });
    postgres.run().unwrap();
    all_is_done(&server, "ledger", true);
    let sum: i64 = query(&postgres, "select sum(owed) from accounts").trim().parse().unwrap();
    assert_eq!(sum, sums_of(&orders(0..10)).values().sum::<i64>());
}

/// A service that does what it is asked once for each key.
struct Endpoint {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<(String, Value)>>>,
    refuses: Arc<AtomicBool>,
}

impl Endpoint {
    /// One that refuses what is for nobody, at first, and takes so long for each request.
    fn start(pause: Duration) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap(), pause)
    }

    fn at(listener: TcpListener, pause: Duration) -> Self {
        let address = listener.local_addr().unwrap();
        let (calls, refuses) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(AtomicBool::new(true)));
        let endpoint = Self { address, calls: calls.clone(), refuses: refuses.clone() };
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Some((Request(_, _, body), lines)) = Request::read(&stream) else { continue };
                thread::sleep(pause);
                let key = lines.iter().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("idempotency-key").then(|| value.to_owned())
                });
                let body: Value = serde_json::from_slice(&body).unwrap();
                let is_refused = body["customer"] == NOBODY && refuses.load(Ordering::SeqCst);
                let status = if is_refused { "422 unknown customer nobody" } else { "200 OK" };
                if !is_refused {
                    calls.lock().unwrap().push((key.unwrap(), body));
                }
                let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        endpoint
    }

    /// What it did: each key once. The same key is always for the same.
    fn done(&self) -> Vec<Value> {
        let mut done = BTreeMap::<String, Value>::new();
        for (key, body) in self.calls.lock().unwrap().iter() {
            assert_eq!(done.entry(key.clone()).or_insert_with(|| body.clone()), body, "{key}");
        }
        done.into_values().map(|body| json!({"payload": body})).collect()
    }
}

#[test]
#[ignore = "needs Python"]
fn effects_by_http_have_the_same_key_whenever_they_come_again() {
    let endpoint = Endpoint::start(Duration::ZERO);
    assert_each_once(&Example {
        name: "mails",
        program: python("examples/notify.py"),
        rest: vec![format!("http://{}/send", endpoint.address)],
        sums: &|_| sums_of(&endpoint.done()),
        mend: Some(&|| endpoint.refuses.store(false, Ordering::SeqCst)),
    });
    let calls = endpoint.calls.lock().unwrap().len();
    assert!(calls > endpoint.done().len(), "none came again");
}

#[test]
#[ignore = "needs Python"]
fn effects_that_are_events_are_stored_once() {
    let invoices = |server: &Server| server.get("/events?topic=invoices").json().as_array().unwrap().clone();
    let sums = |server: &Server| {
        let stats = server.get("/stats?topic=invoices").json()["by_topic"][0].clone();
        assert!(stats["duplicate_dropped"].as_i64() > Some(0) && stats["conflicts"] == 0, "{stats}");
        sums_of(&invoices(server))
    };
    assert_each_once(&Example {
        name: "invoices",
        program: python("examples/derive.py"),
        rest: vec![],
        sums: &sums,
        mend: None,
    });
}

#[test]
#[ignore = "needs curl and jq"]
fn every_command_of_the_document_prints_what_it_says() {
    let document = std::fs::read_to_string(repository("docs/CONSUMERS.md")).unwrap();
    assert_examples(&document, 14, &Server::start(), &repository("."), &[]);
}
