//! The names that rotation gives to the files of a log.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// The extensions of compressed files.
const COMPRESSED: [&str; 6] = ["gz", "zst", "bz2", "xz", "lz4", "zip"];

/// The names of the files of one log.
pub struct Family {
    /// The name under which it is read; for a link, also that of its target.
    names: Vec<OsString>,
    /// What is compared of them.
    keys: Vec<u64>,
    /// Names in which numbers differ from file to file.
    shapes: Vec<u64>,
    /// The directories in which its files are.
    pub directories: Vec<PathBuf>,
}

impl Family {
    /// The family of the log at `path`. A link may lead to one file after the other, in another directory.
    pub fn of(path: &Path) -> Self {
        let mut family =
            Self { names: Vec::new(), keys: Vec::new(), shapes: Vec::new(), directories: Vec::new() };
        family.add(path);
        if path.is_symlink()
            && let Ok(target) = path.canonicalize()
        {
            family.add(&target);
            family.learn(&target);
        }
        family
    }

    fn add(&mut self, path: &Path) {
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let is_same = |known: &PathBuf| known.canonicalize().ok() == directory.canonicalize().ok();
        if !self.directories.iter().any(is_same) {
            self.directories.push(directory.into());
        }
        if let Some(name) = path.file_name() {
            self.keys.push(key(name.as_encoded_bytes()));
            self.names.push(name.into());
        }
    }

    /// Takes the name of a file that is known to be of this log: others may have other numbers in it.
    pub fn learn(&mut self, path: &Path) {
        let name = name_of(path);
        if name.iter().any(u8::is_ascii_digit) {
            self.shapes.push(shape(name));
        }
    }

    /// True if rotation may have given this name: `app.log.1`, `app.log.old`, `app-20261121.log.gz` and the like, or a
    /// name like those of known files. Other files with the same beginning, such as a checkpoint, are not part of the
    /// log.
    pub fn has(&self, path: &Path, name: &Name) -> bool {
        let is_rotated = || {
            let text = name_of(path);
            self.names.iter().any(|known| is_rotated(text, known.as_encoded_bytes()))
        };
        self.shapes.contains(&name.shape) || self.keys.contains(&name.key) && is_rotated()
    }
}

/// What is compared of a name: most names differ in it, and a directory may have thousands.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    key: u64,
    shape: u64,
}

impl Name {
    /// That of a file.
    pub fn of(path: &Path) -> Self {
        let name = name_of(path);
        Self { key: key(name), shape: shape(name) }
    }
}

/// True if a file's name says that it is compressed.
pub fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| COMPRESSED.iter().any(|known| extension == *known))
}

/// The file's name, without the extension that compression adds.
fn name_of(path: &Path) -> &[u8] {
    let name = if is_compressed(path) { path.file_stem() } else { path.file_name() };
    name.unwrap_or_default().as_encoded_bytes()
}

/// True if `name` has all parts of `known`, in their order, and besides them only numbers, dates and `old`.
fn is_rotated(name: &[u8], known: &[u8]) -> bool {
    let mut missing = parts(known).peekable();
    let mut added = 0;
    for part in parts(name) {
        if missing.next_if(|known| *known == part).is_some() {
            continue;
        }
        if !may_be_added(part) {
            return false;
        }
        added += 1;
    }
    missing.next().is_none() && added > 0
}

fn parts(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|byte| b".-_".contains(byte))
}

/// True if rotation adds such a part to a name.
fn may_be_added(part: &[u8]) -> bool {
    part == b"old" || part.first().is_some_and(u8::is_ascii_digit)
}

/// A hash of the parts of a name that rotation does not add: all names of a log have the same.
fn key(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts(name).filter(|part| !may_be_added(part)).for_each(|part| part.hash(&mut hasher));
    hasher.finish()
}

/// A hash of the name with a zero in place of each number.
fn shape(name: &[u8]) -> u64 {
    let mut shape = name.to_vec();
    shape.iter_mut().filter(|byte| byte.is_ascii_digit()).for_each(|byte| *byte = b'0');
    shape.dedup_by(|byte, before| *byte == b'0' && *before == b'0');
    let mut hasher = DefaultHasher::new();
    shape.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(family: &Family, path: &str) -> bool {
        family.has(Path::new(path), &Name::of(Path::new(path)))
    }

    #[test]
    fn names_of_rotated_files_are_recognised() {
        let family = Family::of(Path::new("log/app.log"));
        for name in [
            "app.log.1",
            "log/app.log.1.gz",
            "app.log-20261121",
            "app.log.old",
            "app-20261128.log",
            "app.20261128.log.zst",
            "app-2026-11-28T01-02-03.456.log",
            "app_1.log",
        ] {
            assert!(has(&family, name), "{name}");
        }
        for name in [
            "app.log",
            "app.log.gz",
            "app.log.pos",
            "app.logs",
            "app.log2",
            "app.log.",
            "other.log.1",
            "app-debug.log",
            "app-prod-1.log",
            "1.log",
        ] {
            assert!(!has(&family, name), "{name}");
        }
        // Numbers of its own belong to the name.
        let worker = Family::of(Path::new("worker-1.log"));
        assert!(has(&worker, "worker-1-20261128.log"));
        assert!(!has(&worker, "worker-2.log"));
    }

    #[test]
    fn other_names_are_learnt_from_known_files_and_from_the_target_of_a_link() {
        let mut family = Family::of(Path::new("app.log"));
        assert!(!has(&family, "archive_b2.txt"));
        family.learn(Path::new("archive_b1.txt"));
        assert!(has(&family, "archive_b23.txt.gz") && !has(&family, "archive_c1.txt"));

        let here = tempfile::tempdir().unwrap();
        let (link, logs) = (here.path().join("current"), here.path().join("logs"));
        std::fs::create_dir(&logs).unwrap();
        std::fs::write(logs.join("web.20261128.log"), "").unwrap();
        std::os::unix::fs::symlink("logs/web.20261128.log", &link).unwrap();
        let family = Family::of(&link);
        assert!(has(&family, "web.20261129.log") && !has(&family, "db.20261129.log"));
        assert_eq!(family.directories, [here.path().to_owned(), logs.canonicalize().unwrap()]);
    }
}
