//! `soak`: everything at once for a time: producers, readers, followers, probes, and clients that go away midway. The
//! books balance, and memory, file descriptors and the database's log stay what they were once all had begun.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use fastrand::Rng;
use sekali_harness::deployment::{Deployment, Setup};
use serde_json::Value;

use crate::attacks::account::{Account, Outcome};
use crate::attacks::raw_client::{Answer, RawClient};
use crate::attacks::{self, batch, expect};
use crate::{Effort, Tally};

/// The part of the time after which all caches are warm.
const WARM: f64 = 0.4;

/// The most memory of a host with two instances. Most of it is answers that nobody reads any more, of which an instance
/// holds up to 32.
const MEMORY: u64 = 800 << 20;

/// The growth of memory and of descriptors that may be chance, once all is warm.
const MORE_MEMORY: u64 = 192 << 20;
const MORE_DESCRIPTORS: usize = 24;

/// Descriptors that stay open: the connections of two instances to the database, with up to three files each.
const KEPT_DESCRIPTORS: usize = 48;

/// The most bytes of the database's log. It is copied to the database after 16 MiB, unless a reader is in the way.
const LOG: u64 = 64 << 20;

/// A client, which does one thing after another until it is stopped. It returns the number of its requests.
type Client = fn(&mut Rng, SocketAddr, &str, &AtomicBool) -> Result<(u64, Account)>;

const CLIENTS: &[(Client, usize)] = &[(produce, 4), (read, 2), (follow, 4), (probe, 1), (go_away, 2)];

/// Uses that are looked at.
#[derive(Clone, Copy, Debug)]
struct Use {
    memory: u64,
    descriptors: Option<usize>,
    log: u64,
}

/// Runs all clients for a time.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    let deployment = Setup::from_environment()?.start()?;
    let address = deployment.address();
    let time = Duration::from_secs(effort.pick(5, 60));
    let mut tally = Tally::default();
    let mut account = Account::default();
    let stop = AtomicBool::new(false);
    let begin = look(&deployment)?;
    let (warm, most) = thread::scope(|scope| {
        let mut clients = Vec::new();
        for (kind, (client, count)) in CLIENTS.iter().enumerate() {
            for n in 0..*count {
                let mut random = Rng::with_seed(seed.wrapping_add((kind * 100 + n) as u64));
                let stop = &stop;
                clients.push(scope.spawn(move || client(&mut random, address, &format!("{kind}-{n}"), stop)));
            }
        }
        let looked = watch(&deployment, time);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            match client.join().map_err(|_| anyhow!("a client panicked"))? {
                Ok((requests, sent)) => {
                    tally.trials += requests;
                    account.add(sent);
                }
                Err(error) => tally.violated(format!("{error:#}")),
            }
        }
        looked
    })?;
    tally.violations.extend(attacks::all_is_well(address, &mut account, "after it")?);
    let end = look(&deployment)?;
    // A few seconds are too short to tell warming from growing.
    let may_grow = effort.pick(MEMORY, MORE_MEMORY);
    if most.memory > MEMORY || most.memory > warm.memory + may_grow {
        tally.violated(format!("memory grows: {warm:?}, later up to {most:?}"));
    }
    if most.descriptors > warm.descriptors.map(|warm| warm + MORE_DESCRIPTORS)
        || end.descriptors > begin.descriptors.map(|begin| begin + KEPT_DESCRIPTORS)
    {
        tally.violated(format!(
            "descriptors leak: first {begin:?}, warm {warm:?}, at most {most:?}, at last {end:?}"
        ));
    }
    if most.log > LOG {
        tally.violated(format!("the log grows: {warm:?}, later up to {most:?}"));
    }
    eprintln!("torture: soak: first {begin:?}, warm {warm:?}, at most {most:?}, at last {end:?}");
    tally.acknowledged = account.acknowledged();
    Ok(tally)
}

/// Looks at what is used: once all is warm, and the most from then on.
fn watch(deployment: &Deployment, time: Duration) -> Result<(Use, Use)> {
    let began = Instant::now();
    let most_of = |until: Duration| -> Result<Use> {
        let mut most = look(deployment)?;
        while began.elapsed() < until {
            sleep(Duration::from_millis(100));
            let now = look(deployment)?;
            most = Use {
                memory: most.memory.max(now.memory),
                descriptors: most.descriptors.max(now.descriptors),
                log: most.log.max(now.log),
            };
        }
        Ok(most)
    };
    Ok((most_of(time.mul_f64(WARM))?, most_of(time)?))
}

fn look(deployment: &Deployment) -> Result<Use> {
    let mut log = deployment.database().into_os_string();
    log.push("-wal");
    Ok(Use {
        memory: deployment.memory()?.resident,
        descriptors: deployment.descriptors(),
        log: fs::metadata(log).map_or(0, |log| log.len()),
    })
}

