//! What became of the events, for people and for machines.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use console::style;
use indicatif::HumanCount;
use sekali_clients::api::Published;
use sekali_clients::client::Failure;
use sekali_clients::terminal::count;
use serde_json::{Value, json};

use crate::batch::Batch;
use crate::input::{Identity, Origin, Position, Start, Starts};

/// The account of a run.
pub struct Tally {
    began: Instant,
    published: u64,
    stored: u64,
    duplicates: u64,
    conflicts: u64,
    /// Events that were refused as invalid.
    pub rejected: u64,
    /// Conflicts that were printed or could have been.
    pub conflicts_told: u64,
    retries: u64,
    /// Retries of requests that may have been carried out: some of the duplicates may be our own.
    uncertain: u64,
    /// What was acknowledged before, says the checkpoint.
    starts: Starts,
    /// How far each input is done.
    inputs: Vec<(Arc<Origin>, Position)>,
    /// Those of which no more comes.
    ended: Vec<Identity>,
}

impl Tally {
    /// The account of a run that begins now, behind what was acknowledged before.
    pub fn new(starts: Starts) -> Self {
        Self {
            began: Instant::now(),
            published: 0,
            stored: 0,
            duplicates: 0,
            conflicts: 0,
            rejected: 0,
            conflicts_told: 0,
            retries: 0,
            uncertain: 0,
            starts,
            inputs: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Counts an answer.
    pub fn answered(&mut self, published: &Published) {
        self.published += published.total_received;
        self.stored += published.stored;
        self.duplicates += published.duplicates;
        self.conflicts += published.conflicts;
    }

    /// Counts a request that is sent once more after this failure.
    pub fn retried(&mut self, failure: &Failure) {
        self.retries += 1;
        self.uncertain += u64::from(failure.may_be_done());
    }

    /// Takes note of how far a batch that is done reached.
    pub fn reach(&mut self, batch: &Batch) {
        self.ended.extend(&batch.ended);
        for (origin, position) in &batch.reached {
            match self.inputs.iter_mut().find(|(known, _)| Arc::ptr_eq(known, origin)) {
                Some((_, reached)) => *reached = *position,
                None => {
                    // A file that was truncated may have been read from a copy meanwhile.
                    self.inputs.retain(|(known, _)| known.identity != origin.identity);
                    self.inputs.push((Arc::clone(origin), *position));
                }
            }
        }
    }

    /// Bytes of input that are done.
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().map(|(_, reached)| reached.offset).sum()
    }

    /// Whether everything that was read is stored.
    pub fn is_whole(&self) -> bool {
        self.rejected == 0
    }

    /// The account for machines. `error` is why the run ended early.
    pub fn to_json(&self, error: Option<&str>) -> Value {
        let input = |(origin, reached): &(Arc<Origin>, Position)| {
            json!({
                "path": origin.path,
                "from": origin.start.offset,
                "offset": reached.offset,
                "lines": reached.lines,
            })
        };
        json!({
            "published": self.published,
            "stored": self.stored,
            "duplicates": self.duplicates,
            "conflicts": self.conflicts,
            "rejected": self.rejected,
            "retries": self.retries,
            "uncertain_retries": self.uncertain,
            "seconds": self.began.elapsed().as_secs_f64(),
            "inputs": self.inputs.iter().map(input).collect::<Vec<_>>(),
            "error": error,
        })
    }

    /// The account for people.
    pub fn to_text(&self, is_stopped: bool) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = self.published as f64 / seconds.max(0.001);
        let events = style(count(self.published, "event")).bold();
        let mut lines = vec![format!(
            "{events} sent in {seconds:.1} s, {}/s: {}",
            HumanCount(rate as u64),
            style(self).bold()
        )];
        for Start { path, position, .. } in &self.starts.0 {
            let before = count(position.lines, "line");
            lines.push(format!(
                "  {}: {before} were acknowledged before, says the checkpoint",
                path.display()
            ));
        }
        let is_open = |(origin, _): &&(Arc<Origin>, Position)| !self.ended.contains(&origin.identity);
        for (origin, reached) in self.inputs.iter().filter(is_open).filter(|_| is_stopped) {
            lines.push(format!(
                "  {}: stopped behind line {}, at byte {}",
                origin.path.display(),
                HumanCount(reached.lines),
                HumanCount(reached.offset)
            ));
        }
        if self.uncertain > 0 {
            let requests = count(self.uncertain, "request");
            lines.push(format!(
                "  {requests} sent again after a lost answer: some of the duplicates may be this run's own"
            ));
        }
        if self.conflicts > 0 {
            let conflicts = HumanCount(self.conflicts);
            let text = format!("  {conflicts} of the duplicates had another payload than what is stored");
            lines.push(style(text).yellow().to_string());
        }
        lines.join("\n") + "\n"
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} stored, {}", HumanCount(self.stored), count(self.duplicates, "duplicate"))?;
        if self.rejected > 0 {
            write!(out, ", {} rejected", HumanCount(self.rejected))?;
        }
        Ok(())
    }
}
