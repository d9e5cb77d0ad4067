//! The checkpoint file: the position up to which each input was acknowledged, so that a restart need not send
//! everything again. Losing it costs only time: events that are sent again are dropped as duplicates.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sekali_clients::client::{Client, Failure};
use sekali_clients::retry::{self, Patience};
use sekali_common::api::{Stats, TopicAccount};
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Item};
use crate::input::{Identity, Origin, Position, Start, Starts, last_write, now};

/// The number of files that are remembered per path: the current one and rotated ones, by which later files, copies and
/// compressed ones are recognised.
const FILES_OF_A_PATH: usize = 32;

/// The shortest time after which a service forgets events, if it is set to.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The checkpoint file.
pub struct Checkpoint {
    path: PathBuf,
    state: State,
    /// True if the service does not have the last entry of a journal.
    is_behind: bool,
}

#[derive(Debug, Deserialize, Serialize)]
struct State {
    /// The service, the topic and the way to make ids. Positions for one target mean nothing for another.
    target: String,
    /// The identity of the store, if the service tells it.
    #[serde(default)]
    store_id: Option<String>,
    files: Vec<FileState>,
    /// The last entry of the journal that was read from a stream. Its id is its cursor.
    #[serde(default)]
    journal: Option<Key>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct FileState {
    #[serde(flatten)]
    start: Start,
    /// Its last event that is stored.
    last: Option<Key>,
    /// The time at which it was acknowledged, since 1970.
    #[serde(default)]
    acknowledged: Option<Duration>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Key {
    topic: String,
    event_id: String,
}

impl Checkpoint {
    /// Reads the file, or creates it. A checkpoint of another target is an error, so that it is not overwritten.
    pub fn load(path: &Path, target: String) -> Result<Self> {
        let name = path.display();
        let state = match std::fs::read(path) {
            Ok(text) if !text.is_empty() => serde_json::from_slice(&text).with_context(|| {
                format!(
                    "{name} is not a checkpoint file of the publisher: name another file with --checkpoint, or remove \
                     it to start from the beginning"
                )
            })?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{name} cannot be read"));
            }
            // The file does not exist, or is empty, as a power failure may leave it.
            _ => State { target: target.clone(), store_id: None, files: vec![], journal: None },
        };
        ensure!(
            state.target == target,
            "{name} is the checkpoint of {}, and this is {target}: name another file, or remove it to start from \
             the beginning",
            state.target
        );
        let checkpoint = Self { path: path.into(), state, is_behind: false };
        checkpoint.save().with_context(|| format!("{name} cannot be written"))?;
        Ok(checkpoint)
    }

    /// Starts from the beginning where the service does not have what it once acknowledged: with all files if its store
    /// is another one, with a single file if its last event is not there, as after a restore from a backup. Returns what
    /// is to be told. If the token does not permit reading, the checkpoint is trusted.
    pub async fn compare_with_store(
        &mut self,
        client: &Client,
        patience: Patience,
        mut note_retry: impl FnMut(&Failure),
    ) -> Result<Vec<String>, Failure> {
        let mut told = Vec::new();
        let keys = self.state.files.iter().filter_map(|file| file.last.as_ref()).chain(&self.state.journal);
        let topics: BTreeSet<_> = keys.map(|key| key.topic.clone()).collect();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let stats = match retry::persist(patience, &mut note_retry, || client.stats_of(&topics)).await {
            Ok(stats) => Some(stats),
            Err(failure) if failure.is_transient() => return Err(failure),
            Err(_) => None,
        };
        let store_id = stats.as_ref().and_then(|stats| stats.store_id.clone());
        let is_known = store_id.is_some() && store_id == self.state.store_id;
        if !is_known && store_id.is_some() && self.state.store_id.is_some() {
            self.state.files.retain(|file| !file.start.has_ended);
            self.state.files.iter_mut().for_each(FileState::begin_anew);
            told.push(
                "the service has another store than the checkpoint: starting from the beginning".into(),
            );
            self.is_behind |= self.state.journal.take().is_some();
        }
        self.state.store_id = store_id.or(self.state.store_id.take());

        for file in &mut self.state.files {
            let Some(Key { topic, event_id }) = &file.last else { continue };
            match retry::persist(patience, &mut note_retry, || client.has_event(topic, event_id)).await {
                Ok(true) => {}
                Ok(false) if is_known && stats.as_ref().is_some_and(|stats| file.may_be_forgotten(stats)) => {
                }
                Ok(false) => {
                    told.push(format!(
                        "the service does not have the last event that was sent of {}: starting from its beginning",
                        file.start.path.display()
                    ));
                    file.begin_anew();
                }
                Err(failure) if failure.is_transient() => return Err(failure),
                Err(_) => {}
            }
        }
        if let Some(Key { topic, event_id }) = &self.state.journal {
            match retry::persist(patience, &mut note_retry, || client.has_event(topic, event_id)).await {
                Ok(false) if !is_known || stats.is_none_or(|stats| !forgets(&stats, topic)) => {
                    self.state.journal = None;
                    self.is_behind = true;
                }
                Err(failure) if failure.is_transient() => return Err(failure),
                _ => {}
            }
        }
        Ok(told)
    }

    /// True if the journal that is being read is to be read from its beginning, which is for journalctl to do.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Records where records of a batch end that is not sent yet, if only time says so.
    pub fn expect_rests(&mut self, batch: &Batch) {
        for (origin, offset) in &batch.rests {
            let start = &mut self.file(origin).start;
            if start.generation == origin.generation {
                start.rests.push(*offset);
            }
        }
    }

    /// Records the last entry of a journal in a finished batch, which came from a stream.
    pub fn advance_journal(&mut self, batch: &Batch) {
        let last = batch.items.iter().rev().find(|item| !item.place.origin.is_file);
        let key = last.and_then(|item| serde_json::from_slice(&batch.body[item.json.clone()]).ok());
        self.state.journal = key.or(self.state.journal.take());
    }

    /// Remembers files from their beginnings, so that they are looked for if they are rotated away before anything of
    /// them is acknowledged.
    pub fn expect<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) {
        for path in paths {
            let Ok(metadata) = std::fs::metadata(path) else { continue };
            if self.starts().at(path).next().is_none() && !self.starts().know(Identity::of_file(&metadata).0)
            {
                self.file(&Origin::file(path, &metadata));
            }
        }
    }

