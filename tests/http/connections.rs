//! Connections to sekali-host: more of them than it has descriptors for, and some whose clients vanish.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sekali_harness::deployment::Setup;
use sekali_harness::process::raise_limit_of_files;
use sekali_harness::server::tell_skipped;
use sekali_harness::{Server, eventually, is_skipped_on_postgres, is_skipped_on_spin};
use serde_json::json;

use crate::follow::Follower;

/// Followers that an instance serves.
const FOLLOWERS: usize = 512;

/// A server with a soft and a hard limit of open files.
fn with_files(soft: u64, hard: u64) -> Server {
    let mut setup = Setup::from_environment().unwrap();
    setup.starter = vec!["prlimit".into(), format!("--nofile={soft}:{hard}")];
    raise_limit_of_files(hard + 1000).unwrap();
    Server::of(setup)
}

fn is_skipped() -> bool {
    is_skipped_on_spin("its limits are its own")
}

/// True if the other side has closed the connection, after whatever it sent before.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        // Bytes that nobody read are answered by a reset.
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn idle_connections_beyond_all_descriptors_silence_nobody_and_close_no_request() {
    if is_skipped() {
        return;
    }
    let server = with_files(256, 256);
    let mut follower = Follower::start(&server, "", "");
    let body = br#"{"topic":"t","event_id":"slow"}"#;
    let mut slow = server.connect();
    write!(slow, "POST /publish HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
    // Some say nothing, some stop within the head of a request, some were answered and are kept, and some stop within the
    // head of their second request.
    let mut idle: Vec<_> = (0..1_100)
        .map(|n| {
            let mut stream = server.connect();
            let sent: &[u8] = match n % 4 {
                0 => b"",
                1 => b"GET /healthz HT",
                2 => b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
                _ => b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /healthz HT",
            };
            stream.write_all(sent).unwrap();
            stream
        })
        .collect();
    let began = Instant::now();
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.publish(&json!({"topic": "t", "event_id": "new"})).status, 200);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    slow.write_all(body).unwrap();
    let mut head = [0; "HTTP/1.1 200".len()];
    slow.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200", "a request that is on its way is no idle connection");
    assert_eq!(follower.events(2).len(), 2, "nor is a live stream");
    let closed = idle.iter_mut().filter_map(|stream| is_closed(stream).then_some(())).count();
    assert!(closed >= 800, "{closed} idle connections were closed");
    assert!(!is_closed(idle.last_mut().unwrap()), "the newest one was not");
}

#[test]
fn a_soft_limit_of_256_files_leaves_room_for_the_followers_of_two_instances_and_more() {
    if is_skipped() {
        return;
    }
    let server = with_files(256, 4096);
    let mut followers: Vec<_> = (0..2 * FOLLOWERS).map(|_| Follower::start(&server, "", "")).collect();
    let _idle: Vec<_> = (0..200).map(|_| server.connect()).collect();
    assert_eq!(server.publish(&json!({"topic": "t", "event_id": "1"})).status, 200);
    for follower in &mut followers {
        assert_eq!(follower.events(1)[0]["event_id"], "1");
    }
    let metrics = server.get("/metrics").text;
    assert!(metrics.contains(&format!("\nsekali_followers {}\n", 2 * FOLLOWERS)), "{metrics}");
}

/// Clients of a host, with a network of their own that can be taken away from them.
struct Far {
    server: Server,
    clients: Vec<Child>,
}

impl Far {
    /// A host in a network namespace, or `None` where the system does not let us make one.
    fn start() -> Option<Self> {
        let own_network = ["unshare", "--map-root-user", "--net"];
        let is_allowed = Command::new(own_network[0]).args(&own_network[1..]).arg("true").status();
        if !is_allowed.is_ok_and(|status| status.success()) {
            tell_skipped("here", "the system does not let us make a network namespace");
            return None;
        }
        let mut setup = Setup::from_environment().unwrap();
        setup.starter = own_network.map(str::to_owned).to_vec();
        setup.starter.extend(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"].map(str::to_owned));
        Some(Self { server: Server::of(setup), clients: Vec::new() })
    }

    /// A command in the network of the host.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--preserve-credentials", "--net", "--target"]);
        command.arg(self.server.process_id().to_string()).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn ask(&mut self, arguments: &[&str]) {
        let client = self.command("curl", &[&["-sN"], arguments].concat()).spawn().unwrap();
        self.clients.push(client);
    }

    /// The connections that the host has, as the kernel tells (proc(5), /proc/net/tcp).
    fn established(&self) -> usize {
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.server.process_id())).unwrap();
        let port = format!(":{:04X}", self.server.address().port());
        let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        fields.filter(|fields| fields[1].ends_with(&port) && fields[3] == "01").count()
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        for client in &mut self.clients {
            let _ = (client.kill(), client.wait());
        }
    }
}

#[test]
fn followers_that_vanish_without_a_word_are_gone_within_a_minute() {
    if is_skipped() || is_skipped_on_postgres("the database is not in the network of the host") {
        return;
    }
    let Some(mut far) = Far::start() else { return };
    let url = far.server.url("/events");
    for _ in 0..3 {
        far.ask(&["-H", "accept: text/event-stream", &url]);
    }
    eventually("the followers are there", || (far.established() == 3).then_some(()));
    // Some comments arrive first, so that what is lost is not the beginning.
    std::thread::sleep(Duration::from_secs(16));
    assert_eq!(far.established(), 3);
    assert!(far.command("ip", &["link", "set", "lo", "down"]).status().unwrap().success());
    let vanished = Instant::now();
    eventually("they are gone", || (far.established() == 0).then_some(()));
    assert!(vanished.elapsed() < Duration::from_secs(60), "{:?}", vanished.elapsed());
}
