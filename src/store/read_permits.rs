//! Permits to read. Each purpose has its own, so that a long read delays neither a follower nor the probe of a load
//! balancer.

use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::StoreError;
use super::query::Purpose;
use crate::clock::Clock;

/// The longest wait of a read for its turn, and then for a busy database; and the first pause between two tries, and the
/// longest.
pub const READ_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl Purpose {
    /// Connections that read for it at once. Further reads wait.
    const fn connections(self) -> usize {
        match self {
            Self::Answer => 4,
            Self::Follow => 3,
            Self::Probe => 2,
        }
    }
}

/// The permits of reads.
pub struct ReadPermits([Semaphore; 3]);

impl Default for ReadPermits {
    fn default() -> Self {
        let permits = |purpose: Purpose| Semaphore::new(purpose.connections());
        Self([Purpose::Answer, Purpose::Follow, Purpose::Probe].map(permits))
    }
}

impl ReadPermits {
    /// The permit to use a connection, for which a read waits up to five seconds.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] when it waited in vain.
    pub async fn permit(
        &self,
        purpose: Purpose,
        clock: &impl Clock,
    ) -> Result<SemaphorePermit<'_>, StoreError> {
        let permits = &self.0[purpose as usize];
        if let Ok(permit) = permits.try_acquire() {
            return Ok(permit); // most find one free, and need no timer
        }
        match select(pin!(permits.acquire()), pin!(clock.sleep(READ_TIMEOUT))).await {
            Either::Left((permit, _)) => permit.map_err(|error| StoreError::Failed(error.to_string())),
            Either::Right(_) => Err(StoreError::Overloaded),
        }
    }
}

/// Repeats `work` while it finds the database busy, for up to five seconds.
///
/// # Errors
/// The errors of `work`, and [`StoreError::Busy`] when the database stays busy.
pub async fn retry_while_busy<T>(
    clock: &impl Clock,
    work: impl AsyncFn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut deadline = None; // the clock is a call to the host, and few calls find the database busy
    let mut pause = PAUSE;
    loop {
        match work().await {
            Err(StoreError::Busy) => {
                let now = clock.now();
                if now >= *deadline.get_or_insert(now + READ_TIMEOUT) {
                    return Err(StoreError::Busy);
                }
                clock.sleep(pause).await;
                pause = pause.mul_f64(1.5).min(LONGEST_PAUSE);
            }
            result => return result,
        }
    }
}
