//! The bytes of a file as lines are made of them: as they are, or decoded.

use std::cell::Cell;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use encoding_rs::Encoding;

use super::decode::{Bytes, Form, HEAD, Malformed};
use super::evidence::{Evidence, Line, MARK};
use super::identity::Identity;

/// The time that a compressed file which is not whole may rest while it is written.
const WRITING: Duration = Duration::from_secs(10);

/// The longest header of a file.
const HEADER: u64 = 1 << 20;

/// The way to read files.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The encoding of their text, unless a byte order mark says another.
    pub encoding: Option<&'static Encoding>,
    /// Counts bytes that the encoding does not allow.
    pub malformed: Malformed,
    /// The time without further lines that is to be told of a file, because its last lines count as whole then.
    pub rest: Option<Duration>,
    /// True if NUL bytes are data, and not what a truncation left.
    pub is_binary: bool,
    /// True if files are read as they grow.
    pub is_followed: bool,
    /// True if files that are there at first are read from their ends.
    pub is_from_end: bool,
    /// True if the beginning of a file says how the rest is to be read.
    pub has_header: bool,
}

/// What a content has of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// All that is known of the other.
    Same,
    /// Less, but nothing else.
    Less,
    /// Something else.
    Other,
}

/// An open file. Offsets are those of the decoded bytes.
pub struct Content {
    file: Arc<File>,
    reading: Reading,
    /// `None` while the file is empty.
    form: Option<Form>,
    offset: u64,
    /// The decoder of a file that is not plain, at `offset`; `None` before it is needed, and after a failure.
    decoder: Option<Bytes>,
    /// The length of the file when it could not be decoded: it may become whole.
    failed_at: Option<u64>,
    /// The greatest length that the file was seen to have.
    length: Cell<u64>,
}

impl Content {
    /// Opens the file at `path`, at its beginning.
    pub fn open(path: &Path, reading: &Reading) -> io::Result<Self> {
        Self::of(Arc::new(File::open(path)?), reading)
    }

    /// A file that is open, at its beginning.
    pub fn of(file: Arc<File>, reading: &Reading) -> io::Result<Self> {
        let mut content = Self {
            file,
            reading: reading.clone(),
            form: None,
            offset: 0,
            decoder: None,
            failed_at: None,
            length: Cell::new(0),
        };
        content.recognise()?;
        Ok(content)
    }

    /// Looks at the beginning of the file, to know its form.
    fn recognise(&mut self) -> io::Result<()> {
        let mut head = Vec::new();
        Positioned { file: Arc::clone(&self.file), offset: 0 }.take(HEAD as u64).read_to_end(&mut head)?;
        self.form = Form::of(&head, self.reading.encoding)?;
        Ok(())
    }

    /// True if the bytes are those of the file.
    pub fn is_plain(&self) -> bool {
        self.form.is_none_or(Form::is_plain)
    }

    /// True for a compressed file whose end could be decoded when it was read last.
    pub fn is_whole(&self) -> bool {
        self.is_compressed() && self.failed_at.is_none()
    }

    /// True if the bytes of the file are compressed.
    pub fn is_compressed(&self) -> bool {
        self.form.is_some_and(Form::is_compressed)
    }

    /// The open file.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// The metadata of the file.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Goes to this offset.
    pub fn go_to(&mut self, offset: u64) -> io::Result<()> {
        if offset == 0 {
            self.recognise()?; // it may have another content now
        }
        (self.offset, self.decoder, self.failed_at) = (offset, None, None);
        Ok(())
    }

    /// The decoded bytes from an offset on.
    fn from(&self, offset: u64, malformed: &Malformed) -> io::Result<Bytes> {
        let raw = |offset| Positioned { file: Arc::clone(&self.file), offset };
        match self.form {
            Some(form) if !form.is_plain() => {
                let before = malformed.count();
                let mut decoder = form.decode(raw(0), malformed)?;
                skip(&mut decoder, offset)?;
                malformed.reset(before);
                Ok(decoder)
            }
            _ => Ok(Box::new(raw(offset))),
        }
    }

