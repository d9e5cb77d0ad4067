//! Reads the files under a path: a file as it grows, its new content after it was overwritten, and its successors after
//! rotations.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chunk::{Chunk, News, Stop, Text};
use super::content::Content;
use super::context::Context;
use super::origin::Identity;
use super::rotation::{Found, Past, Search};
use super::start::Evidence;
use super::tail::{LINGER, Tail};

/// Time for which a file that cannot be read is waited for, before others are read without it.
const MISSING_TIMEOUT: Duration = Duration::from_secs(60);

/// Time between two looks at a file that may grow.
const LOOK: Duration = Duration::from_millis(50);

/// Files that are remembered after they were read to their end.
const REMEMBERED: usize = 32;

/// A path, and the files that were found under it.
pub struct Watch {
    path: PathBuf,
    /// Files that were rotated away, and copies, oldest first, each with the time when it was last seen to grow.
    rotated: Vec<(Tail<Content>, Instant)>,
    current: Option<Tail<Content>>,
    /// Files that were read to their end.
    past: Vec<Past>,
    /// Time without growth until a rotated file is closed.
    linger: Duration,
    /// The error that keeps it from reading, and its beginning.
    trouble: Option<(String, Instant)>,
    /// True if a missing file was said to be waited for.
    is_awaited: bool,
    /// Since when there is no file under the path.
    missing: Option<Instant>,
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
        Some(current) => current.send_rest(&context.sender),
        None => Err(Stop::failed(path, io::ErrorKind::NotFound.into())),
    }
}

impl Watch {
    /// A watch on a path that is followed.
    pub fn follow(path: &Path) -> Self {
        Self::new(path, LINGER)
    }

    fn new(path: &Path, linger: Duration) -> Self {
        Self {
            path: path.into(),
            rotated: Vec::new(),
            current: None,
            past: Vec::new(),
            linger,
            trouble: None,
            is_awaited: false,
            missing: None,
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True if this file is read here, or was.
    pub fn knows(&self, file: Identity) -> bool {
        let open = self.rotated.iter().map(|(tail, _)| tail).chain(&self.current);
        let mut files = open.flat_map(|tail| tail.copy().into_iter().chain([tail.origin().file]));
        files.any(|open| open == file) || self.past.iter().any(|past| past.file == file)
    }

    /// The evidence of what was read of the current file.
    pub fn evidence(&self) -> Option<Evidence> {
        self.current.as_ref().map(Tail::evidence).filter(|evidence| !evidence.is_empty())
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
        let mut index = 0;
        while let Some((tail, grew)) = self.rotated.get_mut(index) {
            if tail.send_next(&context.sender)? {
                *grew = Instant::now();
                return Ok(true);
            }
            tail.tell_rest(context)?;
            if tail.copy().is_some() || grew.elapsed() >= self.linger {
                tail.send_end(&context.sender)?;
                let (tail, _) = self.rotated.remove(index);
                self.past.push(Past::of(&tail));
                self.past.drain(..self.past.len().saturating_sub(REMEMBERED));
            } else {
                index += 1;
            }
        }
        self.advance_current(context)
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
            Some(chunk) => current.send(chunk, &context.sender).map(|()| true),
            None => {
                current.tell_rest(context)?;
                self.look(context)
            }
        }
    }

    /// Reads the current file from its beginning, because it was overwritten, after the rest of its old content in
    /// copies.
    fn restart_current(&mut self, context: &Context) -> Result<(), Stop> {
        let is_patient = self.is_patient();
        let Some(current) = &mut self.current else { return Ok(()) };
        let found = Search::new(&self.path, context, &self.past, is_patient).copies(current)?;
        self.take(found, context)
    }

    /// Opens the file under the path if it is another one than before; false if it is not.
    fn look(&mut self, context: &Context) -> Result<bool, Stop> {
        let metadata = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.wait(context),
            Err(error) => return Err(Stop::failed(&self.path, error)),
        };
        self.missing = None;
        let file = Identity::of_file(&metadata).0;
        match &self.current {
            Some(current) if current.origin().file == file => Ok(false),
            _ => self.open(context),
        }
    }

    /// Tells once that there is no file. Between two files of a log there may be none for a moment.
    fn wait(&mut self, context: &Context) -> Result<bool, Stop> {
        self.missing.get_or_insert_with(Instant::now);
        if self.current.is_none() && !self.is_awaited {
            self.is_awaited = true;
            let text = format!("{} is not there yet: waiting for it", self.path.display());
            context.sender.tell(&self.path, News::Note(text))?;
        }
        Ok(false)
    }

    /// Opens the file under the path, and the ones that were under it since the last look.
    fn open(&mut self, context: &Context) -> Result<bool, Stop> {
        let mut new = match Tail::open(&self.path, &self.path, context) {
            Ok(new) => new,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false), // gone again
            Err(error) => return Err(Stop::failed(&self.path, error)),
        };
        let open = self.rotated.iter().map(|(tail, _)| tail).chain(&self.current);
        let open: Vec<_> = open.map(Past::of).collect();
        // A directory may be large, and is not looked into when nothing is known of the log.
        let search = || Search::new(&self.path, context, &self.past, self.is_patient());
        let found = match open.is_empty() {
            true if context.starts.at(&self.path).next().is_none() => Found::default(),
            true => search().missed(&mut new)?,
            false => search().between(&open, new.origin())?,
        };
        self.rotated.extend(self.current.take().map(|old| (old, Instant::now())));
        self.current = Some(new);
        self.recover(context)?;
        self.take(found, context).map(|()| true)
    }

    /// Reads these files next, in their order.
    fn take(&mut self, found: Found, context: &Context) -> Result<(), Stop> {
        self.rotated.extend(found.tails.into_iter().map(|tail| (tail, Instant::now())));
        for start in found.gone {
            let text = format!(
                "the file that was sent as {} up to line {} was rotated away and is gone: its later lines were not sent",
                start.path.display(),
                start.position.lines
            );
            context.sender.tell(&self.path, News::Gap(text))?;
            let origin = Arc::new(start.origin(&self.path, &self.path));
            let end = start.position;
            context.sender.send(Chunk { origin, start: end, end, text: Text::End })?;
        }
        found.news.into_iter().try_for_each(|news| context.sender.tell(&self.path, news))
    }

    /// True if a file that cannot be read is worth another try.
    fn is_patient(&self) -> bool {
        self.trouble.as_ref().is_none_or(|(_, since)| since.elapsed() < MISSING_TIMEOUT)
    }
}
