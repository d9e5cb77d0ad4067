//! The file of a database, by which a file that went away is noticed.
//!
//! A process that has a deleted file open can still write to it, and all of that is lost when the process ends. SQLite
//! does not look, and a new connection would begin a new database at the same path. So while the file of the first
//! connection is not in its place, no statement is executed. SQLite, too, tells files apart by device and inode.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use rusqlite::{Error, ffi};

/// The file at a path.
pub struct DatabaseFile {
    path: PathBuf,
    /// Device and inode of the file that was opened first.
    first: OnceLock<(u64, u64)>,
}

impl DatabaseFile {
    /// The file at this path, which nobody has opened yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, first: OnceLock::new() }
    }

    /// Remembers the file, once it has been opened. Files that are opened later must be the same.
    ///
    /// # Errors
    /// See [`Self::check`].
    pub fn opened(&self) -> rusqlite::Result<()> {
        if let Some(found) = self.found() {
            self.first.get_or_init(|| found);
        }
        self.check()
    }

    /// Checks that the file that was opened first, if any, is in its place.
    ///
    /// # Errors
    /// When there is no file, or another one.
    pub fn check(&self) -> rusqlite::Result<()> {
        match self.first.get() {
            Some(first) if self.found() != Some(*first) => {
                let message = format!(
                    "{} was moved, deleted or replaced while it was open: put it back, or restart the host",
                    self.path.display()
                );
                Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR), Some(message)))
            }
            _ => Ok(()),
        }
    }

    fn found(&self) -> Option<(u64, u64)> {
        std::fs::metadata(&self.path).ok().map(|file| (file.dev(), file.ino()))
    }
}
