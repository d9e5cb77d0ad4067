//! Goes on with files as they grow, and across their rotation.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::tail::{self, Tail};
use super::{Identity, Input, Sender, Starts, Stop, failed, read_once};

/// How often files are looked at. Looking works on every file system, also on those that tell of no changes, and
/// costs next to nothing.
const LOOK: Duration = Duration::from_millis(100);

/// How long a file that was rotated away is still read: whoever writes it may not have noticed yet.
const LINGER: Duration = Duration::from_secs(5);

/// A path, and the files that were found under it.
struct Watch<'a> {
    path: &'a Path,
    starts: &'a Starts,
    /// Those that were rotated away and when they were last seen to grow, then the current one.
    rotated: Vec<(Tail<File>, Instant)>,
    current: Option<Tail<File>>,
    /// Whether there was a current one before.
    was_found: bool,
}

/// Reads all files for as long as somebody takes what is read.
pub fn all(inputs: &[Input], name: &str, starts: &Starts, sender: &Sender) -> Result<(), Stop> {
    let mut watches = Vec::new();
    for input in inputs {
        match input {
            Input::Stream(_) => read_once(input, name, starts, sender)?,
            Input::File(path) => {
                watches.push(Watch { path, starts, rotated: Vec::new(), current: None, was_found: false })
            }
        }
    }
    while !watches.is_empty() && !sender.is_closed() {
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
        let mut has_sent = false;
        for (tail, grew) in &mut self.rotated {
            if tail.send_next(sender)? {
                (*grew, has_sent) = (Instant::now(), true);
            } else if grew.elapsed() >= LINGER {
                tail.send_rest(sender)?;
            }
        }
        self.rotated.retain(|(_, grew)| grew.elapsed() < LINGER);
        // What is newer comes after what is older.
        if has_sent {
            return Ok(true);
        }
        if let Some(current) = &mut self.current
            && current.send_next(sender)?
        {
            return Ok(true);
        }
        self.look(sender)?;
        Ok(false)
    }

    /// Looks whether the path leads to another file, or to less of the same one.
    fn look(&mut self, sender: &Sender) -> Result<(), Stop> {
        let failed = |error| failed(self.path, error);
        let metadata = match std::fs::metadata(self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()), // between two files
            Err(error) => return Err(failed(error)),
        };
        match &mut self.current {
            Some(current) if current.identity() == Identity::of_file(&metadata) => {
                if metadata.len() < current.read_to() {
                    current.send_rest(sender)?;
                    File::open(self.path).and_then(|file| current.rewind(file)).map_err(failed)?;
                }
            }
            Some(_) => {
                let rotated = self.current.take();
                self.rotated.extend(rotated.map(|tail| (tail, Instant::now())));
            }
            None => self.open().map_err(failed)?,
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        let found = match self.was_found {
            false => tail::open(self.path, self.starts),
            true => tail::open_one(self.path, self.starts).map(|tail| vec![tail]),
        };
        match found {
            Ok(mut tails) => {
                self.current = tails.pop();
                self.rotated.extend(tails.into_iter().map(|tail| (tail, Instant::now())));
                self.was_found = true;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}