    /// The positions at which to start.
    pub fn starts(&self) -> Starts {
        Starts(self.state.files.iter().map(|file| file.start.clone()).collect())
    }

    /// Records a finished batch.
    pub fn advance(&mut self, batch: &Batch) {
        for (origin, position) in batch.reached.iter().filter(|(origin, _)| origin.is_file) {
            self.file(origin).advance(batch, origin, *position);
        }
        let files = self.state.files.iter_mut().filter(|file| batch.ended.contains(&file.start.file));
        files.for_each(|file| file.start.has_ended = true);
        for (file, copy) in &batch.copied {
            if let Some(FileState { start, .. }) =
                self.state.files.iter_mut().find(|state| state.start.file == *file)
            {
                start.copies.push(*copy);
                start.copies.drain(..start.copies.len().saturating_sub(FILES_OF_A_PATH));
            }
        }
    }

    /// The state of a file, which is added if it is new.
    fn file(&mut self, origin: &Origin) -> &mut FileState {
        let known = self.state.files.iter().position(|file| file.start.file == origin.file);
        let at = known.unwrap_or_else(|| self.add(origin));
        &mut self.state.files[at]
    }

    /// Adds a file, and returns its index.
    fn add(&mut self, origin: &Origin) -> usize {
        let path = std::path::absolute(&origin.watched).unwrap_or_else(|_| origin.watched.clone());
        self.make_room_for(&path);
        let start = Start {
            path,
            file: origin.file,
            generation: origin.generation,
            copies: Vec::new(),
            born: origin.born,
            opened: Some(origin.opened),
            written: None,
            has_ended: false,
            position: Position::default(),
            first: None,
            line: None,
            rests: Vec::new(),
        };
        self.state.files.push(FileState { start, last: None, acknowledged: None });
        self.state.files.len() - 1
    }

