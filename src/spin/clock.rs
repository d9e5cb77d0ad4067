//! The host's monotonic clock. It starts with the instance.

use std::time::{Duration, Instant};

use crate::clock::Clock;

/// The clock of an instance.
#[derive(Clone, Copy)]
pub struct SpinClock(Instant);

impl SpinClock {
    /// A clock that reads zero now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SpinClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        spin_sdk::time::sleep(duration).await;
    }

    async fn yield_now(&self) {
        spin_sdk::wasip3::wit_bindgen::yield_async().await;
    }
}
