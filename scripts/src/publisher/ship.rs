//! Sends batches, one after the other, so that the order of the events is that of their lines.

use std::io::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::ProgressBar;
use reqwest::StatusCode;
use sekali_scripts::api::{EventResult, Published};
use sekali_scripts::client::{Client, Failure, Publication, Refusal};
use sekali_scripts::interrupt::Interrupt;
use sekali_scripts::retry::{Patience, Retries};
use sekali_scripts::terminal::warn;

use crate::batch::{Batch, Batches};
use crate::checkpoint::Checkpoint;
use crate::rejects::Rejects;
use crate::report::Tally;

/// How often the checkpoint is written, at most.
const CHECKPOINT: Duration = Duration::from_secs(1);

/// How long what was read is still tried after Ctrl-C.
const LAST_TRY: Duration = Duration::from_secs(10);

/// How many conflicts are told of one by one.
const CONFLICTS_TOLD: u64 = 10;

/// Sends batches and keeps account of what became of them.
pub struct Shipper {
    pub client: Client,
    pub publication: Publication,
    pub patience: Patience,
    pub interrupt: Interrupt,
    /// When to give up whatever is left, once the program was asked to end.
    pub last_try: Option<Instant>,
    pub bar: ProgressBar,
    pub checkpoint: Option<Checkpoint>,
    /// Where invalid events go; without it the first ends the program.
    pub rejects: Option<Rejects>,
    pub tally: Tally,
    /// Told of each event, when the service was asked to.
    pub observe: Option<Observe>,
}

/// Is told what became of the events of a request.
pub type Observe = Box<dyn FnMut(&[EventResult]) + Send>;

/// Why sending ended early.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// Lines or events are invalid.
    #[error("{0}")]
    Invalid(String),
    /// The service refuses, for no fault of an event.
    #[error("{0}")]
    Refused(Failure),
    /// The service was not reached, or did not answer, for as long as one was willing to try.
    #[error("gave up: {0}")]
    GaveUp(Failure),
    /// Something on this machine failed.
    #[error(transparent)]
    Local(#[from] anyhow::Error),
}

