//! Positions of a checkpoint at which reading starts.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::origin::{Identity, Position};

/// The starts of all files of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Starts(pub Vec<Start>);

impl Starts {
    /// The start of this file.
    pub fn of(&self, file: Identity) -> Option<&Start> {
        self.0.iter().find(|start| start.file == file)
    }

    /// The files that had this path.
    pub fn at<'a>(&'a self, path: &Path) -> impl Iterator<Item = &'a Start> + use<'a> {
        let path = std::path::absolute(path).unwrap_or_default();
        self.0.iter().filter(move |start| start.path == path)
    }
}

/// The position up to which one file was acknowledged.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Start {
    /// The path it had, absolute.
    pub path: PathBuf,
    /// Its identity.
    pub file: Identity,
    /// Its creation time since 1970, if it is known.
    pub born: Option<Duration>,
    /// The last known time of a write to it, since 1970.
    pub written: Option<Duration>,
    /// True if it was rotated away and read to its end.
    pub has_ended: bool,
    /// The position.
    pub position: Position,
    /// The last line before the position that became an event. If it differs now, the file was overwritten.
    pub line: Option<Line>,
}

/// A line that was read, to be compared with what is in its place now.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Line {
    /// Bytes before it.
    pub offset: u64,
    /// Its length in bytes, without its line end.
    pub bytes: usize,
    /// Its hash.
    pub hash: Identity,
}

impl Start {
    /// True if the last line before the position is still in its place in `file`. Otherwise the file was overwritten,
    /// or is another one.
    pub fn fits(&self, file: &File) -> bool {
        let is_there = |line: Line| {
            let mut bytes = vec![0; line.bytes];
            file.read_exact_at(&mut bytes, line.offset).is_ok() && Identity::hash(&bytes) == line.hash
        };
        self.line.is_none_or(is_there)
            && file.metadata().is_ok_and(|metadata| metadata.len() >= self.position.offset)
    }
}
