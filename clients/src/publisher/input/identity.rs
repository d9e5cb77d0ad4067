//! The identity of files, and their times.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Sixty-four bits that identify an input: a file has the same ones in each run, and after it was renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct Identity(pub u64);

impl Identity {
    /// The identity of a stream with this name.
    pub fn of_name(name: &str) -> Self {
        Self::hash(name.as_bytes())
    }

    /// The identity of a file, and its creation time if it is known. It is made of the inode and the creation time, so
    /// that neither a new name nor a reused inode matters. On file systems without creation times the device takes
    /// their place.
    pub fn of_file(metadata: &Metadata) -> (Self, Option<Duration>) {
        let born = born(metadata);
        let birth = born.and_then(|born| u64::try_from(born.as_nanos()).ok()).unwrap_or(metadata.dev());
        (Self::hash(&[metadata.ino().to_be_bytes(), birth.to_be_bytes()].concat()), born)
    }

    /// The identity of a file's content after it was truncated so many times: the same line in the same place is
    /// another event then. The first content has the identity of the file.
    pub fn of_generation(self, generation: u32) -> Self {
        match generation {
            0 => self,
            _ => Self::hash(&[&self.0.to_be_bytes()[..], &generation.to_be_bytes()].concat()),
        }
    }

    /// A hash of bytes.
    pub fn hash(bytes: &[u8]) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&Sha256::digest(bytes)[..8]);
        Self(u64::from_be_bytes(first))
    }
}

/// The creation time of a file since 1970, if it is known.
pub fn born(metadata: &Metadata) -> Option<Duration> {
    metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok())
}

/// The time of a file's last write since 1970; 0 if it is not known.
pub fn last_write(metadata: &Metadata) -> Duration {
    metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default()
}

/// The time since 1970.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
