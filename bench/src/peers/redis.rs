//! Redis: a key for each id, and a stream of events. A script makes the two one step.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sekali_harness::host::free_port;
use sekali_harness::process::Process;

use super::peer::{Load, Peer, Rates, Running};
use super::protocol::{self, Client, Protocol, publish};
use crate::{system, workload};

/// Stores an event unless its id is known. Returns 1 if it was stored.
const SCRIPT: &str = "if redis.call('SET', KEYS[1], '', 'NX') then redis.call('XADD', KEYS[2], '*', 'event', ARGV[1]) \
                      return 1 else return 0 end";

/// Redis, as installed.
pub struct Redis {
    server: PathBuf,
    version: String,
}

impl Redis {
    /// The name of its package, which the operator is told where it is missing.
    pub const INSTALL: &str = "redis: apt-get install redis-server";

    /// Redis, if it is installed.
    pub fn find() -> Option<Self> {
        let server = system::program("redis-server")?;
        let output = Command::new(&server).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split("v=").nth(1)?.split(' ').next()?.to_owned();
        Some(Self { server, version })
    }
}

impl Peer for Redis {
    fn name(&self) -> String {
        format!("Redis {}", self.version)
    }

    fn configuration(&self) -> &'static str {
        "appendonly yes, appendfsync always, save \"\"; EVALSHA of a script: SET id NX, then XADD to a stream; batches are pipelines"
    }

    fn memory_of_ids(&self) -> &'static str {
        "for ever, in memory"
    }

    fn start(&self, state: &Path) -> Result<Running> {
        let address = free_port()?;
        let mut command = Command::new(&self.server);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--bind", "127.0.0.1"]);
        command.arg("--port").arg(address.port().to_string()).arg("--dir").arg(state);
        let mut process = Process::start(command)?;
        process.wait_until(|_| call(address, &["SCRIPT", "LOAD", SCRIPT]).ok())?;
        Ok(Running { process, address, state: state.to_owned(), _helper: None })
    }

    fn publish(&self, running: &Running, load: Load) -> Result<Rates> {
        publish(running.address, || Resp::new(running.address), load)
    }

    fn stored(&self, running: &Running) -> Result<u64> {
        integer(&call(running.address, &["XLEN", "events"])?)
    }

    fn publish_until_crash(&self, running: &Running, producer: &str) -> Result<Vec<String>> {
        Client::new(Resp::new(running.address), protocol::ids(producer, false), 1)
            .publish_until_crash(running.address)
    }

    fn resend(&self, running: &Running, ids: &[String]) -> Result<u64> {
        Client::new(Resp::new(running.address), protocol::ids("", false), 100).resend(running.address, ids)
    }

    fn bytes(&self, running: &Running) -> Result<u64> {
        system::bytes_below(&running.state)
    }
}

/// The protocol of Redis (RESP2).
struct Resp {
    /// The name of the script.
    digest: String,
}

impl Resp {
    fn new(address: SocketAddr) -> Self {
        let answer = call(address, &["SCRIPT", "LOAD", SCRIPT]).unwrap_or_default();
        Self { digest: answer.lines().nth(1).unwrap_or_default().to_owned() }
    }
}

impl Protocol for Resp {
    fn write(&self, ids: &[String], request: &mut Vec<u8>) {
        let mut event = Vec::new();
        for id in ids {
            event.clear();
            workload::write_event(id, &mut event);
            let key = format!("bench:{id}");
            let parts = [b"EVALSHA", self.digest.as_bytes(), b"2", key.as_bytes(), b"events", &event];
            write_command(&parts, request);
        }
    }

    fn answer(&self, events: usize, buffer: &[u8]) -> Result<Option<usize>> {
        let mut length = 0;
        for _ in 0..events {
            let Some(end) = buffer[length..].iter().position(|byte| *byte == b'\n') else { return Ok(None) };
            let line = &buffer[length..=length + end];
            ensure!(matches!(line, b":0\r\n" | b":1\r\n"), "Redis: {}", String::from_utf8_lossy(line));
            length += line.len();
        }
        Ok(Some(length))
    }

    fn duplicates(&self, answer: &[u8]) -> Result<u64> {
        Ok(answer.chunks(4).filter(|line| *line == b":0\r\n").count() as u64)
    }
}

fn write_command(parts: &[&[u8]], request: &mut Vec<u8>) {
    request.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        request.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        request.extend_from_slice(part);
        request.extend_from_slice(b"\r\n");
    }
}

/// The answer to one command, as it comes.
fn call(address: SocketAddr, parts: &[&str]) -> Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut request = Vec::new();
    write_command(&parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>(), &mut request);
    stream.write_all(&request)?;
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    // A text has a line with its length before it.
    while answer.split(|byte| *byte == b'\n').count() <= 1 + usize::from(answer.starts_with(b"$")) {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "Redis closed the connection");
        answer.extend_from_slice(&piece[..read]);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if answer.starts_with('-') {
        bail!("Redis: {answer}");
    }
    Ok(answer)
}

fn integer(answer: &str) -> Result<u64> {
    answer.trim().strip_prefix(':').context("Redis answered no number")?.parse().context("a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_and_refusals_are_errors() {
        let wire = Resp { digest: "d".into() };
        assert_eq!(wire.answer(2, b":1\r\n:0\r\n").unwrap(), Some(8));
        assert_eq!(wire.answer(2, b":1\r\n:0\r").unwrap(), None);
        assert!(wire.answer(1, b"-OOM\r\n").is_err());
        assert_eq!(wire.duplicates(b":1\r\n:0\r\n:0\r\n").unwrap(), 2);
        let mut request = Vec::new();
        write_command(&[b"XLEN", b"e"], &mut request);
        assert_eq!(request, b"*2\r\n$4\r\nXLEN\r\n$1\r\ne\r\n");
        assert_eq!(integer(":12\r\n").unwrap(), 12);
    }
}
