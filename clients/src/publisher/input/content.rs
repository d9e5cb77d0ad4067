//! The bytes of a file as lines are made of them: as they are.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::origin::Identity;
use super::start::{Evidence, Line};

/// An open file.
pub struct Content {
    file: File,
}

impl Content {
    /// Opens the file at `path`, at its beginning.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)? })
    }

    /// The metadata of the file.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Goes to this offset.
    pub fn go_to(&mut self, offset: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset)).map(drop)
    }

    /// The bytes between two offsets.
    pub fn range(&self, start: u64, end: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    /// True if the content begins with what the evidence says.
    pub fn has(&self, evidence: &Evidence) -> io::Result<bool> {
        for line in &evidence.lines {
            match self.range(line.offset, line.offset + line.bytes as u64) {
                Ok(bytes) if Identity::hash(&bytes) == line.hash => {}
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
                _ => return Ok(false),
            }
        }
        // Files in /proc have the length 0, whatever they hold, so the last byte is read.
        match self.range(evidence.length.saturating_sub(1), evidence.length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|_| true),
        }
    }

    /// True if the content is what the evidence says, and nothing more.
    pub fn is_all(&self, evidence: &Evidence) -> io::Result<bool> {
        Ok(self.has(evidence)? && self.range(evidence.length, evidence.length + 1).is_err())
    }

    /// The last bytes of the content, up to this many, and its length.
    pub fn ending(&self, bytes: u64) -> io::Result<Evidence> {
        let length = self.file.metadata()?.len();
        let start = length.saturating_sub(bytes);
        Ok(Evidence { lines: vec![Line::new(start, &self.range(start, length)?)], length })
    }

    /// True if the file is shorter than what was read of it.
    pub fn is_shorter_than(&self, length: u64) -> io::Result<bool> {
        let now = self.file.metadata()?.len();
        Ok(now > 0 && now < length)
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}
