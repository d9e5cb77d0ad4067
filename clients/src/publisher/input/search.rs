//! Finds the files of a log that were rotated away, under whatever name: renamed, copied or compressed.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::chunk::{Chunk, News, Stop, Text};
use super::content::Content;
use super::context::{Context, is_beside_original};
use super::directories::Sibling;
use super::family::{self, Family};
use super::identity::{Identity, born, now};
use super::start::Start;
use super::suspects::Suspect;
use super::tail::{Opened, Tail};

/// The time by which the clock of a file system may be behind.
const COARSE: Duration = Duration::from_millis(20);

/// The time after its last write for which a file may be a copy that is being made.
const EARLY: Duration = Duration::from_secs(15);

/// A look for the files of the log at a path.
pub struct Search<'a> {
    path: &'a Path,
    context: &'a Context,
    /// True if a file that cannot be read is worth another try; else it is left out, with a warning.
    is_patient: bool,
}

/// The files that are to be read before the one at the path, oldest first, and what is to be told of others.
#[derive(Default)]
pub struct Found {
    /// The files.
    pub tails: Vec<Tail<Content>>,
    /// True if it is too early to say of a file what it is.
    pub is_early: bool,
    /// Contents that were not found.
    pub lost: Vec<usize>,
    /// The news.
    pub news: Vec<News>,
}

impl<'a> Search<'a> {
    /// A look at the directories now.
    pub fn new(path: &'a Path, context: &'a Context, is_patient: bool) -> Self {
        Self { path, context, is_patient }
    }

    /// Looks for the contents that were found under the path before, unless they are in place, and for files that
    /// were there between two looks. `since` is the time of the first look, since 1970.
    pub fn find(&self, since: Option<Duration>) -> Result<Found, Stop> {
        let Context { registry, directories, reading, .. } = self.context;
        let mut family = Family::of(self.path);
        let listings: Vec<_> = family.directories.iter().map(|at| directories.files(at, registry)).collect();
        let known: Vec<_> =
            registry.at(self.path).into_iter().map(|number| (number, registry.get(number))).collect();
        let since = known.iter().filter_map(|(_, start)| start.opened).chain(since).min();
        let holders: HashSet<_> = known.iter().flat_map(|(_, start)| [start.holder(), start.file]).collect();
        let siblings = || listings.iter().flat_map(|listing| listing.iter());
        // The log itself may have numbers in its name that tell it from others.
        let is_rotated = |sibling: &&Sibling| {
            holders.contains(&sibling.file) && sibling.path.file_name() != self.path.file_name()
        };
        siblings().filter(is_rotated).for_each(|sibling| family.learn(&sibling.path));

        let is_missing = |(number, start): &(usize, Start)| {
            let has_lines = start.beginning.is_some() || start.position.offset > 0;
            has_lines && !registry.get(*number).has_ended && !registry.is_in_place(*number, reading)
        };
        let are_missing = known.iter().any(is_missing);
        let mut found = Found::default();
        for sibling in siblings() {
            let is_of_log = family.has(&sibling.path, &sibling.name);
            let is_known = holders.contains(&sibling.file);
            let is_to_be_opened =
                is_known || is_of_log || are_missing && !family::is_compressed(&sibling.path);
            if is_to_be_opened && !self.is_read_elsewhere(sibling) && !self.is_done(sibling.file) {
                // A file of the log may have been truncated before it was rotated away.
                let is_missed = is_known || is_of_log && is_later(sibling, since);
                self.look_at(sibling, is_missed, &mut found)?;
            }
        }
        found.lost.extend(known.iter().filter(|known| is_missing(known)).map(|(number, _)| *number));
        Ok(found)
    }

    /// The creation of the file at the path.
    fn born(&self) -> Option<Duration> {
        self.path.metadata().ok().and_then(|metadata| born(&metadata))
    }

    /// True if this is the file at the path, or one that is read for itself.
    fn is_read_elsewhere(&self, sibling: &Sibling) -> bool {
        self.context.registry.is_open(sibling.file)
            || self.context.is_watched(&sibling.path)
            || self.path.metadata().is_ok_and(|metadata| Identity::of_file(&metadata).0 == sibling.file)
            || is_beside_original(&sibling.path) // it is being compressed
    }

    /// True if all contents of a file were read to their ends.
    fn is_done(&self, file: Identity) -> bool {
        let registry = &self.context.registry;
        let here = registry.in_file(file);
        !here.is_empty() && here.into_iter().all(|number| registry.get(number).has_ended)
    }

    /// Takes a file if it holds a content of this log, or one that is new and `is_missed`.
    fn look_at(&self, sibling: &Sibling, is_missed: bool, found: &mut Found) -> Result<(), Stop> {
        let registry = &self.context.registry;
        let mut tail = match Tail::open(&sibling.path, self.path, self.context) {
            Ok(Opened::Tail(tail)) => tail,
            Ok(Opened::Later) => {
                found.is_early |= now().saturating_sub(sibling.written()) < EARLY;
                return Ok(());
            }
            Err(error) => return self.fail(sibling, is_missed, error, found),
        };
        let is_of_path = |number| registry.at(self.path).contains(&number);
        if tail.known().map_or(is_missed, is_of_path) {
            tail.claim(self.context)?;
            // What was made while the log stayed in its place is a copy, to which nobody writes.
            if sibling.born.zip(self.born()).is_some_and(|(sibling, current)| sibling > current) {
                tail.close();
            }
            found.tails.push(*tail);
        }
        Ok(())
    }

    fn fail(
        &self,
        sibling: &Sibling,
        is_of_log: bool,
        error: io::Error,
        found: &mut Found,
    ) -> Result<(), Stop> {
        let path: &PathBuf = &sibling.path;
        if !is_of_log || error.kind() == io::ErrorKind::NotFound {
            return Ok(());
        }
        if self.is_patient && is_momentary(&error) {
            return Err(Stop::failed(path, error));
        }
        let text = format!("{} cannot be read, and its lines were not sent: {error}", path.display());
        found.news.push(News::Gap(text));
        Ok(())
    }
}

/// True if a file was made since then; a compressed one is younger than what it holds, but keeps its last write.
fn is_later(sibling: &Sibling, since: Option<Duration>) -> bool {
    let born = sibling.born.filter(|_| !family::is_compressed(&sibling.path));
    let made = born.unwrap_or_else(|| sibling.written());
    since.is_some_and(|since| made + COARSE >= since)
}

/// Tells which contents are lost, of those that were missed for long enough, or of all at the end.
pub fn tell_lost(is_end: bool, context: &Context) -> Result<(), Stop> {
    context.suspects.take(is_end).into_iter().try_for_each(|suspect| tell(&suspect, context))
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

/// True if the same file may be read later.
fn is_momentary(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Unsupported | io::ErrorKind::InvalidData)
}
