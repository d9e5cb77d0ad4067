//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a repeated request gets the answer of the first. Here
//! are the key and what tells two requests apart; [`super::saved_answers`] keeps the answers.

use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::problem::Problem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The form of fingerprints, with which each of them begins.
const FORM: &str = "4:";

/// The idempotency key of a request, if it has one.
///
/// # Errors
/// [`Problem::InvalidHeader`] when the key is too long, not printable, or given twice.
pub fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    // The draft has a string in quotes; many clients send it without.
    let bare = |key| without_quotes(key).unwrap_or(key);
    let printable = key.to_str().ok().map(str::trim).map(bare).filter(|key| {
        (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    });
    match (printable, keys.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Problem::InvalidHeader {
            name: "idempotency-key",
            message: "must be one value of 1 to 255 printable characters".into(),
        }),
    }
}

fn without_quotes(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

/// A hash of everything that gives a request its meaning. Requests with one key are the same if it is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of named terms, in any order, and a body.
    ///
    /// Names stand for the terms, and not numbers, so that a program of another version makes the same fingerprint.
    pub fn of<'t>(terms: impl IntoIterator<Item = (&'t str, &'t [u8])>, body: &[u8]) -> Self {
        let hash = |(name, value): (&str, &[u8])| xxh3_128(&[name.as_bytes(), b": ", value].concat());
        // A sum does not depend on the order of its parts.
        let terms = terms.into_iter().map(hash).fold(0, u128::wrapping_add);
        Self(format!("{FORM}{terms:032x}{:032x}", xxh3_128(body)))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if a text is a fingerprint of the present form. Answers under another one are ignored: nobody can tell which
    /// request they belong to, and the events of a request that runs again are duplicates.
    pub fn has_form(text: &str) -> bool {
        text.starts_with(FORM)
    }
}
