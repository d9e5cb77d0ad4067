//! Reads the files under a path: a file as it grows, its new content after it was overwritten, and its successors after
//! rotations.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::chunk::{News, Stop};
use super::content::Content;
use super::context::Context;
use super::identity::{Identity, last_write, now};
use super::search::{Found, Search};
use super::tail::{LINGER, Opened, Tail};

/// Time for which a file that cannot be read is waited for, before others are read without it.
const MISSING_TIMEOUT: Duration = Duration::from_secs(60);

/// Time between two looks at a file that may grow.
const LOOK: Duration = Duration::from_millis(50);

/// Time between two looks at a file that is not read yet.
const RECONSIDER: Duration = Duration::from_secs(1);

/// The most files that are open at once: a process may have 1,024 descriptors.
const OPEN: usize = 512;

/// A path, and the files that were found under it.
pub struct Watch {
    path: PathBuf,
    /// Files that were rotated away, and copies, oldest first, each with the time when it was last seen to grow.
    rotated: Vec<(Tail<Content>, Instant)>,
    current: Option<Tail<Content>>,
    /// The file under the path as it was when it was read to its end and closed, or left for later.
    seen: Option<Seen>,
    /// The file that was closed because there are many.
    closed: Option<Identity>,
    /// How often the file was looked at in vain.
    looks: u32,
    /// True if too many other files are open.
    waits_for_its_turn: bool,
    /// When it was looked for files that were rotated away, since 1970; `None` before the first look.
    searched: Option<Duration>,
    /// When to search again, because it was too early.
    search_due: Option<Instant>,
    /// Time without growth until a rotated file is closed.
    linger: Duration,
    /// The error that keeps it from reading, and its beginning.
    trouble: Option<(String, Instant)>,
    /// True if a missing file was said to be waited for.
    is_awaited: bool,
    /// Since when there is no file under the path.
    missing: Option<Instant>,
    /// True if the file that is there at first is read from its end.
    is_from_end: bool,
}

/// A file that is not open.
#[derive(Clone, Copy)]
struct Seen {
    file: Identity,
    bytes: u64,
    written: Duration,
    /// When to look at it again although it has not changed.
    due: Option<Due>,
}

/// A time to look again.
#[derive(Clone, Copy)]
struct Due {
    looked: Instant,
    pause: Duration,
}

impl Due {
    /// True if it is time. What is missed may be in any file, and is looked for sooner.
    fn is_now(&self, is_missed: bool) -> bool {
        self.looked.elapsed() >= if is_missed { RECONSIDER } else { self.pause }
    }
}

impl Seen {
    fn new(metadata: &Metadata, due: Option<Due>) -> Self {
        let (file, bytes, written) = (Identity::of_file(metadata).0, metadata.len(), last_write(metadata));
        Self { file, bytes, written, due }
    }

    fn is_equal(&self, now: &Self) -> bool {
        (self.file, self.bytes, self.written) == (now.file, now.bytes, now.written)
    }
}

/// Reads a file up to its present end.
pub fn once(path: &Path, context: &Context) -> Result<(), Stop> {
    let mut watch = Watch::new(path, Duration::ZERO);
    let mut end = None;
    loop {
        while watch.advance(context)? {}
        // What was written just now may go on, but not for ever.
        let waited = end.get_or_insert_with(Instant::now).elapsed();
        match context.reading.rest {
            Some(rest) if waited < rest && watch.is_fresh(rest) => std::thread::sleep(LOOK),
            _ => break,
        }
    }
    match &mut watch.current {
        Some(current) => current.send_rest(context),
        None if watch.seen.is_some() => {
            let text = format!("{} has nothing but what another file has", path.display());
            context.sender.tell(path, News::Note(text))
        }
        None => Err(Stop::failed(path, io::ErrorKind::NotFound.into())),
    }
}

impl Watch {
    /// A watch on a path that is followed. The file that is there now may be read from its end.
    pub fn follow(path: &Path, is_from_end: bool, context: &Context) -> Self {
        context.watch(path);
        Self { is_from_end, ..Self::new(path, LINGER) }
    }

