//! What the programs gzip and zstd do to a file: the compressed one grows under its final name while the plain one is
//! there, gets its times, and then the plain one is removed.

use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::log::Log;

/// The pieces in which a slow one is written, and the longest pause between them.
const PIECES: usize = 4;
const SLOW: Duration = Duration::from_millis(250);

/// The form of a compressed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As gzip makes it.
    Gzip,
    /// As zstd makes it.
    Zstd,
}

impl Form {
    /// Its extension.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }

    /// The compressed bytes.
    ///
    /// # Errors
    /// None in memory.
    pub fn compress(self, bytes: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(bytes)?;
                Ok(encoder.finish()?)
            }
            Self::Zstd => Ok(zstd::encode_all(bytes, 3)?),
        }
    }
}

impl Log<'_> {
    /// Compresses an old file, while the log is written. Some are slow.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn compress(&mut self, index: usize, form: Form, log: &File) -> Result<()> {
        let plain = self.old[index].path.clone();
        let mut name = plain.clone().into_os_string();
        name.push(".");
        name.push(form.extension());
        let path = PathBuf::from(name);
        let bytes = form.compress(&fs::read(&plain)?)?;
        let (from, to) = (self.name(&plain), self.name(&path));
        let mut file = File::create_new(&path)?;
        let is_slow = self.rng.u8(..3) == 0;
        self.note(format!("{to} is made of {from}{}", if is_slow { ", slowly" } else { "" }));
        let size = if is_slow { bytes.len().div_ceil(PIECES) } else { bytes.len() };
        for piece in bytes.chunks(size.max(1)) {
            file.write_all(piece)?;
            if is_slow {
                self.append(log)?;
                self.pause(SLOW);
            }
        }
        let metadata = fs::metadata(&plain)?;
        file.set_times(
            FileTimes::new().set_accessed(metadata.accessed()?).set_modified(metadata.modified()?),
        )?;
        fs::remove_file(&plain)?;
        self.note(format!("{from} was removed"));
        self.account.compressions += 1;
        let old = self.old.get_mut(index).ok_or_else(|| anyhow!("an old file was forgotten"))?;
        (old.path, old.is_compressed) = (path, true);
        old.touch();
        Ok(())
    }
}
