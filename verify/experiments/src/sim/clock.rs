//! The simulated clock.

use std::time::Duration;

use sekali::clock::Clock;

use super::executor::Handle;

/// The clock of an executor: it moves when nothing is ready.
#[derive(Clone)]
pub struct SimClock(pub Handle);

impl Clock for SimClock {
    fn now(&self) -> Duration {
        self.0.now()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }

    async fn yield_now(&self) {
        self.0.yield_now().await;
    }
}
