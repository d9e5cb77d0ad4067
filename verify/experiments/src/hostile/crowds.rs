//! Many connections that do nothing, or next to nothing.

use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use rustix::process::{Resource, getrlimit};

use super::Attack;
use crate::attacks::raw_client::RawClient;

/// Descriptors of this process and of the host that are left for everything else.
const RESERVED: u64 = 1_000;

/// The pause between two bytes of a slow client.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections on which nothing happens, half of them after a request.
pub fn idle(attack: &mut Attack, _: &mut Rng) -> Result<Vec<String>> {
    let possible = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(RESERVED);
    let count = attack.effort.pick(1_000, 10_000).min(possible);
    let mut clients = Vec::new();
    let mut broken = Vec::new();
    for n in 0..count {
        let mut client = RawClient::connect(attack.address)?;
        if n % 2 == 0 {
            let answer = client.get("/healthz")?;
            if answer.status != 200 {
                broken.push(format!("connection {n}: {answer:?}"));
            }
        }
        clients.push(client);
    }
    sleep(Duration::from_secs(attack.effort.pick(1, 10)));
    Ok(broken)
}

/// Heads that never end, sent byte by byte.
pub fn drip_heads(attack: &mut Attack, _: &mut Rng) -> Result<Vec<String>> {
    drip(attack, Duration::from_secs(attack.effort.pick(2, 10)), |_| {
        "GET /events HTTP/1.1\r\nhost: x\r\nx-slow: ".into()
    })
}

/// Bodies that never end, sent byte by byte, with a length and in chunks.
pub fn drip_bodies(attack: &mut Attack, _: &mut Rng) -> Result<Vec<String>> {
    // Beyond 30 seconds the server refuses a body that has not ended.
    drip(attack, Duration::from_secs(attack.effort.pick(2, 35)), |n| {
        let length = if n % 2 == 0 { "content-length: 1000000" } else { "transfer-encoding: chunked" };
        format!("POST /publish HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n")
    })
}

fn drip(attack: &Attack, time: Duration, start: impl Fn(usize) -> String) -> Result<Vec<String>> {
    let mut clients = Vec::new();
    for n in 0..attack.effort.pick(200, 1_000) {
        let mut client = RawClient::connect(attack.address)?;
        client.send(start(n).as_bytes())?;
        clients.push(client);
    }
    let began = Instant::now();
    while began.elapsed() < time {
        for client in &clients {
            let _ = client.stream().write_all(b"1"); // the server may have closed it
        }
        sleep(PAUSE);
    }
    Ok(vec![])
}
