//! Finds files again that were rotated away: under another name, in the same directory.

use std::fs::{DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::tail::Tail;
use super::{Identity, Origin, Piece, Position, Sender, Start, Starts, Stop, Text};

/// How the names of compressed files end: their bytes are not the lines that were written.
const COMPRESSED: [&str; 6] = ["gz", "zst", "bz2", "xz", "lz4", "zip"];

/// A file in the directory of another.
struct Sibling {
    path: PathBuf,
    identity: Identity,
    born: Option<u64>,
    modified: Option<SystemTime>,
}

/// Opens what was rotated away from `path` since the checkpoint, the oldest first: the files that it knows, and those
/// that came and went behind them before `current`. What cannot be read any more is told of.
pub fn open_missed(
    path: &Path,
    current: &Origin,
    starts: &Starts,
    sender: &Sender,
) -> Result<Vec<Tail<File>>, Stop> {
    let mut tails = Vec::new();
    let mut last_born = None;
    let mut seen = Vec::new();
    for start in starts.at(path).filter(|start| start.file != current.identity) {
        last_born = last_born.max(start.born);
        seen.push(start.file);
        if start.has_ended {
            continue;
        }
        let found = siblings(path).into_iter().find(|sibling| sibling.identity == start.file);
        match found.map(|sibling| Tail::open(&sibling.path, path, starts)) {
            Some(Ok(tail)) => tails.push(tail),
            _ => tell_gone(start, sender)?,
        }
    }
    tails.extend(open_between(path, last_born, current, &seen, starts, sender)?);
    Ok(tails)
}

/// Opens the files that had the name of `path` after one that was born at `after` and before `current`: it was rotated
/// more than once while nobody looked. Clocks of file systems are coarse: files may have the same birth as one that was
/// `seen`.
pub fn open_between(
    path: &Path,
    after: Option<u64>,
    current: &Origin,
    seen: &[Identity],
    starts: &Starts,
    sender: &Sender,
) -> Result<Vec<Tail<File>>, Stop> {
    let (Some(after), Some(before)) = (after, current.born) else { return Ok(Vec::new()) };
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let mut between = siblings(path);
    between.retain(|sibling| {
        let its_name = sibling.path.file_name().unwrap_or_default().as_encoded_bytes();
        let is_between = sibling.born.is_some_and(|born| (after..=before).contains(&born));
        its_name.starts_with(name)
            && is_between
            && sibling.identity != current.identity
            && !seen.contains(&sibling.identity)
    });
    between.sort_by_key(|sibling| (sibling.born, sibling.modified));
    let mut tails = Vec::new();
    for Sibling { path: its_path, identity, born, .. } in between {
        if its_path.extension().is_some_and(|extension| COMPRESSED.iter().any(|known| extension == *known)) {
            let warning =
                format!("{} was compressed before it was read: send it by zcat", its_path.display());
            let (watched, start) = (path.into(), Position::default());
            tell(Origin { path: its_path, watched, identity, born, is_file: true, start }, warning, sender)?;
        } else if let Ok(tail) = Tail::open(&its_path, path, starts) {
            tails.push(tail);
        }
    }
    Ok(tails)
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
        Some(Sibling { path: entry.path(), identity, born, modified: metadata.modified().ok() })
    };
    std::fs::read_dir(directory).map(|entries| entries.filter_map(sibling).collect()).unwrap_or_default()
}