    fn new(path: &Path, linger: Duration) -> Self {
        Self {
            path: path.into(),
            rotated: Vec::new(),
            current: None,
            seen: None,
            closed: None,
            looks: 0,
            waits_for_its_turn: false,
            searched: None,
            search_due: None,
            linger,
            trouble: None,
            is_awaited: false,
            missing: None,
            is_from_end: false,
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True if the current file was written to a short time ago.
    fn is_fresh(&self, rest: Duration) -> bool {
        let written = self.current.as_ref().and_then(|tail| tail.metadata().ok()?.modified().ok());
        written.is_some_and(|time| time.elapsed().is_ok_and(|age| age < rest))
    }

    /// True if the file was read to its end, and its name was gone for so long that no other is to be expected.
    pub fn is_over(&self) -> bool {
        self.rotated.is_empty() && self.missing.is_some_and(|since| since.elapsed() > MISSING_TIMEOUT)
    }

    /// As [`Self::advance`], for a file that is followed: a failure is told, and tried again later.
    pub fn follow_on(&mut self, context: &Context) -> Result<bool, Stop> {
        match self.advance(context) {
            Err(Stop::Failed(error)) => {
                let text = format!("{error:#}");
                if self.trouble.as_ref().is_none_or(|(told, _)| *told != text) {
                    context.sender.tell(&self.path, News::Note(format!("{text}; trying again")))?;
                    let since = self.trouble.as_ref().map_or_else(Instant::now, |(_, since)| *since);
                    self.trouble = Some((text, since));
                }
                Ok(false)
            }
            Err(unwanted) => Err(unwanted),
            Ok(false) => self.recover(context).map(|()| false),
            Ok(true) => Ok(true), // perhaps of an older file, while the newer one still cannot be read
        }
    }

    /// Tells that what could not be read is read again.
    fn recover(&mut self, context: &Context) -> Result<(), Stop> {
        if self.trouble.take().is_none() {
            return Ok(());
        }
        let text = format!("{} is read again", self.path.display());
        context.sender.tell(&self.path, News::Note(text))
    }

    /// Sends the next chunk, of the oldest file that has one; false if there was none.
    fn advance(&mut self, context: &Context) -> Result<bool, Stop> {
        context.sender.check()?;
        let is_patient = self.is_patient();
        let (mut index, mut failure) = (0, None);
        while let Some((tail, grew)) = self.rotated.get_mut(index) {
            match tail.send_next(context) {
                Ok(true) => {
                    *grew = Instant::now();
                    return Ok(true);
                }
                Ok(false) => {}
                // It keeps no other from being read, and is given up after a while.
                Err(Stop::Failed(error)) if is_patient => {
                    failure = failure.or(Some(error));
                    index += 1;
                    continue;
                }
                Err(Stop::Failed(error)) => {
                    let text = format!("{error:#}: its later lines were not sent");
                    context.sender.tell(&self.path, News::Gap(text))?;
                    tail.end(context)?;
                    self.rotated.remove(index);
                    continue;
                }
                Err(unwanted) => return Err(unwanted),
            }
            tail.tell_rest(context)?;
            // Whoever writes a plain file may be in the middle of a line.
            if tail.is_whole() || grew.elapsed() >= self.linger {
                tail.send_end(context)?;
                self.rotated.remove(index);
            } else {
                index += 1;
            }
        }
        match (self.advance_current(context)?, failure) {
            (false, Some(error)) => Err(Stop::Failed(error)),
            (has_advanced, _) => Ok(has_advanced),
        }
    }

    /// Sends the next lines of the current file, or looks for another one; false if there was nothing.
    fn advance_current(&mut self, context: &Context) -> Result<bool, Stop> {
        let failed = |error| Stop::failed(&self.path, error);
        let Some(current) = &mut self.current else { return self.look(context) };
        if current.is_overwritten().map_err(failed)? {
            return self.restart_current(context).map(|()| true);
        }
        let position = current.position();
        let next = current.read_next()?;
        if current.is_overwritten().map_err(failed)? {
            // Overwritten during the read: the lines may come from the middle of the new content.
            current.go_to(position).map_err(failed)?;
            return Ok(true);
        }
        match next {
            Some(chunk) => current.send(chunk, context).map(|()| true),
            None => {
                current.tell_rest(context)?;
                current.end_if_closed(context)?;
                self.look(context)
            }
        }
    }

    /// Reads the current file from its beginning, because it was overwritten, after the rest of its old content in
    /// copies.
    fn restart_current(&mut self, context: &Context) -> Result<(), Stop> {
        let is_patient = self.is_patient();
        let Some(current) = &mut self.current else { return Ok(()) };
        let (known, opened) = (current.known(), current.origin().opened);
        let found = Search::new(&self.path, context, is_patient).find(Some(opened))?;
        if !context.suspects.may_appear() && known.is_some_and(|known| found.lost.contains(&known)) {
            // Lines that stand before the position were sent; there may have been more.
            current.send_rest(context)?;
        }
        current.begin_anew(context).map_err(|error| Stop::failed(&self.path, error))?;
        self.take(found, context)
    }

    /// Opens the file under the path if it is another one than before, or has grown since it was closed; false if not.
    fn look(&mut self, context: &Context) -> Result<bool, Stop> {
        if self.search_due.is_some_and(|due| due <= Instant::now()) {
            self.search_due = Some(Instant::now() + RECONSIDER);
            let found = Search::new(&self.path, context, self.is_patient()).find(self.searched)?;
            self.take(found, context)?;
        }
        let metadata = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.wait(context),
            Err(error) => return Err(Stop::failed(&self.path, error)),
        };
        (self.missing, self.waits_for_its_turn) = (None, false);
        let now = Seen::new(&metadata, None);
        match &self.current {
            Some(current) if current.origin().holder == now.file => {
                self.close_if_idle(&metadata, context);
                return Ok(false);
            }
            None if self.has_nothing_new(&now, context) => return Ok(false),
            _ => {}
        }
        context.registry.saw(now.file, &self.path);
        self.waits_for_its_turn = context.open_files() >= OPEN;
        if context.registry.is_open(now.file) || self.waits_for_its_turn {
            return Ok(false); // it is read as what another became, or has to wait
        }
        let later = self.reconsideration(&now);
        // If it cannot be opened, it is tried again.
        self.seen = Some(Seen::new(&metadata, Some(Due { pause: RECONSIDER, ..later })));
        self.open(&metadata, later, context)
    }

    /// True if the file is as it was, and it is not time to look at it again.
    fn has_nothing_new(&self, now: &Seen, context: &Context) -> bool {
        let is_due = |due: Due| due.is_now(!context.suspects.is_empty());
        self.seen.is_some_and(|seen| seen.is_equal(now) && !seen.due.is_some_and(is_due))
    }

    /// When to look again at a file that has nothing that another has not: ever more seldom, if it stays as it is.
    fn reconsideration(&mut self, now: &Seen) -> Due {
        let is_same = self.seen.is_some_and(|seen| seen.is_equal(now));
        self.looks = if is_same { (self.looks + 1).min(6) } else { 0 };
        Due { looked: Instant::now(), pause: RECONSIDER * (1 << self.looks) }
    }

    /// True if too many other files are open.
    pub fn waits_for_its_turn(&self) -> bool {
        self.waits_for_its_turn
    }

    /// True if it is not decided yet what the file is.
    pub fn is_undecided(&self) -> bool {
        self.current.is_none() && self.seen.is_some_and(|seen| seen.due.is_some())
    }

    /// Sends what is left when there is no file any more.
    pub fn finish(&mut self, context: &Context) -> Result<(), Stop> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        current.send_end(context)
    }

