//! The identity of what its sender gave none: its content, and its place among equals.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::collect::FieldErrors;
use crate::event::EventId;

/// Bytes of a hash that are in an id. Nobody finds two contents that share so many, not even on purpose.
const ID_BYTES: usize = 16;

/// Gives the contents of one request their ids.
///
/// Who sends a content again gives it the same id, also in a request that is cut in another way, unless it has equals
/// that were in one request before and are in two now. Equals of two requests cannot be told from a repetition.
#[derive(Default)]
pub struct ContentIds(HashMap<[u8; ID_BYTES], u32>);

impl ContentIds {
    /// The id of a content by its hash: hex, and from the second equal content on `#2`, `#3`.
    ///
    /// # Errors
    /// None that a hash can have: the rules of an id are checked all the same.
    pub fn next(&mut self, content: Sha256) -> Result<EventId, FieldErrors> {
        let mut hash = [0; ID_BYTES];
        hash.copy_from_slice(&content.finalize()[..ID_BYTES]);
        let place = self.0.entry(hash).and_modify(|place| *place += 1).or_insert(1);
        let mut id = hex(&hash);
        if *place > 1 {
            id += &format!("#{place}");
        }
        EventId::parse(id).map_err(|error| vec![("event_id".into(), error.to_string())])
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_of_a_request_are_counted_and_a_repetition_counts_them_alike() {
        let ids = |contents: &[&str]| -> Vec<String> {
            let mut ids = ContentIds::default();
            let id = |content: &&str| ids.next(Sha256::new_with_prefix(content)).unwrap().to_string();
            contents.iter().map(id).collect()
        };
        let abc = "ba7816bf8f01cfea414140de5dae2223";
        assert_eq!(ids(&["abc", "abd", "abc", "abc"])[..1], [abc]);
        assert_eq!(ids(&["abc", "abd", "abc", "abc"])[2..], [format!("{abc}#2"), format!("{abc}#3")]);
        assert_eq!(ids(&["abd", "abc"])[1], abc);
    }
}
