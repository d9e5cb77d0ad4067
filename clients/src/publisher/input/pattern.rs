//! A pattern of names that is followed: the files that match it now and later.

use std::path::Path;
use std::time::{Duration, Instant};

use super::chunk::{News, Stop};
use super::context::Context;
use super::find::matching;
use super::identity::Identity;
use super::watch::Watch;

/// The time between two looks at the directories, and how many times as long as a look that is at least.
const LOOK: Duration = Duration::from_secs(1);
const SHARE: u32 = 20;

/// A pattern, and the watches on the files that matched it.
pub struct Pattern {
    text: String,
    watches: Vec<Watch>,
    /// When it was looked at last, and when to look again.
    looked: Instant,
    due: Option<Instant>,
    /// True if files that are there at first are read from their ends.
    is_from_end: bool,
}

impl Pattern {
    /// A pattern without files yet.
    pub fn new(text: String, is_from_end: bool) -> Self {
        Self { text, watches: Vec::new(), looked: Instant::now(), due: None, is_from_end }
    }

    /// The watches on its files.
    pub fn watches(&mut self) -> &mut Vec<Watch> {
        &mut self.watches
    }

    /// Looks for new files from time to time, and leaves those that are gone for long.
    pub fn look(&mut self, context: &Context) -> Result<(), Stop> {
        let began = Instant::now();
        // What is missed may be in a file that is new.
        let due =
            self.due.map(|due| if context.suspects.is_empty() { due } else { due.min(self.looked + LOOK) });
        if due.is_some_and(|due| due > began) {
            return Ok(());
        }
        for mut over in self.watches.extract_if(.., |watch| watch.is_over()) {
            context.leave(over.path());
            over.finish(context)?;
        }
        let is_first = self.due.is_none();
        for path in matching(&self.text) {
            if context.is_watched(&path) {
                continue;
            }
            // Which files were here before is to be known of all of them, before one of them is read.
            if let Ok(metadata) = path.metadata() {
                context.registry.saw(Identity::of_file(&metadata).0, &path);
            }
            self.watches.push(Watch::follow(&path, is_first && self.is_from_end, context));
        }
        if is_first && self.watches.is_empty() {
            let text = format!("no file matches {} yet: waiting for one", self.text);
            context.sender.tell(Path::new(&self.text), News::Note(text))?;
        }
        self.looked = Instant::now();
        self.due = Some(self.looked + LOOK.max(began.elapsed() * SHARE));
        Ok(())
    }
}
