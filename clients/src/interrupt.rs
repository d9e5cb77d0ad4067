//! The first Ctrl-C, or SIGTERM, asks the program to end its work; the second ends the program.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells whether, how often and by which signal the program was asked to end.
#[derive(Clone)]
pub struct Interrupt(watch::Receiver<Requests>);

#[derive(Clone, Copy, Default)]
struct Requests {
    count: u32,
    /// The number of the first signal.
    signal: i32,
}

impl Interrupt {
    /// Listens to signals from now on. Needs a tokio runtime.
    pub fn listen() -> Result<Self> {
        let context = "signals cannot be received";
        let mut interrupts = signal(SignalKind::interrupt()).context(context)?;
        let mut terminations = signal(SignalKind::terminate()).context(context)?;
        let (sender, receiver) = watch::channel(Requests::default());
        tokio::spawn(async move {
            loop {
                let number = tokio::select! {
                    _ = interrupts.recv() => SignalKind::interrupt().as_raw_value(),
                    _ = terminations.recv() => SignalKind::terminate().as_raw_value(),
                };
                sender.send_modify(|requests| {
                    requests.count += 1;
                    if requests.count == 1 {
                        requests.signal = number;
                    }
                });
            }
        });
        Ok(Self(receiver))
    }

    /// Waits for a signal; returns at once when there was one.
    pub async fn requested(&self) {
        self.wait_for(1).await;
    }

    /// Runs the program's work, to its end or to the second signal. Whatever the work holds is dropped then.
    pub async fn bound<T>(&self, work: impl Future<Output = Result<T>>) -> Option<Result<T>> {
        tokio::select! {
            result = work => Some(result),
            () = self.wait_for(2) => None,
        }
    }

    /// The exit code that tells which signal ended the program, as shells do it; `None` when there was none.
    pub fn exit_code(&self) -> Option<u8> {
        let requests = *self.0.borrow();
        u8::try_from(128 + requests.signal).ok().filter(|_| requests.count > 0)
    }

    async fn wait_for(&self, count: u32) {
        if self.0.clone().wait_for(|requests| requests.count >= count).await.is_err() {
            std::future::pending().await // nobody listens any more, so nobody asks
        }
    }
}
