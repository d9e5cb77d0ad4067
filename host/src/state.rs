//! The state directory: which files in it are the stores, who may see them, and who uses it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, Mode, flock};

/// The state directory where none is named. `scripts/up` and `scripts/backup` use it, too.
pub const DEFAULT: &str = ".sekali";

/// The names of a store's file: ours, and the one that Spin gives it, which sekali-host 0.2 did, too.
pub type Names = [&'static str; 2];

/// The database with the label `default`.
pub const DATABASE: Names = ["events.db", "sqlite_db.db"];

/// The key-value store with the label `default`.
pub const KEY_VALUE: Names = ["key-value.db", "sqlite_key_value.db"];

/// The state directory: the one that is given, or [`DEFAULT`].
///
/// # Errors
/// When none is given, and a store is where sekali-host 0.2 kept it then.
pub fn directory(given: Option<PathBuf>) -> Result<PathBuf> {
    let before = Path::new(".spin");
    ensure!(
        given.is_some() || Path::new(DEFAULT).exists() || !before.join(DATABASE[1]).exists(),
        "the state directory is {DEFAULT} where none is named, which does not exist; .spin has a store of before: go on \
        with it by --state-dir .spin, or move it to {DEFAULT}"
    );
    Ok(given.unwrap_or_else(|| DEFAULT.into()))
}

/// The file of a store that is not configured: the one that is there, else one of our name, or of Spin's where the database
/// has that.
///
/// # Errors
/// When both are there: one of them would be taken for the store, and it may be the wrong one.
pub fn file(directory: &Path, names: Names) -> Result<PathBuf> {
    let is_spins = |[own, of_spin]: Names| !directory.join(own).exists() && directory.join(of_spin).exists();
    let is_spins = is_spins(names) || !directory.join(names[0]).exists() && is_spins(DATABASE);
    let [own, of_spin] = names.map(|name| directory.join(name));
    let path = if is_spins { of_spin } else { own };
    check(&path)?;
    Ok(path)
}

/// Refuses the file of a store if beside it is one of its other name.
///
/// # Errors
/// Names both files.
pub fn check(path: &Path) -> Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    for names in [DATABASE, KEY_VALUE] {
        let [own, of_spin] = names;
        let other = if name == own { of_spin } else { own };
        ensure!(
            !names.contains(&name) || !path.with_file_name(other).exists(),
            "the directory {} has a file {other}, and {name} is to be used: move the one away that is not the store, or \
            name the other in the runtime config (--runtime-config-file)",
            directory_of(path).display()
        );
    }
    Ok(())
}

/// Refuses the file of a store of which an unfinished restore has left something else: an empty one would begin beside it.
///
/// # Errors
/// Names both files.
pub fn check_restored(path: &Path) -> Result<()> {
    let unfinished = restoring(path);
    ensure!(
        path.exists() || !unfinished.exists(),
        "{} is missing, and {} is left of a restore that did not end: restore it again, or remove that file",
        path.display(),
        unfinished.display()
    );
    Ok(())
}

/// The file in which a restore prepares what takes the place of a database.
pub fn restoring(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".restoring");
    name.into()
}

/// Lets nobody but the owner read and write what this program makes from now on, whatever the umask was.
pub fn keep_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// The directory of a file.
pub fn directory_of(path: &Path) -> &Path {
    let named = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    named.unwrap_or(Path::new("."))
}

/// Makes the directory of a store, for its owner alone, unless it is there.
///
/// # Errors
/// When it cannot be made.
pub fn create(directory: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.with_context(|| format!("cannot create the directory {}", directory.display()))
}

/// The remedy for a store that everybody may read, as one that sekali-host 0.2 made.
pub fn exposure(path: &Path) -> Option<String> {
    let directory = directory_of(path);
    let mode = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    let is_exposed = mode(directory) & 0o001 != 0 && mode(path) & 0o004 != 0;
    is_exposed.then(|| {
        let (path, directory) = (path.display(), directory.display());
        format!("every user of this machine may read {path}: chmod 700 {directory}")
    })
}

