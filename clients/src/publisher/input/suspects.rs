//! Contents that were not found where they were: they may be found elsewhere, or lines are lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chunk::{Chunk, News, Stop, Text};
use super::context::Context;

/// The time in which a content may appear in another file that is read for itself before it counts as gone.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A content that is missed.
pub struct Suspect {
    /// Its number.
    number: usize,
    /// The log that it is of.
    path: PathBuf,
    since: Instant,
}

impl Suspect {
    /// A content of the log at `path` that is missed from now on.
    pub fn new(number: usize, path: &Path) -> Self {
        Self { number, path: path.into(), since: Instant::now() }
    }

    /// The number of the content.
    pub fn number(&self) -> usize {
        self.number
    }
}

/// Tells which contents are gone, of those that were missed for long enough, or of all at the end.
pub fn settle(is_end: bool, context: &Context) -> Result<(), Stop> {
    let is_due = |suspect: &mut Suspect| is_end || suspect.since.elapsed() >= context.patience;
    let due: Vec<_> = context.suspects.borrow_mut().extract_if(.., is_due).collect();
    due.into_iter().try_for_each(|suspect| tell(&suspect, context))
}

fn tell(suspect: &Suspect, context: &Context) -> Result<(), Stop> {
    let Context { registry, reading, sender, .. } = context;
    let start = registry.get(suspect.number);
    if start.has_ended || registry.is_in_place(suspect.number, reading) {
        return Ok(());
    }
    let (path, line) = (start.path.display(), start.position.lines);
    let text = match registry.is_there(start.holder()) {
        true => format!(
            "{path} was truncated or overwritten after its line {line} was sent, and no copy of it was found: lines \
             that stood behind that one were not sent"
        ),
        false => format!(
            "the file that was sent as {path} up to line {line} was rotated away and is gone: its later lines were not \
             sent"
        ),
    };
    sender.tell(&suspect.path, News::Gap(text))?;
    registry.end(suspect.number);
    let origin = Arc::new(start.origin(&suspect.path, start.holder(), start.position));
    let end = start.position;
    sender.send(Chunk { origin, start: end, end, text: Text::End })
}
