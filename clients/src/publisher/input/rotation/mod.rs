//! Finds files that were rotated away: under other names, compressed, or as copies.

mod copies;
mod sibling;

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::chunk::{News, Stop};
use super::content::Content;
use super::context::Context;
use super::family::{self, Family};
use super::origin::{Identity, Origin};
use super::start::{Evidence, Start};
use super::tail::Tail;

pub use sibling::Past;

use sibling::{Sibling, is_same_time, siblings};

/// The time by which the clock of a file system may be behind.
const COARSE: Duration = Duration::from_secs(1);

/// Where to look for the files of a log.
pub struct Search<'a> {
    path: &'a Path,
    context: &'a Context,
    /// True if a file that cannot be read is worth another try; else it is left out, with a warning.
    is_patient: bool,
    family: Family,
    /// The files in the directories of the log.
    siblings: Rc<[Sibling]>,
    /// Files that were read in this run.
    past: &'a [Past],
}

/// Files that were rotated away, the oldest first, and what is to be told of others.
#[derive(Default)]
pub struct Found {
    /// The files.
    pub tails: Vec<Tail<Content>>,
    /// Files that are gone, with lines that were not read.
    pub gone: Vec<Start>,
    /// The news.
    pub news: Vec<News>,
}

impl Found {
    /// True if one of these is read from this file, under whatever name.
    fn reads(&self, file: Identity) -> bool {
        self.tails.iter().any(|tail| tail.copy().unwrap_or(tail.origin().file) == file)
    }
}

impl<'a> Search<'a> {
    /// A look at the directories now.
    pub fn new(path: &'a Path, context: &'a Context, past: &'a [Past], is_patient: bool) -> Self {
        let mut family = Family::of(path);
        let siblings: Rc<[_]> = family.directories.iter().flat_map(|directory| siblings(directory)).collect();
        let known = |sibling: &&Sibling| {
            context
                .starts
                .of(sibling.file)
                .is_some_and(|start| context.starts.at(path).any(|known| known.file == start.file))
        };
        siblings.iter().filter(known).for_each(|sibling| family.learn(&sibling.path));
        Self { path, context, is_patient, family, siblings, past }
    }

    /// The files that were rotated away since the checkpoint: the files that the checkpoint knows, and the ones between
    /// them and `current`. If `current` was truncated since, it becomes a later content of its file than its copies.
    pub fn missed(&mut self, current: &mut Tail<Content>) -> Result<Found, Stop> {
        let mut found = Found::default();
        let mut past = Vec::new();
        let starts: Vec<_> = self.context.starts.at(self.path).cloned().collect();
        for start in starts.iter().filter(|start| start.file != current.origin().file) {
            let here = self.siblings.iter().find(|sibling| sibling.file == start.file);
            let written = here.map(|here| here.written).or(start.written);
            past.push(Past { file: start.file, born: start.born, written, evidence: start.evidence() });
            if start.has_ended {
                continue;
            }
            let tail = match here.map(|here| here.path.clone()) {
                Some(path) => self.open(&path, &mut found)?,
                None => {
                    let tail = self.find_content(start, &past, current)?;
                    found.gone.extend(tail.is_none().then(|| start.clone()));
                    tail
                }
            };
            if let Some(mut tail) = tail {
                self.find_copies_since(start, &mut tail, &mut found)?;
                found.tails.push(tail);
            }
        }
        self.find_between(&past, current.origin(), &mut found)?;
        if let Some(start) = starts.iter().find(|start| start.file == current.origin().file) {
            self.find_copies_since(start, current, &mut found)?;
        }
        Ok(found)
    }

    /// The files that had the path after the `past` ones and before `current`, because there were several rotations
    /// between two looks.
    pub fn between(&mut self, past: &[Past], current: &Origin) -> Result<Found, Stop> {
        let mut found = Found::default();
        self.find_between(past, current, &mut found)?;
        Ok(found)
    }

    /// True if the file was read before, under its own identity or in another's place.
    fn is_known(&self, sibling: &Sibling) -> bool {
        self.context.starts.know(sibling.file) || self.past.iter().any(|past| past.file == sibling.file)
    }

