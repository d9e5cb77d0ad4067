//! Positions of a checkpoint at which reading starts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::origin::{Identity, Origin, Position};

/// The starts of all files of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Starts(pub Vec<Start>);

impl Starts {
    /// The start of this file.
    pub fn of(&self, file: Identity) -> Option<&Start> {
        self.0.iter().find(|start| start.file == file)
    }

    /// True if this file was read, in its own place or in another's.
    pub fn know(&self, file: Identity) -> bool {
        self.0.iter().any(|start| start.file == file || start.copies.contains(&file))
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
    /// The number of times it was truncated or overwritten.
    #[serde(default)]
    pub generation: u32,
    /// The copies of it that were read.
    #[serde(default)]
    pub copies: Vec<Identity>,
    /// Its creation time since 1970, if it is known.
    pub born: Option<Duration>,
    /// When it was opened first, or found to be truncated, since 1970.
    #[serde(default)]
    pub opened: Option<Duration>,
    /// The last known time of a write to it, since 1970.
    pub written: Option<Duration>,
    /// True if it was rotated away and read to its end.
    pub has_ended: bool,
    /// The position.
    pub position: Position,
    /// The first line that became an event.
    #[serde(default)]
    pub first: Option<Line>,
    /// The last line before the position that became an event. If it differs now, the file was overwritten.
    pub line: Option<Line>,
    /// Offsets behind the position at which records ended only because nothing came. If they were stored, they must end
    /// there again, whatever has come meanwhile.
    #[serde(default)]
    pub rests: Vec<u64>,
}

impl Start {
    /// The origin of lines that are read from `path` on.
    pub fn origin(&self, path: &Path, watched: &Path) -> Origin {
        Origin {
            path: path.into(),
            watched: watched.into(),
            file: self.file,
            generation: self.generation,
            identity: self.file.of_generation(self.generation),
            unit: "line",
            is_file: true,
            born: self.born,
            opened: self.opened.unwrap_or_default(),
            start: self.position,
            head: Vec::new(),
            rests: self.rests.clone(),
        }
    }

    /// The content that the file, or a copy of it, has to hold.
    pub fn evidence(&self) -> Evidence {
        Evidence {
            lines: self.first.iter().chain(&self.line).copied().collect(),
            length: self.position.offset,
            since: self.opened,
        }
    }
}

/// A line that was read, to be compared with what is in its place now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Line {
    /// Bytes before it.
    pub offset: u64,
    /// Its length in bytes, without its line end.
    pub bytes: usize,
    /// Its hash.
    pub hash: Identity,
}

impl Line {
    /// These bytes, without their line end, at `offset`.
    pub fn new(offset: u64, bytes: &[u8]) -> Self {
        Self { offset, bytes: bytes.len(), hash: Identity::hash(bytes) }
    }
}

/// The evidence of the content that was read, by which the same content is recognised elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Lines, or other runs of bytes, in the order of their places.
    pub lines: Vec<Line>,
    /// The number of bytes that were read.
    pub length: u64,
    /// When the content was opened, since 1970: files that were there before are no copies of it, even if they begin with
    /// the same lines, as logs with a header do.
    pub since: Option<Duration>,
}

impl Evidence {
    /// True if nothing is known, so that any content would do.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}
