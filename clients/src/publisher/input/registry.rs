//! The contents that are known, and the recognition of a file as one of them.
//!
//! A content is what was written to a file between two truncations. It may be renamed, copied or compressed, and lies in
//! one file after the other: its lines keep the ids that they had in the first one.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::content::{Content, Likeness, Reading};
use super::evidence::{Evidence, Line, MARK};
use super::family::{self, Family, Name};
use super::identity::{Identity, born, last_write, now};
use super::origin::{Origin, Position};
use super::start::{Start, Starts};

/// The time by which clocks of file systems differ.
const COARSE: Duration = Duration::from_secs(1);

/// The time that compressing a file may take.
const COMPRESSING: Duration = Duration::from_secs(60);

/// The time for which a new file is taken for a copy that is being made, if the original still has all of it.
const COPYING: Duration = Duration::from_secs(10);

/// The time after which a file that grows is taken for no copy.
const COPYING_MUCH: Duration = Duration::from_secs(600);

/// The known contents, by number.
#[derive(Default)]
pub struct Registry {
    contents: RefCell<Vec<Start>>,
    by_path: RefCell<HashMap<PathBuf, Vec<usize>>>,
    by_holder: RefCell<HashMap<Identity, HashSet<usize>>>,
    by_beginning: RefCell<HashMap<Line, Vec<usize>>>,
    /// The number of contents that each file had.
    generations: RefCell<HashMap<Identity, u32>>,
    /// Where files were seen last.
    places: RefCell<HashMap<Identity, PathBuf>>,
    /// Files that are open.
    open: RefCell<HashMap<Identity, Weak<File>>>,
    /// True if files are read only once, so that one that is to be looked at later would not be read.
    is_final: Cell<bool>,
}

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
pub enum Recognised {
    /// A known content, to be read from there on.
    Known(usize, Position),
    /// A content that was not known.
    New,
    /// Perhaps a copy of a content that another file has: it is too early to say, or nothing in it is to be read.
    Later,
}

impl Registry {
    /// The contents of a checkpoint.
    pub fn new(starts: Starts, is_final: bool) -> Self {
        let registry = Self { is_final: Cell::new(is_final), ..Self::default() };
        starts.0.into_iter().for_each(|start| {
            registry.insert(start);
        });
        registry
    }

    /// Adds a content that is being read.
    pub fn add(&self, origin: &Origin) -> usize {
        self.insert(Start::new(origin))
    }

    fn insert(&self, start: Start) -> usize {
        let mut contents = self.contents.borrow_mut();
        let number = contents.len();
        self.by_path.borrow_mut().entry(start.path.clone()).or_default().push(number);
        self.by_holder.borrow_mut().entry(start.holder()).or_default().insert(number);
        if let Some(beginning) = start.beginning {
            self.by_beginning.borrow_mut().entry(beginning).or_default().push(number);
        }
        let mut generations = self.generations.borrow_mut();
        let generation = generations.entry(start.file).or_default();
        *generation = (*generation).max(start.generation + 1);
        contents.push(start);
        number
    }

    /// The contents that were found under this path.
    pub fn at(&self, path: &Path) -> Vec<usize> {
        let path = std::path::absolute(path).unwrap_or_default();
        self.by_path.borrow().get(&path).cloned().unwrap_or_default()
    }

    /// What is known of a content.
    pub fn get(&self, number: usize) -> Start {
        self.contents.borrow()[number].clone()
    }

