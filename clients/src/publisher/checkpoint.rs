//! The checkpoint file: the position up to which each input was acknowledged, so that a restart need not send
//! everything again. Losing it costs only time: events that are sent again are dropped as duplicates.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sekali_clients::client::{Client, Failure};
use sekali_clients::retry::{self, Patience};
use sekali_common::api::{Stats, TopicAccount};
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Item};
use crate::input::{Identity, Origin, Position, Start, Starts, now};

/// The number of contents that are remembered per path: the current one and rotated ones, by which later files, copies
/// and compressed ones are recognised. One that is forgotten and still there would be sent again.
const FILES_OF_A_PATH: usize = 1_000;

/// The shortest time after which a service forgets events, if it is set to.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The time after which a content that was read to its end is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The number of files of which the service is asked for the last event: a restore from a backup loses the newest ones, so
/// if it has those, it has the others.
const PROBED: usize = 64;

/// The file is saved after so many times as long as that takes.
const SHARE: u32 = 20;

/// A content of a file, by its generation.
type Content = (Identity, u32);

/// The checkpoint file.
pub struct Checkpoint {
    path: PathBuf,
    state: State,
    /// The contents in the state.
    index: HashMap<Content, usize>,
    /// The number of them for each path.
    of_path: HashMap<PathBuf, usize>,
    /// When the file was saved last, and how long that took.
    saved: (Instant, Duration),
    is_saved: bool,
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
    /// True if files were followed with it before.
    #[serde(default)]
    has_begun: bool,
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
            _ => State { target: target.clone(), store_id: None, files: vec![], has_begun: false, journal: None },
        };
        ensure!(
            state.target == target,
            "{name} is the checkpoint of {}, and this is {target}: name another file, or remove it to start from \
             the beginning",
            state.target
        );
        let saved = (Instant::now(), Duration::ZERO);
        let (path, index, of_path, is_saved) = (path.into(), HashMap::new(), HashMap::new(), false);
        let mut checkpoint = Self { path, state, index, of_path, saved, is_saved, is_behind: false };
        checkpoint.state.files.retain(|file| !file.is_forgotten());
        checkpoint.index_contents();
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
            self.index_contents();
            self.state.files.iter_mut().for_each(FileState::begin_anew);
            told.push(
                "the service has another store than the checkpoint: starting from the beginning".into(),
            );
            self.is_behind |= self.state.journal.take().is_some();
        }
        self.state.store_id = store_id.or(self.state.store_id.take());

        let mut newest: Vec<_> = self.state.files.iter_mut().filter(|file| file.last.is_some()).collect();
        newest.sort_by_key(|file| Reverse(file.acknowledged));
        for (number, file) in newest.into_iter().enumerate() {
            if number >= PROBED && told.is_empty() {
                break;
            }
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

    /// Records what is to be known before a batch is sent: the contents of which it has lines, and where records end only
    /// because nothing came. True if that is to be saved.
    pub fn prepare(&mut self, batch: &Batch) -> bool {
        for origin in &batch.found {
            self.find(origin);
        }
        for (origin, offset) in batch.rests.iter().filter(|(origin, _)| origin.is_file) {
            self.content(origin).start.rests.push(*offset);
        }
        !batch.found.is_empty() || !batch.rests.is_empty()
    }

    /// Records the last entry of a journal in a finished batch, which came from a stream.
    pub fn advance_journal(&mut self, batch: &Batch) {
        let last = batch.items.iter().rev().find(|item| !item.place.origin.is_file);
        let key = last.and_then(|item| serde_json::from_slice(&batch.body[item.json.clone()]).ok());
        self.state.journal = key.or(self.state.journal.take());
    }

    /// Remembers files from their beginnings, so that they are looked for if they are rotated away before anything of
    /// them is read.
    pub fn expect<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) {
        for path in paths {
            let Ok(metadata) = std::fs::metadata(path) else { continue };
            let file = Identity::of_file(&metadata).0;
            let is_known = self.state.files.iter().any(|known| known.start.holder() == file);
            if !is_known && !self.starts().has(path) {
                self.content(&Origin::file(path, &metadata));
            }
        }
    }

    /// Records that files are followed. True if they were not before.
    pub fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.state.has_begun, true) && self.state.files.is_empty()
    }

    /// The positions at which to start.
    pub fn starts(&self) -> Starts {
        Starts(self.state.files.iter().map(|file| file.start.clone()).collect())
    }

    /// Records a finished batch.
    pub fn advance(&mut self, batch: &Batch) {
        for (origin, position) in batch.reached.iter().filter(|(origin, _)| origin.is_file) {
            self.content(origin).advance(batch, origin, *position);
        }
        if !batch.ended.is_empty() {
            let is_ended = |file: &&mut FileState| {
                batch.ended.contains(&file.start.file.of_generation(file.start.generation))
            };
            self.state.files.iter_mut().filter(is_ended).for_each(|file| file.start.has_ended = true);
        }
        self.is_saved = false;
    }

    /// Records a content that was found, and where.
    fn find(&mut self, origin: &Origin) {
        let start = &mut self.content(origin).start;
        let found = Start::new(origin);
        (start.holder, start.beginning) = (found.holder, found.beginning.or(start.beginning));
        start.first = found.first.or(start.first);
    }

    /// The state of a content, which is added if it is new.
    fn content(&mut self, origin: &Origin) -> &mut FileState {
        let content = (origin.file, origin.generation);
        let at = match self.index.get(&content) {
            Some(at) => *at,
            None => self.add(origin),
        };
        &mut self.state.files[at]
    }

    /// Adds a content, and returns its index.
    fn add(&mut self, origin: &Origin) -> usize {
        let start = Start::new(origin);
        self.make_room_for(&start.path);
        let at = self.state.files.len();
        self.index.insert((start.file, start.generation), at);
        *self.of_path.entry(start.path.clone()).or_default() += 1;
        self.state.files.push(FileState { start, last: None, acknowledged: None });
        at
    }

    fn index_contents(&mut self) {
        let contents = self.state.files.iter().map(|file| (file.start.file, file.start.generation));
        self.index = contents.zip(0..).collect();
        self.of_path.clear();
        for file in &self.state.files {
            *self.of_path.entry(file.start.path.clone()).or_default() += 1;
        }
    }

    /// Saves the file now if that takes little of the time that has passed, else later: with many files it is large.
    pub fn save_soon(&mut self) -> Result<()> {
        if self.due().is_none_or(|due| due <= Instant::now()) { self.save() } else { Ok(()) }
    }

    /// When to save the file, if there is something to save.
    pub fn due(&self) -> Option<Instant> {
        let (saved, took) = self.saved;
        (!self.is_saved).then(|| saved + took * SHARE)
    }

    /// Saves the file, if there is something to save.
    pub fn save_rest(&mut self) -> Result<()> {
        if self.is_saved { Ok(()) } else { self.save() }
    }

    /// Writes the file atomically.
    pub fn save(&mut self) -> Result<()> {
        let began = Instant::now();
        let directory =
            self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        let mut text = serde_json::to_vec_pretty(&self.state)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.persist(&self.path)?;
        (self.saved, self.is_saved) = ((Instant::now(), began.elapsed()), true);
        Ok(())
    }

    fn make_room_for(&mut self, path: &Path) {
        if self.of_path.get(path).is_none_or(|count| *count < FILES_OF_A_PATH) {
            return;
        }
        let of_path = |file: &FileState| file.start.path == path;
        let has_ended = |file: &FileState| of_path(file) && file.start.has_ended;
        let files = &self.state.files;
        let oldest = files.iter().position(has_ended).or_else(|| files.iter().position(of_path));
        oldest.map(|oldest| self.state.files.remove(oldest));
        self.index_contents();
    }
}

impl FileState {
    /// True if the content is gone since long: there may be others every day.
    fn is_forgotten(&self) -> bool {
        let is_old = self.acknowledged.is_some_and(|time| now().saturating_sub(time) >= FORGOTTEN);
        self.start.has_ended && is_old && !self.start.path.exists()
    }

    /// Forgets the position. The generation stays: what is in the file now is the same as before.
    fn begin_anew(&mut self) {
        let start = &mut self.start;
        (start.position, start.line) = (Position::default(), None);
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
        start.position = position;
        start.rests.retain(|rest| *rest > position.offset);
        start.has_ended = false;

        // A last line without an end starts at the position, and may still grow.
        let is_of_file = |item: &&Item| Arc::ptr_eq(&item.place.origin, origin);
        let is_done = |item: &&Item| item.place.start.offset < position.offset;
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
