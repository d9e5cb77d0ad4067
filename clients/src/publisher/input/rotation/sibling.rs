//! The files beside a log, and those that were read under its path before.

use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::input::content::Content;
use crate::input::family;
use crate::input::origin::{Identity, Origin, last_write};
use crate::input::start::Evidence;
use crate::input::tail::Tail;

/// Time after the creation of its successor during which a file may still be written to, by a writer that has not
/// noticed the rotation.
const OVERLAP: Duration = Duration::from_secs(10);

/// A file in the directory of another.
#[derive(Debug)]
pub struct Sibling {
    /// Its path.
    pub path: PathBuf,
    /// Its identity.
    pub file: Identity,
    /// Its creation since 1970.
    pub born: Option<Duration>,
    /// The time of its last write since 1970, which compression preserves.
    pub written: Duration,
}

/// A file that was read under the path before. Times are since 1970.
pub struct Past {
    /// The file.
    pub file: Identity,
    /// Its creation.
    pub born: Option<Duration>,
    /// The last write to it, if it is known.
    pub written: Option<Duration>,
    /// The content that it held.
    pub evidence: Evidence,
}

impl Past {
    /// A file that is open.
    pub fn of(tail: &Tail<Content>) -> Self {
        let Origin { file, born, .. } = *tail.origin();
        let written = tail.metadata().ok().map(|metadata| last_write(&metadata));
        Self { file: tail.copy().unwrap_or(file), born, written, evidence: tail.evidence() }
    }
}

impl Sibling {
    /// A time by which files of a log are in their order: the creation, of a compressed file the last write.
    pub fn order(&self) -> Option<Duration> {
        if family::is_compressed(&self.path) { Some(self.written) } else { self.born }
    }

    /// True if the file may have followed the newest of the past ones under the path, before `current`. If the newest
    /// was written to afterwards, this one is a copy of it, as copytruncate leaves it.
    pub fn is_between(&self, past: &[Past], current: &Origin) -> bool {
        let Some(newest) = past.iter().max_by_key(|past| past.born) else { return false };
        let left = newest.written.unwrap_or_default();
        if family::is_compressed(&self.path) {
            let (born, next) = (newest.born.unwrap_or(left), current.born.unwrap_or(Duration::MAX));
            let begin = born.max(left.saturating_sub(OVERLAP));
            return begin <= self.written && self.written <= next.saturating_add(OVERLAP);
        }
        match (newest.born, self.born) {
            (Some(last), Some(born)) => last <= born && left <= born + OVERLAP && self.born <= current.born,
            // The file system does not know when files were created.
            _ => left <= self.written,
        }
    }
}

/// True if the time of a file may be that of its compressed one, which some programs round.
pub fn is_same_time(original: Duration, compressed: Duration) -> bool {
    original == compressed || compressed.subsec_nanos() == 0 && original.as_secs() == compressed.as_secs()
}

/// The files in a directory.
pub fn siblings(directory: &Path) -> Vec<Sibling> {
    let sibling = |entry: io::Result<DirEntry>| {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file())?;
        let (file, born) = Identity::of_file(&metadata);
        let path = if directory == Path::new(".") { entry.file_name().into() } else { entry.path() };
        Some(Sibling { path, file, born, written: last_write(&metadata) })
    };
    std::fs::read_dir(directory).map(|entries| entries.filter_map(sibling).collect()).unwrap_or_default()
}
