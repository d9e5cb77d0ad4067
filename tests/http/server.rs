//! A server of a test: started on a free port with fresh state, killed on drop.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A running server and its state.
pub struct Server {
    process: Child,
    address: SocketAddr,
    state: TempDir,
    variables: Vec<(&'static str, &'static str)>,
    agent: ureq::Agent,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }

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
    pub fn with_variables(variables: &[(&'static str, &'static str)]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (process, address) = launch(state.path(), variables);
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        Self { process, address, state, variables: variables.to_vec(), agent }
    }

    /// Kills the server as a crash would, and starts it again on the same state.
    pub fn crash_and_restart(&mut self) {
        self.kill();
        (self.process, self.address) = launch(self.state.path(), &self.variables);
    }

    /// Kills the server, removes what key-value holds, and starts it again.
    pub fn lose_key_value(&mut self) {
        self.kill();
        std::fs::remove_file(self.state.path().join("sqlite_key_value.db")).unwrap();
        (self.process, self.address) = launch(self.state.path(), &self.variables);
    }

    /// Kills the server, does something, and starts it again where it was.
    #[allow(dead_code)] // for the tests of the publisher
    pub fn stop_while<T>(&mut self, meanwhile: impl FnOnce() -> T) -> T {
        self.kill();
        let done = meanwhile();
        (self.process, self.address) = launch_on(self.address, self.state.path(), &self.variables);
        done
    }

    /// Kills the server, removes all that it stored, and starts it again where it was.
    #[allow(dead_code)] // for the tests of the publisher
    pub fn stop_and_forget(&mut self) {
        let state = self.state.path().to_owned();
        self.stop_while(|| {
            for entry in std::fs::read_dir(state).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
                    .unwrap();
            }
        });
    }

    /// A connection of its own.
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// Kills the server's process group: Spin serves in a child of its own.
    fn kill(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }

    /// Asks the server to end, and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.process.wait().unwrap()
    }

    /// The most memory that the server ever held, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The file of the database.
    pub fn database(&self) -> PathBuf {
        self.state.path().join("sqlite_db.db")
    }

    pub fn get(&self, path: &str) -> Answer {
        read(self.agent.get(self.url(path)).call())
    }

    pub fn head(&self, path: &str) -> Answer {
        read(self.agent.head(self.url(path)).call())
    }

    pub fn publish(&self, events: &Value) -> Answer {
        self.publish_as("application/json", events.to_string())
    }

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
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer); // a reset is an answer, too
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a GET and leaves its answer unread.
    pub fn ask(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        stream
    }

    /// Begins to publish a body of `length` bytes, and stops after so many.
    pub fn stall(&self, length: usize, sent: usize) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "POST /publish HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n").unwrap();
        stream.write_all(&vec![b' '; sent]).unwrap();
        stream
    }

    /// All that is stored.
    pub fn events(&self) -> Vec<Value> {
        let answer = self.get("/events");
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json().as_array().unwrap().clone()
    }

    pub fn stats(&self) -> Value {
        let answer = self.get("/stats");
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// Asserts that every delivery is accounted for, in total and by topic, and that the account
    /// agrees with the events that can be read back.
    #[track_caller]
    pub fn assert_books_balance(&self) {
        let (stats, events) = (self.stats(), self.events());
        let number = |value: &Value| value.as_i64().unwrap();
        let check = |account: &Value, events: &[&Value]| {
            let sum = |field: &str| events.iter().map(|event| number(&event[field])).sum::<i64>();
            assert_eq!(number(&account["unique_processed"]), events.len() as i64, "{account}");
            assert_eq!(number(&account["received"]), sum("deliveries"), "{account}");
            assert_eq!(number(&account["conflicts"]), sum("conflicts"), "{account}");
            assert_eq!(
                number(&account["received"]),
                number(&account["unique_processed"]) + number(&account["duplicate_dropped"]),
                "{account}"
            );
            assert_eq!(number(&account["last_seq"]), events.last().map_or(0, |event| number(&event["seq"])));
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

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

#[track_caller]
fn read(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let (head, mut body) = response.unwrap().into_parts();
    let text = body.with_config().limit(u64::MAX).read_to_string().unwrap();
    Answer { status: head.status.as_u16(), headers: head.headers, text }
}

/// A port that was free a moment ago: Spin knows no port 0.
pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The command that serves on `listen` with its stores in `state`.
pub fn command(listen: SocketAddr, state: &Path) -> Command {
    let mut directories = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let manifest =
        directories.find_map(|directory| Some(directory.join("spin.toml")).filter(|path| path.exists()));
    let mut command = match std::env::var_os("SPIN") {
        Some(spin) => {
            let mut command = Command::new(spin);
            command.arg("up");
            command
        }
        None => {
            // This test is target/debug/deps/http-..., its neighbour's directory has the host.
            let test = std::env::current_exe().unwrap();
            let host = test.parent().and_then(Path::parent).unwrap().join("sekali-host");
            assert!(host.exists(), "sekali-host is not built: run scripts/test");
            Command::new(host)
        }
    };
    command.arg("--listen").arg(listen.to_string());
    command.arg("--from").arg(manifest.unwrap()).arg("--state-dir").arg(state).current_dir(state);
    command
}

/// Starts a server on `state` and waits until it serves.
fn launch(state: &Path, variables: &[(&str, &str)]) -> (Child, SocketAddr) {
    let listen = if std::env::var_os("SPIN").is_some() { free_port() } else { ([127, 0, 0, 1], 0).into() };
    launch_on(listen, state, variables)
}

fn launch_on(listen: SocketAddr, state: &Path, variables: &[(&str, &str)]) -> (Child, SocketAddr) {
    let mut command = command(listen, state);
    for (name, value) in variables {
        command.env(format!("SPIN_VARIABLE_{}", name.to_uppercase()), value);
    }
    let mut process = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().expect("the server ended before it served").unwrap();
        if let Some((_, address)) = line.split_once("Serving http://") {
            break address.trim().parse().unwrap();
        }
    };
    // Whatever else it prints must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (process, address)
}
