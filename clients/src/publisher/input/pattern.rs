//! A pattern of names that is followed: the files that match it now and later.

use std::path::Path;
use std::time::{Duration, Instant};

use super::chunk::{News, Stop};
use super::content::Content;
use super::context::Context;
use super::family::Family;
use super::find::matching;
use super::origin::Identity;
use super::start::Start;
use super::tail::LINGER;
use super::watch::Watch;

/// The time between two looks at the directory.
const LOOK: Duration = Duration::from_secs(1);

/// A pattern, and the watches on the files that matched it.
pub struct Pattern {
    text: String,
    watches: Vec<Watch>,
    looked: Option<Instant>,
}

impl Pattern {
    /// A pattern without files yet.
    pub fn new(text: String) -> Self {
        Self { text, watches: Vec::new(), looked: None }
    }

    /// The watches on its files.
    pub fn watches(&mut self) -> &mut Vec<Watch> {
        &mut self.watches
    }

    /// Looks for new files from time to time, and leaves those that are gone for long. `others` are watches of other
    /// arguments.
    pub fn look(&mut self, others: &[Watch], context: &Context) -> Result<(), Stop> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(());
        }
        self.watches.retain(|watch| !watch.is_over());
        for path in matching(&self.text) {
            if self.is_new(&path, others, context) {
                self.watches.push(Watch::follow(&path));
            }
        }
        if self.looked.is_none() && self.watches.is_empty() {
            let text = format!("no file matches {} yet: waiting for one", self.text);
            context.sender.tell(Path::new(&self.text), News::Note(text))?;
        }
        self.looked = Some(Instant::now());
        Ok(())
    }

    /// True if the file at `path` is to be read for itself, and not as what another became by rotation.
    fn is_new(&self, path: &Path, others: &[Watch], context: &Context) -> bool {
        let watches = || others.iter().chain(&self.watches);
        if watches().any(|watch| watch.path() == path) {
            return false;
        }
        let Ok(metadata) = path.metadata() else { return false };
        let file = Identity::of_file(&metadata).0;
        let absolute = std::path::absolute(path).unwrap_or_default();
        let is_sent = |start: &Start| {
            let is_watched =
                watches().any(|watch| std::path::absolute(watch.path()).is_ok_and(|path| path == start.path));
            start.path != absolute && (start.has_ended || is_watched)
        };
        if watches().any(|watch| watch.knows(file))
            || context.starts.of(file).is_some_and(is_sent)
            || context.starts.0.iter().any(|start| start.copies.contains(&file))
        {
            return false;
        }
        // A copy of a log is part of that log; while it is made, it cannot be recognised.
        let is_fresh = metadata.modified().is_ok_and(|time| time.elapsed().is_ok_and(|rest| rest < LINGER));
        let relatives = watches().filter(|watch| Family::of(watch.path()).has(path));
        !relatives.filter_map(Watch::evidence).any(|evidence| match metadata.len() < evidence.length {
            true => is_fresh,
            false => Content::open(path, &context.reading)
                .and_then(|content| content.has(&evidence))
                .unwrap_or(false),
        })
    }
}