/// Publishes new events and old ones, alone and in batches, with and without keys.
fn produce(random: &mut Rng, address: SocketAddr, name: &str, stop: &AtomicBool) -> Result<(u64, Account)> {
    let mut account = Account::default();
    let mut client = RawClient::connect(address)?;
    let (mut requests, mut named) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let count = if random.bool() { 1 } else { random.usize(1..=20) };
        let ids: Vec<_> = (0..count)
            .map(|_| {
                let is_old = named > 0 && random.u8(..10) == 0;
                let n = if is_old { random.u64(..named) } else { named };
                named += u64::from(!is_old);
                format!("{name}-{n}")
            })
            .collect();
        let key = if random.u8(..10) == 0 {
            format!("idempotency-key: {name}-{requests}\r\n")
        } else {
            String::new()
        };
        let answer = client.publish(&key, &batch(&ids));
        account.note(&ids, Outcome::of(&answer));
        served(answer.context("publishing")?)?;
        requests += 1;
        sleep(Duration::from_millis(random.u64(5..15)));
    }
    Ok((requests, account))
}

/// Goes from page to page.
fn read(random: &mut Rng, address: SocketAddr, _: &str, stop: &AtomicBool) -> Result<(u64, Account)> {
    let mut client = RawClient::connect(address)?;
    let (mut requests, mut after) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let limit = random.usize(1..2_000);
        let page = client.get(&format!("/events?after={after}&limit={limit}"))?;
        let Some(page) = served(page)? else { continue };
        let events: Vec<Value> = serde_json::from_str(&page.body)?;
        after = in_order(after, &events)?;
        if events.len() < limit {
            after = 0;
        }
        requests += 1;
        sleep(Duration::from_millis(20));
    }
    Ok((requests, Account::default()))
}

/// The answer to a client that may be refused, but not fail: where others go away, all answers may be in use for a moment.
fn served(answer: Answer) -> Result<Option<Answer>> {
    if answer.status == 503 && answer.header("retry-after").is_some() {
        sleep(Duration::from_millis(50));
        return Ok(None);
    }
    expect(200, answer).map(Some)
}

/// Checks that no seq is left out, and returns the last.
fn in_order(after: i64, events: &[Value]) -> Result<i64> {
    for (expected, event) in (after + 1..).zip(events) {
        ensure!(event["seq"] == expected, "seq {expected} is left out before {event}");
    }
    Ok(after + events.len() as i64)
}

/// Follows, goes away, and resumes where it was.
fn follow(random: &mut Rng, address: SocketAddr, _: &str, stop: &AtomicBool) -> Result<(u64, Account)> {
    let (mut requests, mut after) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let mut client = RawClient::connect(address)?;
        client.send(
            format!("GET /events?after={after} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n")
                .as_bytes(),
        )?;
        let (status, head) = client.head()?;
        ensure!(status == 200, "following: {head}");
        requests += 1;
        let until = Instant::now() + Duration::from_millis(random.u64(100..3_000));
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            let text = String::from_utf8(client.chunk()?)?;
            ensure!(!text.is_empty(), "the live stream ended");
            let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
            let events = events.map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
            after = in_order(after, &events)?;
        }
    }
    Ok((requests, Account::default()))
}

/// Asks what operators ask.
fn probe(_: &mut Rng, address: SocketAddr, _: &str, stop: &AtomicBool) -> Result<(u64, Account)> {
    let mut requests = 0;
    while !stop.load(Ordering::Relaxed) {
        for path in ["/readyz", "/healthz", "/stats", "/metrics", "/", "/openapi.json"] {
            served(RawClient::connect(address)?.get(path)?)?;
            requests += 1;
        }
        sleep(Duration::from_millis(100));
    }
    Ok((requests, Account::default()))
}

/// Goes away within a request, or within an answer.
fn go_away(random: &mut Rng, address: SocketAddr, name: &str, stop: &AtomicBool) -> Result<(u64, Account)> {
    let mut account = Account::default();
    let mut requests = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut client = RawClient::connect(address)?;
        if random.bool() {
            let ids = [format!("{name}-{requests}")];
            let body = batch(&ids);
            let sent = random.usize(..=body.len());
            let head = format!("POST /publish HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
            account.note(&ids, Outcome::Unknown);
            client.send(&[head.as_bytes(), &body.as_bytes()[..sent]].concat())?;
        } else {
            client.send(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")?;
            let _ = client.head()?;
        }
        requests += 1;
        sleep(Duration::from_millis(random.u64(..20)));
    }
    Ok((requests, account))
}