    /// The bytes between two offsets.
    pub fn range(&self, start: u64, end: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        self.from(start, &Malformed::default())?.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The beginning of the content, up to an offset, if the rest cannot be read without it.
    pub fn head(&self, end: u64) -> io::Result<Vec<u8>> {
        if self.reading.has_header { self.range(0, end.min(HEADER)) } else { Ok(Vec::new()) }
    }

    /// The first bytes, as many as a mark holds, or as there are; true if a compressed file is not whole, and may have more
    /// of them later.
    pub fn head_mark(&self) -> io::Result<(Vec<u8>, bool)> {
        let mut bytes = Vec::new();
        match self.from(0, &Malformed::default())?.take(MARK).read_to_end(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok((bytes, true)),
            read => read.map(|_| (bytes, false)),
        }
    }

    /// How the content compares with what the evidence says.
    pub fn likeness(&self, evidence: &Evidence) -> io::Result<Likeness> {
        match self.compare(evidence) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Likeness::Less),
            compared => compared.map(|is_same| if is_same { Likeness::Same } else { Likeness::Other }),
        }
    }

    /// True if the content begins with what the evidence says.
    pub fn has(&self, evidence: &Evidence) -> io::Result<bool> {
        self.likeness(evidence).map(|likeness| likeness == Likeness::Same)
    }

    /// True if the content begins with what the evidence knows.
    fn compare(&self, evidence: &Evidence) -> io::Result<bool> {
        let mut lines: Vec<_> = evidence.lines.iter().collect();
        lines.sort_by_key(|line| line.offset);
        let mut at = if self.is_plain() { u64::MAX } else { 0 };
        let mut bytes = self.from(0, &Malformed::default())?;
        for line in lines {
            // Places may overlap, and a plain file is read where they are.
            if line.offset < at {
                bytes = self.from(line.offset, &Malformed::default())?;
            } else {
                skip(&mut bytes, line.offset - at)?;
            }
            let mut found = vec![0; line.bytes];
            bytes.read_exact(&mut found)?;
            if Identity::hash(&found) != line.hash {
                return Ok(false);
            }
            at = if self.is_plain() { u64::MAX } else { line.offset + line.bytes as u64 };
        }
        // Files in /proc have the length 0, whatever they hold, so the last byte is read.
        match evidence.length.checked_sub(1) {
            None => return Ok(true),
            Some(_) if at == evidence.length => return Ok(true),
            Some(last) if last < at => bytes = self.from(last, &Malformed::default())?,
            Some(last) => skip(&mut bytes, last - at)?,
        }
        bytes.read_exact(&mut [0])?;
        Ok(true)
    }

    /// The last bytes of the content, up to this many, and its length.
    pub fn ending(&self, bytes: u64) -> io::Result<Evidence> {
        let length = match self.is_plain() {
            true => self.file.metadata()?.len(),
            false => io::copy(&mut self.from(0, &Malformed::default())?, &mut io::sink())?,
        };
        let start = length.saturating_sub(bytes);
        Ok(Evidence { lines: vec![Line::new(start, &self.range(start, length)?)], length })
    }

    /// True if the file does not hold any more what was read of it. `read_to` is the offset up to which it was read, and
    /// `evidence` what was there.
    pub fn is_overwritten(&self, read_to: u64, evidence: &Evidence) -> io::Result<bool> {
        let length = self.file.metadata()?.len();
        if self.is_plain() {
            return Ok(length > 0 && length < read_to || !self.has(evidence)?);
        }
        // Decoding all of it again for each look would take too long.
        let longest = self.length.replace(length.max(self.length.get()));
        let is_shorter = length < longest;
        if is_shorter {
            self.length.set(0);
        }
        Ok(is_shorter)
    }

    /// True if what could not be decoded may become whole.
    fn is_being_written(&self, error: &io::Error) -> bool {
        let is_fresh = |time: SystemTime| time.elapsed().is_ok_and(|age| age < WRITING);
        self.reading.is_followed
            && error.kind() == io::ErrorKind::UnexpectedEof
            && self.file.metadata().and_then(|metadata| metadata.modified()).is_ok_and(is_fresh)
    }

    fn read_decoded(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.metadata()?.len();
        if self.failed_at == Some(length) {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "it is not whole");
            return if self.is_being_written(&error) { Ok(0) } else { Err(error) };
        }
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.from(self.offset, &self.reading.malformed)?,
        };
        let read = match decoder.read(buffer) {
            Err(error) => {
                self.failed_at = Some(length);
                return if self.is_being_written(&error) { Ok(0) } else { Err(error) };
            }
            read => read?,
        };
        self.decoder = Some(decoder);
        Ok(read)
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.form.is_none() {
            self.recognise()?;
        }
        let read = match self.form {
            None => 0,
            Some(form) if form.is_plain() => self.file.read_at(buffer, self.offset)?,
            Some(_) => self.read_decoded(buffer)?,
        };
        self.offset += read as u64;
        Ok(read)
    }
}

/// A file that is read from an offset on, without moving the place of others who read it.
struct Positioned {
    file: Arc<File>,
    offset: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

fn skip(input: &mut impl Read, bytes: u64) -> io::Result<()> {
    match io::copy(&mut input.take(bytes), &mut io::sink())? {
        skipped if skipped == bytes => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
