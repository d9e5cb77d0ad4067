//! Goes on with files as they grow, and across their rotation.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::rotation::{self, Seen};
use super::tail::Tail;
use super::{Identity, Input, Sender, Starts, Stop, failed, read_once};

/// How often files are looked at. Looking works on every file system, also on those that tell of no changes, and
/// costs next to nothing.
const LOOK: Duration = Duration::from_millis(100);

/// How long a file that was rotated away is still read: whoever writes it may not have noticed yet.
pub const LINGER: Duration = Duration::from_secs(5);

/// A path, and the files that were found under it.
struct Watch<'a> {
    path: &'a Path,
    starts: &'a Starts,
    /// Those that were rotated away and when they were last seen to grow, then the current one.
    rotated: Vec<(Tail<File>, Instant)>,
    current: Option<Tail<File>>,
}

/// Reads all files for as long as somebody takes what is read.
pub fn all(inputs: &[Input], starts: &Starts, sender: &Sender) -> Result<(), Stop> {
    let mut watches = Vec::new();
    for input in inputs {
        match input {
            Input::Stream(..) => read_once(input, starts, sender)?,
            Input::File(path) => watches.push(Watch { path, starts, rotated: Vec::new(), current: None }),
        }
    }
    while !watches.is_empty() {
        sender.check()?;
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

impl Watch<'_> {
    /// Sends what is there of each file, a piece at a time; false when there was nothing.
    fn advance(&mut self, sender: &Sender) -> Result<bool, Stop> {
        // What is newer comes after what is older.
        let mut at = 0;
        while let Some((tail, grew)) = self.rotated.get_mut(at) {
            if tail.send_next(sender)? {
                *grew = Instant::now();
                return Ok(true);
            }
            if grew.elapsed() >= LINGER {
                tail.send_end(sender)?;
                self.rotated.remove(at);
            } else {
                at += 1;
            }
        }
        if let Some(current) = &mut self.current {
            // Before it reads on: it could read what was written anew from the middle.
            if current.is_rewritten().map_err(|error| failed(self.path, error))? {
                current.send_rest(sender)?;
                current.rewind().map_err(|error| failed(self.path, error))?;
            }
            if current.send_next(sender)? {
                return Ok(true);
            }
        }
        self.look(sender)?;
        Ok(false)
    }

    /// Looks whether the path leads to another file.
    fn look(&mut self, sender: &Sender) -> Result<(), Stop> {
        let metadata = match std::fs::metadata(self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()), // between two files
            Err(error) => return Err(failed(self.path, error)),
        };
        let identity = Identity::of_file(&metadata).0;
        match &self.current {
            Some(current) if current.origin().identity == identity => Ok(()),
            _ => self.open(sender),
        }
    }

    /// Opens what the path leads to now, and what it led to meanwhile.
    fn open(&mut self, sender: &Sender) -> Result<(), Stop> {
        let new = match Tail::open(self.path, self.path, self.starts) {
            Ok(new) => new,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()), // gone again
            Err(error) => return Err(failed(self.path, error)),
        };
        let missed = match self.current.take() {
            None => rotation::open_missed(self.path, new.origin(), self.starts, sender)?,
            Some(old) => {
                self.rotated.push((old, Instant::now()));
                let seen = Seen::open(self.rotated.iter().map(|(tail, _)| tail));
                rotation::open_between(self.path, &seen, new.origin(), self.starts, sender)?
            }
        };
        self.rotated.extend(missed.into_iter().map(|tail| (tail, Instant::now())));
        self.current = Some(new);
        Ok(())
    }
}
