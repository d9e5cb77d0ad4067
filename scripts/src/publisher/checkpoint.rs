//! How far each file was acknowledged, in a file of its own, so that a restart need not send everything again.
//! Losing it costs only that: what is sent again is dropped as a duplicate.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sekali_scripts::client::{Client, Failure};
use sekali_scripts::retry::{self, Patience};
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::input::{Identity, Origin, Position, Start, Starts, written};

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
    path: PathBuf,
    /// Its [`Identity`], in hexadecimal digits.
    identity: String,
    /// When it came into being, in nanoseconds since 1970.
    born: Option<u64>,
    /// When it was last written to, as far as was seen, in nanoseconds since 1970.
    written: Option<u64>,
    /// Whether it was rotated away and read to its end.
    has_ended: bool,
    offset: u64,
    lines: u64,
    /// The last line before that offset that became an event, and its hash.
    line_offset: u64,
    line_bytes: usize,
    line_hash: String,
    /// The last event of it that is stored.
    topic: String,
    event_id: String,
}

#[derive(Deserialize)]
struct Key {
    topic: String,
    event_id: String,
}

impl FileState {
    fn new(origin: &Origin, identity: String) -> Self {
        let mut state = Self {
            path: std::path::absolute(&origin.watched).unwrap_or_else(|_| origin.watched.clone()),
            identity,
            born: origin.born,
            written: None,
            has_ended: false,
            offset: 0,
            lines: 0,
            line_offset: 0,
            line_bytes: 0,
            line_hash: String::new(),
            topic: String::new(),
            event_id: String::new(),
        };
        state.forget_line();
        state
    }

    fn forget_line(&mut self) {
        (self.line_offset, self.line_bytes) = (0, 0);
        self.line_hash = format!("{:016x}", Identity::hash(&[]).0);
    }

    /// Takes note of when the file was last written to, while it still has its name.
    fn look(&mut self, origin: &Origin) {
        let metadata = std::fs::metadata(&origin.watched).ok();
        let metadata = metadata.filter(|metadata| Identity::of_file(metadata).0 == origin.identity);
        let written = metadata.and_then(|metadata| u64::try_from(written(&metadata).as_nanos()).ok());
        self.written = written.or(self.written);
    }
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
        for file in self.state.files.iter().filter(|file| !file.event_id.is_empty()) {
            let ask = || client.has_event(&file.topic, &file.event_id);
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
        let parse = |text: &str| u64::from_str_radix(text, 16).ok().map(Identity);
        let start = |file: &FileState| {
            Some(Start {
                path: file.path.clone(),
                file: parse(&file.identity)?,
                born: file.born,
                written: file.written.map(Duration::from_nanos),
                has_ended: file.has_ended,
                position: Position { offset: file.offset, lines: file.lines },
                line_offset: file.line_offset,
                line_bytes: file.line_bytes,
                line_hash: parse(&file.line_hash)?,
            })
        };
        Starts(self.state.files.iter().filter_map(start).collect())
    }

    /// Takes note of a batch that is done.
    pub fn advance(&mut self, batch: &Batch) {
        for (origin, position) in batch.reached.iter().filter(|(origin, _)| origin.is_file) {
            let identity = format!("{:016x}", origin.identity.0);
            let known = self.state.files.iter().position(|file| file.identity == identity);
            let mut file = match known {
                Some(at) => self.state.files.remove(at),
                None => FileState::new(origin, identity),
            };
            (file.offset, file.lines) = (position.offset, position.lines);
            file.has_ended = false; // unless it says so below
            file.look(origin);
            let mut items = batch.items.iter().rev().filter(|item| Arc::ptr_eq(&item.place.origin, origin));
            // The last line may have no end yet, and stand behind the position.
            if let Some(last) = items.clone().find(|item| item.place.start.offset < position.offset) {
                let line = batch.line(last);
                file.line_offset = last.place.start.offset;
                file.line_bytes = line.len();
                file.line_hash = format!("{:016x}", Identity::hash(line).0);
            } else if position.offset <= file.line_offset {
                file.forget_line(); // it was before a truncation
            }
            let stored = items.find(|item| !item.is_refused);
            let key =
                stored.and_then(|item| serde_json::from_slice::<Key>(&batch.body[item.json.clone()]).ok());
            if let Some(Key { topic, event_id }) = key {
                (file.topic, file.event_id) = (topic, event_id);
            }
            self.limit_files_of(&file.path);
            self.state
                .files
                .insert(known.unwrap_or(self.state.files.len()).min(self.state.files.len()), file);
        }
        for ended in &batch.ended {
            let identity = format!("{:016x}", ended.0);
            let files = self.state.files.iter_mut().filter(|file| file.identity == identity);
            files.for_each(|file| file.has_ended = true);
        }
        self.forget_ended();
    }

    /// Forgets files that have ended, but for the last one of a path: what comes after it is found by its birth.
    fn forget_ended(&mut self) {
        let files = self.state.files.clone();
        let newest = |path: &Path| files.iter().filter(|file| file.path == path).map(|file| file.born).max();
        self.state.files.retain(|file| !file.has_ended || newest(&file.path) == Some(file.born));
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
