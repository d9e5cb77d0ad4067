//! Finds files again that were rotated away: under another name, in the same directory.

use std::fs::{DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::tail::{Tail, is_as_before};
use super::{Identity, Origin, Piece, Position, Sender, Start, Starts, Stop, Text, failed, written};

/// How the names of compressed files end: their bytes are not the lines that were written.
const COMPRESSED: [&str; 6] = ["gz", "zst", "bz2", "xz", "lz4", "zip"];

/// How much later than the birth of its successor a file may be written to, by whoever has not noticed the rotation.
const OVERLAP: Duration = Duration::from_secs(10);

/// A file in the directory of another.
struct Sibling {
    path: PathBuf,
    identity: Identity,
    born: Option<Duration>,
    /// When it was last written to, as time since 1970; compressing a file keeps that.
    written: Duration,
}

/// What was found under a path before, so that it is not missed.
#[derive(Default)]
pub struct Seen {
    /// The files, whatever their names are now.
    files: Vec<Identity>,
    /// When the youngest of them came into being.
    born: Option<Duration>,
    /// When that was last written to, if it is still there.
    left: Option<Duration>,
    /// When each of those that are still there was.
    written: Vec<Duration>,
}

impl Seen {
    /// What is open, and copies of it.
    pub fn open<'a>(tails: impl IntoIterator<Item = &'a Tail<File>>, copies: &[Identity]) -> Self {
        let mut seen = Self { files: copies.into(), ..Self::default() };
        for tail in tails {
            let Origin { identity, born, .. } = *tail.origin();
            seen.add(identity, born, tail.metadata().ok().map(|metadata| written(&metadata)));
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

    /// Whether a file may have come after all that was seen. Not so if the last of these was still written to later: then
    /// it is a copy of what that held, as copytruncate leaves it.
    fn is_before(&self, sibling: &Sibling) -> bool {
        let (Some(last), Some(born)) = (self.born, sibling.born) else { return false };
        let left = self.left.unwrap_or_default();
        last <= born && left <= born + OVERLAP && !self.files.contains(&sibling.identity)
    }

    /// Whether a compressed file is made of what was seen, or of something older.
    fn knows(&self, compressed: &Sibling) -> bool {
        compressed.written < self.born.unwrap_or_default() + OVERLAP
            || self.written.iter().any(|written| written.as_secs() == compressed.written.as_secs())
    }
}

/// Opens what was rotated away from `path` since the checkpoint, the oldest first: the files that it knows, and those
/// that came and went behind them before `current`. What cannot be read any more is told of.
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
            None => tell_gone(start, sender)?,
        }
    }
    tails.extend(open_between(path, &seen, current.origin(), starts, sender)?);
    if let Some(start) = starts.of(current.origin().identity) {
        tails.extend(open_copies_since(start, current));
    }
    Ok(tails)
}

/// Opens copies of what a file held since its checkpoint, if it was truncated.
fn open_copies_since(start: &Start, tail: &Tail<File>) -> Vec<Tail<File>> {
    if start.line.is_none() || tail.origin().start == start.position {
        return Vec::new();
    }
    open_copies(tail, start.position, |file| is_as_before(file, start))
}

/// Opens copies of what `truncated` held behind `position`, as copytruncate leaves them: the one that has the same there,
/// and those that were made after it. If it was renamed since, whatever was made after its last write is no copy.
pub fn open_copies(
    truncated: &Tail<File>,
    position: Position,
    is_copy: impl Fn(&File) -> bool,
) -> Vec<Tail<File>> {
    let origin = truncated.origin();
    let Ok(last_write) = truncated.metadata().map(|metadata| written(&metadata)) else { return Vec::new() };
    let is_renamed = origin.path != origin.watched;
    let mut copies = siblings(&origin.watched);
    copies.retain(|sibling| {
        let is_younger = sibling.born.is_some_and(|born| born > last_write);
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

/// Opens the files that had the name of `path` after those that were `seen` and before `current`: it was rotated more
/// than once while nobody looked. Clocks of file systems are coarse, so files may have the same birth.
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
            tell_compressed(sibling, path, sender)?;
        }
    }
    Ok(tails)
}

/// Opens a file, unless it is gone again.
fn open(path: &Path, watched: &Path, starts: &Starts) -> Result<Option<Tail<File>>, Stop> {
    match Tail::open(path, watched, starts) {
        Ok(tail) => Ok(Some(tail)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, error)),
    }
}

/// Whether a file has a name that rotation gives to `path`: `app.log.1`, `app.log-20261121` and what else has a number, or
/// `app.log.old`. Others may stand beside it, such as a checkpoint.
fn had_name(sibling: &Path, path: &Path) -> bool {
    let [its_name, name] =
        [sibling, path].map(|path| path.file_name().unwrap_or_default().as_encoded_bytes());
    match its_name.strip_prefix(name) {
        Some(b".old") => true,
        Some([b'.' | b'-' | b'_', digit, ..]) => digit.is_ascii_digit(),
        _ => false,
    }
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| COMPRESSED.iter().any(|known| extension == *known))
}

fn tell_compressed(sibling: Sibling, watched: &Path, sender: &Sender) -> Result<(), Stop> {
    let Sibling { path, identity, born, .. } = sibling;
    let warning = format!("{} was compressed before it was read: send it by zcat", path.display());
    let (watched, start) = (watched.into(), Position::default());
    tell(Origin { path, watched, identity, born, is_file: true, start }, warning, sender)
}

fn tell_gone(start: &Start, sender: &Sender) -> Result<(), Stop> {
    let Start { path, file, born, position, .. } = start.clone();
    let warning = format!(
        "what was {} up to line {} was rotated away and is gone: what it had behind that was not sent",
        path.display(),
        position.lines
    );
    let watched = path.clone();
    tell(Origin { path, watched, identity: file, born, is_file: true, start: position }, warning, sender)
}

fn tell(origin: Origin, warning: String, sender: &Sender) -> Result<(), Stop> {
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
            written: written(&metadata),
        })
    };
    std::fs::read_dir(directory).map(|entries| entries.filter_map(sibling).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_files_are_known() {
        let had_name = |name: &str| had_name(Path::new(name), Path::new("log/app.log"));
        for name in ["app.log.1", "log/app.log.1.gz", "app.log-20261121", "app.log.old"] {
            assert!(had_name(name), "{name}");
        }
        for name in ["app.log", "app.log.pos", "app.logs", "app.log2", "app.log.", "other.log.1"] {
            assert!(!had_name(name), "{name}");
        }
    }
}
