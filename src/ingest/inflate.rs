//! `Content-Encoding`: gzip (RFC 1952), inflated piece by piece within a limit of what it becomes.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use http::{HeaderMap, header};

use super::format::Unsupported;

/// The encoding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEncoding {
    /// None.
    Identity,
    /// gzip.
    Gzip,
}

impl ContentEncoding {
    /// The encoding that the headers of a request name.
    ///
    /// # Errors
    /// [`Unsupported`] names an encoding that is not supported.
    pub fn of(headers: &HeaderMap) -> Result<Self, Unsupported> {
        let lines = headers.get_all(header::CONTENT_ENCODING).iter().map(|line| line.to_str().unwrap_or("?"));
        let encodings: Vec<_> = lines
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity"))
            .collect();
        match encodings.as_slice() {
            [] => Ok(Self::Identity),
            // The older name is the same (RFC 9110, section 8.4.1.3).
            [encoding] if ["gzip", "x-gzip"].iter().any(|name| encoding.eq_ignore_ascii_case(name)) => {
                Ok(Self::Gzip)
            }
            [encoding, ..] => Err(Unsupported::Encoding(format!(
                "content-encoding '{encoding}' is not supported; supported is gzip, once"
            ))),
        }
    }

    /// Its registered name (RFC 9110, section 8.4.1).
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
        }
    }
}

/// The reason for which a body was not inflated.
#[derive(Debug, PartialEq, Eq)]
pub enum InflateError {
    /// It becomes more than the limit.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// It is not gzip, or incomplete.
    Malformed(String),
}

/// Bytes that are inflated at once.
const STEP: usize = 64 * 1024;

/// Inflates a body up to `max_bytes`, so that a bomb costs neither memory nor time.
///
/// # Errors
/// See [`InflateError`].
pub fn gunzip(body: &[u8], max_bytes: usize) -> Result<Vec<u8>, InflateError> {
    let mut decoder = MultiGzDecoder::new(body);
    let mut inflated = Vec::new();
    loop {
        // One byte beyond the limit shows that there is more.
        let step = STEP.min(max_bytes + 1 - inflated.len()) as u64;
        let read = decoder.by_ref().take(step).read_to_end(&mut inflated);
        if inflated.len() > max_bytes {
            return Err(InflateError::TooLarge { limit: max_bytes });
        }
        match read {
            Ok(0) => return Ok(inflated),
            Ok(_) => {}
            Err(error) => return Err(InflateError::Malformed(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_body_comes_back_as_it_was() {
        let text = b"{\"n\": 1}\n".repeat(50_000);
        assert_eq!(gunzip(&gzip(&text), text.len()), Ok(text.clone()));
        let two_members = [gzip(b"one"), gzip(b"two")].concat();
        assert_eq!(gunzip(&two_members, 6), Ok(b"onetwo".to_vec()));
    }

    #[test]
    fn a_bomb_is_inflated_up_to_the_limit_only() {
        let bomb = gzip(&vec![0; 50 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(gunzip(&bomb, 1 << 20), Err(InflateError::TooLarge { limit: 1 << 20 }));
        assert_eq!(gunzip(&gzip(b"12345"), 4), Err(InflateError::TooLarge { limit: 4 }));
        assert_eq!(gunzip(&gzip(b"12345"), 5), Ok(b"12345".to_vec()));
    }

    #[test]
    fn anything_but_gzip_is_malformed() {
        let whole = gzip(b"some text");
        for body in [&b"{}"[..], b"", &whole[..whole.len() - 1], &[&whole[..], b"rest"].concat()] {
            assert!(matches!(gunzip(body, 100), Err(InflateError::Malformed(_))), "{body:?}");
        }
    }
}
