//! Text in an encoding of the Encoding Standard (WHATWG), as UTF-8.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs::{Decoder, DecoderResult, Encoding};

use super::READ;

/// Counts bytes that are not what their encoding allows.
#[derive(Clone, Debug, Default)]
pub struct Malformed(Arc<AtomicU64>);

impl Malformed {
    /// The count.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it back to an earlier count.
    pub fn reset(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    fn add(&self, bytes: u8) {
        self.0.fetch_add(bytes.into(), Ordering::Relaxed);
    }
}

/// Decodes text as it comes. What is malformed becomes U+FFFD.
pub struct Text<R> {
    input: R,
    decoder: Decoder,
    malformed: Malformed,
    /// Decoded text, and how much of it was taken.
    decoded: Vec<u8>,
    taken: usize,
}

impl<R: Read> Text<R> {
    /// Text in this encoding, unless its byte order mark says another.
    pub fn new(input: R, encoding: &'static Encoding, malformed: &Malformed) -> Self {
        let malformed = malformed.clone();
        Self { input, decoder: encoding.new_decoder(), malformed, decoded: Vec::new(), taken: 0 }
    }

    fn decode(&mut self, mut bytes: &[u8]) {
        const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
        self.decoded.clear();
        self.taken = 0;
        loop {
            // Without an overflow, which lengths of `READ` do not have, this is enough.
            let most =
                self.decoder.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(4 * READ);
            let start = self.decoded.len();
            self.decoded.resize(start + most, 0);
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(bytes, &mut self.decoded[start..], false);
            self.decoded.truncate(start + written);
            bytes = &bytes[read..];
            match result {
                DecoderResult::InputEmpty => return,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(length, _) => {
                    self.malformed.add(length);
                    self.decoded.extend_from_slice(REPLACEMENT);
                }
            }
        }
    }
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = [0; READ];
        while self.taken == self.decoded.len() {
            match self.input.read(&mut bytes)? {
                0 => return Ok(0),
                read => self.decode(&bytes[..read]),
            }
        }
        let taken = buffer.len().min(self.decoded.len() - self.taken);
        buffer[..taken].copy_from_slice(&self.decoded[self.taken..self.taken + taken]);
        self.taken += taken;
        Ok(taken)
    }
}
