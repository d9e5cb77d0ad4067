//! The state that all readers of a run share.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::chunk::Sender;
use super::content::Reading;
use super::directories::Directories;
use super::family;
use super::identity::born;
use super::registry::Registry;
use super::suspects::Suspects;

/// True for a compressed file beside a file of its name that was there before it.
pub fn is_beside_original(path: &Path) -> bool {
    let original = path.with_extension("");
    let is_older = || {
        let (original, compressed) = (original.metadata().ok()?, path.metadata().ok()?);
        Some(original.is_file() && born(&original) <= born(&compressed))
    };
    family::is_compressed(path) && is_older().unwrap_or(false)
}

/// What is known, and where lines go.
pub struct Context {
    /// The contents that are known.
    pub registry: Registry,
    /// The directories of the logs.
    pub directories: Directories,
    /// The paths that are read for themselves.
    pub watched: RefCell<HashSet<PathBuf>>,
    /// Each tail has one of these: so many files are open.
    pub open: Rc<()>,
    /// The contents that are missed.
    pub suspects: Suspects,
    /// The way to read text that is not UTF-8.
    pub reading: Reading,
    /// Takes what is read.
    pub sender: Sender,
}

impl Context {
    /// True if the file at this path is read for itself, and not only as what another became by rotation.
    pub fn is_watched(&self, path: &Path) -> bool {
        std::path::absolute(path).is_ok_and(|path| self.watched.borrow().contains(&path))
    }

    /// True if this is a compressed file whose original is still there, and is read.
    pub fn is_being_compressed(&self, path: &Path) -> bool {
        self.is_watched(&path.with_extension("")) && is_beside_original(path)
    }

    /// Records that the file at this path is read for itself.
    pub fn watch(&self, path: &Path) {
        self.watched.borrow_mut().extend(std::path::absolute(path));
    }

    /// The number of files that are open.
    pub fn open_files(&self) -> usize {
        Rc::strong_count(&self.open) - 1
    }

    /// Records that it is not any more.
    pub fn leave(&self, path: &Path) {
        if let Ok(path) = std::path::absolute(path) {
            self.watched.borrow_mut().remove(&path);
        }
    }
}