    /// The contents in this file.
    pub fn in_file(&self, file: Identity) -> Vec<usize> {
        let mut numbers: Vec<_> = self.by_holder.borrow().get(&file).into_iter().flatten().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// The number of contents that this file had.
    pub fn generations(&self, file: Identity) -> u32 {
        self.generations.borrow().get(&file).copied().unwrap_or_default()
    }

    /// Records the beginning of a content.
    pub fn begins(&self, number: usize, beginning: Option<Line>, first: Option<Line>) {
        let start = &mut self.contents.borrow_mut()[number];
        let old = std::mem::replace(&mut start.beginning, beginning);
        start.first = first;
        if let Some(beginning) = beginning.filter(|_| old != beginning) {
            self.by_beginning.borrow_mut().entry(beginning).or_default().push(number);
        }
    }

    /// Records that a content lies in this file now.
    pub fn hold(&self, number: usize, file: Identity) {
        let start = &mut self.contents.borrow_mut()[number];
        let mut by_holder = self.by_holder.borrow_mut();
        if let Some(numbers) = by_holder.get_mut(&start.holder()) {
            numbers.remove(&number);
        }
        by_holder.entry(file).or_default().insert(number);
        start.holder = Some(file).filter(|file| *file != start.file);
    }

    /// Records how far a content was read, and the last bytes of that. What was read before counts if it was more, as of a
    /// copy that is read again.
    pub fn advance(&self, number: usize, position: Position, last: Option<Line>) {
        let start = &mut self.contents.borrow_mut()[number];
        if position.offset >= start.position.offset {
            (start.position, start.line, start.has_ended) = (position, last, false);
        }
    }

    /// Records that a content is not read on.
    pub fn end(&self, number: usize) {
        self.contents.borrow_mut()[number].has_ended = true;
    }

    /// Records that a file was opened.
    pub fn opened(&self, file: Identity, opened: &Arc<File>) {
        self.open.borrow_mut().insert(file, Arc::downgrade(opened));
    }

    /// True if this file is open.
    pub fn is_open(&self, file: Identity) -> bool {
        self.open.borrow().get(&file).is_some_and(|opened| opened.strong_count() > 0)
    }

    /// True if a content is known to have ended.
    pub fn has_ended(&self, number: usize) -> bool {
        self.contents.borrow()[number].has_ended
    }

    /// Records where a file was seen.
    pub fn saw(&self, file: Identity, path: &Path) {
        self.places.borrow_mut().insert(file, path.into());
    }

    /// What the file at `path` is, of which `content` is open.
    pub fn recognise(&self, path: &Path, content: &Content, reading: &Reading) -> io::Result<Recognised> {
        let metadata = content.metadata()?;
        let file = Identity::of_file(&metadata).0;
        let mut here = Vec::new();
        for number in self.in_file(file) {
            if content.has(&self.evidence(number))? {
                here.push(number);
            }
        }
        if let Some(number) = here.into_iter().max_by_key(|&number| self.reached(number)) {
            return Ok(Recognised::Known(number, self.get(number).position));
        }
        let (head, is_cut_off) = content.head_mark()?;
        let may_grow = !self.is_final.get() && now().saturating_sub(last_write(&metadata)) < COPYING;
        let Some(beginning) = Line::first(&head).filter(|_| !(is_cut_off && may_grow)) else {
            // A copy that is being made may have too little yet to be recognised.
            return Ok(if may_grow { Recognised::Later } else { Recognised::New });
        };
        let copy = Copy { path, file, content, metadata: &metadata };
        let mut candidates = Vec::new();
        for number in self.alike(beginning, &head) {
            match content.likeness(&self.evidence(number))? {
                Likeness::Other => {}
                likeness => candidates.push((likeness == Likeness::Same, self.reached(number), number)),
            }
        }
        candidates.sort_unstable();
        for (is_same, _, number) in candidates.into_iter().rev() {
            if let Some(recognised) = self.compare(&copy, number, is_same, reading)? {
                return Ok(recognised);
            }
        }
        Ok(Recognised::New)
    }

    /// What a file is that holds a known content, or a part of it; `None` if it is no copy of it.
    fn compare(
        &self,
        copy: &Copy<'_>,
        number: usize,
        is_same: bool,
        reading: &Reading,
    ) -> io::Result<Option<Recognised>> {
        let start = self.get(number);
        let is_compressed = family::is_compressed(copy.path) || copy.content.is_compressed();
        let margin = if is_compressed { COMPRESSING } else { COARSE };
        let born = born(copy.metadata);
        if born.zip(start.opened).is_some_and(|(born, opened)| born + margin < opened) {
            return Ok(None); // it was there before
        }
        // If only the first line is known to be equal, that may be one of all logs.
        let first = start.first.map_or(0, |first| first.bytes);
        let is_equal_to = if is_same { start.position.offset.max(first as u64) } else { first as u64 };
        let is_weak = start.beginning.is_none_or(|beginning| is_equal_to <= beginning.bytes as u64);
        let has_all = |original: &Content| original.has(&self.evidence(number)).unwrap_or(false);
        let holder = Some(start.holder()).filter(|holder| *holder != copy.file);
        let original = holder.and_then(|holder| self.open_file(holder, reading)).filter(has_all);
        let is_of_log = is_of_log(&start, copy.path);
        if is_weak && !is_of_log && (original.is_some() || !self.is_only_one(&start)) {
            return Ok(None);
        }
        if let Some(original) = original
            && !(is_of_log && copy.is_older_content_of(&original).unwrap_or(false))
        {
            let waits = is_compressed || copy.may_be_in_the_making() && !self.is_final.get();
            return Ok(waits.then_some(Recognised::Later));
        }
        // A file in the place of another one is its successor, unless it has all that is known of that.
        let is_successor = std::path::absolute(copy.path).is_ok_and(|path| path == start.path);
        if (is_weak || !is_same) && is_successor {
            return Ok(None);
        }
        let position = if is_same { start.position } else { Position::default() };
        Ok(Some(Recognised::Known(number, position)))
    }

    /// The contents that begin with the same bytes, as far as it can be told without reading more.
    fn alike(&self, beginning: Line, head: &[u8]) -> Vec<usize> {
        let contents = self.contents.borrow();
        let mut hashes = HashMap::new();
        let mut is_alike = |number: &usize| {
            contents[*number].first.is_none_or(|first| {
                first.bytes <= head.len()
                    && *hashes.entry(first.bytes).or_insert_with(|| Identity::hash(&head[..first.bytes]))
                        == first.hash
            })
        };
        let alike = self.by_beginning.borrow().get(&beginning).cloned().unwrap_or_default();
        alike.into_iter().filter(|number| is_alike(number)).collect()
    }

    /// True if no other content begins with the same line.
    fn is_only_one(&self, start: &Start) -> bool {
        let alike = |beginning| self.by_beginning.borrow().get(&beginning).map_or(0, Vec::len);
        start.beginning.is_some_and(|beginning| alike(beginning) == 1)
    }

    /// True if a content can be read where it was.
    pub fn is_in_place(&self, number: usize, reading: &Reading) -> bool {
        let start = self.get(number);
        let Some(holder) = self.open_file(start.holder(), reading) else { return false };
        match holder.likeness(&self.evidence(number)) {
            Ok(Likeness::Less) => start.holder() != start.file, // a copy may have less than what was read
            likeness => likeness.is_ok_and(|likeness| likeness == Likeness::Same),
        }
    }

    /// True if a file is where it was seen last, whatever it holds.
    pub fn is_there(&self, file: Identity) -> bool {
        let place = self.places.borrow().get(&file).cloned();
        let metadata = place.and_then(|place| place.metadata().ok());
        metadata.is_some_and(|metadata| Identity::of_file(&metadata).0 == file)
    }

    /// A file that is known by its identity, if it is still there.
    fn open_file(&self, file: Identity, reading: &Reading) -> Option<Content> {
        let opened = self.open.borrow().get(&file).and_then(Weak::upgrade);
        if let Some(opened) = opened {
            return Content::of(opened, reading).ok();
        }
        let place = self.places.borrow().get(&file).cloned()?;
        let content = Content::open(&place, reading).ok()?;
        let is_it = content.metadata().is_ok_and(|metadata| Identity::of_file(&metadata).0 == file);
        is_it.then_some(content)
    }

    fn evidence(&self, number: usize) -> Evidence {
        self.contents.borrow()[number].evidence()
    }

    /// How far a content was read, and since when: of two, the later is the better guess.
    fn reached(&self, number: usize) -> (u64, Option<Duration>, u32) {
        let Start { position, opened, generation, .. } = &self.contents.borrow()[number];
        (position.offset, *opened, *generation)
    }
}

/// True if the name of a file is one that rotation gives to the log of a content.
fn is_of_log(start: &Start, path: &Path) -> bool {
    let is_beside = std::path::absolute(path).is_ok_and(|path| path.parent() == start.path.parent());
    is_beside && Family::of(&start.path).has(path, &Name::of(path))
}

/// A file that may be a copy.
struct Copy<'a> {
    path: &'a Path,
    file: Identity,
    content: &'a Content,
    metadata: &'a Metadata,
}

impl Copy<'_> {
    /// True if the file is new, or grows and is not old: a copy of a large file takes its time.
    fn may_be_in_the_making(&self) -> bool {
        let age = |time: Duration| now().saturating_sub(time);
        let born = born(self.metadata);
        let grows = age(last_write(self.metadata)) < COPYING;
        born.is_none_or(|born| age(born) < COPYING || grows && age(born) < COPYING_MUCH)
    }

    /// True if the original was truncated since this copy was made, although it begins with the same lines again: it has
    /// fewer than the copy, or as many, and was written to later.
    fn is_older_content_of(&self, original: &Content) -> io::Result<bool> {
        let ending = self.content.ending(MARK)?;
        let metadata = original.metadata()?;
        let is_written_anew =
            metadata.len() <= ending.length && last_write(&metadata) > last_write(self.metadata);
        Ok(!original.has(&ending)? || original.is_plain() && is_written_anew)
    }
}
