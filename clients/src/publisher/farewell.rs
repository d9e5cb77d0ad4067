//! What was read is still tried for a while after Ctrl-C.

use std::pin::pin;
use std::time::Duration;

use indicatif::ProgressBar;
use sekali_clients::interrupt::Interrupt;
use sekali_clients::terminal::warn;
use tokio::time::{Instant, timeout, timeout_at};

/// How long that is.
const LAST_TRY: Duration = Duration::from_secs(10);

/// When it is worth a word.
const NOTICEABLE: Duration = Duration::from_millis(500);

/// The end that the program was asked for.
pub struct Farewell {
    interrupt: Interrupt,
    /// When whatever is left is given up.
    end: Option<Instant>,
    is_told: bool,
}

impl Farewell {
    /// Nobody has asked yet.
    pub fn new(interrupt: &Interrupt) -> Self {
        Self { interrupt: interrupt.clone(), end: None, is_told: false }
    }

    /// Waits for some work, but no longer than the program may go on: then it returns `None`.
    pub async fn bound<T>(&mut self, work: impl Future<Output = T>, bar: &ProgressBar) -> Option<T> {
        let mut work = pin!(work);
        let end = match self.end {
            Some(end) => end,
            None => tokio::select! {
                done = &mut work => return Some(done),
                () = self.interrupt.requested() => *self.end.insert(Instant::now() + LAST_TRY),
            },
        };
        if !self.is_told {
            if let Ok(done) = timeout(NOTICEABLE, &mut work).await {
                return Some(done);
            }
            warn(bar, format_args!("trying for {} s more to send what was read", LAST_TRY.as_secs()));
            self.is_told = true;
        }
        timeout_at(end, work).await.ok()
    }
}
