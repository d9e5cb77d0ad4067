//! The grace period: after Ctrl-C the publisher tries to send the lines that it has read, for a limited time.

use std::pin::pin;
use std::time::Duration;

use indicatif::ProgressBar;
use sekali_clients::interrupt::Interrupt;
use sekali_clients::terminal::warn;
use tokio::time::{Instant, timeout, timeout_at};

/// Its length.
const GRACE: Duration = Duration::from_secs(10);

/// A wait that is longer is announced.
const NOTICEABLE: Duration = Duration::from_millis(500);

/// The time that is left after an interrupt.
pub struct ShutdownGrace {
    interrupt: Interrupt,
    /// The time at which to give up; `None` before the interrupt.
    end: Option<Instant>,
    is_announced: bool,
}

impl ShutdownGrace {
    /// A period that begins with the first signal.
    pub fn new(interrupt: &Interrupt) -> Self {
        Self { interrupt: interrupt.clone(), end: None, is_announced: false }
    }

    /// Runs some work until it is done, or until the period ends: then the result is `None`.
    pub async fn bound<T>(&mut self, work: impl Future<Output = T>, bar: &ProgressBar) -> Option<T> {
        let mut work = pin!(work);
        let end = match self.end {
            Some(end) => end,
            None => tokio::select! {
                done = &mut work => return Some(done),
                () = self.interrupt.requested() => *self.end.insert(Instant::now() + GRACE),
            },
        };
        if !self.is_announced {
            if let Ok(done) = timeout(NOTICEABLE, &mut work).await {
                return Some(done);
            }
            warn(bar, format_args!("trying for {} s more to send what was read", GRACE.as_secs()));
            self.is_announced = true;
        }
        timeout_at(end, work).await.ok()
    }
}
