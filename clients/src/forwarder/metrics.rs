//! How far the forwarder is, as metrics for Prometheus.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use sekali_clients::metrics::{self, Exposition};
use tokio::time::timeout;

use crate::place::Place;

/// The time that the service has for its part of an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers every request at this address, until the program ends.
pub async fn serve(address: SocketAddr, place: Place) -> Result<()> {
    metrics::serve(address, move || {
        let place = place.clone();
        async move { text(&place).await }
    })
    .await
}

/// The metrics. Those that the service alone knows are left out while it does not answer.
async fn text(place: &Place) -> Exposition {
    let counts = place.board.counts();
    let mut text = Exposition::default();
    let mut add = |name: &str, kind: &str, help: &str, value: f64| {
        text.add((name, kind, help), [([("consumer", place.name.as_str())], value)]);
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
