//! Sends batches, one after the other, so that the order of the events is that of their lines.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::ProgressBar;
use reqwest::StatusCode;
use sekali_clients::api::{EventResult, Published};
use sekali_clients::client::{Client, Failure, Publication, Refusal};
use sekali_clients::retry::{Patience, Retries};
use sekali_clients::terminal::{tell, warn};
use tokio::time::sleep;

use crate::batch::{Batch, Batches};
use crate::checkpoint::Checkpoint;
use crate::farewell::Farewell;
use crate::rejects::Rejects;
use crate::report::Tally;

/// How many conflicts are told of one by one.
const CONFLICTS_TOLD: u64 = 10;

/// Sends batches and keeps account of what became of them.
pub struct Shipper {
    pub client: Client,
    pub publication: Publication,
    pub patience: Patience,
    pub farewell: Farewell,
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
        while let Some(batch) = batches.recv().await {
            self.ship(batch?).await?;
        }
        Ok(())
    }

    async fn ship(&mut self, mut batch: Batch) -> Result<(), Stop> {
        for warning in &batch.warnings {
            warn(&self.bar, warning);
        }
        // What is left of the batch, as places of its items; what comes first is the last part.
        let mut parts: Vec<Vec<usize>> = vec![(0..batch.items.len()).collect()];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match self.send(self.body(&batch, &part)?).await {
                Ok(published) if published.total_received != part.len() as u64 => {
                    let text = format!("of {} events it took {}", part.len(), published.total_received);
                    return Err(Stop::Refused(Failure::Foreign(text)));
                }
                Ok(published) => self.take_answer(&batch, &published),
                Err(Failure::Refused(refusal)) if is_about_events(&refusal) => {
                    parts.extend(self.narrow(&mut batch, part, &refusal)?);
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
            checkpoint.save().context("the checkpoint cannot be written")?;
        }
        self.tally.reach(&batch);
        self.bar.set_position(self.tally.bytes());
        self.bar.set_message(self.tally.to_string());
        Ok(())
    }

    /// The request's body of some events of a batch.
    fn body(&self, batch: &Batch, part: &[usize]) -> Result<Vec<u8>> {
        let body = part
            .iter()
            .map(|&index| &batch.body[batch.items[index].json.clone()])
            .collect::<Vec<_>>()
            .concat();
        if self.publication.is_gzip { gzip(&body).context("gzip failed") } else { Ok(body) }
    }

    /// Sends a request until it is answered.
    async fn send(&mut self, body: Vec<u8>) -> Result<Published, Failure> {
        let mut retries = Retries::new(self.patience);
        let mut is_down = false;
        loop {
            let attempt = self.client.publish(self.publication, body.clone());
            let failure = match self.farewell.bound(attempt, &self.bar).await {
                Some(Ok(published)) => {
                    if is_down {
                        tell(&self.bar, "the service answers again");
                    }
                    return Ok(published);
                }
                Some(Err(failure)) => failure,
                None => return Err(Failure::AnswerLost("there was none when the program had to end".into())),
            };
            let Some(pause) = retries.pause_after(&failure) else { return Err(failure) };
            self.tally.retried(&failure);
            if !is_down {
                warn(&self.bar, format_args!("{failure}; trying again"));
                is_down = true;
            }
            if self.farewell.bound(sleep(pause), &self.bar).await.is_none() {
                return Err(failure);
            }
        }
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

    /// Sorts out which events of a refused part are at fault: the answer names them, or halves are tried. Returns what
    /// is to be sent instead.
    fn narrow(
        &mut self,
        batch: &mut Batch,
        mut part: Vec<usize>,
        refusal: &Refusal,
    ) -> Result<Vec<Vec<usize>>, Stop> {
        let mut faults: BTreeMap<usize, String> = BTreeMap::new();
        for error in &refusal.problem.errors {
            if let Some(&index) = part.get(error.index) {
                let fault = faults.entry(index).or_default();
                let and = if fault.is_empty() { "" } else { "; " };
                *fault += &format!("{and}{} {}", error.field, error.message);
            }
        }
        if faults.is_empty() && part.len() > 1 {
            let second = part.split_off(part.len() / 2);
            return Ok(vec![second, part]);
        }
        if faults.is_empty() {
            faults.insert(part[0], refusal.problem.detail.clone());
        }
        for (&index, fault) in &faults {
            batch.items[index].is_refused = true;
            let item = &batch.items[index];
            self.reject(&item.place.to_string(), fault, &String::from_utf8_lossy(batch.line(item)))?;
        }
        part.retain(|index| !faults.contains_key(index));
        Ok(vec![part])
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
