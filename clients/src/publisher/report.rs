//! The result of a run, for people and for machines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use console::style;
use indicatif::HumanCount;
use sekali_clients::client::Failure;
use sekali_clients::terminal::{count, visible};
use sekali_common::api::Published;
use serde_json::{Value, json};

use crate::batch::Batch;
use crate::counts::Outcome;
use crate::input::{Identity, Malformed, News, Origin, Position, Start, Starts};
use crate::progress::Progress;

/// The counts of a run.
pub struct Tally {
    began: Instant,
    published: u64,
    /// The numbers that `--metrics` shows, too.
    pub progress: Arc<Progress>,
    /// Conflicts whose ids the answers named.
    pub conflicts_named: u64,
    /// Fields of events that the service ignored.
    pub ignored: BTreeSet<String>,
    /// Retries of requests that may have been carried out: they may be the cause of some duplicates.
    uncertain: u64,
    /// NUL bytes that were skipped.
    nuls: u64,
    /// Bytes of text that are not UTF-8, of events that were sent.
    malformed: u64,
    /// Bytes that another encoding does not allow.
    malformed_in_encoding: Malformed,
    /// The positions in the checkpoint when the run began.
    starts: Option<Starts>,
    /// The position up to which each input is done.
    inputs: Vec<(Arc<Origin>, Position)>,
    /// Files that were rotated away and read to their end.
    ended: Vec<Identity>,
}

