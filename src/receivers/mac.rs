//! Message authentication codes, and the comparison that tells nothing about a secret.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

/// The hash of an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1, which is still sound in an HMAC.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// The HMAC (RFC 2104) of a text.
pub fn hmac(hash: Hash, key: &[u8], text: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Sha1 => with::<Hmac<Sha1>>(key, text),
        Hash::Sha256 => with::<Hmac<Sha256>>(key, text),
        Hash::Sha512 => with::<Hmac<Sha512>>(key, text),
    }
}

fn with<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    // A key of any length will do.
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// Compares in a time that depends on the lengths alone. Nothing is the same as an empty secret.
pub fn is_same(wanted: &[u8], given: &[u8]) -> bool {
    !wanted.is_empty() && bool::from(wanted.ct_eq(given))
}