    /// Closes the file when there are many, and it has nothing new to read.
    fn close_if_idle(&mut self, metadata: &Metadata, context: &Context) {
        let is_one_of_many = context.open_files() > OPEN / 2;
        let is_read = |tail: &Tail<Content>| tail.is_told() && tail.is_read_as_of(metadata);
        if is_one_of_many && self.current.as_ref().is_some_and(is_read) {
            let seen = Seen::new(metadata, None);
            (self.closed, self.seen) = (Some(seen.file), Some(seen));
            self.current = None;
        }
    }

    /// Tells once that there is no file. Between two files of a log there may be none for a moment.
    fn wait(&mut self, context: &Context) -> Result<bool, Stop> {
        self.missing.get_or_insert_with(Instant::now);
        (self.is_from_end, self.waits_for_its_turn) = (false, false);
        if self.current.is_none() && self.seen.is_none() && !self.is_awaited {
            self.is_awaited = true;
            let text = format!("{} is not there yet: waiting for it", self.path.display());
            context.sender.tell(&self.path, News::Note(text))?;
        }
        Ok(false)
    }

    /// Opens the file under the path, and the ones that were under it since the last look.
    fn open(&mut self, metadata: &Metadata, later: Due, context: &Context) -> Result<bool, Stop> {
        let file = Identity::of_file(metadata).0;
        // A file that was only closed, and has grown, is the same one.
        let is_same = self.current.is_none() && self.closed == Some(file);
        let is_known = self.searched.is_some() || !context.registry.at(&self.path).is_empty();
        let found = match is_known && !is_same {
            true => Search::new(&self.path, context, self.is_patient()).find(self.searched)?,
            false => Found::default(),
        };
        self.searched.get_or_insert_with(now);
        let opened = match Tail::open(&self.path, &self.path, context) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None, // gone again
            opened => Some(opened.map_err(|error| Stop::failed(&self.path, error))?),
        };
        self.rotated.extend(self.current.take().map(|old| (old, Instant::now())));
        self.closed = None;
        self.seen = None;
        match opened {
            Some(Opened::Tail(mut tail)) => {
                if std::mem::take(&mut self.is_from_end) && tail.known().is_none() {
                    tail.skip_to_end(context)?;
                }
                tail.claim(context)?;
                self.current = Some(*tail);
            }
            Some(Opened::Later) => self.seen = Some(Seen::new(metadata, Some(later))),
            None => {}
        }
        self.recover(context)?;
        let is_opened = self.current.is_some() || !found.tails.is_empty();
        self.take(found, context).map(|()| is_opened)
    }

    /// Reads these files next, in their order.
    fn take(&mut self, found: Found, context: &Context) -> Result<(), Stop> {
        self.rotated.extend(found.tails.into_iter().map(|tail| (tail, Instant::now())));
        // A file that is read once is not looked at again.
        self.search_due = (found.is_early && !self.linger.is_zero()).then(|| Instant::now() + RECONSIDER);
        if self.search_due.is_none() {
            context.suspects.add(&self.path, found.lost);
        }
        found.news.into_iter().try_for_each(|news| context.sender.tell(&self.path, news))
    }

    /// True if a file that cannot be read is worth another try.
    fn is_patient(&self) -> bool {
        self.trouble.as_ref().is_none_or(|(_, since)| since.elapsed() < MISSING_TIMEOUT)
    }
}
