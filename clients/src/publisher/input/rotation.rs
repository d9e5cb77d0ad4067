//! Finds files that were rotated away: under another name, in the same directory.

use std::fs::{DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::origin::{Identity, Origin, Position, last_write};
use super::piece::{Piece, Sender, Stop, Text};
use super::start::{Start, Starts};
use super::tail::Tail;

/// The extensions of compressed files, which are not read.
const COMPRESSED: [&str; 6] = ["gz", "zst", "bz2", "xz", "lz4", "zip"];

/// Time after the creation of its successor during which a file may still be written to, by a writer that has not
/// noticed the rotation.
const OVERLAP: Duration = Duration::from_secs(10);

/// A file in the directory of another.
struct Sibling {
    path: PathBuf,
    identity: Identity,
    born: Option<Duration>,
    /// The time of its last write since 1970, which compression preserves.
    written: Duration,
}

/// The files that were found under a path before. All times are since 1970.
#[derive(Default)]
pub struct Seen {
    /// The files, whatever their names are now.
    files: Vec<Identity>,
    /// The creation time of the newest one.
    born: Option<Duration>,
    /// The last write to the newest one, if it is known.
    left: Option<Duration>,
    /// The known last writes to all of them.
    written: Vec<Duration>,
}

impl Seen {
    /// Files that are open, and copies of them.
    pub fn open<'a>(tails: impl IntoIterator<Item = &'a Tail<File>>, copies: &[Identity]) -> Self {
        let mut seen = Self { files: copies.into(), ..Self::default() };
        for tail in tails {
            let Origin { identity, born, .. } = *tail.origin();
            seen.add(identity, born, tail.metadata().ok().map(|metadata| last_write(&metadata)));
        }
        seen
    }

    fn add(&mut self, file: Identity, born: Option<Duration>, written: Option<Duration>) {
        self.files.push(file);
        self.written.extend(written);
        if born >= self.born {
            (self.born, self.left) = (born, written);
        }
    }

    /// True if a file may have followed the newest seen one under the path. If the newest seen one was written to
    /// afterwards, the file is a copy of it, as copytruncate leaves it.
    fn is_before(&self, sibling: &Sibling) -> bool {
        let (Some(last), Some(born)) = (self.born, sibling.born) else { return false };
        let left = self.left.unwrap_or_default();
        last <= born && left <= born + OVERLAP && !self.files.contains(&sibling.identity)
    }

    /// True if a compressed file was made of a seen file, or of an older one.
    fn knows(&self, compressed: &Sibling) -> bool {
        compressed.written < self.born.unwrap_or_default() + OVERLAP
            || self.written.iter().any(|written| written.as_secs() == compressed.written.as_secs())
    }
}

/// Opens the files that were rotated away from `path` since the checkpoint, the oldest first: the files that the
/// checkpoint knows, and the ones between them and `current`. Warns of files that cannot be read any more.
pub fn open_missed(
    path: &Path,
    current: &Tail<File>,
    starts: &Starts,
    sender: &Sender,
) -> Result<Vec<Tail<File>>, Stop> {
    let mut tails = Vec::new();
    let mut seen = Seen::default();
    let siblings = siblings(path);
    for start in starts.at(path).filter(|start| start.file != current.origin().identity) {
        let found = siblings.iter().find(|sibling| sibling.identity == start.file);
        seen.add(start.file, start.born, found.map(|found| found.written).or(start.written));
        if start.has_ended {
            continue;
        }
        match found.map(|found| open(&found.path, path, starts)).transpose()?.flatten() {
            Some(tail) => {
                tails.extend(open_copies_since(start, &tail));
                tails.push(tail);
            }
            None => warn_gone(start, sender)?,
        }
    }
    tails.extend(open_between(path, &seen, current.origin(), starts, sender)?);
    if let Some(start) = starts.of(current.origin().identity) {
        tails.extend(open_copies_since(start, current));
    }
    Ok(tails)
}

/// Opens the copies of a file that were made since its checkpoint, if it was truncated.
fn open_copies_since(start: &Start, tail: &Tail<File>) -> Vec<Tail<File>> {
    if start.line.is_none() || tail.origin().start == start.position {
        return Vec::new();
    }
    open_copies(tail, start.position, |file| start.fits(file))
}

