//! What the experiments share that attack a running service from outside: a client that shows all that comes back, and
//! the record of what the service has acknowledged.

pub mod events;
pub mod raw_client;

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sekali_common::api::Stats;
use sekali_model::{ReadBack, account_of};
use serde_json::Value;

use self::events::{Fate, Ledger, note};
use self::raw_client::{RawAnswer, RawClient};

/// The time in which the service has to be as before once a fault or an attack has ended. A loaded machine needs some.
const RECOVERY: Duration = Duration::from_secs(20);

/// Connections on each of which the service has to serve once it has recovered. Each instance gets some of them.
const CONNECTIONS: usize = 8;

/// Events that are compared at once.
const PAGE: usize = 10_000;

/// Publishes events by id, in one request on a connection of its own, and notes the outcome.
pub fn publish(
    address: SocketAddr,
    headers: &str,
    ids: &[String],
    ledger: &mut Ledger,
) -> std::io::Result<RawAnswer> {
    let answer = RawClient::connect(address).and_then(|mut client| client.publish(headers, &batch(ids)));
    note(ledger, ids, Fate::of(&answer));
    answer
}

/// The body that publishes these events.
pub fn batch(ids: &[String]) -> String {
    Value::from_iter(ids.iter().map(|id| events::event(id))).to_string()
}

/// Waits until the service serves on many new connections in a row, reads and writes, and compares all that it stores
/// with the ledger. Returns the promises that are broken.
///
/// # Errors
/// When it does not serve in time.
pub fn all_is_well(address: SocketAddr, ledger: &mut Ledger, name: &str) -> Result<Vec<String>> {
    let name = slug(name);
    let began = Instant::now();
    let mut attempts = 0;
    loop {
        let served = serves(address, ledger, &format!("{name}-{attempts}"));
        match served.and_then(|()| audit(address, ledger)) {
            Ok(broken) => return Ok(broken),
            Err(error) if began.elapsed() > RECOVERY => {
                return Err(error.context(format!("not as before within {RECOVERY:?}")));
            }
            Err(_) => attempts += 1,
        }
        sleep(Duration::from_millis(100));
    }
}

/// Publishes and reads on many connections at once.
fn serves(address: SocketAddr, ledger: &mut Ledger, name: &str) -> Result<()> {
    // All of them are open at once, because a host gives a new connection to the worker with the fewest.
    let clients =
        (0..CONNECTIONS).map(|_| RawClient::connect(address)).collect::<std::io::Result<Vec<_>>>()?;
    for (n, mut client) in clients.into_iter().enumerate() {
        let ids = [format!("{name}-{n}")];
        let answer = client.publish("", &batch(&ids));
        note(ledger, &ids, Fate::of(&answer));
        expect(200, answer?)?;
        expect(200, client.get(&format!("/events/siege/{}", ids[0]))?)?;
        expect(200, client.get("/readyz")?)?;
    }
    Ok(())
}

/// A text as a part of an event id that needs no encoding in a path.
pub fn slug(text: &str) -> String {
    text.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
}

/// Compares all that the service stores with the ledger. Returns the promises that are broken.
///
/// # Errors
/// When it cannot be read.
pub fn audit(address: SocketAddr, ledger: &Ledger) -> Result<Vec<String>> {
    let mut read = ReadBack::new(1, 0);
    loop {
        let path = format!("/events?after={}&limit={PAGE}", read.last_seq());
        // A connection for each page: the server ends one that is silent while the page is compared.
        let page = expect(200, RawClient::connect(address)?.get(&path).context("/events")?)?;
        if events::take(&mut read, &page.body).context("/events")? < PAGE {
            break;
        }
    }
    let stats = expect(200, RawClient::connect(address)?.get("/stats").context("/stats")?)?;
    let stats: Stats = serde_json::from_str(&stats.body).context("/stats")?;
    let (sum, account) = (read.accounts[0], account_of(&stats, events::TOPIC));
    let mut broken = events::compare(ledger, &read);
    if account != sum {
        broken.push(format!("the events add up to {sum}, but /stats says {account}"));
    }
    Ok(broken)
}

/// The answer, if it has this status.
///
/// # Errors
/// When it has another.
pub fn expect(status: u16, answer: RawAnswer) -> Result<RawAnswer> {
    if answer.status != status {
        bail!("{status} was expected, and the answer is {answer:?}");
    }
    Ok(answer)
}