    /// Writes the file atomically.
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
            let of_path = |file: &FileState| file.start.path == path;
            let has_ended = |file: &FileState| of_path(file) && file.start.has_ended;
            let files = &self.state.files;
            let oldest = files.iter().position(has_ended).or_else(|| files.iter().position(of_path));
            oldest.map(|oldest| self.state.files.remove(oldest));
        }
    }
}

impl FileState {
    /// Forgets the position. The generation stays: what is in the file now is the same as before.
    fn begin_anew(&mut self) {
        let start = &mut self.start;
        (start.position, start.first, start.line) = (Position::default(), None, None);
        (start.has_ended, self.last) = (false, None);
        start.rests.clear();
    }

    /// True if the service may have forgotten the last event, because its settings say so. It keeps an event for a day or
    /// more, so one that was acknowledged since was lost.
    fn may_be_forgotten(&self, stats: &Stats) -> bool {
        let is_old = self.acknowledged.is_none_or(|time| now().saturating_sub(time) >= DAY);
        is_old && self.last.as_ref().is_some_and(|key| forgets(stats, &key.topic))
    }

    /// Records that a finished batch reached `position` in this file.
    fn advance(&mut self, batch: &Batch, origin: &Arc<Origin>, position: Position) {
        let start = &mut self.start;
        if origin.generation > start.generation {
            (start.generation, start.opened) = (origin.generation, Some(origin.opened));
            (start.first, start.line) = (None, None);
            start.rests.clear();
        }
        start.position = position;
        start.rests.retain(|rest| *rest > position.offset);
        start.has_ended = false;
        start.written = last_write_of(origin).or(start.written);

        // A last line without an end starts at the position, and may still grow.
        let is_of_file = |item: &&Item| Arc::ptr_eq(&item.place.origin, origin);
        let is_done = |item: &&Item| item.place.start.offset < position.offset;
        if start.first.is_none() {
            let first = batch.items.iter().filter(is_of_file).find(is_done);
            start.first = first.map(|item| batch.line_in_file(item));
        }
        let mut items = batch.items.iter().rev().filter(is_of_file);
        let last = items.clone().find(is_done);
        start.line = last.map(|item| batch.line_in_file(item)).or(start.line);

        let stored = items.find(|item| !item.is_refused);
        let key = stored.and_then(|item| serde_json::from_slice(&batch.body[item.json.clone()]).ok());
        if key.is_some() {
            (self.last, self.acknowledged) = (key, Some(now()));
        }
    }
}

/// True if the service has forgotten events of a topic.
fn forgets(stats: &Stats, topic: &str) -> bool {
    let is_of_topic = |account: &&TopicAccount| account.topic == topic;
    stats.by_topic.iter().find(is_of_topic).is_some_and(|account| account.forgotten > 0)
}

/// The option by which journalctl starts behind the last entry in the checkpoint at `path`, or at the first of the
/// journal.
pub fn journalctl_option(path: &Path) -> Result<String> {
    let name = path.display();
    let journal = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(text) if text.is_empty() => None,
        text => {
            let text = text.with_context(|| format!("{name} cannot be read"))?;
            let state: State = serde_json::from_slice(&text)
                .with_context(|| format!("{name} is not a checkpoint file of the publisher"))?;
            state.journal
        }
    };
    Ok(journal.map_or("--no-tail".into(), |entry| format!("--after-cursor={}", entry.event_id)))
}

/// The time of the last write to a file; `None` if its name belongs to another file now.
fn last_write_of(origin: &Origin) -> Option<Duration> {
    let metadata = std::fs::metadata(&origin.watched).ok()?;
    (Identity::of_file(&metadata).0 == origin.file).then(|| last_write(&metadata))
}
