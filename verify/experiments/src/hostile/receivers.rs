//! Receivers under attack: forged deliveries beside signed ones, signatures and bodies that are much work, and ways around
//! the signature.

use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use fastrand::Rng;
use sekali_harness::webhooks::{Headers, PROVIDERS, Provider, now};
use serde_json::{Value, json};

use super::shapes::bomb;
use super::{Attack, exchange};
use crate::attacks::batch;
use crate::attacks::events::{Fate, Ledger, TOPIC, note, payload};
use crate::attacks::raw_client::{RawAnswer, RawClient};
use crate::requests::deliveries;
use crate::requests::format::gzip;

/// Clients that forge, and clients of providers.
const FORGERS: usize = 6;
const SENDERS: usize = 2;

/// The longest that a request may take whose signatures and body are as large as they may be.
const LONGEST: Duration = Duration::from_secs(5);

/// All receivers: their events are those of the attacks. The others are for [`weigh_down`] and [`go_around`].
pub fn hooks() -> Value {
    let mut hooks = json!({
        "many": {
            "kind": "custom", "secrets": ["a", "b", "c", "d", "e"], "signature": {"header": "x-signed-*", "split": ","},
        },
        "public": {
            "kind": "discord",
            "secrets": ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"],
            "signature": {"header": "x-signed-*", "split": ","},
        },
        "echo": {"kind": "slack", "secrets": ["s"]},
        "zoom": {"kind": "zoom", "secrets": ["s"]},
        "meta": {"kind": "meta", "secrets": ["s"], "verify_token": "v"},
        "token": {"kind": "token", "secrets": ["s"]},
        "basic": {"kind": "basic", "secrets": ["user:password"]},
    });
    for provider in &PROVIDERS {
        let mut receiver = provider.receiver();
        receiver["topic"] = TOPIC.into();
        receiver["event_id"] = "{json:/of}".into();
        receiver["each"] = Value::Null;
        hooks[provider.name] = receiver;
    }
    hooks
}

fn lines(headers: &Headers) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// Forged deliveries without a pause, beside signed ones: all of the former are 401, and the latter are stored.
pub fn forge(attack: &mut Attack, random: &mut Rng) -> Result<Vec<String>> {
    let until = Instant::now() + Duration::from_secs(attack.effort.pick(2, 15));
    let (address, refused) = (attack.address, AtomicUsize::new(0));
    let forger = &|mut random: Rng| -> Result<Vec<String>> {
        let mut client = RawClient::connect(address)?;
        while Instant::now() < until {
            let provider = &PROVIDERS[random.usize(..PROVIDERS.len())];
            let id = format!("forged-{}", random.u64(..));
            let mut body = payload(&id).to_string().into_bytes();
            let (headers, forgery) = deliveries::forge(&mut random, provider, &id, &mut body);
            let answer = client.post(provider.path, &lines(&headers), &body)?;
            match answer.status {
                401 => refused.fetch_add(1, Ordering::Relaxed),
                503 => 0,
                _ => return Ok(vec![format!("{}, {forgery}: {answer:?}", provider.name)]),
            };
        }
        Ok(vec![])
    };
    let sender = &|mut random: Rng| -> Result<(Ledger, Vec<String>)> {
        let (mut client, mut ledger, mut broken) = (RawClient::connect(address)?, Ledger::default(), vec![]);
        while Instant::now() < until {
            let provider = &PROVIDERS[random.usize(..PROVIDERS.len())];
            let ids = [format!("signed-{}", random.u64(..))];
            // Each is delivered twice.
            for _ in 0..2 {
                let answer = signed(&mut client, provider, &ids[0]);
                note(&mut ledger, &ids, Fate::of(&answer));
                match answer? {
                    RawAnswer { status: 200 | 503, .. } => {}
                    other => {
                        broken.push(format!("{}: a signed delivery is answered {other:?}", provider.name))
                    }
                }
            }
        }
        Ok((ledger, broken))
    };
    let mut broken = Vec::new();
    let mut ledger = Ledger::default();
    thread::scope(|scope| -> Result<()> {
        let mut rng = || random.fork();
        let forgers: Vec<_> =
            (0..FORGERS).map(|_| rng()).map(|rng| scope.spawn(move || forger(rng))).collect();
        let senders: Vec<_> =
            (0..SENDERS).map(|_| rng()).map(|rng| scope.spawn(move || sender(rng))).collect();
        for forger in forgers {
            broken.extend(forger.join().map_err(|_| anyhow!("a forger panicked"))??);
        }
        for sender in senders {
            let (sent, more) = sender.join().map_err(|_| anyhow!("a sender panicked"))??;
            ledger.add(sent);
            broken.extend(more);
        }
        Ok(())
    })?;
    let (refused, stored) = (refused.into_inner(), ledger.acknowledged());
    eprintln!(
        "torture: hostile-clients: {refused} forged deliveries were refused, and {stored} signed ones taken"
    );
    if refused == 0 || stored == 0 {
        broken.push(format!("{refused} forged and {stored} signed deliveries were answered"));
    }
    attack.ledger.add(ledger);
    Ok(broken)
}

