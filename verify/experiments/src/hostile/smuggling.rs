//! Requests that a proxy and this service might divide differently (RFC 9112, section 11.2). Each hides a publish; the
//! service must refuse the whole, or take the hidden one for a part of the body, or close before it.

use std::slice;

use anyhow::Result;
use fastrand::Rng;

use super::{Attack, exchange, is_allowed, publish};
use crate::attacks::raw_client::RawClient;

/// Heads whose body one of two readers ends before the hidden request. `{}` is the length of everything behind the head.
const HEADS: &[&str] = &[
    // Two lengths, or a length and chunks.
    "content-length: {}\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ncontent-length: {}",
    "content-length: 5\r\ntransfer-encoding: chunked",
    "content-length: {}\r\ncontent-length: 5",
    "content-length: 5\r\ncontent-length: {}",
    "content-length: 5, {}",
    // Encodings that one reader knows and the other does not.
    "content-length: {}\r\ntransfer-encoding: xchunked",
    "content-length: {}\r\ntransfer-encoding : chunked",
    "content-length: {}\r\ntransfer-encoding:\tchunked",
    "content-length: {}\r\n transfer-encoding: chunked",
    "content-length: {}\r\nx: y\r\n\ttransfer-encoding: chunked",
    "content-length: {}\r\ntransfer-encoding: chunked, identity",
    "content-length: {}\r\ntransfer-encoding: identity\r\ntransfer-encoding: chunked",
    "content-length: {}\r\ntransfer-encoding:\r\n chunked",
    "content-length: {}\r\nTransfer-Encoding: \x0bchunked",
    "content-length: {}\r\ntransfer_encoding: chunked",
    "content-length: {}\r\nx: y\rtransfer-encoding: chunked",
    "content-length: {}\r\nx: y\ntransfer-encoding: chunked",
    "transfer-encoding: gzip, chunked\r\ncontent-length: {}",
    // Numbers that one reader takes and the other does not.
    "content-length: +{}",
    "content-length: 0x5",
    "content-length: 5 {}",
    "content-length: -5",
    "content-length: 18446744073709551621",
    "content-length : {}",
    "content-length:\r\n {}",
];

/// Chunks whose size is read in two ways, or whose end is.
const CHUNKS: &[&str] = &[
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "fffffffffffffffff\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5;a=\n\r\nhello\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
    "5\r\nhelloXX0\r\n\r\n",
    "+0\r\n\r\n",
    "0\r\nx: y\r\n z",
    "0\n\n",
    "\r\n0\r\n\r\n",
];

/// Sends all of them, and looks for what was hidden.
pub fn hide(attack: &mut Attack, random: &mut Rng) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let mut tried = Vec::new();
    for (n, head) in HEADS.iter().enumerate() {
        let hidden = format!("hidden-head-{}-{n}", random.u32(..));
        let behind = [b"0\r\n\r\n", publish("", slice::from_ref(&hidden)).as_slice()].concat();
        let head = head.replace("{}", &behind.len().to_string());
        let head = format!("POST /publish HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n");
        tried.push((hidden, head.clone(), [head.into_bytes(), behind].concat()));
    }
    for (n, chunk) in CHUNKS.iter().enumerate() {
        let hidden = format!("hidden-chunk-{}-{n}", random.u32(..));
        let head = format!("POST /publish HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{chunk}");
        tried.push((hidden.clone(), head.clone(), [head.into_bytes(), publish("", &[hidden])].concat()));
    }
    let requests: Vec<_> = tried.iter().map(|(_, _, bytes)| bytes.clone()).collect();
    for ((_, head, _), statuses) in tried.iter().zip(exchange(attack, &requests)?) {
        if statuses.iter().any(|status| !is_allowed(*status)) {
            broken.push(format!("{head:?} is answered with {statuses:?}"));
        }
    }
    let mut client = RawClient::connect(attack.address)?;
    for (hidden, head, _) in &tried {
        let found = client.get(&format!("/events/siege/{hidden}"))?;
        if found.status != 404 {
            broken.push(format!("the request behind {head:?} was carried out: {found:?}"));
        }
    }
    Ok(broken)
}
