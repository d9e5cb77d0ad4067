//! Cuts an input into runs of whole lines, in bounded memory.

use std::io::{self, Read};

use super::chunk::Text;
use super::origin::Position;

/// Bytes that are read at once.
const READ: usize = 256 * 1024;

/// The longest line that is held: the default limit of the service for one request.
const LONGEST_LINE: usize = 8 << 20;

/// Bytes that are kept of a line that is too long, so that the user can identify it.
const BEGINNING: usize = 1024;

/// A reader of lines.
pub struct LineReader<R> {
    input: R,
    /// The start of the held line.
    position: Position,
    /// NUL bytes at the start of the held line, which are skipped.
    nuls: u64,
    /// The beginning of a line whose end was not read yet, behind these.
    held: Vec<u8>,
    /// Bytes of the held line that were discarded because it is too long.
    discarded: u64,
    longest_line: usize,
    /// True if NUL bytes are data.
    is_binary: bool,
}

impl<R: Read> LineReader<R> {
    /// A reader of an input that is at `position`.
    pub fn new(input: R, position: Position) -> Self {
        let longest_line = LONGEST_LINE;
        Self { input, position, nuls: 0, held: Vec::new(), discarded: 0, longest_line, is_binary: false }
    }

    /// The same reader. It keeps NUL bytes if they are data.
    pub fn with_binary(self, is_binary: bool) -> Self {
        Self { is_binary, ..self }
    }