    /// Opens a file whose own is gone: it was compressed, or moved from another file system.
    fn find_content(
        &self,
        start: &Start,
        past: &[Past],
        current: &Tail<Content>,
    ) -> Result<Option<Tail<Content>>, Stop> {
        let evidence = start.evidence();
        let mut copies = Vec::new();
        for sibling in self.siblings.iter() {
            let is_known = sibling.file == current.origin().file
                || past.iter().any(|past| past.file == sibling.file)
                || self.is_known(sibling);
            if !is_known && self.holds(sibling, &evidence)? {
                copies.push(sibling);
            }
        }
        let Some(copy) = self.oldest(&copies) else { return Ok(None) };
        let origin = start.origin(&copy.path, self.path);
        Tail::open_copy(&copy.path, origin, true, self.context)
            .map(Some)
            .map_err(|error| Stop::failed(&copy.path, error))
    }

    /// The oldest of these files, of those whose names are of the log if there are any.
    fn oldest<'b>(&self, files: &[&'b Sibling]) -> Option<&'b Sibling> {
        files.iter().copied().min_by_key(|file| (!self.family.has(&file.path), file.order()))
    }

    /// True if a file begins with what was read of another. A compressed one is looked into if its name is of the log,
    /// because that takes time.
    fn holds(&self, sibling: &Sibling, evidence: &Evidence) -> Result<bool, Stop> {
        let is_of_family = self.family.has(&sibling.path);
        let is_older = sibling.born.zip(evidence.since).is_some_and(|(born, since)| born + COARSE < since);
        if evidence.is_empty() || is_older || family::is_compressed(&sibling.path) && !is_of_family {
            return Ok(false);
        }
        match Content::open(&sibling.path, &self.context.reading).and_then(|content| content.has(evidence)) {
            Ok(has) => Ok(has),
            Err(error) if is_of_family && self.is_patient && is_momentary(&error) => {
                Err(Stop::failed(&sibling.path, error))
            }
            Err(_) => Ok(false),
        }
    }

    /// Clocks of file systems are coarse, so files may have the same creation time.
    fn find_between(&mut self, past: &[Past], current: &Origin, found: &mut Found) -> Result<(), Stop> {
        let mut between = Vec::new();
        for sibling in self.siblings.iter() {
            let is_known = sibling.file == current.file
                || past.iter().any(|past| past.file == sibling.file)
                || self.is_known(sibling)
                || found.reads(sibling.file);
            if !is_known
                && self.family.has(&sibling.path)
                && sibling.is_between(past, current)
                && !self.has_plain_twin(sibling)
                && !self.is_made_of(sibling, past)
            {
                between.push(sibling);
            }
        }
        between.sort_by_key(|sibling| (sibling.order(), sibling.written));
        for sibling in between {
            let tail = self.open(&sibling.path, found)?;
            found.tails.extend(tail);
        }
        Ok(())
    }

    /// True if the file is a compressed one whose original is still there.
    fn has_plain_twin(&self, sibling: &Sibling) -> bool {
        let plain = sibling.path.with_extension("");
        family::is_compressed(&sibling.path) && self.siblings.iter().any(|other| other.path == plain)
    }

    /// True if this is a past file, compressed: it was read to its end.
    fn is_made_of(&self, sibling: &Sibling, past: &[Past]) -> bool {
        let is_whole = |past: &Past| match past.evidence.is_empty() {
            true => past.written.is_some_and(|written| is_same_time(written, sibling.written)),
            false => {
                let content = Content::open(&sibling.path, &self.context.reading);
                content.and_then(|content| content.is_all(&past.evidence)).unwrap_or(false)
            }
        };
        family::is_compressed(&sibling.path) && past.iter().any(is_whole)
    }

    /// Opens a file; `None` if it is gone by now, or cannot be read.
    fn open(&self, path: &Path, found: &mut Found) -> Result<Option<Tail<Content>>, Stop> {
        match Tail::open(path, self.path, self.context) {
            Ok(tail) => Ok(Some(tail)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if self.is_patient && is_momentary(&error) => Err(Stop::failed(path, error)),
            Err(error) => {
                let text = format!("{} cannot be read, and its lines were not sent: {error}", path.display());
                found.news.push(News::Gap(text));
                Ok(None)
            }
        }
    }
}

/// True if the same file may be read later.
fn is_momentary(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Unsupported | io::ErrorKind::InvalidData)
}
