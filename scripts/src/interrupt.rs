//! The first Ctrl-C, or SIGTERM, asks the program to end its work; the second ends the program.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells whether, and by which signal, the program was asked to end.
#[derive(Clone)]
pub struct Interrupt(watch::Receiver<Option<i32>>);

impl Interrupt {
    /// Listens to signals from now on. Needs a tokio runtime.
    pub fn listen() -> Result<Self> {
        let context = "signals cannot be received";
        let mut interrupts = signal(SignalKind::interrupt()).context(context)?;
        let mut terminations = signal(SignalKind::terminate()).context(context)?;
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let number = tokio::select! {
                    _ = interrupts.recv() => SignalKind::interrupt().as_raw_value(),
                    _ = terminations.recv() => SignalKind::terminate().as_raw_value(),
                };
                if sender.borrow().is_some() {
                    std::process::exit(128 + number);
                }
                sender.send_replace(Some(number));
            }
        });
        Ok(Self(receiver))
    }

    /// Waits for a signal; returns at once when there was one.
    pub async fn requested(&self) {
        if self.0.clone().wait_for(Option::is_some).await.is_err() {
            std::future::pending().await // nobody listens any more, so nobody asks
        }
    }

    /// The exit code that tells which signal ended the program, as shells do it; `None` when there was none.
    pub fn exit_code(&self) -> Option<u8> {
        self.0.borrow().and_then(|number| u8::try_from(128 + number).ok())
    }
}
