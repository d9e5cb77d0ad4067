//! Sends batches, one after the other, so that events are stored in the order of their lines.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::ProgressBar;
use sekali_clients::client::{Client, Failure, Publication, Refusal};
use sekali_clients::retry::{Patience, persist};
use sekali_clients::terminal::{tell, warn};
use sekali_common::api::{EventResult, Published};

use crate::batch::Batch;
use crate::batcher::{Batches, sleep_until};
use crate::checkpoint::Checkpoint;
use crate::counts::Outcome;
use crate::input::News;
use crate::outcome::{errors_by_item, is_about_events, left_out};
use crate::rejects::Rejects;
use crate::report::Tally;
use crate::shutdown_grace::ShutdownGrace;

/// Conflicts that are printed one by one; later ones are only counted.
const CONFLICTS_PRINTED: u64 = 10;

/// Invalid rows that are told one by one; later ones are only counted.
const REJECTS_TOLD: u64 = 100;

const UNSAVED: &str = "the checkpoint cannot be written";

/// Errors that an answer names.
const NAMED: usize = 100;

/// Sends batches and counts their outcomes.
pub struct Shipper<'a> {
    pub client: Client,
    pub publication: Publication,
    pub patience: Patience,
    pub grace: ShutdownGrace,
    pub bar: ProgressBar,
    pub checkpoint: Option<Checkpoint>,
    /// True if the input is a journal, whose entries have cursors.
    pub is_journal: bool,
    /// The treatment of invalid events.
    pub rejects: Rejects,
    pub tally: &'a mut Tally,
    /// Called after each request, if `publication` asks for the outcome of each event.
    pub observe: Option<Observe>,
}

/// A callback that receives the outcomes of a request's events.
pub type Observe = Box<dyn FnMut(&[EventResult]) + Send>;

/// The reason why sending ended early.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// A line or event is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The service refused a request, and not because of its events.
    #[error("{0}")]
    Refused(Failure),
    /// The service was not reached, or did not answer, until the end of patience or of the grace period.
    #[error("gave up: {0}")]
    GaveUp(Failure),
    /// A file on this machine failed.
    #[error(transparent)]
    Local(#[from] anyhow::Error),
}

impl Stop {
    /// The whole reason.
    pub fn to_text(&self) -> String {
        match self {
            Self::Local(error) => format!("{error:#}"),
            stop => stop.to_string(),
        }
    }
}

