//! The settings of a forwarder, by its arguments and by its consumer.

use std::time::Duration;

use sekali_common::consumers::{Order, Specification};

/// The settings of a forwarder.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The order of the consumer.
    pub order: Order,
    /// The most deliveries at a time.
    pub parallel: usize,
    /// The most events of a delivery.
    pub batch: usize,
    /// The most events a second.
    pub rate: Option<f64>,
    /// The time that a claim lasts.
    pub lease: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { order: Order::Topic, parallel: 16, batch: 1, rate: None, lease: Duration::from_secs(30) }
    }
}

impl Settings {
    /// These settings with what the consumer is.
    pub fn of(self, consumer: &Specification) -> Self {
        let lease = consumer.lease.map_or(self.lease, |seconds| Duration::from_secs(seconds.into()));
        Self { order: consumer.order.unwrap_or(self.order), lease, ..self }
    }
}
