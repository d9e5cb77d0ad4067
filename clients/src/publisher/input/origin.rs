//! Inputs, and positions in them.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::Line;
use super::identity::{Identity, now};

/// An input that is being read.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Its path, for people.
    pub path: PathBuf,
    /// The path under which it was found first; a file that was rotated away has another one now.
    pub watched: PathBuf,
    /// The identity of the file.
    pub file: Identity,
    /// The number of times the file was truncated or overwritten, as far as this publisher noticed.
    pub generation: u32,
    /// The identity of this content of the file, which is part of its lines' event_ids.
    pub identity: Identity,
    /// The file that it is read from: this one, or one that holds a copy of what it held.
    pub holder: Identity,
    /// The unit of its content, for people: lines or rows.
    pub unit: &'static str,
    /// True for a file, which can be read again from any offset.
    pub is_file: bool,
    /// When this content was opened first, since 1970.
    pub opened: Duration,
    /// The position at which reading began.
    pub start: Position,
    /// The first line of a file, by which its content is known.
    pub beginning: Option<Line>,
    /// The first bytes of its first lines: many logs begin with the same line.
    pub first: Option<Line>,
    /// The beginning of a file that is read from a later position on, if its format has a header.
    pub head: Vec<u8>,
    /// Offsets at which records end, because they did before.
    pub rests: Vec<u64>,
}

impl Origin {
    /// An input that is read once, from its beginning.
    pub fn stream(path: &Path, name: &str) -> Self {
        let file = Identity::of_name(name);
        let (path, watched) = (path.into(), path.into());
        let start = Position::default();
        Self {
            path,
            watched,
            file,
            generation: 0,
            identity: file,
            holder: file,
            unit: "line",
            is_file: false,
            opened: Duration::ZERO,
            start,
            beginning: None,
            first: None,
            head: Vec::new(),
            rests: Vec::new(),
        }
    }

    /// A file that was not read yet.
    pub fn file(path: &Path, metadata: &Metadata) -> Self {
        let file = Identity::of_file(metadata).0;
        Self { file, identity: file, holder: file, is_file: true, opened: now(), ..Self::stream(path, "") }
    }

    /// This content of the file, counted from 0, which is read from its beginning.
    pub fn with_generation(self, generation: u32) -> Self {
        let identity = self.file.of_generation(generation);
        Self { generation, identity, ..self }
    }
}

/// A place in an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Position {
    /// Bytes before it.
    pub offset: u64,
    /// Lines before it.
    pub lines: u64,
}
