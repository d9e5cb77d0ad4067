//! Live streams at a steady rate: the lag of followers, and what many of them cost beside one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::http;
use crate::load::{Connection, Get};

/// Events a second, and in a request.
pub const RATE: u64 = 5000;
const BATCH: u64 = 50;

/// What followers saw.
pub struct Followed {
    /// The time from the request that published an event until a follower had it, in microseconds.
    pub lag: Histogram<u64>,
    /// Events that those followers got that were there from the beginning.
    pub received: u64,
    /// Events that one of those that were behind had got.
    pub caught_up: u64,
}

/// Publishes at a steady rate to followers from now on, and to others that begin with the first event of the store.
pub fn run(address: SocketAddr, now: usize, behind: usize, duration: Duration) -> Result<Followed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let began = Instant::now();
        let end = duration + Duration::from_secs(2);
        let follow = |path: &'static str| tokio::task::spawn_local(follow(address, path, began, end));
        let live: Vec<_> = (0..now).map(|_| follow("/events")).collect();
        let late: Vec<_> = (0..behind).map(|_| follow("/events?after=0")).collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        publish(address, began, duration).await?;
        let mut all = Followed { lag: Histogram::new(3)?, received: 0, caught_up: 0 };
        for follower in live {
            let (lag, received) = follower.await??;
            all.lag.add(lag)?;
            all.received += received;
        }
        for follower in late {
            all.caught_up = all.caught_up.max(follower.await??.1);
        }
        Ok(all)
    })
}

async fn publish(address: SocketAddr, began: Instant, duration: Duration) -> Result<()> {
    let run = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_nanos();
    let mut connection = Connection::open(address, &mut Get(String::new())).await?;
    let mut ticks = interval(Duration::from_micros(1_000_000 * BATCH / RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut request = Vec::new();
    for batch in 0..duration.as_secs() * RATE / BATCH {
        ticks.tick().await;
        let event = |n| {
            let at = began.elapsed().as_micros();
            format!(
                r#"{{"topic":"live","event_id":"{run}-{batch}-{n}","payload":{{"order":10234,"amount":"49.90","at":{at},}}}}"#
            )
            .replace(",}}", "}}")
        };
        let body = format!("[{}]", (0..BATCH).map(event).collect::<Vec<_>>().join(","));
        request.clear();
        http::write(&mut request, "POST", "/publish", "", body.as_bytes());
        connection.exchange(&request, http::answer).await?;
    }
    Ok(())
}

/// Follows until the end, and returns the lag of the last event in each piece that came, and the number of events.
async fn follow(
    address: SocketAddr,
    path: &str,
    began: Instant,
    end: Duration,
) -> Result<(Histogram<u64>, u64)> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let (mut lag, mut received) = (Histogram::new(3)?, 0);
    let mut buffer = vec![0; 128 * 1024];
    while let Some(left) = end.checked_sub(began.elapsed()) {
        let Ok(read) = timeout(left, stream.read(&mut buffer)).await else { break };
        let read = read?;
        ensure!(read > 0, "a stream ended");
        let text = String::from_utf8_lossy(&buffer[..read]);
        received += text.matches("\nid: ").count() as u64;
        if let Some((_, behind)) = text.rsplit_once(r#""at":"#)
            && let Some((at, _)) = behind.split_once('}')
        {
            let at: u64 = at.parse().context("an event without its time")?;
            lag.record((began.elapsed().as_micros() as u64).saturating_sub(at))?;
        }
    }
    Ok((lag, received))
}
