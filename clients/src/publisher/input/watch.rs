//! Reads the files under a path: a file as it grows, its new content after it was overwritten, and its successors after
//! rotations.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::origin::{Identity, Position};
use super::piece::{Sender, Stop};
use super::rotation::{self, Seen};
use super::start::Starts;
use super::tail::{LINGER, Tail};

/// The time between two looks at the files. Polling costs next to nothing, and also works on file systems without
/// change notification.
const LOOK: Duration = Duration::from_millis(100);

/// A path, and the files that were found under it.
struct Watch<'a> {
    path: &'a Path,
    starts: &'a Starts,
    /// Files that were rotated away, and copies, oldest first, each with the time when it was last seen to grow.
    rotated: Vec<(Tail<File>, Instant)>,
    current: Option<Tail<File>>,
    /// Copies of files under the path that were made before they were truncated.
    copies: Vec<Identity>,
    /// Time without growth until a rotated file is closed.
    linger: Duration,
}

/// Reads a file up to its present end.
pub fn once(path: &Path, starts: &Starts, sender: &Sender) -> Result<(), Stop> {
    let mut watch = Watch::new(path, starts, Duration::ZERO);
    while watch.advance(sender)? {}
    match &mut watch.current {
        Some(current) => current.send_rest(sender),
        None => Err(Stop::failed(path, io::ErrorKind::NotFound.into())),
    }
}

/// Reads all files as they grow, for as long as the lines are wanted.
pub fn follow(paths: &[&Path], starts: &Starts, sender: &Sender) -> Result<(), Stop> {
    let mut watches: Vec<_> = paths.iter().map(|path| Watch::new(path, starts, LINGER)).collect();
    while !watches.is_empty() {
        let mut is_idle = true;
        for watch in &mut watches {
            is_idle &= !watch.advance(sender)?;
        }
        if is_idle {
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}

impl<'a> Watch<'a> {
    fn new(path: &'a Path, starts: &'a Starts, linger: Duration) -> Self {
        Self { path, starts, rotated: Vec::new(), current: None, copies: Vec::new(), linger }
    }

    /// Sends the next piece, of the oldest file that has one; false if there was none.
    fn advance(&mut self, sender: &Sender) -> Result<bool, Stop> {
        sender.check()?;
        let mut index = 0;
        while let Some((tail, grew)) = self.rotated.get_mut(index) {
            if tail.send_next(sender)? {
                *grew = Instant::now();
                return Ok(true);
            }
            if tail.copy().is_some() || grew.elapsed() >= self.linger {
                tail.send_end(sender)?;
                self.rotated.remove(index);
            } else {
                index += 1;
            }
        }
        self.advance_current(sender)
    }

    /// Sends the next lines of the current file, or looks for another one; false if there was nothing.
    fn advance_current(&mut self, sender: &Sender) -> Result<bool, Stop> {
        let failed = |error| Stop::failed(self.path, error);
        let Some(current) = &mut self.current else { return self.look(sender) };
        if current.is_overwritten().map_err(failed)? {
            return self.restart_current(sender).map(|()| true);
        }
        let position = current.position();
        let next = current.read_next()?;
        if current.is_overwritten().map_err(failed)? {
            // Overwritten during the read: the lines may come from the middle of the new content.
            current.go_to(position).map_err(failed)?;
            return Ok(true);
        }
        match next {
            Some(piece) => current.send(piece, sender).map(|()| true),
            None => self.look(sender),
        }
    }

    /// Reads the current file from its beginning, because it was overwritten, after the rest of its old content in
    /// copies.
    fn restart_current(&mut self, sender: &Sender) -> Result<(), Stop> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let is_copy = |file: &File| current.is_marked(file).unwrap_or(false);
        let copies = match current.has_mark() {
            true => rotation::open_copies(current, current.position(), is_copy),
            false => Vec::new(), // nothing was sent, so a copy cannot be recognised
        };
        if copies.is_empty() {
            current.send_rest(sender)?;
        }
        self.copies.extend(copies.iter().filter_map(Tail::copy));
        self.rotated.extend(copies.into_iter().map(|copy| (copy, Instant::now())));
        current.go_to(Position::default()).map_err(|error| Stop::failed(self.path, error))
    }

    /// Opens the file under the path if it is another one than before; false if it is not.
    fn look(&mut self, sender: &Sender) -> Result<bool, Stop> {
        let metadata = match std::fs::metadata(self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false), // between two files
            Err(error) => return Err(Stop::failed(self.path, error)),
        };
        let identity = Identity::of_file(&metadata).0;
        match &self.current {
            Some(current) if current.origin().identity == identity => Ok(false),
            _ => self.open(sender),
        }
    }

    /// Opens the file under the path, and the ones that were under it since the last look.
    fn open(&mut self, sender: &Sender) -> Result<bool, Stop> {
        let new = match Tail::open(self.path, self.path, self.starts) {
            Ok(new) => new,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false), // gone again
            Err(error) => return Err(Stop::failed(self.path, error)),
        };
        let missed = match self.current.take() {
            None => rotation::open_missed(self.path, &new, self.starts, sender)?,
            Some(old) => {
                self.rotated.push((old, Instant::now()));
                let seen = Seen::open(self.rotated.iter().map(|(tail, _)| tail), &self.copies);
                rotation::open_between(self.path, &seen, new.origin(), self.starts, sender)?
            }
        };
        self.rotated.extend(missed.into_iter().map(|tail| (tail, Instant::now())));
        self.current = Some(new);
        Ok(true)
    }
}
