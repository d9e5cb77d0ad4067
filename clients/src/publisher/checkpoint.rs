//! How far each file was acknowledged, in a file of its own, so that a restart need not send everything again.
//! Losing it costs only that: what is sent again is dropped as a duplicate.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sekali_clients::client::{Client, Failure};
use sekali_clients::retry::{self, Patience};
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::input::{Identity, Line, Origin, Position, Start, Starts, written};

/// How many files of one path are remembered: the current one, and those that were rotated away and not yet finished.
const FILES_OF_A_PATH: usize = 16;

/// The checkpoint file.
pub struct Checkpoint {
    path: PathBuf,
    state: State,
}

#[derive(Debug, Deserialize, Serialize)]
struct State {
    /// Where the events went, and how they were named: what was acknowledged there says nothing about elsewhere.
    target: String,
    files: Vec<FileState>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct FileState {
    #[serde(flatten)]
    start: Start,
    /// The last event of it that is stored.
    last: Option<Key>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Key {
    topic: String,
    event_id: String,
}

impl Checkpoint {
    /// Reads the file, if it is there. One that was written for another target is an error: it still serves that.
    pub fn load(path: &Path, target: String) -> Result<Self> {
        let name = path.display();
        let state = match std::fs::read(path) {
            Ok(text) if !text.is_empty() => serde_json::from_slice(&text)
                .with_context(|| format!("{name} is no checkpoint: remove it, or name another file"))?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{name} cannot be read"));
            }
            // Not there, or empty, as a loss of power may leave it behind.
            _ => State { target: target.clone(), files: vec![] },
        };
        ensure!(
            state.target == target,
            "{name} is the checkpoint of {}, and this is {target}: name another file, or remove it to start from \
             the beginning",
            state.target
        );
        let checkpoint = Self { path: path.into(), state };
        checkpoint.save().with_context(|| format!("{name} cannot be written"))?;
        Ok(checkpoint)
    }

    /// Forgets everything if the service does not have what it once acknowledged, because its store was replaced or
    /// restored from a backup; says so by true. Whoever may not read cannot ask, and trusts.
    pub async fn forget_unless_stored(
        &mut self,
        client: &Client,
        patience: Patience,
        mut told: impl FnMut(&Failure),
    ) -> Result<bool, Failure> {
        for Key { topic, event_id } in self.state.files.iter().filter_map(|file| file.last.as_ref()) {
            let ask = || client.has_event(topic, event_id);
            match retry::persist(patience, &mut told, ask).await {
                Ok(true) => {}
                Ok(false) => {
                    self.state.files.clear();
                    return Ok(true);
                }
                Err(failure) if failure.is_transient() => return Err(failure),
                Err(_) => {}
            }
        }
        Ok(false)
    }

    /// Where to start each file.
    pub fn starts(&self) -> Starts {
        Starts(self.state.files.iter().map(|file| file.start.clone()).collect())
    }

    /// Takes note of a batch that is done.
    pub fn advance(&mut self, batch: &Batch) {
        for (origin, position) in batch.reached.iter().filter(|(origin, _)| origin.is_file) {
            let FileState { start, last } = self.file(origin);
            start.position = *position;
            start.has_ended = false; // unless it says so below
            start.written = last_write(origin).or(start.written);
            let mut items = batch.items.iter().rev().filter(|item| Arc::ptr_eq(&item.place.origin, origin));
            // The last line may have no end yet, and stand behind the position.
            let line = items.clone().find(|item| item.place.start.offset < position.offset).map(|item| {
                let line = batch.line(item);
                Line { offset: item.place.start.offset, bytes: line.len(), hash: Identity::hash(line) }
            });
            // One that is behind the position was there before a truncation.
            start.line = line.or(start.line.filter(|line| line.offset < position.offset));
            let stored = items.find(|item| !item.is_refused);
            let key = stored.and_then(|item| serde_json::from_slice(&batch.body[item.json.clone()]).ok());
            *last = key.or(last.take());
        }
        let files = self.state.files.iter_mut().filter(|file| batch.ended.contains(&file.start.file));
        files.for_each(|file| file.start.has_ended = true);
        self.forget_ended();
    }

    /// What is remembered of a file.
    fn file(&mut self, origin: &Origin) -> &mut FileState {
        let known = self.state.files.iter().position(|file| file.start.file == origin.identity);
        let at = known.unwrap_or_else(|| self.add(origin));
        &mut self.state.files[at]
    }

    /// Adds a file, and says where.
    fn add(&mut self, origin: &Origin) -> usize {
        let path = std::path::absolute(&origin.watched).unwrap_or_else(|_| origin.watched.clone());
        self.make_room_for(&path);
        let start = Start {
            path,
            file: origin.identity,
            born: origin.born,
            written: None,
            has_ended: false,
            position: Position::default(),
            line: None,
        };
        self.state.files.push(FileState { start, last: None });
        self.state.files.len() - 1
    }

    /// Forgets files that have ended, but for the last one of a path: what comes after it is found by its birth.
    fn forget_ended(&mut self) {
        let all = self.starts();
        let newest = |path: &Path| all.at(path).map(|start| start.born).max();
        self.state
            .files
            .retain(|FileState { start, .. }| !start.has_ended || newest(&start.path) == Some(start.born));
    }

    /// Writes the file: whole or not at all.
    pub fn save(&self) -> Result<()> {
        let directory =
            self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer_pretty(&mut file, &self.state)?;
        file.write_all(b"\n")?;
        file.persist(&self.path)?;
        Ok(())
    }

    fn make_room_for(&mut self, path: &Path) {
        while self.state.files.iter().filter(|file| file.start.path == path).count() >= FILES_OF_A_PATH {
            let oldest = self.state.files.iter().position(|file| file.start.path == path);
            oldest.map(|oldest| self.state.files.remove(oldest));
        }
    }
}

/// When a file was last written to, while it still has its name.
fn last_write(origin: &Origin) -> Option<Duration> {
    let metadata = std::fs::metadata(&origin.watched).ok()?;
    (Identity::of_file(&metadata).0 == origin.identity).then(|| written(&metadata))
}
