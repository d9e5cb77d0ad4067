//! How far each file was acknowledged, in a file of its own, so that a restart need not send everything again.
//! Losing it costs only that: what is sent again is dropped as a duplicate.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sekali_scripts::client::{Client, Failure};
use sekali_scripts::retry::{Patience, Retries};
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Item};
use crate::input::{Identity, Position, Start, Starts};

/// How many files of one path are remembered: the current one, and those that were rotated away and not yet finished.
const FILES_OF_A_PATH: usize = 4;

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

#[derive(Debug, Deserialize, Serialize)]
struct FileState {
    path: PathBuf,
    /// Its [`Identity`], in hexadecimal digits.
    identity: String,
    offset: u64,
    lines: u64,
    /// The event before that offset.
    topic: String,
    event_id: String,
}

#[derive(Deserialize)]
struct Key {
    topic: String,
    event_id: String,
}

impl Checkpoint {
    /// Reads the file, if it is there. What it says of another target is put aside.
    pub fn load(path: &Path, target: String) -> Result<Self> {
        let mut state = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!("{} is no checkpoint: remove it, or name another file", path.display())
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                State { target: target.clone(), files: vec![] }
            }
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        if state.target != target {
            state = State { target, files: vec![] };
        }
        let checkpoint = Self { path: path.into(), state };
        checkpoint.save().with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(checkpoint)
    }

    /// Forgets everything if the service does not have what it once acknowledged, because its store was replaced or
    /// restored from a backup; says so by true. Whoever may not read cannot ask, and trusts.
    pub async fn forget_unless_stored(
        &mut self,
        client: &Client,
        patience: Patience,
    ) -> Result<bool, Failure> {
        for file in &self.state.files {
            let mut retries = Retries::new(patience);
            let is_stored = loop {
                match client.has_event(&file.topic, &file.event_id).await {
                    Ok(is_stored) => break is_stored,
                    Err(failure) if failure.is_transient() => match retries.pause_after(&failure) {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return Err(failure),
                    },
                    Err(_) => break true,
                }
            };
            if !is_stored {
                self.state.files.clear();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where to start each file.
    pub fn starts(&self) -> Starts {
        let start = |file: &FileState| {
            Some(Start {
                path: file.path.clone(),
                file: Identity(u64::from_str_radix(&file.identity, 16).ok()?),
                position: Position { offset: file.offset, lines: file.lines },
            })
        };
        Starts(self.state.files.iter().filter_map(start).collect())
    }

    /// Takes note of a batch that is done.
    pub fn advance(&mut self, batch: &Batch) {
        for (origin, position) in batch.reached.iter().filter(|(origin, _)| origin.is_file) {
            let is_stored = |item: &&Item| !item.is_refused && item.place.origin.identity == origin.identity;
            let last = batch.items.iter().rev().find(is_stored);
            let key =
                last.and_then(|item| serde_json::from_slice::<Key>(&batch.body[item.json.clone()]).ok());
            let identity = format!("{:016x}", origin.identity.0);
            let Some(at) = self.state.files.iter().position(|file| file.identity == identity) else {
                if let Some(Key { topic, event_id }) = key {
                    let path = std::path::absolute(&origin.path).unwrap_or_else(|_| origin.path.clone());
                    self.limit_files_of(&path);
                    let Position { offset, lines } = *position;
                    self.state.files.push(FileState { path, identity, offset, lines, topic, event_id });
                }
                continue;
            };
            let file = &mut self.state.files[at];
            (file.offset, file.lines) = (position.offset, position.lines);
            if let Some(key) = key {
                (file.topic, file.event_id) = (key.topic, key.event_id);
            }
        }
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

    fn limit_files_of(&mut self, path: &Path) {
        while self.state.files.iter().filter(|file| file.path == path).count() >= FILES_OF_A_PATH {
            let oldest = self.state.files.iter().position(|file| file.path == path);
            oldest.map(|oldest| self.state.files.remove(oldest));
        }
    }
}