/// Opens the copies that copytruncate left of `truncated`, which was read up to `position`: the newest one for which
/// `is_copy` is true, from that position, and all later ones from their beginning. If `truncated` was renamed since, a
/// file created after its last write is not a copy.
pub fn open_copies(
    truncated: &Tail<File>,
    position: Position,
    is_copy: impl Fn(&File) -> bool,
) -> Vec<Tail<File>> {
    let origin = truncated.origin();
    let Ok(written) = truncated.metadata().map(|metadata| last_write(&metadata)) else { return Vec::new() };
    let is_renamed = origin.path != origin.watched;
    let mut copies = siblings(&origin.watched);
    copies.retain(|sibling| {
        let is_younger = sibling.born.is_some_and(|born| born > written);
        !(is_renamed && is_younger)
            && sibling.identity != origin.identity
            && had_name(&sibling.path, &origin.watched)
            && !is_compressed(&sibling.path)
    });
    copies.sort_by_key(|sibling| sibling.born);
    let first = copies.iter().rposition(|copy| File::open(&copy.path).is_ok_and(|file| is_copy(&file)));
    let copies = first.map(|first| &copies[first..]).unwrap_or_default();
    let starts = std::iter::once(position).chain(std::iter::repeat(Position::default()));
    copies
        .iter()
        .zip(starts)
        .filter_map(|(copy, start)| Tail::open_copy(&copy.path, origin, start).ok())
        .collect()
}

/// Opens the files that had the name of `path` after the `seen` ones and before `current`, because there were several
/// rotations between two looks. Clocks of file systems are coarse, so files may have the same creation time.
pub fn open_between(
    path: &Path,
    seen: &Seen,
    current: &Origin,
    starts: &Starts,
    sender: &Sender,
) -> Result<Vec<Tail<File>>, Stop> {
    let mut between = siblings(path);
    between.retain(|sibling| {
        let is_current = sibling.identity == current.identity;
        seen.is_before(sibling)
            && sibling.born <= current.born
            && !is_current
            && had_name(&sibling.path, path)
    });
    between.sort_by_key(|sibling| (sibling.born, sibling.written));
    let mut tails = Vec::new();
    for sibling in between {
        if !is_compressed(&sibling.path) {
            tails.extend(open(&sibling.path, path, starts)?);
        } else if !seen.knows(&sibling) {
            warn_compressed(sibling, path, sender)?;
        }
    }
    Ok(tails)
}

/// Opens a file; `None` if it is gone by now.
fn open(path: &Path, watched: &Path, starts: &Starts) -> Result<Option<Tail<File>>, Stop> {
    match Tail::open(path, watched, starts) {
        Ok(tail) => Ok(Some(tail)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Stop::failed(path, error)),
    }
}

/// True if a file has a name that rotation gives to `path`: `app.log.1`, `app.log-20261121` and the like, or
/// `app.log.old`. Other files with the same prefix, such as a checkpoint, are not part of the log.
fn had_name(sibling: &Path, path: &Path) -> bool {
    let [sibling, path] = [sibling, path].map(|path| path.file_name().unwrap_or_default().as_encoded_bytes());
    match sibling.strip_prefix(path) {
        Some(b".old") => true,
        Some([b'.' | b'-' | b'_', digit, ..]) => digit.is_ascii_digit(),
        _ => false,
    }
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| COMPRESSED.iter().any(|known| extension == *known))
}

fn warn_compressed(sibling: Sibling, watched: &Path, sender: &Sender) -> Result<(), Stop> {
    let Sibling { path, identity, born, .. } = sibling;
    let warning = format!("{} was compressed before it was read: pipe it through zcat", path.display());
    let (watched, start) = (watched.into(), Position::default());
    warn(Origin { path, watched, identity, born, is_file: true, start }, warning, sender)
}

fn warn_gone(start: &Start, sender: &Sender) -> Result<(), Stop> {
    let Start { path, file, born, position, .. } = start.clone();
    let warning = format!(
        "the file that was sent as {} up to line {} was rotated away and is gone: its later lines were not sent",
        path.display(),
        position.lines
    );
    let watched = path.clone();
    warn(Origin { path, watched, identity: file, born, is_file: true, start: position }, warning, sender)
}

/// Ends a file that cannot be read, with a warning.
fn warn(origin: Origin, warning: String, sender: &Sender) -> Result<(), Stop> {
    let (start, text) = (origin.start, Text::End { warning: Some(warning) });
    sender.send(Piece { origin: Arc::new(origin), start, end: start, text })
}

/// The files in the directory of `path`.
fn siblings(path: &Path) -> Vec<Sibling> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let sibling = |entry: io::Result<DirEntry>| {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file())?;
        let (identity, born) = Identity::of_file(&metadata);
        Some(Sibling {
            path: path.with_file_name(entry.file_name()),
            identity,
            born,
            written: last_write(&metadata),
        })
    };
    std::fs::read_dir(directory).map(|entries| entries.filter_map(sibling).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_files_are_recognised() {
        let had_name = |name: &str| had_name(Path::new(name), Path::new("log/app.log"));
        for name in ["app.log.1", "log/app.log.1.gz", "app.log-20261121", "app.log.old"] {
            assert!(had_name(name), "{name}");
        }
        for name in ["app.log", "app.log.pos", "app.logs", "app.log2", "app.log.", "other.log.1"] {
            assert!(!had_name(name), "{name}");
        }
    }
}
