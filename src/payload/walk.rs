//! The walk through the text of a JSON value, which hashes the value and finds what is refused.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The deepest nesting of the JSON of a request, its own array and object included.
pub const MAX_DEPTH: usize = 128;

/// The reason for which valid JSON is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The value nests deeper than [`MAX_DEPTH`].
    #[error("JSON nested deeper than {MAX_DEPTH}: send it as a string")]
    TooDeep,
    /// A string escapes half of a surrogate pair (RFC 8259, section 8.2).
    #[error("a string with a lone surrogate, which is half a character")]
    LoneSurrogate,
}

const NULL: u64 = 0x6e75_6c6c;
const FALSE: u64 = 0x6661_6c73;
const TRUE: u64 = 0x7472_7565;
const NUMBER: u64 = 0x6e75_6d62;
const STRING: u64 = 0x7374_7269;
const ARRAY: u64 = 0x6172_7261;
const OBJECT: u64 = 0x6f62_6a65;

/// Puts their place among equal keys into the values of members whose key came before, so that `{"a":1,"a":2}` is not
/// `{"a":2,"a":1}`, of which readers take different values.
fn tell_repeated_apart(members: &mut [Member]) {
    let is_repeated = |at: usize| members[..at].iter().any(|before| before.key == members[at].key);
    if members.len() <= FEW_MEMBERS && !(1..members.len()).any(is_repeated) {
        return;
    }
    members.sort_by_key(|member| member.key); // which keeps the order of equal ones
    let mut place = 0;
    for at in 1..members.len() {
        place = if members[at].key == members[at - 1].key { place + 1 } else { 0 };
        if place > 0 {
            members[at].value = hash_pair(members[at].value, place);
        }
    }
}

/// Walks a text, which [`RawValue`] guarantees to be valid JSON, and hashes its value.
pub struct Walk<'a> {
    text: &'a str,
    at: usize,
    /// True if white space was seen between tokens.
    pub white_space: bool,
    /// The hashes of the members of the objects that it is in, so far.
    members: Vec<Member>,
}

/// A member of an object.
#[derive(Clone, Copy)]
struct Member {
    key: u64,
    value: u64,
}

/// Members among which each is compared with each; more are sorted.
const FEW_MEMBERS: usize = 16;

impl<'a> Walk<'a> {
    /// A walk from the start of a text.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, white_space: false, members: Vec::new() }
    }

    /// Walks to the end of the value, which stands inside `depth` arrays and objects, and returns its hash.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn value(&mut self, depth: usize) -> Result<u64, Malformed> {
        match self.peek() {
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'"' => self.string(),
            b'n' => Ok(self.literal("null", NULL)),
            b'f' => Ok(self.literal("false", FALSE)),
            b't' => Ok(self.literal("true", TRUE)),
            _ => Ok(self.number()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<u64, Malformed> {
        check_depth(depth)?;
        self.at += 1;
        let first = self.members.len();
        while self.peek() != b'}' {
            let key = self.string()?;
            self.peek(); // moves to the colon
            self.at += 1;
            let value = self.value(depth)?;
            self.members.push(Member { key, value });
            self.skip_comma();
        }
        self.at += 1;
        let members = &mut self.members[first..];
        tell_repeated_apart(members);
        // A sum does not depend on the order of its parts.
        let parts = members.iter().map(|member| hash_pair(member.key, member.value));
        let (sum, count) = (parts.fold(0, u64::wrapping_add), members.len() as u64);
        self.members.truncate(first);
        Ok(hash_object(sum, count))
    }

    fn array(&mut self, depth: usize) -> Result<u64, Malformed> {
        check_depth(depth)?;
        self.at += 1;
        let mut hash = ARRAY;
        while self.peek() != b']' {
            hash = hash_pair(hash, self.value(depth)?);
            self.skip_comma();
        }
        self.at += 1;
        Ok(hash)
    }

    fn string(&mut self) -> Result<u64, Malformed> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut escapes = false;
        self.at += 1;
        while bytes[self.at] != b'"' {
            if bytes[self.at] == b'\\' {
                escapes = true;
                self.at += 1;
            }
            self.at += 1;
        }
        self.at += 1;
        if escapes {
            // The grammar holds already, so only a lone surrogate can be wrong.
            let text: String =
                serde_json::from_str(&self.text[start..self.at]).map_err(|_| Malformed::LoneSurrogate)?;
            return Ok(xxh3_64_with_seed(text.as_bytes(), STRING));
        }
        Ok(xxh3_64_with_seed(&bytes[start + 1..self.at - 1], STRING))
    }

    fn literal(&mut self, text: &str, hash: u64) -> u64 {
        self.at += text.len();
        hash
    }

    /// Hashes a number as sign, digits and power of ten, so that all notations of it have one hash.
    fn number(&mut self) -> u64 {
        let rest = &self.text[self.at..];
        let length =
            rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let text = &rest[..length];
        self.at += length;

        let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let joined: String;
        let digits = if fraction.is_empty() {
            whole
        } else {
            joined = [whole, fraction].concat();
            &joined
        };
        let digits = digits.trim_start_matches('0');
        let significant = digits.trim_end_matches('0');
        if significant.is_empty() {
            return xxh3_64_with_seed(b"0", NUMBER);
        }
        let exponent: i64 =
            exponent.parse().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
        let power = exponent
            .saturating_sub(fraction.len() as i64)
            .saturating_add((digits.len() - significant.len()) as i64);
        let hash = xxh3_64_with_seed(significant.as_bytes(), NUMBER + u64::from(negative));
        hash_pair(hash, power.cast_unsigned())
    }

    /// Moves to the next byte that is not white space, and returns it.
    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while bytes[self.at].is_ascii_whitespace() {
            self.white_space = true;
            self.at += 1;
        }
        bytes[self.at]
    }

    fn skip_comma(&mut self) {
        if self.peek() == b',' {
            self.at += 1;
            self.peek();
        }
    }
}

fn check_depth(depth: usize) -> Result<(), Malformed> {
    if depth > MAX_DEPTH { Err(Malformed::TooDeep) } else { Ok(()) }
}

fn hash_pair(a: u64, b: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&a.to_le_bytes());
    bytes[8..].copy_from_slice(&b.to_le_bytes());
    xxh3_64(&bytes)
}

/// The hash of an object, from the sum of the hashes of its members and their number.
pub fn hash_object(sum: u64, count: u64) -> u64 {
    hash_pair(OBJECT, hash_pair(sum, count))
}