/// The use of a directory, which ends when this is dropped or the process ends.
pub struct InUse(#[expect(dead_code, reason = "it is open as long as the directory is in use")] File);

/// Begins to use a directory, alone. `None` where the file system cannot lock one.
///
/// # Errors
/// Names the program that uses it, and the remedy.
pub fn claim(directory: &Path, remedy: &str) -> Result<Option<InUse>> {
    let file = File::open(directory)
        .with_context(|| format!("cannot open the directory {}", directory.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(InUse(file))),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            drop(file);
            let user = users(directory).unwrap_or_else(|| "another program".into());
            bail!("the directory {} is in use by {user}: {remedy}", directory.display())
        }
        Err(_) => Ok(None),
    }
}

/// The first other process that has a file or directory open, as far as this one may see.
pub fn users(path: &Path) -> Option<String> {
    let same = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
    let wanted = same(&fs::metadata(path).ok()?);
    let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    for process in processes {
        let Some(id) = process.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end while we look.
        let Ok(descriptors) = fs::read_dir(process.join("fd")) else { continue };
        let is_open = |path: PathBuf| fs::metadata(path).is_ok_and(|metadata| same(&metadata) == wanted);
        if id != std::process::id() && descriptors.flatten().any(|entry| is_open(entry.path())) {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            return Some(format!("process {id} ({})", name.trim()));
        }
    }
    None
}

/// Waits until a file or directory is on disk with all that was done to it.
///
/// # Errors
/// The errors of the file system.
pub fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_in_the_file_that_is_there_and_never_in_one_of_two() {
        let directory = tempfile::tempdir().unwrap();
        let [own, of_spin] = DATABASE.map(|name| directory.path().join(name));
        assert_eq!(file(directory.path(), DATABASE).unwrap(), own);
        fs::write(&of_spin, "").unwrap();
        assert_eq!(file(directory.path(), DATABASE).unwrap(), of_spin);
        let key_value = file(directory.path(), KEY_VALUE).unwrap();
        assert_eq!(key_value, directory.path().join("sqlite_key_value.db"), "Spin will look for it");
        let error = check(&own).unwrap_err().to_string();
        assert!(error.contains("sqlite_db.db") && error.contains("events.db"), "configured: {error}");
        fs::write(&own, "").unwrap();
        let error = file(directory.path(), DATABASE).unwrap_err().to_string();
        assert!(error.contains("sqlite_db.db") && error.contains("events.db"), "{error}");
        assert!(check(&of_spin).is_err());
        assert!(check(&directory.path().join("another.db")).is_ok());
    }

    #[test]
    fn an_unfinished_restore_is_not_taken_for_an_empty_store() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join(DATABASE[0]);
        fs::write(restoring(&own), "").unwrap();
        let error = check_restored(&own).unwrap_err().to_string();
        assert!(error.contains("events.db.restoring"), "{error}");
        assert!(file(directory.path(), DATABASE).is_ok(), "it can be restored again");
        fs::write(&own, "").unwrap();
        assert!(check_restored(&own).is_ok(), "the old store is still in its place");
    }

    #[test]
    fn a_directory_is_used_by_one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = claim(directory.path(), "").unwrap();
        assert!(first.is_some());
        let error = claim(directory.path(), "end it").err().unwrap().to_string();
        assert!(error.contains("is in use by"), "{error}");
        drop(first);
        claim(directory.path(), "").unwrap();
    }

    #[test]
    fn a_store_that_everybody_may_read_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(DATABASE[0]);
        fs::write(&path, "").unwrap();
        for (of_directory, of_file, is_exposed) in
            [(0o755, 0o644, true), (0o700, 0o644, false), (0o755, 0o600, false), (0o750, 0o640, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(of_file)).unwrap();
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(of_directory)).unwrap();
            assert_eq!(exposure(&path).is_some(), is_exposed, "{of_directory:o} {of_file:o}");
        }
    }
}
