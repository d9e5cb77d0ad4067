//! Finds files that were rotated away: under other names, compressed, or as copies.

use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::chunk::{News, Stop};
use super::content::Content;
use super::context::Context;
use super::family::{self, Family};
use super::origin::{Identity, Origin, Position, last_write};
use super::start::{Evidence, Start};
use super::tail::{MARK, Tail};

/// Time after the creation of its successor during which a file may still be written to, by a writer that has not
/// noticed the rotation.
const OVERLAP: Duration = Duration::from_secs(10);

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

/// A file in the directory of another.
#[derive(Debug)]
struct Sibling {
    path: PathBuf,
    file: Identity,
    born: Option<Duration>,
    /// The time of its last write since 1970, which compression preserves.
    written: Duration,
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

/// A file that was read under the path before. Times are since 1970.
pub struct Past {
    /// The file.
    pub file: Identity,
    /// Its creation.
    pub born: Option<Duration>,
    /// The last write to it, if it is known.
    pub written: Option<Duration>,
    /// The content that it held.
    pub evidence: Evidence,
}

impl Past {
    /// A file that is open.
    pub fn of(tail: &Tail<Content>) -> Self {
        let Origin { file, born, .. } = *tail.origin();
        let written = tail.metadata().ok().map(|metadata| last_write(&metadata));
        Self { file: tail.copy().unwrap_or(file), born, written, evidence: tail.evidence() }
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

    /// The copies that copytruncate left of `truncated`: the rest of what it held from its position, and what it held
    /// later. It becomes a later content of its file than they.
    pub fn copies(&mut self, truncated: &mut Tail<Content>) -> Result<Found, Stop> {
        let mut found = Found::default();
        let (generation, position) = (truncated.origin().generation, truncated.position());
        let evidence = truncated.evidence();
        let copies = self.find_copies(truncated, (generation, position), &evidence, &mut found)?;
        if copies == 0 {
            // Lines that stand before the position were sent; there may have been more.
            truncated.send_rest(&self.context.sender)?;
            if !evidence.is_empty() {
                found.news.push(truncated_away(self.path, position));
            }
        }
        let failed = |error| Stop::failed(self.path, error);
        truncated.begin_anew(generation + copies.max(1)).map_err(failed)?;
        Ok(found)
    }

    /// As [`Self::copies`], for a file that was truncated since its checkpoint, if it was.
    fn find_copies_since(
        &mut self,
        start: &Start,
        tail: &mut Tail<Content>,
        found: &mut Found,
    ) -> Result<(), Stop> {
        let is_as_before = tail.origin().generation == start.generation && !self.is_replaced(start, tail)?;
        if is_as_before || tail.copy().is_some() {
            return Ok(());
        }
        let copies = self.find_copies(tail, (start.generation, start.position), &start.evidence(), found)?;
        if copies == 0 && !start.evidence().is_empty() {
            found.news.push(truncated_away(&tail.origin().path, start.position));
        }
        let failed = |error| Stop::failed(self.path, error);
        tail.begin_anew(start.generation + copies.max(1)).map_err(failed)
    }

    /// True if a file that begins as before was truncated nevertheless, and began with the same lines again: there is a
    /// copy of it with more lines than it has, or from before its last write with as many.
    fn is_replaced(&self, start: &Start, tail: &Tail<Content>) -> Result<bool, Stop> {
        let failed = |error| Stop::failed(self.path, error);
        let metadata = tail.metadata().map_err(failed)?;
        for sibling in self.siblings.iter().filter(|sibling| self.family.has(&sibling.path)) {
            if self.is_known(sibling) || !self.holds(sibling, &start.evidence())? {
                continue;
            }
            let Ok(ending) =
                Content::open(&sibling.path, &self.context.reading).and_then(|copy| copy.ending(MARK))
            else {
                continue;
            };
            let has_less = !tail.content().has(&ending).map_err(failed)?;
            let is_written_anew = metadata.len() <= ending.length && last_write(&metadata) > sibling.written;
            if has_less || is_written_anew {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True if the file was read before, under its own identity or in another's place.
    fn is_known(&self, sibling: &Sibling) -> bool {
        self.context.starts.know(sibling.file) || self.past.iter().any(|past| past.file == sibling.file)
    }

    /// Opens the copies of a file that was truncated, and returns how many there are: the oldest that holds what was read
    /// of it and was not read yet, from the `position` of that content, and all later ones from their beginning. If the
    /// file was renamed since, one that was created after its last write is not a copy.
    fn find_copies(
        &mut self,
        truncated: &Tail<Content>,
        (generation, position): (u32, Position),
        evidence: &Evidence,
        found: &mut Found,
    ) -> Result<u32, Stop> {
        let origin = truncated.origin();
        let Ok(written) = truncated.metadata().map(|metadata| last_write(&metadata)) else { return Ok(0) };
        let is_renamed = origin.path != origin.watched;
        let siblings = Rc::clone(&self.siblings);
        let mut candidates: Vec<_> = siblings.iter().collect();
        candidates.retain(|sibling| {
            let is_younger = sibling.order().is_some_and(|time| time > written);
            !(is_renamed && is_younger) && sibling.file != origin.file && !self.is_known(sibling)
        });
        candidates.sort_by_key(|sibling| sibling.order());
        let mut holders = Vec::new();
        for sibling in &candidates {
            if self.holds(sibling, evidence)? {
                holders.push(*sibling);
            }
        }
        if holders.is_empty() {
            // A copy that was read to its end, and nothing of what came after it: others may have followed.
            for sibling in
                siblings.iter().filter(|sibling| sibling.file != origin.file && self.is_known(sibling))
            {
                if self.holds(sibling, evidence)? {
                    holders.push(sibling);
                }
            }
        }
        let Some(first) = self.oldest(&holders) else { return Ok(0) };
        self.family.learn(&first.path);
        let is_later = |sibling: &&Sibling| {
            sibling.order() >= first.order()
                && sibling.file != first.file
                && self.family.has(&sibling.path)
                && !self.has_plain_twin(sibling)
        };
        let later = candidates.iter().copied().filter(is_later);
        let starts = std::iter::once(position).chain(std::iter::repeat(Position::default()));
        let copies: Vec<_> = std::iter::once(first).chain(later).zip(starts).zip(generation..).collect();
        for ((copy, start), generation) in &copies {
            // A later run may have to find the same copies again.
            let opened = evidence.since.unwrap_or_default();
            let origin = Origin { opened, ..origin.with_generation(*generation, *start) };
            let tail = Tail::open_copy(&copy.path, origin, false, self.context);
            found.tails.push(tail.map_err(|error| Stop::failed(&copy.path, error))?);
        }
        Ok(copies.len() as u32)
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

impl Sibling {
    /// A time by which files of a log are in their order: the creation, of a compressed file the last write.
    fn order(&self) -> Option<Duration> {
        if family::is_compressed(&self.path) { Some(self.written) } else { self.born }
    }

    /// True if the file may have followed the newest of the past ones under the path, before `current`. If the newest
    /// was written to afterwards, this one is a copy of it, as copytruncate leaves it.
    fn is_between(&self, past: &[Past], current: &Origin) -> bool {
        let Some(newest) = past.iter().max_by_key(|past| past.born) else { return false };
        let left = newest.written.unwrap_or_default();
        if family::is_compressed(&self.path) {
            let (born, next) = (newest.born.unwrap_or(left), current.born.unwrap_or(Duration::MAX));
            let begin = born.max(left.saturating_sub(OVERLAP));
            return begin <= self.written && self.written <= next.saturating_add(OVERLAP);
        }
        match (newest.born, self.born) {
            (Some(last), Some(born)) => last <= born && left <= born + OVERLAP && self.born <= current.born,
            // The file system does not know when files were created.
            _ => left <= self.written,
        }
    }
}

/// True if the time of a file may be that of its compressed one, which some programs round.
fn is_same_time(original: Duration, compressed: Duration) -> bool {
    original == compressed || compressed.subsec_nanos() == 0 && original.as_secs() == compressed.as_secs()
}

/// True if the same file may be read later.
fn is_momentary(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Unsupported | io::ErrorKind::InvalidData)
}

fn truncated_away(path: &Path, position: Position) -> News {
    News::Gap(format!(
        "{} was truncated or overwritten after its line {} was sent, and no copy of it was found: lines that stood \
         behind that one were not sent",
        path.display(),
        position.lines
    ))
}

/// The files in a directory.
fn siblings(directory: &Path) -> Vec<Sibling> {
    let sibling = |entry: io::Result<DirEntry>| {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file())?;
        let (file, born) = Identity::of_file(&metadata);
        let path = if directory == Path::new(".") { entry.file_name().into() } else { entry.path() };
        Some(Sibling { path, file, born, written: last_write(&metadata) })
    };
    std::fs::read_dir(directory).map(|entries| entries.filter_map(sibling).collect()).unwrap_or_default()
}
