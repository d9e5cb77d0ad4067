//! Many connections that do nothing, or next to nothing.

use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use rustix::process::{Resource, getrlimit};

use super::Siege;
use crate::siege::wire::Wire;

/// Descriptors of this process and of the host that are left for everything else.
const RESERVED: u64 = 1_000;

/// The pause between two bytes of a slow client.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections on which nothing happens, half of them after a request.
pub fn idle(siege: &mut Siege, _: &mut Rng) -> Result<Vec<String>> {
    let possible = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(RESERVED);
    let count = siege.effort.pick(1_000, 10_000).min(possible);
    let mut wires = Vec::new();
    let mut broken = Vec::new();
    for n in 0..count {
        let mut wire = Wire::connect(siege.address)?;
        if n % 2 == 0 {
            let answer = wire.get("/healthz")?;
            if answer.status != 200 {
                broken.push(format!("connection {n}: {answer:?}"));
            }
        }
        wires.push(wire);
    }
    sleep(Duration::from_secs(siege.effort.pick(1, 10)));
    Ok(broken)
}

/// Heads that never end, sent byte by byte.
pub fn drip_heads(siege: &mut Siege, _: &mut Rng) -> Result<Vec<String>> {
    drip(siege, Duration::from_secs(siege.effort.pick(2, 10)), |_| {
        "GET /events HTTP/1.1\r\nhost: x\r\nx-slow: ".into()
    })
}

/// Bodies that never end, sent byte by byte, with a length and in chunks.
pub fn drip_bodies(siege: &mut Siege, _: &mut Rng) -> Result<Vec<String>> {
    // Beyond 30 seconds the server refuses a body that has not ended.
    drip(siege, Duration::from_secs(siege.effort.pick(2, 35)), |n| {
        let length = if n % 2 == 0 { "content-length: 1000000" } else { "transfer-encoding: chunked" };
        format!("POST /publish HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n")
    })
}

fn drip(siege: &Siege, time: Duration, start: impl Fn(usize) -> String) -> Result<Vec<String>> {
    let mut wires = Vec::new();
    for n in 0..siege.effort.pick(200, 1_000) {
        let mut wire = Wire::connect(siege.address)?;
        wire.send(start(n).as_bytes())?;
        wires.push(wire);
    }
    let began = Instant::now();
    while began.elapsed() < time {
        for wire in &wires {
            let _ = wire.stream().write_all(b"1"); // the server may have closed it
        }
        sleep(PAUSE);
    }
    Ok(vec![])
}
