//! Requests that are too large, too deep, too many at once, or not what they say.

use std::io::Write;
use std::net::Shutdown;

use anyhow::Result;
use fastrand::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Attack, exchange, is_allowed, outcome, publish};
use crate::attacks::events::{Fate, Ledger, note};
use crate::attacks::raw_client::RawClient;

/// Requests on one connection that are sent before the first answer is read.
const PIPELINED: usize = 300;

/// Connections that are closed in one direction.
const HALF_CLOSED: usize = 50;

/// Sends heads and bodies that no client means.
pub fn send(attack: &mut Attack, random: &mut Rng) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let (names, requests): (Vec<_>, Vec<_>) = heads(random).into_iter().chain(bodies()).unzip();
    for (name, statuses) in names.iter().zip(exchange(attack, &requests)?) {
        let is_refused = statuses.first().is_none_or(|status| (400..500).contains(status) || *status == 505);
        if !is_refused || statuses.iter().any(|status| !is_allowed(*status)) {
            broken.push(format!("{name} is answered with {statuses:?}"));
        }
    }
    Ok(broken)
}

fn heads(random: &mut Rng) -> Vec<(String, Vec<u8>)> {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes();
    let with = |header: &[u8]| [b"GET /events HTTP/1.1\r\nhost: x\r\n", header, b"\r\n\r\n"].concat();
    let mut heads = vec![
        ("10,000 headers".to_owned(), with("x-flood: y\r\n".repeat(10_000).trim_end().as_bytes())),
        ("a header of a megabyte".to_owned(), with(format!("x-flood: {}", "y".repeat(1 << 20)).as_bytes())),
        ("a name of 100 KB".to_owned(), with(format!("{}: y", "y".repeat(100_000)).as_bytes())),
        ("a target of a megabyte".to_owned(), get(&format!("/events?topic={}", "y".repeat(1 << 20)))),
        ("100,000 parameters".to_owned(), get(&format!("/events?{}", "topic=y&".repeat(100_000)))),
        ("5,000 parameters".to_owned(), get(&format!("/events?{}", "topic=y&".repeat(5_000)))),
        ("5,000 unknown parameters".to_owned(), get(&format!("/events?{}", "z=y&".repeat(5_000)))),
        (
            "a target that is not UTF-8".to_owned(),
            b"GET /events/\xff/\xfe HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        ),
        ("a name that is not UTF-8".to_owned(), with(b"x\xff: y")),
        ("a key that is not UTF-8".to_owned(), {
            b"POST /publish HTTP/1.1\r\nhost: x\r\nidempotency-key: \xff\xfe\r\ncontent-length: 2\r\n\r\n[]"
                .to_vec()
        }),
        ("CONNECT".to_owned(), b"CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n".to_vec()),
        ("two hosts".to_owned(), with(b"host: y")),
        ("a host that is none".to_owned(), b"GET /events HTTP/1.1\r\nhost: a/b\r\n\r\n".to_vec()),
        ("no host".to_owned(), b"GET /events HTTP/1.1\r\n\r\n".to_vec()),
        ("a name that is not the service's, from a browser".to_owned(), {
            b"GET /events HTTP/1.1\r\nhost: x\r\nsec-fetch-site: none\r\n\r\n".to_vec()
        }),
        ("an origin that is not UTF-8".to_owned(), with(b"origin: \xff\xfe")),
        ("a chunk that is none".to_owned(), {
            b"POST /publish HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n[]\r\n".to_vec()
        }),
        ("a NUL in a header".to_owned(), with(b"x: a\0b")),
        ("no HTTP".to_owned(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello".to_vec()),
        ("HTTP/9.9".to_owned(), b"GET /events HTTP/9.9\r\nhost: x\r\n\r\n".to_vec()),
        ("the start of HTTP/2".to_owned(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
    ];
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(10_000).collect();
    heads.push(("noise".to_owned(), noise));
    for number in
        ["-1", "9223372036854775808", "1e309", "99999999999999999999999999", "NaN", "0x10", "", "%00"]
    {
        for name in ["after", "limit", "since", "until"] {
            heads.push((format!("{name}={number}"), get(&format!("/events?{name}={number}"))));
        }
    }
    for (name, value) in [
        ("after", "9223372036854775807"), // far ahead of the store: 409
        ("limit", "0"),
        ("limit", "4294967297"),
        ("since", "0000-00-00T00:00:00Z"),
        ("since", "999999999-01-01T00:00:00Z"),
        ("until", "2026-02-30T00:00:00Z"),
    ] {
        let target = format!("/events?{name}={value}");
        let live =
            format!("GET {target} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n").into_bytes();
        heads.push((format!("{name}={value}, live"), live));
        if name != "after" {
            heads.push((format!("{name}={value}"), get(&target)));
        }
    }
    heads
}

fn bodies() -> Vec<(String, Vec<u8>)> {
    let post = |headers: &str, body: &[u8]| {
        let head =
            format!("POST /publish HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let json = |body: &str| post("", body.as_bytes());
    let timestamp = |text: &str| json(&format!(r#"{{"topic":"t","event_id":"e","timestamp":"{text}"}}"#));
    vec![
        ("a length of an exabyte".to_owned(), {
            b"POST /publish HTTP/1.1\r\nhost: x\r\ncontent-length: 1152921504606846976\r\n\r\n[".to_vec()
        }),
        ("a bomb".to_owned(), post("content-encoding: gzip\r\n", &bomb(256 << 20))),
        ("a bomb in a bomb".to_owned(), post("content-encoding: gzip, gzip\r\n", &bomb(1 << 20))),
        (
            "gzip that is none".to_owned(),
            post("content-encoding: gzip\r\n", b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xff\xff"),
        ),
        ("a million arrays".to_owned(), json(&"[".repeat(1_000_000))),
        ("a payload of a million arrays".to_owned(), {
            json(&format!(
                r#"{{"topic":"t","event_id":"e","payload":{}{}}}"#,
                "[".repeat(1 << 20),
                "]".repeat(1 << 20)
            ))
        }),
        ("a million objects".to_owned(), json(&r#"{"a":"#.repeat(1_000_000))),
        ("300,000 events".to_owned(), json(&format!("[{}{{}}]", "{},".repeat(300_000)))),
        (
            "300,000 lines".to_owned(),
            post("content-type: application/x-ndjson\r\n", "{}\n".repeat(300_000).as_bytes()),
        ),
        ("a body that is not UTF-8".to_owned(), post("", b"{\"topic\":\"\xff\",\"event_id\":\"e\"}")),
        ("a year of 5 digits".to_owned(), timestamp("99999-01-01T00:00:00Z")),
        ("no year".to_owned(), timestamp("-0001-01-01T00:00:00Z")),
        (
            "a fraction of 10,000 digits".to_owned(),
            timestamp(&format!("2026-01-01T00:00:00.{}X", "9".repeat(10_000))),
        ),
        ("an offset of 99 hours".to_owned(), timestamp("2026-01-01T00:00:00+99:00")),
    ]
}

/// So many zeros, compressed a thousandfold.
pub fn bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..bytes >> 20 {
        let _ = encoder.write_all(&zeros); // a Vec takes all
    }
    encoder.finish().unwrap_or_default()
}

/// Requests that do not wait for answers get them all, in order.
pub fn pipeline(attack: &mut Attack, random: &mut Rng) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let mut ledger = Ledger::default();
    let mut client = RawClient::connect(attack.address)?;
    let mut sender = client.stream().try_clone()?;
    let name = random.u32(..);
    let requests: Vec<_> =
        (0..PIPELINED).map(|n| (n % 3 == 0, vec![format!("pipelined-{name}-{n}")])).collect();
    let bytes: Vec<u8> = requests
        .iter()
        .flat_map(|(publishes, ids)| match publishes {
            true => publish("", ids),
            false => format!("GET /events/siege/{}-nothing HTTP/1.1\r\nhost: x\r\n\r\n", ids[0]).into_bytes(),
        })
        .collect();
    std::thread::scope(|scope| {
        scope.spawn(move || sender.write_all(&bytes));
        for (publishes, ids) in &requests {
            let answer = client.answer();
            let expected = if *publishes { 200 } else { 404 };
            if *publishes {
                note(&mut ledger, ids, Fate::of(&answer));
            }
            match answer {
                Ok(answer) if answer.status == expected || answer.status == 503 => {}
                other => {
                    broken.push(format!("{ids:?} expects {expected} and gets {other:?}"));
                    break;
                }
            }
        }
    });
    attack.ledger.add(ledger);
    Ok(broken)
}

/// Clients that close their direction, behind a whole request or a part of one. The host ends such a connection, so many
/// get no answer, and that is only reported; but none is told that something is stored which is not.
pub fn close_half(attack: &mut Attack, random: &mut Rng) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let mut ledger = Ledger::default();
    let mut unanswered = 0;
    for n in 0..HALF_CLOSED {
        let mut client = RawClient::connect(attack.address)?;
        let ids = vec![format!("half-{}-{n}", random.u32(..))];
        let whole = publish("", &ids);
        let sent = if n % 2 == 0 { whole.len() } else { random.usize(1..whole.len()) };
        client.send(&whole[..sent])?;
        client.stream().shutdown(Shutdown::Write)?;
        let statuses: Vec<_> =
            std::iter::from_fn(|| client.answer().ok()).map(|answer| answer.status).collect();
        if statuses.iter().any(|status| !is_allowed(*status)) {
            broken.push(format!("{sent} of {} bytes, then half-closed: {statuses:?}", whole.len()));
        }
        if sent == whole.len() && statuses.is_empty() {
            unanswered += 1;
        }
        if sent < whole.len() && statuses.first() == Some(&200) {
            broken.push(format!("{sent} of {} bytes were acknowledged", whole.len()));
        }
        note(&mut ledger, &ids, outcome(&statuses));
    }
    eprintln!("torture: hostile-clients: {unanswered} of {} whole requests got no answer", HALF_CLOSED / 2);
    attack.ledger.add(ledger);
    Ok(broken)
}
