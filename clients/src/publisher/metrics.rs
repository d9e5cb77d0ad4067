//! How far each input is, as metrics for Prometheus.

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use sekali_clients::metrics::{self, Exposition};

use crate::progress::Progress;

/// An input by its name.
pub type Named = (String, Arc<Progress>);

/// Answers every request at this address, until the program ends.
pub async fn serve(address: SocketAddr, inputs: Vec<Named>) -> Result<()> {
    metrics::serve(address, move || ready(text(&inputs))).await
}

/// A metric that has one value for each input: its name, type and meaning, and the value.
type Metric = (&'static str, &'static str, &'static str, fn(&Progress) -> f64);

/// The metrics beside the counts of lines.
const METRICS: [Metric; 10] = [
    (
        "sekali_publisher_conflicts_total",
        "counter",
        "Events that are stored with another payload.",
        |input| input.conflicts.get() as f64,
    ),
    ("sekali_publisher_gaps_total", "counter", "Places where lines are missing, or may be.", |input| {
        input.gaps.get() as f64
    }),
    ("sekali_publisher_bytes_total", "counter", "Bytes of the input that are done.", |input| {
        input.bytes.get() as f64
    }),
    ("sekali_publisher_retries_total", "counter", "Requests that were sent again.", |input| {
        input.retries.get() as f64
    }),
    ("sekali_publisher_service_away", "gauge", "1 while the service does not answer.", |input| {
        f64::from(u8::from(input.is_away.get()))
    }),
    ("sekali_publisher_failed", "gauge", "1 while the input has failed, and is not read.", |input| {
        f64::from(u8::from(input.has_failed.get()))
    }),
    (
        "sekali_publisher_acknowledged_timestamp_seconds",
        "gauge",
        "When the service last took events, since 1970; 0 before it did.",
        |input| input.acknowledged().as_secs_f64(),
    ),
    (
        "sekali_publisher_lag_seconds",
        "gauge",
        "The age of the oldest line that was read and is not done.",
        |input| input.lag().as_secs_f64(),
    ),
    ("sekali_publisher_batches_total", "counter", "Batches that are done.", |input| {
        input.batches.get() as f64
    }),
    (
        "sekali_publisher_batch_seconds_total",
        "counter",
        "The time that these took, each from the reading of its first line.",
        |input| input.taken().as_secs_f64(),
    ),
];

fn text(inputs: &[Named]) -> Exposition {
    let mut text = Exposition::default();
    let lines = inputs.iter().flat_map(|(name, input)| {
        input
            .lines
            .iter()
            .map(move |(outcome, lines)| ([("input", name.as_str()), ("outcome", outcome)], lines as f64))
    });
    let help = "Lines, and what became of them.";
    text.add(("sekali_publisher_lines_total", "counter", help), lines);
    for (metric, kind, help, value) in METRICS {
        let samples = inputs.iter().map(|(name, input)| ([("input", name.as_str())], value(input)));
        text.add((metric, kind, help), samples);
    }
    text
}
