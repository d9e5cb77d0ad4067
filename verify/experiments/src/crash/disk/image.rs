//! What a disk holds, with everything that was not synced kept apart, and what a power cut leaves of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

/// Bytes that a disk writes at once.
const SECTOR: usize = 512;

/// Bytes of a page of a database, of the heads of its log and of a page in that, and the first of a leaf of a table.
const PAGE: usize = 4096;
const LOG_HEAD: usize = 32;
const FRAME_HEAD: usize = 24;
const LEAF: u8 = 13;

/// A file, whatever its name.
pub type FileId = u64;

/// What is on a disk.
#[derive(Clone, Default)]
pub struct Image {
    /// The directory as it was last synced.
    names: BTreeMap<String, FileId>,
    /// The files created (`Some`) and deleted (`None`) since, in order.
    unsynced_names: Vec<(String, Option<FileId>)>,
    files: BTreeMap<FileId, File>,
    /// By how much the clock of the machine is ahead of the real one. It does not go back while the power is away.
    pub ahead: Duration,
}

/// A file, whose content is shared by the images that were taken between two syncs.
#[derive(Clone, Default)]
struct File {
    synced: Arc<Vec<u8>>,
    unsynced: Vec<Change>,
}

/// A change of a file.
#[derive(Clone)]
pub enum Change {
    /// Bytes, and the place of the first.
    Write(usize, Arc<[u8]>),
    /// Another length.
    Resize(usize),
}

impl Image {
    /// The names of all files, as running programs see them.
    pub fn names(&self) -> BTreeMap<String, FileId> {
        let mut names = self.names.clone();
        self.unsynced_names.iter().for_each(|change| rename(&mut names, change));
        names
    }

    /// The synced contents of all files.
    pub fn contents(&self) -> BTreeMap<FileId, Vec<u8>> {
        self.files.iter().map(|(id, file)| (*id, file.synced.to_vec())).collect()
    }

    /// The texts behind a mark, up to the next quotation mark, in all files as running programs see them, but for what
    /// the pages of a database [do not use](is_unused).
    pub fn texts_behind(&self, mark: &[u8]) -> BTreeSet<String> {
        let mut image = self.clone();
        image.sync_all();
        let mut texts = BTreeSet::new();
        for (name, id) in &image.names {
            let Some(File { synced: content, .. }) = image.files.get(id) else { continue };
            let starts = content.iter().enumerate().filter(|(_, byte)| Some(*byte) == mark.first());
            for (start, _) in starts.filter(|(start, _)| content[*start..].starts_with(mark)) {
                let text = &content[start + mark.len()..];
                let end = text.iter().position(|byte| *byte == b'"').unwrap_or(0);
                if !is_unused(content, name.ends_with("-wal"), start) {
                    texts.insert(String::from_utf8_lossy(&text[..end]).into_owned());
                }
            }
        }
        texts
    }

    /// Notes that a file was created or deleted.
    pub fn name(&mut self, name: &str, file: Option<FileId>) {
        self.unsynced_names.push((name.to_owned(), file));
    }

    /// Notes a change of a file.
    pub fn change(&mut self, file: FileId, change: Change) {
        self.files.entry(file).or_default().unsynced.push(change);
    }

    /// Makes the directory safe.
    pub fn sync_names(&mut self) {
        self.names = self.names();
        self.unsynced_names.clear();
    }

    /// Makes a file safe.
    pub fn sync(&mut self, file: FileId) {
        let file = self.files.entry(file).or_default();
        let synced = Arc::make_mut(&mut file.synced);
        file.unsynced.drain(..).for_each(|change| change.apply(synced));
    }

    /// Makes everything safe.
    pub fn sync_all(&mut self) {
        self.sync_names();
        let files: Vec<_> = self.files.keys().copied().collect();
        files.into_iter().for_each(|file| self.sync(file));
    }

    /// A sync that fails: some of the changes have reached the disk, and the others never will, as on Linux.
    pub fn sync_in_vain(&mut self, file: FileId, rng: &mut Rng) {
        let file = self.files.entry(file).or_default();
        let synced = Arc::make_mut(&mut file.synced);
        file.unsynced.drain(..).for_each(|change| change.survive(synced, 0.5, rng));
    }

    /// What the power cut leaves: everything that was synced, and any part of the rest.
    pub fn cut(&self, rng: &mut Rng) -> Self {
        let luck = *rng.choice(&[0.0, 0.1, 0.5, 0.9, 1.0]).unwrap_or(&0.5);
        let mut names = self.names.clone();
        for change in &self.unsynced_names {
            if rng.f64() < luck {
                rename(&mut names, change);
            }
        }
        let mut files = BTreeMap::new();
        for id in names.values() {
            let mut content = Arc::clone(&self.files.get(id).cloned().unwrap_or_default().synced);
            let unsynced = self.files.get(id).map_or(&[][..], |file| &file.unsynced);
            for change in unsynced {
                change.survive(Arc::make_mut(&mut content), luck, rng);
            }
            files.insert(*id, File { synced: content, unsynced: Vec::new() });
        }
        Self { names, unsynced_names: Vec::new(), files, ahead: self.ahead }
    }
}

/// True if a place in a database or its log lies between the cells of a leaf and the array of their places
/// (<https://sqlite.org/fileformat2.html#b_tree_pages>). A row that grows may move others to another page. SQLite's
/// `secure_delete` does not always overwrite their old places, and the service cannot reach these.
fn is_unused(content: &[u8], is_log: bool, place: usize) -> bool {
    let start = match is_log {
        false => place - place % PAGE,
        true => {
            place.saturating_sub(LOG_HEAD) / (FRAME_HEAD + PAGE) * (FRAME_HEAD + PAGE) + LOG_HEAD + FRAME_HEAD
        }
    };
    let Some([LEAF, _, _, cells @ .., _]) = content.get(start..start + 8) else { return false };
    let number = |at: usize| usize::from(u16::from_be_bytes([cells[at], cells[at + 1]]));
    (start + 8 + 2 * number(0)..start + number(2)).contains(&place)
}

fn rename(names: &mut BTreeMap<String, FileId>, (name, file): &(String, Option<FileId>)) {
    match file {
        Some(file) => names.insert(name.clone(), *file),
        None => names.remove(name),
    };
}

impl Change {
    /// Makes the change.
    pub fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Resize(length) => content.resize(*length, 0),
        }
    }

    /// Makes the change as far as it reached the disk: wholly, not at all, or in some sectors. Each sector counts for
    /// itself, so it makes no difference in which order the disk wrote them. What lies before a sector that survived
    /// behind the end of the file is junk.
    pub fn survive(&self, content: &mut Vec<u8>, luck: f64, rng: &mut Rng) {
        let Self::Write(offset, bytes) = self else {
            if rng.f64() < luck {
                self.apply(content);
            }
            return;
        };
        let all = rng.bool().then(|| rng.f64() < luck);
        let mut start = *offset;
        while start < offset + bytes.len() {
            let end = (start / SECTOR * SECTOR + SECTOR).min(offset + bytes.len());
            let survives = all.unwrap_or_else(|| rng.f64() < luck);
            if survives && content.len() < start {
                let junk = if rng.bool() { 0 } else { rng.u8(..) };
                content.resize(start, junk);
            }
            if survives {
                Self::Write(start, bytes[start - offset..end - offset].into()).apply(content);
            }
            start = end;
        }
    }
}
