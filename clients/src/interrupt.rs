//! Ctrl-C and SIGTERM: the first signal asks the program to finish its work, the second ends the program.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The signals that asked the program to end.
#[derive(Clone)]
pub struct Interrupt(watch::Receiver<Requests>);

#[derive(Clone, Copy, Default)]
struct Requests {
    count: u32,
    /// The number of the first signal.
    signal: i32,
}

impl Interrupt {
    /// Listens for signals from now on. Needs a tokio runtime.
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

    /// Waits for a signal; returns at once if there was one before.
    pub async fn requested(&self) {
        self.wait_for(1).await;
    }

    /// Runs the program's work until it ends, or until the second signal: then the work is dropped, with all it holds,
    /// and the result is `None`.
    pub async fn bound<T>(&self, work: impl Future<Output = Result<T>>) -> Option<Result<T>> {
        tokio::select! {
            result = work => Some(result),
            () = self.wait_for(2) => None,
        }
    }

    /// The exit code of a program ended by a signal, which is 128 plus the signal's number as in shells; `None` without
    /// a signal.
    pub fn exit_code(&self) -> Option<u8> {
        let requests = *self.0.borrow();
        u8::try_from(128 + requests.signal).ok().filter(|_| requests.count > 0)
    }

    async fn wait_for(&self, count: u32) {
        if self.0.clone().wait_for(|requests| requests.count >= count).await.is_err() {
            std::future::pending().await // the listening task has ended, so no signal can come
        }
    }
}
