//! Metrics in the text format of Prometheus, for whoever asks at an address.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::place::Place;

/// The most of a request that is read.
const REQUEST_BYTES: usize = 8 << 10;

/// The time that a request may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The time that the service has for its part of an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers every request at this address, until the program ends.
pub async fn serve(address: SocketAddr, place: Place) -> Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("--metrics: {address}"))?;
    tokio::spawn(async move {
        loop {
            // One after the other: whoever asks is a scraper. An error is one connection's.
            if let Ok((stream, _)) = listener.accept().await {
                let _ = timeout(LIMIT, answer(stream, &place)).await;
            }
        }
    });
    Ok(())
}

async fn answer(mut stream: TcpStream, place: &Place) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_BYTES {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let body = text(place).await;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// The metrics. Those that the service alone knows are left out while it does not answer.
async fn text(place: &Place) -> String {
    let counts = place.board.counts();
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, help: &str, value: f64| {
        let consumer = &place.name;
        // Writing to memory cannot fail. Names of consumers have no characters that would need an escape.
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{{consumer=\"{consumer}\"}} {value}"
        );
    };
    add(
        "sekali_forwarder_delivered_total",
        "counter",
        "Events that were delivered.",
        counts.delivered as f64,
    );
    add(
        "sekali_forwarder_failed_total",
        "counter",
        "Attempts that failed because of their event.",
        counts.failed as f64,
    );
    add(
        "sekali_forwarder_outages_total",
        "counter",
        "Times that the endpoint was away.",
        counts.outages as f64,
    );
    add(
        "sekali_forwarder_circuit_open",
        "gauge",
        "1 while the endpoint is away.",
        f64::from(u8::from(counts.is_away)),
    );
    add(
        "sekali_forwarder_standby",
        "gauge",
        "1 while another holds the claim.",
        f64::from(u8::from(counts.stands_by)),
    );
    add("sekali_forwarder_in_flight", "gauge", "Deliveries on their way.", counts.in_flight as f64);
    if let Ok(Ok(consumer)) = timeout(PATIENCE, place.client.consumer(&place.name)).await {
        add(
            "sekali_forwarder_lag",
            "gauge",
            "Events behind the position: claimed and not committed, or not claimed yet.",
            consumer.lag as f64,
        );
        add(
            "sekali_forwarder_behind_seconds",
            "gauge",
            "The age of the oldest event that is not done.",
            consumer.behind_seconds,
        );
        add("sekali_forwarder_parked", "gauge", "Events that failed and come again.", consumer.parked as f64);
        add("sekali_forwarder_dead", "gauge", "Events that do not come again.", consumer.dead as f64);
    }
    text
}