impl Shipper<'_> {
    /// Sends all batches until there are no more.
    pub async fn run(&mut self, mut batches: Batches) -> Result<(), Stop> {
        let result = self.ship_all(&mut batches).await;
        match self.checkpoint.as_mut().map_or(Ok(()), Checkpoint::save_rest) {
            Err(error) if result.is_ok() => Err(error.context(UNSAVED).into()),
            _ => result,
        }
    }

    async fn ship_all(&mut self, batches: &mut Batches) -> Result<(), Stop> {
        loop {
            let due = self.checkpoint.as_ref().and_then(Checkpoint::due);
            let batch = tokio::select! {
                biased;
                batch = batches.recv() => batch,
                () = sleep_until(due.map(Into::into)) => {
                    self.checkpoint.as_mut().map_or(Ok(()), Checkpoint::save_rest).context(UNSAVED)?;
                    continue;
                }
            };
            let Some(batch) = batch else { return Ok(()) };
            let batch = batch?;
            self.tally.progress.begin(batch.began);
            self.ship(batch).await?;
            self.tally.progress.finish();
        }
    }

    async fn ship(&mut self, mut batch: Batch) -> Result<(), Stop> {
        for news in &batch.news {
            match news {
                News::Note(text) => tell(&self.bar, text),
                News::Gap(text) => warn(&self.bar, text),
            }
        }
        if let Some(checkpoint) = &mut self.checkpoint
            && checkpoint.prepare(&batch)
        {
            checkpoint.save().context(UNSAVED)?;
        }
        self.send_events(&mut batch).await?;
        for unusable in &batch.unusable {
            let place = unusable.place.to_string();
            self.reject(Outcome::Undecodable, &place, &unusable.reason, &unusable.text)?;
        }
        self.save_progress(&batch)?;
        self.bar.set_position(self.tally.bytes());
        self.bar.set_message(self.tally.to_string());
        Ok(())
    }

    /// Sends the events of a batch, in several requests if some of them are refused.
    async fn send_events(&mut self, batch: &mut Batch) -> Result<(), Stop> {
        // The indices of the items that are not sent yet. It is a stack: the first part is at the end.
        let mut parts: Vec<Vec<usize>> = vec![(0..batch.items.len()).collect()];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match self.send(self.body(batch, &part)?).await {
                Ok(published) if published.total_received != part.len() as u64 => {
                    let text = format!("it counts {} events of {}", published.total_received, part.len());
                    return Err(Stop::Refused(Failure::Foreign(text)));
                }
                Ok(published)
                    if published.rejected > 0
                        && published.results.len() as u64 != published.stored + published.duplicates =>
                {
                    return Err(Stop::Refused(Failure::Foreign(
                        "it does not say which events it took".into(),
                    )));
                }
                Ok(published) => {
                    self.take_answer(batch, &published);
                    let rejected = left_out(&part, &published);
                    parts.extend(self.reject_named(
                        batch,
                        rejected,
                        errors_by_item(&part, &published.errors),
                    )?);
                }
                Err(Failure::Refused(refusal)) if is_about_events(&refusal) => {
                    parts.extend(self.reject_invalid(batch, part, &refusal)?);
                }
                Err(failure) if failure.is_transient() => return Err(Stop::GaveUp(failure)),
                Err(failure) => return Err(Stop::Refused(failure)),
            }
        }
        Ok(())
    }

    fn save_progress(&mut self, batch: &Batch) -> Result<()> {
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.advance(batch);
            if self.is_journal {
                checkpoint.advance_journal(batch);
            }
            checkpoint.save_soon().context(UNSAVED)?;
        }
        self.tally.reach(batch);
        Ok(())
    }

    /// The body of a request with some events of a batch.
    fn body(&self, batch: &Batch, part: &[usize]) -> Result<Vec<u8>> {
        let body = part
            .iter()
            .map(|&index| &batch.body[batch.items[index].json.clone()])
            .collect::<Vec<_>>()
            .concat();
        if self.publication.is_gzip { gzip(&body).context("gzip failed") } else { Ok(body) }
    }

    /// Sends a request until it is answered, refused, or given up.
    async fn send(&mut self, body: Vec<u8>) -> Result<Published, Failure> {
        let Self { client, publication, bar, tally, .. } = self;
        let mut last_failure = None;
        let on_retry = |failure: &Failure| {
            tally.retried(failure);
            tally.progress.is_away.set(true);
            if last_failure.is_none() {
                warn(bar, format_args!("{failure}; trying again"));
            }
            last_failure = Some(failure.clone());
        };
        let sent = persist(self.patience, on_retry, || client.publish(*publication, body.clone()));
        let sent = self.grace.bound(sent, bar).await;
        if sent.as_ref().is_some_and(|sent| !sent.as_ref().is_err_and(Failure::is_transient)) {
            self.tally.progress.is_away.set(false);
        }
        match (sent, last_failure) {
            (Some(Ok(published)), Some(_)) => {
                tell(bar, "the service answers again");
                Ok(published)
            }
            (Some(answer), _) => answer,
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(Failure::AnswerLost("none arrived before the program had to end".into())),
        }
    }

    fn take_answer(&mut self, batch: &Batch, published: &Published) {
        for id in &published.conflict_ids {
            self.tally.conflicts_named += 1;
            if self.tally.conflicts_named <= CONFLICTS_PRINTED {
                let place = batch.find(id).map(|place| format!("{place}: ")).unwrap_or_default();
                warn(
                    &self.bar,
                    format_args!("{place}event {id:?} is stored with another payload, which is kept"),
                );
            } else if self.tally.conflicts_named == CONFLICTS_PRINTED + 1 {
                warn(&self.bar, "further conflicts are only counted");
            }
        }
        for name in &published.ignored {
            if self.tally.ignored.insert(name.clone()) {
                let text = format!("the service does not know the field {name:?} of events, and ignores it");
                warn(&self.bar, text);
            }
        }
        self.tally.answered(published);
        if let Some(observe) = &mut self.observe {
            observe(&published.results);
        }
    }

    /// Rejects the invalid events of a refused part, and returns the parts to send instead. If the answer names no
    /// event, these are the halves of the part.
    fn reject_invalid(
        &mut self,
        batch: &mut Batch,
        mut part: Vec<usize>,
        refusal: &Refusal,
    ) -> Result<Vec<Vec<usize>>, Stop> {
        let mut errors = errors_by_item(&part, &refusal.problem.errors);
        if errors.is_empty() && part.len() > 1 {
            let second = part.split_off(part.len() / 2);
            return Ok(vec![second, part]);
        }
        if errors.is_empty() {
            errors.insert(part[0], refusal.problem.detail.clone());
        }
        self.reject_all(batch, &errors)?;
        part.retain(|index| !errors.contains_key(index));
        Ok(vec![part])
    }

    /// Rejects those of the invalid items whose errors an answer names, and returns the others in parts, to be sent once
    /// more to learn their errors. An answer names a hundred.
    fn reject_named(
        &mut self,
        batch: &mut Batch,
        mut invalid: Vec<usize>,
        mut errors: BTreeMap<usize, String>,
    ) -> Result<Vec<Vec<usize>>, Stop> {
        if let (true, Some(first)) = (errors.is_empty(), invalid.first()) {
            errors.insert(*first, "is invalid, and the service does not say why".into());
        }
        self.reject_all(batch, &errors)?;
        invalid.retain(|index| !errors.contains_key(index));
        Ok(invalid.chunks(NAMED).rev().map(<[usize]>::to_vec).collect())
    }

    fn reject_all(&mut self, batch: &mut Batch, errors: &BTreeMap<usize, String>) -> Result<(), Stop> {
        for (&index, error) in errors {
            batch.items[index].is_refused = true;
            let item = &batch.items[index];
            let (place, line) = (item.place.to_string(), String::from_utf8_lossy(batch.line(item)));
            self.reject(Outcome::Refused, &place, error, &line)?;
        }
        Ok(())
    }

    fn reject(&mut self, outcome: Outcome, place: &str, reason: &str, line: &str) -> Result<(), Stop> {
        match &mut self.rejects {
            Rejects::Stop => {
                let help = "--skip-invalid writes such lines to a file, and goes on";
                return Err(Stop::Invalid(format!("{place}: {reason}\n  {}\n{help}", shortened(line))));
            }
            Rejects::Told(told) => {
                *told += 1;
                if *told <= REJECTS_TOLD {
                    warn(&self.bar, format_args!("{place}: {reason}"));
                } else if *told == REJECTS_TOLD + 1 {
                    warn(
                        &self.bar,
                        "further ones are only counted; --skip-invalid writes all of them to a file",
                    );
                }
            }
            Rejects::ToFile(file) => file.write(place, reason, line)?,
        }
        self.tally.progress.lines.add(outcome, 1);
        Ok(())
    }
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
