//! The payload of an event: any JSON value, kept as its text, with a digest to compare it by.

mod walk;

use serde_json::value::RawValue;

pub use self::walk::{MAX_DEPTH, Malformed};

use self::walk::{Walk, hash_object};

/// A JSON value as text without insignificant white space: numbers and strings stay as they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    json: String,
    digest: i64,
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

    /// Compares it with others from now on as if it were another value, of which this is the text of valid JSON.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn compare_as(&mut self, json: &str) -> Result<(), Malformed> {
        self.digest = Walk::new(json).value(0)?.cast_signed();
        Ok(())
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