impl Shipper {
    /// Sends all batches that come.
    pub async fn run(&mut self, mut batches: Batches) -> Result<(), Stop> {
        let mut saved = Instant::now();
        let result = loop {
            let batch = match batches.recv().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(Stop::Local(error)),
                Some(Ok(batch)) => batch,
            };
            if let Err(stop) = self.ship(batch).await {
                break Err(stop);
            }
            if saved.elapsed() >= CHECKPOINT {
                self.save()?;
                saved = Instant::now();
            }
        };
        // Also after a failure: what was acknowledged was.
        self.save()?;
        result
    }

    fn save(&self) -> Result<()> {
        self.checkpoint
            .as_ref()
            .map_or(Ok(()), |checkpoint| checkpoint.save().context("the checkpoint cannot be written"))
    }

    async fn ship(&mut self, mut batch: Batch) -> Result<(), Stop> {
        // What is left of the batch, the first part last.
        let all = 0..batch.items.len();
        let mut parts = Vec::from([all]);
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match self.send(self.body(&batch, part.clone())?).await {
                Ok(published) => self.take_answer(&batch, &published),
                Err(Failure::Refused(refusal)) if is_about_events(&refusal) => {
                    self.narrow(&mut batch, part, &refusal, &mut parts)?;
                }
                Err(failure) if failure.is_transient() => return Err(Stop::GaveUp(failure)),
                Err(failure) => return Err(Stop::Refused(failure)),
            }
        }
        for unusable in &batch.unusable {
            self.reject(&unusable.place.to_string(), &unusable.reason, &unusable.text)?;
        }
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.advance(&batch);
        }
        self.tally.reach(&batch);
        self.bar.set_position(self.tally.bytes());
        self.bar.set_message(self.tally.to_string());
        Ok(())
    }

    /// The request's body of a part of a batch.
    fn body(&self, batch: &Batch, part: Range<usize>) -> Result<Vec<u8>> {
        let bytes = batch.items[part.start].json.start..batch.items[part.end - 1].json.end;
        let body = &batch.body[bytes];
        if self.publication.is_gzip { gzip(body).context("gzip failed") } else { Ok(body.to_vec()) }
    }

    /// Sends a request until it is answered.
    async fn send(&mut self, body: Vec<u8>) -> Result<Published, Failure> {
        let mut retries = Retries::new(self.patience);
        let mut is_down = false;
        loop {
            let failure = match self.client.publish(self.publication, body.clone()).await {
                Ok(published) => {
                    if is_down {
                        self.bar.suspend(|| eprintln!("the service answers again"));
                    }
                    return Ok(published);
                }
                Err(failure) => failure,
            };
            let Some(pause) = retries.pause_after(&failure) else { return Err(failure) };
            self.tally.retried(&failure);
            if !is_down {
                warn(&self.bar, format_args!("{failure}; trying again"));
                is_down = true;
            }
            if !self.wait(pause).await {
                return Err(failure);
            }
        }
    }

    /// Waits before a retry; false when the program was asked to end and has tried for long enough.
    async fn wait(&mut self, pause: Duration) -> bool {
        let last_try = match self.last_try {
            Some(last_try) => last_try,
            None => tokio::select! {
                () = tokio::time::sleep(pause) => return true,
                () = self.interrupt.requested() => {
                    warn(&self.bar, format_args!("trying for {} s more to send what was read", LAST_TRY.as_secs()));
                    *self.last_try.insert(Instant::now() + LAST_TRY)
                }
            },
        };
        let left = last_try.saturating_duration_since(Instant::now());
        tokio::time::sleep(pause.min(left)).await;
        left > pause
    }

    fn take_answer(&mut self, batch: &Batch, published: &Published) {
        for id in &published.conflict_ids {
            self.tally.conflicts_told += 1;
            if self.tally.conflicts_told <= CONFLICTS_TOLD {
                let place = batch.find(id).map(|place| format!("{place}: ")).unwrap_or_default();
                warn(
                    &self.bar,
                    format_args!("{place}event {id:?} is stored with another payload, which stays"),
                );
            } else if self.tally.conflicts_told == CONFLICTS_TOLD + 1 {
                warn(&self.bar, "further conflicts are only counted");
            }
        }
        self.tally.answered(published);
        if let Some(observe) = &mut self.observe {
            observe(&published.results);
        }
    }

    /// Sorts out which events of a refused part are at fault: the answer names them, or halves are tried.
    fn narrow(
        &mut self,
        batch: &mut Batch,
        part: Range<usize>,
        refusal: &Refusal,
        parts: &mut Vec<Range<usize>>,
    ) -> Result<(), Stop> {
        let mut named: Vec<(usize, String)> = Vec::new();
        for error in &refusal.problem.errors {
            let (index, message) = (part.start + error.index, format!("{} {}", error.field, error.message));
            match named.last_mut() {
                Some((last, messages)) if *last == index => *messages = format!("{messages}; {message}"),
                _ if part.contains(&index) => named.push((index, message)),
                _ => {}
            }
        }
        if named.is_empty() && part.len() > 1 {
            let middle = part.start + part.len() / 2;
            parts.extend([middle..part.end, part.start..middle]);
            return Ok(());
        }
        if named.is_empty() {
            named.push((part.start, refusal.problem.detail.clone()));
        }
        let mut good = Vec::new();
        let mut next = part.start;
        for (index, message) in named {
            let item = &mut batch.items[index];
            item.is_refused = true;
            let place = item.place.to_string();
            self.reject(&place, &message, &batch.line(index))?;
            good.push(next..index);
            next = index + 1;
        }
        good.push(next..part.end);
        parts.extend(good.into_iter().rev());
        Ok(())
    }

    fn reject(&mut self, place: &str, reason: &str, line: &str) -> Result<(), Stop> {
        let Some(rejects) = &mut self.rejects else {
            return Err(Stop::Invalid(format!("{place}: {reason}\n  {}", shortened(line))));
        };
        self.tally.rejected += 1;
        Ok(rejects.write(place, reason, line)?)
    }
}

/// Whether it is for its events that the request was refused, and not for who sent it or where it went. Also what
/// stands before the service may find a body too large.
fn is_about_events(refusal: &Refusal) -> bool {
    refusal.status == StatusCode::PAYLOAD_TOO_LARGE
        || matches!(refusal.problem.r#type.as_str(), "/problems/invalid-event" | "/problems/malformed-body")
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.into(),
    }
}