fn signed(client: &mut RawClient, provider: &Provider, id: &str) -> std::io::Result<RawAnswer> {
    let body = payload(id).to_string().into_bytes();
    client.post(provider.path, &lines(&provider.headers(id, now(), &body)), &body)
}

/// As many wrong signatures as a head holds, before the largest body, and bombs, signed and not: each is refused in time.
pub fn weigh_down(attack: &mut Attack, _: &mut Rng) -> Result<Vec<String>> {
    let body = vec![b' '; 8 << 20];
    let code = "0".repeat(64);
    let many_headers: String = (0..80).map(|n| format!("x-signed-{n}: {code}\r\n")).collect();
    // It is well-formed, so the whole body has to be read to refuse it.
    let (_, sealed) = PROVIDERS[4].headers("", now(), b"another body").swap_remove(0);
    let time = format!("x-signature-timestamp: {}\r\n", now());
    let bomb = bomb(256 << 20);
    let till = PROVIDERS[0];
    let of_bomb = |provider: &Provider| {
        format!("content-encoding: gzip\r\n{}", lines(&provider.headers("bomb", now(), &bomb)))
    };
    let one_header =
        |wrong: &str| format!("x-signed-1: {}\r\n", vec![wrong; 60_000 / (wrong.len() + 1)].join(","));
    let stranger = Provider { secret: "another secret of 32 characters!", ..till };
    let mut broken = Vec::new();
    for (name, path, headers, body, expected) in [
        ("a header of wrong codes", "/hooks/many", one_header(&code), &body, 401),
        ("80 headers of wrong codes", "/hooks/many", many_headers, &body, 401),
        ("a header of wrong signatures", "/hooks/public", one_header(&sealed) + &time, &body, 401),
        ("a bomb that nobody signed", till.path, of_bomb(&stranger), &bomb, 401),
        ("a bomb that is signed", till.path, of_bomb(&till), &bomb, 413),
    ] {
        let began = Instant::now();
        let answer = RawClient::connect(attack.address)?.post(path, &headers, body)?;
        let took = began.elapsed();
        eprintln!("torture: hostile-clients: {name}: {} within {took:?}", answer.status);
        if answer.status != expected && answer.status != 503 {
            broken.push(format!("{name}: {answer:?}"));
        }
        if took > LONGEST {
            broken.push(format!("{name} took {took:?}"));
        }
    }
    Ok(broken)
}