    /// The next lines; `None` if there are no more at the moment. A line without an end is held until its end is read,
    /// or until [`Self::rest`] returns it.
    pub fn next(&mut self) -> io::Result<Option<(Position, Text)>> {
        loop {
            if let Some(chunk) = self.take() {
                return Ok(Some(chunk));
            }
            if self.read()? == 0 {
                return Ok(None);
            }
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let old = self.held.len();
        self.held.resize(old + READ, 0);
        let read = loop {
            match self.input.read(&mut self.held[old..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.held.truncate(old + *read.as_ref().unwrap_or(&0));
        read
    }

    /// Takes the NUL bytes away with which the held line begins, however many they are, and returns them when the line
    /// goes on.
    fn take_nuls(&mut self) -> Option<(Position, Text)> {
        if self.discarded > 0 || self.is_binary {
            return None; // the middle of a line, or data
        }
        let nuls = self.held.iter().position(|&byte| byte != 0).unwrap_or(self.held.len());
        self.held.drain(..nuls);
        self.nuls += nuls as u64;
        if self.nuls == 0 || self.held.is_empty() { None } else { Some(self.end_nuls()) }
    }

    fn end_nuls(&mut self) -> (Position, Text) {
        let start = self.position;
        self.position.offset += self.nuls;
        (start, Text::Nuls(std::mem::take(&mut self.nuls)))
    }

    /// The complete lines among the held bytes.
    fn take(&mut self) -> Option<(Position, Text)> {
        if let Some(nuls) = self.take_nuls() {
            return Some(nuls);
        }
        if self.discarded > 0 {
            let Some(end) = self.held.iter().position(|&byte| byte == b'\n') else {
                self.discard();
                return None;
            };
            let after = self.held.split_off(end + 1);
            self.held.pop();
            let too_long = self.take_too_long(1);
            self.held = after;
            return Some(too_long);
        }
        let Some(end) = self.held.iter().rposition(|&byte| byte == b'\n') else {
            if self.held.len() > self.longest_line {
                self.discard();
            }
            return None;
        };
        let after = self.held.split_off(end + 1);
        let lines = std::mem::replace(&mut self.held, after);
        let start = self.position;
        self.position.offset += lines.len() as u64;
        self.position.lines += lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
        Some((start, Text::Lines(lines)))
    }

    /// The last line of the input, if it has no end; before it the NUL bytes, if there are any.
    pub fn rest(&mut self) -> Option<(Position, Text)> {
        if self.nuls > 0 {
            return Some(self.end_nuls());
        }
        if self.discarded > 0 {
            return Some(self.take_too_long(0));
        }
        if self.held.is_empty() {
            return None;
        }
        let line = std::mem::take(&mut self.held);
        let start = self.position;
        self.position.offset += line.len() as u64;
        self.position.lines += 1;
        Some((start, Text::Lines(line)))
    }

    /// The input.
    pub fn input(&self) -> &R {
        &self.input
    }

    /// Discards what is held: the input is at `position` now.
    pub fn restart(&mut self, position: Position) {
        self.position = position;
        self.held.clear();
        (self.nuls, self.discarded) = (0, 0);
    }

    /// The input, to be moved before [`Self::restart`].
    pub fn input_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// The start of the next line.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The offset up to which the input was read.
    pub fn read_to(&self) -> u64 {
        self.position.offset + self.nuls + self.held.len() as u64 + self.discarded
    }

    /// Discards all but the beginning of the held line.
    fn discard(&mut self) {
        self.discarded += (self.held.len() - BEGINNING) as u64;
        self.held.truncate(BEGINNING);
    }

    /// The held line, which is too long. Its line end, of `end` bytes, is not held.
    fn take_too_long(&mut self, end: u64) -> (Position, Text) {
        let bytes = self.discarded + self.held.len() as u64;
        let mut beginning = std::mem::take(&mut self.held);
        beginning.truncate(BEGINNING);
        let start = self.position;
        self.position = Position { offset: start.offset + bytes + end, lines: start.lines + 1 };
        self.discarded = 0;
        (start, Text::TooLong { beginning, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are read in steps of a given size.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let take = self.1.min(self.0.len()).min(buffer.len());
            buffer[..take].copy_from_slice(&self.0[..take]);
            self.0 = &self.0[take..];
            Ok(take)
        }
    }

    fn at(offset: u64, lines: u64) -> Position {
        Position { offset, lines }
    }

    #[test]
    fn lines_come_whole_and_in_order_however_they_are_read() {
        let text = b"one\ntwo\n\nfour\r\nfive";
        for size in 1..=text.len() {
            let mut reader = LineReader::new(Dribble(text, size), Position::default());
            let mut seen = Vec::new();
            while let Some((start, chunk)) = reader.next().unwrap() {
                let Text::Lines(lines) = chunk else { panic!("too long") };
                assert_eq!(start.offset, seen.len() as u64);
                assert_eq!(start.lines, seen.iter().filter(|&&byte| byte == b'\n').count() as u64);
                assert_eq!(lines.last(), Some(&b'\n'));
                seen.extend(lines);
            }
            assert_eq!(seen, b"one\ntwo\n\nfour\r\n");
            let Some((start, Text::Lines(line))) = reader.rest() else { panic!("no rest") };
            assert_eq!((start, line.as_slice()), (at(15, 4), b"five".as_slice()));
            assert!(reader.rest().is_none());
            assert_eq!(reader.position(), at(19, 5));
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_reported_and_not_held() {
        let long = vec![b'x'; 3 * READ + 7];
        let text = [b"before\n".as_slice(), &long, b"\nafter\n"].concat();
        let mut reader = LineReader::new(text.as_slice(), Position::default());
        reader.longest_line = READ;
        let Some((start, Text::Lines(lines))) = reader.next().unwrap() else { panic!() };
        assert_eq!((start, lines.as_slice()), (at(0, 0), b"before\n".as_slice()));
        let Some((start, Text::TooLong { beginning, bytes })) = reader.next().unwrap() else { panic!() };
        assert_eq!((start, bytes, beginning.len()), (at(7, 1), long.len() as u64, BEGINNING));
        assert_eq!(reader.position(), at(7 + long.len() as u64 + 1, 2));
        // Lines that were read together with its end are not lost.
        let Some((start, Text::Lines(lines))) = reader.next().unwrap() else { panic!() };
        assert_eq!((start, lines.as_slice()), (at(7 + long.len() as u64 + 1, 2), b"after\n".as_slice()));
    }

    #[test]
    fn the_last_line_may_be_too_long() {
        let long = vec![b'x'; 2 * READ];
        let mut reader = LineReader::new(long.as_slice(), Position::default());
        reader.longest_line = READ;
        assert!(reader.next().unwrap().is_none());
        assert!(
            matches!(reader.rest(), Some((_, Text::TooLong { bytes, .. })) if bytes == long.len() as u64)
        );
        assert!(reader.rest().is_none());
    }

    #[test]
    fn nuls_are_skipped_however_many_and_the_line_behind_them_is_kept() {
        let hole = vec![0; 40 * READ + 3];
        let text = [b"before\n".as_slice(), &hole, b"after\n", &hole].concat();
        for size in [READ - 1, 7 * READ] {
            let mut reader = LineReader::new(Dribble(&text, size), Position::default());
            let mut seen = Vec::new();
            while let Some(chunk) = reader.next().unwrap() {
                assert!(reader.held.capacity() < 4 * READ, "{} bytes are held", reader.held.capacity());
                seen.push(chunk);
            }
            seen.extend(reader.rest());
            assert!(reader.rest().is_none());
            let offsets = [0, 7, 7 + hole.len() as u64, 13 + hole.len() as u64];
            assert_eq!(seen.iter().map(|(start, _)| start.offset).collect::<Vec<_>>(), offsets);
            for (at, line) in [(0, b"before\n".as_slice()), (2, b"after\n")] {
                assert!(matches!(&seen[at].1, Text::Lines(lines) if lines == line));
            }
            for at in [1, 3] {
                assert!(matches!(seen[at].1, Text::Nuls(nuls) if nuls == hole.len() as u64));
            }
            assert_eq!(reader.position(), at(text.len() as u64, 2));
        }
    }
}
