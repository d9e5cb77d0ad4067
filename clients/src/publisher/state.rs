//! The state directory: the checkpoints of one publisher.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The use of a directory, which ends when this is dropped or the process ends.
pub struct InUse(#[expect(dead_code, reason = "it is open as long as the directory is in use")] File);

/// Makes the directory, for its owner alone, unless it is there, and begins to use it. Two publishers would overwrite
/// each other's checkpoints.
///
/// # Errors
/// The directory cannot be made or opened, or another publisher uses it.
pub fn claim(directory: &Path) -> Result<InUse> {
    let name = directory.display();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.with_context(|| format!("the directory {name} cannot be made"))?;
    let file = File::open(directory).with_context(|| format!("the directory {name} cannot be opened"))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            bail!(
                "the directory {name} is in use by another publisher: end it, or name another by --state-dir"
            )
        }
        // A file system that cannot lock directories has none that are in use.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(InUse(file)),
    }
}