/// Paths that look like another, handshakes and tokens that are empty or nobody's, and bodies that do not end: none of them
/// is answered as what it looks like, and nothing is stored.
pub fn go_around(attack: &mut Attack, random: &mut Rng) -> Result<Vec<String>> {
    let events = batch(&[format!("around-{}", random.u64(..))]);
    let post = |target: &str, headers: &str, body: &str| {
        let head =
            format!("POST {target} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n", body.len());
        (format!("POST {target} {headers:?}"), (head + body).into_bytes())
    };
    let get = |target: &str| {
        (format!("GET {target}"), format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes())
    };
    let mut attempts = Vec::new();
    for path in [
        "/hooks/till",
        "/hooks/%74ill",
        "/hooks/TILL",
        "/hooks/till/",
        "/hooks//till",
        "//hooks/till",
        "/hooks/",
        "/hooks",
        "/hooks/../publish",
        "/hooks/till/../../publish",
        "/hooks/%2e%2e/publish",
        "/hooks/..%2fpublish",
        "/hooks/publish",
        "/hooks/till/publish",
        "/hooks/till/backfill/",
        "/hooks/till%2fbackfill",
        "/hooks/till;/backfill/x",
        "/hooks/other/backfill",
        "/hooks/till/BACKFILL",
        "/hooks/till?backfill",
        "/hooks/till#/publish",
        "/publish/hooks/till",
    ] {
        attempts.push(post(path, "", &events));
    }
    for (path, body) in [
        ("/hooks/echo", r#"{"type":"url_verification","challenge":"c"}"#),
        ("/hooks/zoom", r#"{"event":"endpoint.url_validation","payload":{"plainToken":"t"}}"#),
        ("/hooks/public", r#"{"type":1}"#),
        ("/hooks/meta", r#"{"hub.mode":"subscribe","hub.verify_token":"v","hub.challenge":"1"}"#),
    ] {
        attempts.push(post(path, "", body));
        attempts.push(post(
            path,
            "x-slack-signature: v0=\r\nx-zm-signature: v0=\r\nx-hub-signature-256: sha256=\r\n",
            body,
        ));
    }
    for credentials in ["", "Bearer", "Bearer ", "Bearer  ", "Basic", "Basic ", "Basic Og==", "Bearer S", "s"]
    {
        for path in ["/hooks/token", "/hooks/basic"] {
            attempts.push(post(path, &format!("authorization: {credentials}\r\n"), &events));
        }
    }
    for query in [
        "",
        "?hub.mode=subscribe&hub.challenge=1",
        "?hub.mode=subscribe&hub.verify_token=&hub.challenge=1",
        "?hub.mode=subscribe&hub.verify_token=V&hub.challenge=1",
        "?hub.mode=subscribe&hub.verify_token=w&hub.verify_token=v&hub.challenge=1",
        "?hub.mode=unsubscribe&hub.verify_token=v&hub.challenge=1",
    ] {
        attempts.push(get(&format!("/hooks/meta{query}")));
        attempts.push(get(&format!("/hooks/token{query}")));
    }
    for provider in &PROVIDERS {
        let id = format!("cut-{}", random.u64(..));
        let body = payload(&id).to_string();
        let signed = lines(&provider.headers(&id, now(), body.as_bytes()));
        let (name, _) = post(provider.path, &signed, &body);
        let packed = gzip(body.as_bytes());
        let head = format!("content-encoding: gzip\r\ncontent-length: {}\r\n{signed}\r\n", packed.len());
        let head = format!("POST {} HTTP/1.1\r\nhost: x\r\n{head}", provider.path);
        attempts.push((format!("{name}, compressed"), [head.as_bytes(), &packed].concat()));
    }
    let (names, requests): (Vec<_>, Vec<_>) = attempts.into_iter().unzip();
    let mut broken = cut(attack, random)?;
    for (name, statuses) in names.iter().zip(exchange(attack, &requests)?) {
        if !statuses.iter().all(|status| (400..500).contains(status)) {
            broken.push(format!("{name} is answered with {statuses:?}"));
        }
    }
    Ok(broken)
}

/// Signed deliveries whose last byte never comes.
fn cut(attack: &Attack, random: &mut Rng) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for provider in &PROVIDERS {
        let id = format!("cut-{}", random.u64(..));
        let body = payload(&id).to_string();
        let signed = lines(&provider.headers(&id, now(), body.as_bytes()));
        let (path, length, cut) = (provider.path, body.len(), &body[..body.len() - 1]);
        let mut client = RawClient::connect(attack.address)?;
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\n{signed}content-length: {length}\r\n\r\n{cut}");
        client.send(request.as_bytes())?;
        client.stream().shutdown(Shutdown::Write)?;
        if let Ok(answer) = client.answer()
            && !(400..500).contains(&answer.status)
        {
            broken.push(format!("a delivery to {path} without its last byte: {answer:?}"));
        }
    }
    Ok(broken)
}
