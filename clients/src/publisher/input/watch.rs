//! Reads what is found under a path: a file as it grows, what it becomes when it is written anew, and those that follow
//! it when it is rotated.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::rotation::{self, Seen};
use super::tail::{LINGER, Tail};
use super::{Identity, Input, Position, Sender, Starts, Stop, failed, read_once};

/// How often files are looked at. Looking works on every file system, also on those that tell of no changes, and
/// costs next to nothing.
const LOOK: Duration = Duration::from_millis(100);

/// A path, and the files that were found under it.
struct Watch<'a> {
    path: &'a Path,
    starts: &'a Starts,
    /// Those that were rotated away and when they were last seen to grow, then the current one.
    rotated: Vec<(Tail<File>, Instant)>,
    current: Option<Tail<File>>,
    /// Copies that were made of the current one before it was truncated.
    copies: Vec<Identity>,
    /// How long files that were rotated away are read on without growing.
    linger: Duration,
}

/// Reads what is there, now, of a file.
pub fn once(path: &Path, starts: &Starts, sender: &Sender) -> Result<(), Stop> {
    let mut watch = Watch::new(path, starts, Duration::ZERO);
    while watch.advance(sender)? {}
    match &mut watch.current {
        Some(current) => current.send_rest(sender),
        None => Err(failed(path, io::ErrorKind::NotFound.into())),
    }
}

/// Reads all files for as long as somebody takes what is read.
pub fn follow(inputs: &[Input], starts: &Starts, sender: &Sender) -> Result<(), Stop> {
    let mut watches = Vec::new();
    for input in inputs {
        match input {
            Input::Stream(..) => read_once(input, starts, sender)?,
            Input::File(path) => watches.push(Watch::new(path, starts, LINGER)),
        }
    }
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

    /// Sends what is there of each file, a piece at a time; false when there was nothing.
    fn advance(&mut self, sender: &Sender) -> Result<bool, Stop> {
        sender.check()?;
        // What is newer comes after what is older.
        let mut at = 0;
        while let Some((tail, grew)) = self.rotated.get_mut(at) {
            if tail.send_next(sender)? {
                *grew = Instant::now();
                return Ok(true);
            }
            if tail.copy().is_some() || grew.elapsed() >= self.linger {
                tail.send_end(sender)?;
                self.rotated.remove(at);
            } else {
                at += 1;
            }
        }
        self.advance_current(sender)
    }

    fn advance_current(&mut self, sender: &Sender) -> Result<bool, Stop> {
        let failed = |error| failed(self.path, error);
        let Some(current) = &mut self.current else { return self.look(sender) };
        if current.is_rewritten().map_err(failed)? {
            let is_copy = |file: &File| current.is_marked(file).unwrap_or(false);
            let copies = match current.has_mark() {
                true => rotation::open_copies(current, current.position(), is_copy),
                false => Vec::new(), // nothing was read, so nothing tells what is a copy
            };
            if copies.is_empty() {
                current.send_rest(sender)?;
            }
            self.copies.extend(copies.iter().filter_map(Tail::copy));
            self.rotated.extend(copies.into_iter().map(|copy| (copy, Instant::now())));
            current.go_to(Position::default()).map_err(failed)?;
            return Ok(true);
        }
        let position = current.position();
        let next = current.read_next()?;
        if current.is_rewritten().map_err(failed)? {
            // It was, while it was read: this may be the middle of something new.
            current.go_to(position).map_err(failed)?;
            return Ok(true);
        }
        match next {
            Some(piece) => current.send(piece, sender).map(|()| true),
            None => self.look(sender),
        }
    }

    /// Looks whether the path leads to another file; false when it does not.
    fn look(&mut self, sender: &Sender) -> Result<bool, Stop> {
        let metadata = match std::fs::metadata(self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false), // between two files
            Err(error) => return Err(failed(self.path, error)),
        };
        let identity = Identity::of_file(&metadata).0;
        match &self.current {
            Some(current) if current.origin().identity == identity => Ok(false),
            _ => self.open(sender),
        }
    }

    /// Opens what the path leads to now, and what it led to meanwhile.
    fn open(&mut self, sender: &Sender) -> Result<bool, Stop> {
        let new = match Tail::open(self.path, self.path, self.starts) {
            Ok(new) => new,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false), // gone again
            Err(error) => return Err(failed(self.path, error)),
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
