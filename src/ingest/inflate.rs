//! `Content-Encoding: gzip` (RFC 1952): inflated piece by piece, within the limit of what it becomes.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

/// Why a body could not be inflated.
#[derive(Debug, PartialEq, Eq)]
pub enum InflateError {
    /// It becomes more than the limit.
    TooLarge,
    /// It is no gzip, or not all of it.
    Malformed(String),
}

/// Bytes that are inflated at once.
const STEP: usize = 64 * 1024;

/// Inflates a body, but not beyond `max_bytes`: neither the memory nor the time of a bomb is spent.
///
/// # Errors
/// See [`InflateError`].
pub fn gunzip(body: &[u8], max_bytes: usize) -> Result<Vec<u8>, InflateError> {
    let mut decoder = MultiGzDecoder::new(body);
    let mut inflated = Vec::new();
    loop {
        // One byte beyond the limit tells that there is more.
        let step = STEP.min(max_bytes + 1 - inflated.len()) as u64;
        let read = decoder.by_ref().take(step).read_to_end(&mut inflated);
        if inflated.len() > max_bytes {
            return Err(InflateError::TooLarge);
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
    fn a_bomb_is_given_up_at_the_limit() {
        let bomb = gzip(&vec![0; 50 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(gunzip(&bomb, 1 << 20), Err(InflateError::TooLarge));
        assert_eq!(gunzip(&gzip(b"12345"), 4), Err(InflateError::TooLarge));
        assert_eq!(gunzip(&gzip(b"12345"), 5), Ok(b"12345".to_vec()));
    }

    #[test]
    fn what_is_no_gzip_is_malformed() {
        let whole = gzip(b"some text");
        for body in [&b"{}"[..], b"", &whole[..whole.len() - 1], &[&whole[..], b"rest"].concat()] {
            assert!(matches!(gunzip(body, 100), Err(InflateError::Malformed(_))), "{body:?}");
        }
    }
}
