//! Turns compressed files, and text in other encodings than UTF-8, into the bytes that they stand for.

mod text;
mod zstd;

use std::io::{self, BufReader, Cursor, Read};

use bzip2::read::MultiBzDecoder;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use flate2::read::MultiGzDecoder;

use text::Text;
use zstd::Zstd;

pub use text::Malformed;

/// Bytes at the beginning of a file by which its form is known.
pub const HEAD: usize = 10;

/// Bytes that are read at once from what is decoded.
const READ: usize = 64 * 1024;

/// Bytes to be decoded, or decoded ones.
pub type Bytes = Box<dyn Read>;

/// The form in which a file is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    compression: Option<Compression>,
    /// The encoding of its text, if it is not UTF-8. That of a compressed file may show only when it is decompressed.
    encoding: Option<&'static Encoding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
    Bzip2,
}

impl Form {
    /// The form of a file that begins with `head`; `None` if that is too little to know. `encoding` is that of the text,
    /// unless a byte order mark says another.
    ///
    /// # Errors
    /// The file is compressed in a form that is not read.
    pub fn of(head: &[u8], encoding: Option<&'static Encoding>) -> io::Result<Option<Self>> {
        if matches!(head, [] | [0xff | 0xfe | 0x1f]) {
            return Ok(None);
        }
        let compression = match head {
            [0x1f, 0x8b, ..] => Some(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Compression::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => {
                Some(Compression::Bzip2)
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => return Err(unsupported("xz", "xz -dc")),
            [0x04, 0x22, 0x4d, 0x18, ..] => return Err(unsupported("lz4", "lz4 -dc")),
            [b'P', b'K', 3, 4, ..] => return Err(unsupported("zip", "unzip -p")),
            _ => None,
        };
        let encoding = match compression {
            Some(_) => encoding,
            None => encoding_of(head, encoding),
        };
        Ok(Some(Self { compression, encoding: encoding.filter(|encoding| *encoding != UTF_8) }))
    }

    /// True if the bytes are what they stand for.
    pub fn is_plain(self) -> bool {
        self == Self { compression: None, encoding: None }
    }

    /// True if the bytes are compressed, so that nobody appends to them.
    pub fn is_compressed(self) -> bool {
        self.compression.is_some()
    }

    /// The decoded input, from its beginning.
    pub fn decode(self, input: impl Read + 'static, malformed: &Malformed) -> io::Result<Bytes> {
        let input = BufReader::with_capacity(READ, input);
        let mut decompressed: Bytes = match self.compression {
            None => Box::new(input),
            Some(Compression::Gzip) => Box::new(MultiGzDecoder::new(input)),
            Some(Compression::Zstd) => Box::new(Zstd::new(input)),
            Some(Compression::Bzip2) => Box::new(MultiBzDecoder::new(input)),
        };
        if self.compression.is_none() {
            return Ok(text(decompressed, self.encoding, malformed));
        }
        let mut head = Vec::new();
        decompressed.by_ref().take(2).read_to_end(&mut head)?;
        let encoding = encoding_of(&head, self.encoding).filter(|encoding| *encoding != UTF_8);
        Ok(text(Box::new(Cursor::new(head).chain(decompressed)), encoding, malformed))
    }
}

/// The encoding that a byte order mark says, else the given one.
fn encoding_of(head: &[u8], encoding: Option<&'static Encoding>) -> Option<&'static Encoding> {
    match head {
        [0xff, 0xfe, ..] => Some(UTF_16LE),
        [0xfe, 0xff, ..] => Some(UTF_16BE),
        _ => encoding,
    }
}

fn text(input: Bytes, encoding: Option<&'static Encoding>, malformed: &Malformed) -> Bytes {
    match encoding {
        Some(encoding) => Box::new(Text::new(input, encoding, malformed)),
        None => input,
    }
}

fn unsupported(form: &str, program: &str) -> io::Error {
    let text = format!("it is compressed by {form}, which is not read: pipe it through {program}");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

#[cfg(test)]
#[path = "../../../../tests/programs/compress.rs"]
#[allow(clippy::unwrap_used)] // as in all tests
mod compress;

#[cfg(test)]
mod tests {
    use super::compress::{bzip2, gzip, zstd};
    use super::*;

    fn decoded(bytes: &[u8], encoding: Option<&'static Encoding>) -> (io::Result<Vec<u8>>, u64) {
        let malformed = Malformed::default();
        let form = Form::of(&bytes[..bytes.len().min(HEAD)], encoding).unwrap().unwrap();
        let mut decoded = Vec::new();
        let read = form
            .decode(Cursor::new(bytes.to_vec()), &malformed)
            .and_then(|mut input| input.read_to_end(&mut decoded));
        (read.map(|_| decoded), malformed.count())
    }

    fn lines() -> Vec<u8> {
        (0..100_000).flat_map(|number| format!("line {number}\n").into_bytes()).collect()
    }

    #[test]
    fn compressed_bytes_are_recognised_and_decompressed_also_in_several_parts() {
        let text = lines();
        let (one, other) = text.split_at(300_000);
        for compress in [gzip, zstd, bzip2] {
            let parts = [compress(one), compress(other)].concat();
            assert!(decoded(&parts, None).0.unwrap() == text);
            // One that is cut off is an error, by which it can be told from one that is broken.
            for length in [parts.len() - 20, parts.len() / 3] {
                let error = decoded(&parts[..length], None).0.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
            }
        }
        let skippable = [&[0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(&text)].concat();
        assert!(decoded(&skippable, None).0.unwrap() == text);
    }

    #[test]
    fn text_is_decoded_by_its_mark_or_by_name_and_what_is_malformed_is_counted() {
        let utf16 = |text: &str, to: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to).collect::<Vec<_>>();
        let text = "a é 漢 😀\n".repeat(10_000);
        let with_mark = format!("\u{feff}{text}");
        for bytes in [utf16(&with_mark, u16::to_le_bytes), utf16(&with_mark, u16::to_be_bytes)] {
            assert!(decoded(&bytes, None).0.unwrap() == text.as_bytes());
            assert!(decoded(&gzip(&bytes), None).0.unwrap() == text.as_bytes());
        }
        let without = utf16(&text, u16::to_le_bytes);
        assert!(decoded(&without, Some(UTF_16LE)).0.unwrap() == text.as_bytes());
        assert_eq!(decoded(b"caf\xe9\n", Some(encoding_rs::WINDOWS_1252)).0.unwrap(), "café\n".as_bytes());
        let broken = [0xff, 0xfe, b'a', 0, 0x00, 0xd8, b'b', 0];
        let (read, malformed) = decoded(&broken, None);
        assert_eq!((read.unwrap(), malformed), ("a\u{fffd}b".as_bytes().to_vec(), 2));
    }

    #[test]
    fn other_forms_are_named_and_text_is_plain() {
        for (head, name) in
            [(b"\xfd7zXZ\0".as_slice(), "xz"), (b"PK\x03\x04", "zip"), (b"\x04\x22\x4d\x18", "lz4")]
        {
            assert!(Form::of(head, None).unwrap_err().to_string().contains(name));
        }
        for head in [b"BZh".as_slice(), b"BZh9 is text", b"(", b"\xef\xbb\xbfx", b"x", b"\0\0"] {
            assert!(Form::of(head, None).unwrap().unwrap().is_plain(), "{head:?}");
        }
        assert_eq!(Form::of(b"", None).unwrap(), None);
    }
}
