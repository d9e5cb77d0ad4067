//! The files in the directories of logs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::family::{self, Name};
use super::identity::{Identity, last_write};
use super::registry::Registry;

/// The time in which changes of a directory may leave its time as it is: clocks of file systems are coarse.
const TICK: Duration = Duration::from_millis(20);

/// A file in a directory.
#[derive(Debug)]
pub struct Sibling {
    /// Its path.
    pub path: PathBuf,
    /// What is compared of its name.
    pub name: Name,
    /// Its identity.
    pub file: Identity,
    /// Its creation since 1970.
    pub born: Option<Duration>,
    /// The time of its last write since 1970 when it was listed.
    written: Duration,
}

impl Sibling {
    /// A time by which files of a log are in their order: the creation, of a compressed file the last write, which
    /// compression preserves.
    pub fn order(&self) -> (Option<Duration>, Duration) {
        let written = Some(self.written);
        (if family::is_compressed(&self.path) { written } else { self.born }, self.written)
    }

    /// The time of its last write since 1970.
    pub fn written(&self) -> Duration {
        self.path.metadata().map_or(self.written, |metadata| last_write(&metadata))
    }
}

/// What was found in directories. It is kept while they do not change: thousands of logs may have one in common.
#[derive(Default)]
pub struct Directories(RefCell<HashMap<PathBuf, Listing>>);

struct Listing {
    changed: SystemTime,
    taken: SystemTime,
    files: Rc<[Sibling]>,
}

impl Directories {
    /// The files in a directory, oldest first. The registry learns where they are.
    pub fn files(&self, directory: &Path, registry: &Registry) -> Rc<[Sibling]> {
        let taken = SystemTime::now();
        let changed = std::fs::metadata(directory).and_then(|metadata| metadata.modified());
        if let (Ok(changed), Some(listing)) = (&changed, self.0.borrow().get(directory))
            && *changed == listing.changed
            && listing.taken.duration_since(*changed).is_ok_and(|age| age > TICK)
        {
            return Rc::clone(&listing.files);
        }
        let Ok(mut files) = list(directory) else { return Rc::new([]) };
        files.sort_by_key(Sibling::order);
        files.iter().for_each(|sibling| registry.saw(sibling.file, &sibling.path));
        let files: Rc<[_]> = files.into();
        if let Ok(changed) = changed {
            let listing = Listing { changed, taken, files: Rc::clone(&files) };
            self.0.borrow_mut().insert(directory.into(), listing);
        }
        files
    }
}

fn list(directory: &Path) -> io::Result<Vec<Sibling>> {
    let sibling = |entry: io::Result<DirEntry>| {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file())?;
        let (file, born) = Identity::of_file(&metadata);
        let path: PathBuf = if directory == Path::new(".") { entry.file_name().into() } else { entry.path() };
        Some(Sibling { name: Name::of(&path), path, file, born, written: last_write(&metadata) })
    };
    Ok(std::fs::read_dir(directory)?.filter_map(sibling).collect())
}