impl Tally {
    /// The counts of a run that begins now.
    pub fn new(malformed_in_encoding: Malformed) -> Self {
        Self {
            began: Instant::now(),
            published: 0,
            progress: Arc::default(),
            conflicts_named: 0,
            ignored: BTreeSet::new(),
            uncertain: 0,
            nuls: 0,
            malformed: 0,
            malformed_in_encoding,
            starts: None,
            inputs: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Records the positions of the checkpoint at which the run begins, if it has not begun before.
    pub fn start(&mut self, starts: &Starts) {
        self.starts.get_or_insert_with(|| starts.clone());
    }

    /// Counts an answer.
    pub fn answered(&mut self, published: &Published) {
        self.published += published.total_received - published.rejected.min(published.total_received);
        self.progress.lines.add(Outcome::New, published.stored);
        self.progress.lines.add(Outcome::Again, published.duplicates);
        self.progress.conflicts.add(published.conflicts);
        self.progress.acknowledge();
    }

    /// Counts a retry after this failure.
    pub fn retried(&mut self, failure: &Failure) {
        self.progress.retries.add(1);
        self.uncertain += u64::from(failure.may_be_done());
    }

    /// Records the positions that a finished batch reached.
    pub fn reach(&mut self, batch: &Batch) {
        self.ended.extend(&batch.ended);
        self.progress.gaps.add(batch.news.iter().filter(|news| matches!(news, News::Gap(_))).count() as u64);
        self.progress.lines.add(Outcome::Skipped, batch.skipped);
        self.nuls += batch.nuls;
        self.malformed += batch.malformed;
        for (origin, position) in &batch.reached {
            let known = self.inputs.iter_mut().find(|(known, _)| Arc::ptr_eq(known, origin));
            let before = known.as_ref().map_or(origin.start, |(_, reached)| *reached);
            if origin.unit == "line" {
                self.progress.bytes.add(position.offset.saturating_sub(before.offset));
            }
            match known {
                Some((_, reached)) => *reached = *position,
                None => {
                    // A file that was truncated, and its copies, count as one: keep the newest.
                    self.inputs.retain(|(known, _)| known.file != origin.file);
                    self.inputs.push((Arc::clone(origin), *position));
                }
            }
        }
    }

    /// Bytes of input that are done.
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().map(|(_, reached)| reached.offset).sum()
    }

    /// Bytes that stand for no character.
    fn malformed(&self) -> u64 {
        self.malformed + self.malformed_in_encoding.count()
    }

    /// True if everything that was to be read is stored, as far as it is known.
    pub fn is_whole(&self) -> bool {
        self.progress.lines.rejected() == 0 && self.progress.gaps.get() == 0
    }

    /// The report for machines. `error` is the reason why the run ended early.
    pub fn to_json(&self, error: Option<&str>) -> Value {
        let input = |(origin, reached): &(Arc<Origin>, Position)| {
            json!({
                "path": origin.path,
                "from": origin.start.offset,
                "offset": reached.offset,
                "lines": reached.lines,
            })
        };
        let lines = &self.progress.lines;
        json!({
            "published": self.published,
            "stored": lines.of(Outcome::New),
            "duplicates": lines.of(Outcome::Again),
            "conflicts": self.progress.conflicts.get(),
            "rejected": lines.rejected(),
            "lines": lines.iter().collect::<BTreeMap<_, _>>(),
            "ignored_fields": self.ignored,
            "gaps": self.progress.gaps.get(),
            "nul_bytes_skipped": self.nuls,
            "malformed_bytes": self.malformed(),
            "retries": self.progress.retries.get(),
            "uncertain_retries": self.uncertain,
            "seconds": self.began.elapsed().as_secs_f64(),
            "inputs": self.inputs.iter().map(input).collect::<Vec<_>>(),
            "error": error,
        })
    }

    /// The report for people. `is_stopped` is true if the run ended before its inputs did.
    pub fn to_text(&self, is_stopped: bool) -> String {
        let mut lines = vec![self.summary()];
        let starts = self.starts.iter().flat_map(|Starts(starts)| starts);
        lines.extend(starts.filter(|start| !start.has_ended && start.position.lines > 0).map(start));
        if is_stopped {
            lines.extend(self.stops());
        }
        if self.uncertain > 0 {
            let requests = count(self.uncertain, "request");
            lines.push(format!(
                "  {requests} sent again after a lost answer: some of the duplicates may come from this run"
            ));
        }
        if self.nuls > 0 {
            let bytes = count(self.nuls, "NUL byte");
            lines.push(format!("  {bytes} skipped at the start of lines, as a truncated file has them"));
        }
        if self.malformed() > 0 {
            let bytes = count(self.malformed(), "byte");
            lines.push(format!(
                "  {bytes} stored as U+FFFD, because they are not UTF-8 or not what --encoding says"
            ));
        }
        let (gaps, conflicts) = (self.progress.gaps.get(), self.progress.conflicts.get());
        if gaps > 0 {
            let text = format!("  lines may be missing in {}: see the warnings", count(gaps, "place"));
            lines.push(style(text).yellow().to_string());
        }
        if conflicts > 0 {
            let conflicts = HumanCount(conflicts);
            let text = format!("  {conflicts} of the duplicates had another payload than the stored event");
            lines.push(style(text).yellow().to_string());
        }
        lines.join("\n") + "\n"
    }

    fn summary(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = self.published as f64 / seconds.max(0.001);
        let events = style(count(self.published, "event")).bold();
        format!("{events} sent in {seconds:.1} s, {}/s: {}", HumanCount(rate as u64), style(self).bold())
    }

    /// The positions in the inputs that have not ended.
    fn stops(&self) -> impl Iterator<Item = String> {
        let open = self.inputs.iter().filter(|(origin, _)| !self.ended.contains(&origin.identity));
        open.map(|(origin, reached)| {
            let (path, unit, lines) =
                (visible(origin.path.display()), origin.unit, HumanCount(reached.lines));
            let byte = if unit == "line" {
                format!(", at byte {}", HumanCount(reached.offset))
            } else {
                String::new()
            };
            format!("  {path}: stopped behind {unit} {lines}{byte}")
        })
    }
}

fn start(Start { path, position, .. }: &Start) -> String {
    let lines = count(position.lines, "line");
    format!("  {}: {lines} acknowledged before, according to the checkpoint", visible(path.display()))
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = |outcome| self.progress.lines.of(outcome);
        let (stored, duplicates) =
            (HumanCount(lines(Outcome::New)), count(lines(Outcome::Again), "duplicate"));
        write!(out, "{stored} stored, {duplicates}")?;
        for outcome in [Outcome::Refused, Outcome::Undecodable, Outcome::Skipped] {
            if lines(outcome) > 0 {
                write!(out, ", {} {}", HumanCount(lines(outcome)), outcome.name())?;
            }
        }
        Ok(())
    }
}
