//! The names that rotation gives to the files of a log.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The extensions of compressed files.
const COMPRESSED: [&str; 6] = ["gz", "zst", "bz2", "xz", "lz4", "zip"];

/// The names of the files of one log.
pub struct Family {
    /// The name under which it is read; for a link, also that of its target.
    names: Vec<OsString>,
    /// Names in which numbers differ from file to file.
    shapes: Vec<Vec<u8>>,
    /// The directories in which its files are.
    pub directories: Vec<PathBuf>,
}

impl Family {
    /// The family of the log at `path`. A link may lead to one file after the other, in another directory.
    pub fn of(path: &Path) -> Self {
        let mut family = Self { names: Vec::new(), shapes: Vec::new(), directories: Vec::new() };
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
        self.names.extend(path.file_name().map(OsStr::to_owned));
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
    pub fn has(&self, path: &Path) -> bool {
        let name = name_of(path);
        self.names.iter().any(|known| is_rotated(name, known.as_encoded_bytes()))
            || self.shapes.contains(&shape(name))
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
    let parts = |name: &'_ [u8]| -> Vec<Vec<u8>> {
        name.split(|byte| b".-_".contains(byte)).map(<[u8]>::to_vec).collect()
    };
    let known = parts(known);
    let mut missing = known.iter().peekable();
    let mut added = 0;
    for part in parts(name) {
        if missing.next_if(|known| **known == part).is_some() {
            continue;
        }
        if part != b"old" && !part.first().is_some_and(u8::is_ascii_digit) {
            return false;
        }
        added += 1;
    }
    missing.next().is_none() && added > 0
}

/// The name with a zero in place of each number.
fn shape(name: &[u8]) -> Vec<u8> {
    let mut shape = name.to_vec();
    shape.iter_mut().filter(|byte| byte.is_ascii_digit()).for_each(|byte| *byte = b'0');
    shape.dedup_by(|byte, before| *byte == b'0' && *before == b'0');
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(family.has(Path::new(name)), "{name}");
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
            assert!(!family.has(Path::new(name)), "{name}");
        }
        // Numbers of its own belong to the name.
        let worker = Family::of(Path::new("worker-1.log"));
        assert!(worker.has(Path::new("worker-1-20261128.log")));
        assert!(!worker.has(Path::new("worker-2.log")));
    }

    #[test]
    fn other_names_are_learnt_from_known_files_and_from_the_target_of_a_link() {
        let mut family = Family::of(Path::new("app.log"));
        assert!(!family.has(Path::new("archive_b2.txt")));
        family.learn(Path::new("archive_b1.txt"));
        assert!(family.has(Path::new("archive_b23.txt.gz")) && !family.has(Path::new("archive_c1.txt")));

        let here = tempfile::tempdir().unwrap();
        let (link, logs) = (here.path().join("current"), here.path().join("logs"));
        std::fs::create_dir(&logs).unwrap();
        std::fs::write(logs.join("web.20261128.log"), "").unwrap();
        std::os::unix::fs::symlink("logs/web.20261128.log", &link).unwrap();
        let family = Family::of(&link);
        assert!(family.has(Path::new("web.20261129.log")) && !family.has(Path::new("db.20261129.log")));
        assert_eq!(family.directories, [here.path().to_owned(), logs.canonicalize().unwrap()]);
    }
}
