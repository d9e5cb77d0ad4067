//! Clients that ask for much and read it slowly, or not at all.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

use super::{Attack, is_allowed, publish};
use crate::attacks::events::{Fate, note};

/// Bytes that the receiving end of a slow reader takes in.
const BUFFER: usize = 4096;

/// The pause between two slow readers: they come one after another, or their requests alone would be an overload.
const BETWEEN: Duration = Duration::from_millis(4);

/// The pause between two reads of a slow reader.
const PAUSE: Duration = Duration::from_millis(200);

/// Events whose receipt is large, because their ids are long. More of them would be an overload and no slow reading.
const RECEIPT_EVENTS: usize = 400;
const ID_BYTES: usize = 240;

/// A client that reads slowly.
struct Reader {
    stream: TcpStream,
    /// Some never read.
    reads: bool,
    /// The start of the answer.
    start: Vec<u8>,
}

/// All at once: streams, pages of a megabyte, receipts and live streams.
pub fn read_slowly(attack: &mut Attack, random: &mut Rng) -> Result<Vec<String>> {
    let count = attack.effort.pick(200, 1_500);
    // One batch, again and again: the store does not grow.
    let ids: Vec<_> = (0..RECEIPT_EVENTS).map(|n| format!("receipt-{n:x<ID_BYTES$}")).collect();
    let receipt = publish("prefer: return=representation\r\n", &ids);
    let get = |path: &str, accept: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\n\r\n").into_bytes()
    };
    let requests = [
        get("/events", "application/json"),
        get("/events?limit=190", "application/json"),
        receipt,
        get("/events?after=0", "text/event-stream"),
    ];
    let mut readers = Vec::new();
    for n in 0..count {
        let mut stream = narrow(attack.address).context("a slow reader")?;
        stream.set_write_timeout(Some(Duration::from_secs(60)))?;
        let kind = n % requests.len();
        stream.write_all(&requests[kind]).with_context(|| format!("slow reader {n}"))?;
        stream.set_nonblocking(true)?;
        if kind == 2 {
            note(&mut attack.ledger, &ids, Fate::Unknown);
        }
        readers.push(Reader { stream, reads: random.bool(), start: Vec::new() });
        sleep(BETWEEN);
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(attack.effort.pick(3, 30)) {
        readers.iter_mut().filter(|reader| reader.reads).for_each(Reader::read);
        sleep(PAUSE);
    }
    let mut broken = Vec::new();
    let mut statuses = BTreeMap::<Option<u16>, usize>::new();
    for reader in readers.iter().filter(|reader| reader.start.len() >= 12) {
        let status =
            reader.start.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        *statuses.entry(status).or_default() += 1;
    }
    if statuses.keys().any(|status| !status.is_none_or(is_allowed)) || !statuses.contains_key(&Some(200)) {
        broken.push(format!("slow readers get these statuses, so often: {statuses:?}"));
    }
    eprintln!("torture: hostile-clients: of {count} slow readers, those who read got {statuses:?}");
    Ok(broken)
}

impl Reader {
    /// Reads a little, if there is something.
    fn read(&mut self) {
        let mut bytes = [0; 512];
        match self.stream.read(&mut bytes) {
            Ok(read) if self.start.len() < 12 => self.start.extend(&bytes[..read]),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.reads = false, // it was cut off
        }
    }
}

/// A connection whose receiving end takes in little.
fn narrow(address: SocketAddr) -> Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?; // before it connects, or the window is larger already
    connect(&socket, &address)?;
    Ok(TcpStream::from(socket))
}
