//! The producers of examples/, each behind a proxy that loses an answer and gives others which are not the service's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sekali_harness::Server;
use sekali_harness::server::tell_skipped;

use crate::{installed, repository, run};

/// What the proxy does with a request.
#[derive(Clone, Copy)]
enum Turn {
    /// Hands it on, and its answer back.
    Pass,
    /// Hands it on, and closes the connection in place of an answer.
    LoseAnswer,
    /// Answers it in place of the service, with more lines in the head.
    Answer(&'static str, &'static str),
}

/// What happens to the requests for three orders, in their order. Later ones pass.
const TURNS: [Turn; 8] = [
    Turn::LoseAnswer,
    Turn::Pass,
    Turn::Answer("503 Service Unavailable", "retry-after: 1\r\n"),
    Turn::Answer("429 Too Many Requests", ""),
    Turn::Pass,
    Turn::Answer("408 Request Timeout", ""),
    Turn::Answer("500 Internal Server Error", ""),
    Turn::Pass,
];

/// The first was stored by an attempt whose answer was lost.
const FIRST: &str = "order-1-paid: duplicate\norder-2-paid: stored\norder-3-paid: stored\n";
const AGAIN: &str = "order-1-paid: duplicate\norder-2-paid: duplicate\norder-3-paid: duplicate\n";

/// A request as the proxy saw it: when, and its body.
type Seen = (Instant, Vec<u8>);

/// Takes one request, and does with it what the next turn is.
fn take(stream: TcpStream, server: &Server, seen: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(&stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        match line.as_str() {
            "" => return, // a connection without a request
            "\r\n" => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let turn = {
        let mut seen = seen.lock().unwrap();
        seen.push((Instant::now(), body.clone()));
        TURNS.get(seen.len() - 1).copied().unwrap_or(Turn::Pass)
    };
    let (status, headers, text) = match turn {
        Turn::Answer(status, headers) => (status.to_owned(), headers, "not now".to_owned()),
        Turn::Pass | Turn::LoseAnswer => {
            let answer = server.publish_as("application/json", &body);
            if matches!(turn, Turn::LoseAnswer) {
                return;
            }
            (format!("{} Passed", answer.status), "content-type: application/json\r\n", answer.text)
        }
    };
    let length = text.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}");
    write!(&stream, "{head}\r\n{text}").unwrap();
}

/// However a test ends, its proxy ends with it.
struct End<'a> {
    has_ended: &'a AtomicBool,
    address: SocketAddr,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Starts a producer with orders, of which each was paid at a time. It would try for ever, and has a minute.
fn start(command: &[&str], url: &str, paid_at: &str, orders: &[u32]) -> Child {
    let mut producer = Command::new("timeout");
    producer.arg("60").args(command).arg(url).env("NO_PROXY", "127.0.0.1");
    producer.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut producer = producer.spawn().unwrap();
    let mut stdin = producer.stdin.take().unwrap();
    for id in orders {
        writeln!(stdin, r#"{{"id": {id}, "paid_at": "{paid_at}", "total": "12.50"}}"#).unwrap();
    }
    producer
}

#[track_caller]
fn assert_delivers_once(command: &[&str]) {
    let server = Server::start();
    // An address where nothing listens yet.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    let orders = |paid_at: &str, orders: &[u32]| start(command, &url, paid_at, orders);
    let mut first = orders("2026-11-21T08:00:00+07:00", &[1, 2, 3]);
    let mut complaints = BufReader::new(first.stderr.take().unwrap()).lines();
    let complaint = complaints.next().unwrap().unwrap();
    assert!(complaint.contains("order-1-paid: again in "), "{complaint}");

    let listener = TcpListener::bind(address).unwrap();
    let (seen, has_ended) = (&Mutex::new(Vec::new()), &AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for stream in listener.incoming().take_while(|_| !has_ended.load(Ordering::SeqCst)) {
                take(stream.unwrap(), &server, seen);
            }
        });
        let _end = End { has_ended, address };

        // Read on, else its pipe might fill.
        let complaints = threads.spawn(|| complaints.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
        let ended = first.wait_with_output().unwrap();
        let complaints = complaints.join().unwrap();
        assert!(ended.status.success(), "{complaints}");
        assert_eq!(String::from_utf8_lossy(&ended.stdout), FIRST, "{complaints}");
        let requests = seen.lock().unwrap().clone();
        assert_eq!(requests.len(), TURNS.len(), "{complaints}");
        let pause = requests[3].0 - requests[2].0;
        assert!(pause >= Duration::from_secs(1), "it came {pause:?} after an answer that asked for a second");
        for same in [&requests[..2], &requests[2..5], &requests[5..]] {
            assert!(
                same.iter().all(|(_, body)| *body == same[0].1),
                "an attempt is another event: {complaints}"
            );
        }

        let again = orders("2026-11-21T08:00:00+07:00", &[1, 2, 3]).wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&again.stdout),
            AGAIN,
            "{}",
            String::from_utf8_lossy(&again.stderr)
        );

        // What the service refuses is tried once, and says why.
        let before = seen.lock().unwrap().len();
        let refused = orders("yesterday", &[4]).wait_with_output().unwrap();
        let why = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && why.contains("422") && why.contains("RFC 3339"), "{why}");
        assert_eq!(seen.lock().unwrap().len() - before, 1);
    });

    let ids: Vec<_> =
        server.events().iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["order-1-paid", "order-2-paid", "order-3-paid"]);
    let stats = server.stats();
    assert_eq!((stats["received"].as_u64(), stats["conflicts"].as_u64()), (Some(7), Some(0)), "{stats}");
    server.assert_books_balance();
}

/// Makes JavaScript of TypeScript, in a directory.
pub fn compile(source: &Path, directory: &Path) {
    // Types that are only left out: newer versions of Node.js run the file as it is.
    let mut compiler = Command::new(installed("node_modules/.bin/tsc"));
    compiler.args(["--strict", "--erasableSyntaxOnly", "--target", "es2022", "--module", "nodenext"]);
    compiler.arg("--typeRoots").arg(installed("node_modules/@types")).args(["--types", "node", "--outDir"]);
    run(compiler.arg(directory).arg(source));
}

/// A path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
#[ignore = "needs Python"]
fn the_producer_in_python_delivers_once() {
    assert_delivers_once(&["python3", text(&repository("examples/produce.py"))]);
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn the_producer_in_typescript_delivers_once() {
    let built = tempfile::tempdir().unwrap();
    compile(&repository("examples/produce.mts"), built.path());
    assert_delivers_once(&["node", text(&built.path().join("produce.mjs"))]);
}

#[test]
#[ignore = "needs Go"]
fn the_producer_in_go_delivers_once() {
    if Command::new("go").arg("version").output().is_err() {
        return tell_skipped("here", "there is no Go, which tests/clients/install installs as root");
    }
    let built = tempfile::tempdir().unwrap();
    let program = built.path().join("produce");
    let mut compiler = Command::new("go");
    // Its cache is in target/, and it needs no C compiler for that.
    compiler.env("GOCACHE", repository("target/clients/go")).env("CGO_ENABLED", "0");
    run(compiler.args(["build", "-o"]).arg(&program).arg(repository("examples/produce.go")));
    assert_delivers_once(&[text(&program)]);
}

#[test]
#[ignore = "builds the example"]
fn the_producer_in_rust_delivers_once() {
    let build = ". scripts/toolchain.sh && \
        cargo build --quiet --release --workspace --features \"$all_features\" --example produce";
    run(Command::new("bash").args(["-c", build]).current_dir(repository(".")));
    assert_delivers_once(&[text(&repository("target/release/examples/produce"))]);
}
