//! Positions of a checkpoint at which reading starts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Line};
use super::identity::Identity;
use super::origin::{Origin, Position};

/// The starts of all files of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Starts(pub Vec<Start>);

impl Starts {
    /// True if a file had this path.
    pub fn has(&self, path: &Path) -> bool {
        let path = std::path::absolute(path).unwrap_or_default();
        self.0.iter().any(|start| start.path == path)
    }
}

/// The position up to which one content was acknowledged.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Start {
    /// The path of the log that it was found under first, absolute.
    pub path: PathBuf,
    /// The file that it was found in first: its lines' event_ids are made of this, whichever file holds it now.
    pub file: Identity,
    /// The number of times that file had been truncated or overwritten before.
    #[serde(default)]
    pub generation: u32,
    /// The file that holds it now, if it is another one: a copy, or a compressed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Identity>,
    /// When it was opened first, since 1970.
    #[serde(default)]
    pub opened: Option<Duration>,
    /// True if it was rotated away and read to its end.
    pub has_ended: bool,
    /// The position.
    pub position: Position,
    /// Its beginning, by which it is found in other files.
    #[serde(default)]
    pub beginning: Option<Line>,
    /// The first bytes of its first lines.
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
    /// A content of which nothing is acknowledged.
    pub fn new(origin: &Origin) -> Self {
        Self {
            path: std::path::absolute(&origin.watched).unwrap_or_else(|_| origin.watched.clone()),
            file: origin.file,
            generation: origin.generation,
            holder: Some(origin.holder).filter(|holder| *holder != origin.file),
            opened: Some(origin.opened),
            has_ended: false,
            position: origin.start,
            beginning: origin.beginning,
            first: origin.first,
            line: None,
            rests: Vec::new(),
        }
    }

    /// The file that holds it.
    pub fn holder(&self) -> Identity {
        self.holder.unwrap_or(self.file)
    }

    /// The origin of its lines if they are read from the file at `path`, which is the `holder`, from `start` on.
    pub fn origin(&self, path: &Path, holder: Identity, start: Position) -> Origin {
        Origin {
            path: path.into(),
            watched: self.path.clone(),
            file: self.file,
            generation: self.generation,
            identity: self.file.of_generation(self.generation),
            holder,
            unit: "line",
            is_file: true,
            opened: self.opened.unwrap_or_default(),
            start,
            beginning: self.beginning,
            first: self.first,
            head: Vec::new(),
            rests: self.rests.clone(),
        }
    }

    /// The content that a file has to hold to be taken for this one.
    pub fn evidence(&self) -> Evidence {
        Evidence {
            lines: self.beginning.iter().chain(&self.first).chain(&self.line).copied().collect(),
            length: self.position.offset,
        }
    }
}
