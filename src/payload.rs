//! The payload of an event: any JSON value, kept as its text, with a digest to compare it by.

use serde_json::value::RawValue;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The deepest nesting of the JSON of a request, its own array and object included.
pub const MAX_DEPTH: usize = 128;

/// A JSON value as text without insignificant white space: numbers and strings stay as they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    json: String,
    digest: i64,
}

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

impl Payload {
    /// Takes a JSON value that stands inside `depth` arrays and objects.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn new(raw: &RawValue, depth: usize) -> Result<Self, Malformed> {
        let mut walk = Walk::new(raw.get());
        let digest = walk.value(depth)?;
        let json = if walk.white_space { without_white_space(raw.get()) } else { raw.get().to_owned() };
        Ok(Self { json, digest: digest.cast_signed() })
    }

    /// The payload of an event without one: `{}`.
    pub fn empty() -> Self {
        Self { json: "{}".into(), digest: hash_object(0, 0).cast_signed() }
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// A 64-bit hash of the value, not of its text: white space, the order of an object's keys (but of equal ones), the
    /// escaping of strings and the notation of numbers (`1`, `1.0`, `10e-1`) make no difference. It is stored with the event, so it must
    /// never change: it is made of XXH3 alone.
    pub fn digest(&self) -> i64 {
        self.digest
    }
}

/// Checks a JSON value that will not be kept, by the rules of [`Payload::new`].
///
/// # Errors
/// See [`Malformed`].
pub fn check(raw: &RawValue, depth: usize) -> Result<(), Malformed> {
    Walk::new(raw.get()).value(depth).map(drop)
}

/// Removes the white space between tokens of valid JSON.
fn without_white_space(json: &str) -> String {
    let mut in_string = false;
    let mut escaped = false;
    json.chars()
        .filter(|&c| {
            if in_string {
                in_string = escaped || c != '"';
                escaped = !escaped && c == '\\';
                return true;
            }
            in_string = c == '"';
            !c.is_ascii_whitespace()
        })
        .collect()
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
struct Walk<'a> {
    text: &'a str,
    at: usize,
    /// True if white space was seen between tokens.
    white_space: bool,
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
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, white_space: false, members: Vec::new() }
    }

    fn value(&mut self, depth: usize) -> Result<u64, Malformed> {
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

fn hash_object(sum: u64, count: u64) -> u64 {
    hash_pair(OBJECT, hash_pair(sum, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(json: &str) -> Payload {
        Payload::new(serde_json::from_str(json).unwrap(), 0).unwrap()
    }

    #[test]
    fn the_same_value_in_other_words_has_the_same_digest() {
        for (one, other) in [
            (r#"{"a":1,"b":[true,null]}"#, "{ \"b\" : [ true , null ],\n\t\"a\": 1 }"),
            (r#""A/é""#, r#""\u0041\/\u00e9""#),
            (r#""😀""#, r#""\ud83d\ude00""#),
            ("1", "1.0"),
            ("1", "10e-1"),
            ("100", "1E+2"),
            ("-0.50", "-5e-1"),
            ("0", "-0.0e7"),
            ("123456789012345678901234567890", "123456789012345678901234567890.0"),
            ("{}", " { } "),
            ("[]", "[ ]"),
        ] {
            assert_eq!(payload(one).digest(), payload(other).digest(), "{one} and {other}");
        }
        assert_eq!(payload("{}"), Payload::empty());
    }

    #[test]
    fn other_values_have_other_digests() {
        let all = [
            "null",
            "true",
            "false",
            "0",
            "1",
            "-1",
            "10",
            "0.1",
            "1e400",
            "1e401",
            "\"\"",
            "\"1\"",
            "\"null\"",
            "[]",
            "[1]",
            "[[1]]",
            "[1,2]",
            "[2,1]",
            "{}",
            r#"{"a":1}"#,
            r#"{"a":2}"#,
            r#"{"b":1}"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a":2,"b":1}"#,
            r#"{"a":{"b":1}}"#,
            "12345678901234567890123",
            "12345678901234567890124",
            r#"["a","b"]"#,
            r#"["ab"]"#,
            r#"[null]"#,
            r#"[{}]"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":2,"a":1}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"a":2,"b":{"a":2,"a":1}}"#,
            r#"{"a":1,"a":2,"b":{"a":1,"a":2}}"#,
        ];
        let digests: std::collections::HashSet<_> = all.iter().map(|json| payload(json).digest()).collect();
        assert_eq!(digests.len(), all.len());
    }

    #[test]
    fn the_digest_of_a_stored_payload_never_changes() {
        let digest = payload(r#"{"n":1,"s":"x","l":[true,false,null,-2.5e3]}"#).digest();
        assert_eq!(digest, -6_172_076_701_549_885_670);
    }

    #[test]
    fn keys_that_stand_twice_are_told_apart_by_their_order_among_few_and_many_others() {
        for others in [0, 5, 15, 40] {
            let others: String = (0..others).map(|n| format!(r#""k{n}":{n},"#)).collect();
            let with = |twice: &str| payload(&format!("{{{others}{twice}}}")).digest();
            assert_ne!(with(r#""a":1,"a":2"#), with(r#""a":2,"a":1"#), "{others}");
            assert_eq!(with(r#""a":1,"b":3,"a":2"#), with(r#""b":3,"a":1,"a":2"#), "{others}");
            assert_eq!(with(r#""a":1,"b":2"#), with(r#""b":2,"a":1"#), "{others}");
        }
    }

    #[test]
    fn text_stays_as_it_was_sent_but_for_white_space() {
        let json = "{ \"n\" : 1.50 ,\r\n \"big\":12345678901234567890123,\"s\":\"a \\\" \\\\ b\\u0041\" , \"e\": [ ] }";
        assert_eq!(
            payload(json).as_json(),
            r#"{"n":1.50,"big":12345678901234567890123,"s":"a \" \\ b\u0041","e":[]}"#
        );
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let check = |json: String, inside| super::check(serde_json::from_str(&json).unwrap(), inside);
        assert_eq!(check(nested(128), 0), Ok(()));
        assert_eq!(check(nested(129), 0), Err(Malformed::TooDeep));
        assert_eq!(check(nested(126), 2), Ok(()));
        assert_eq!(check(nested(127), 2), Err(Malformed::TooDeep));
        assert_eq!(check(nested(1_000_000), 0), Err(Malformed::TooDeep));
    }

    #[test]
    fn a_lone_surrogate_is_malformed_wherever_it_stands() {
        for json in [r#""\ud800""#, r#"{"\udc00":1}"#, r#"[["a\ud83dz"]]"#] {
            assert_eq!(
                check(serde_json::from_str(json).unwrap(), 0),
                Err(Malformed::LoneSurrogate),
                "{json}"
            );
        }
    }
}
