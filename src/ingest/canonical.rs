//! The content of a JSON value, in whichever order its sender wrote the members of objects this time.

use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use super::content_id::hex;

/// The content of a value: two with one content differ in nothing but the order of members.
///
/// The text must be valid JSON without white space. Escapes and the notation of numbers count: a sender that sends again
/// writes them as before. Nested values stand in the content by their hash, so that no text is read more than once.
pub fn content(json: &str) -> String {
    Reader { rest: json }.value()
}

/// Reads a text from its start.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self) -> String {
        match self.rest.as_bytes()[0] {
            b'{' => format!("{{{}", hex(&self.object().finalize())),
            b'[' => format!("[{}", hex(&self.array().finalize())),
            b'"' => self.string(),
            _ => self.take(self.rest.find([',', ']', '}']).unwrap_or(self.rest.len())),
        }
    }

    fn object(&mut self) -> Sha256 {
        let mut members = Map::new(); // in the order of names
        self.take(1);
        while !self.rest.starts_with('}') {
            let name = self.string();
            self.take(1); // the colon
            let value = self.value();
            match members.get_mut(&name) {
                Some(Json::String(values)) => *values += &format!(",{value}"),
                _ => drop(members.insert(name, value.into())),
            }
            self.skip_comma();
        }
        self.take(1);
        let texts = members.iter().flat_map(|(name, values)| [Some(name.as_str()), values.as_str()]);
        texts.flatten().fold(Sha256::new(), |hash, text| hash.chain_update(text))
    }

    fn array(&mut self) -> Sha256 {
        let mut hash = Sha256::new();
        self.take(1);
        while !self.rest.starts_with(']') {
            hash.update(self.value());
            hash.update(",");
            self.skip_comma();
        }
        self.take(1);
        hash
    }

    fn string(&mut self) -> String {
        let bytes = self.rest.as_bytes();
        let mut end = 1;
        while bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        self.take(end + 1)
    }

    fn skip_comma(&mut self) {
        if self.rest.starts_with(',') {
            self.take(1);
        }
    }

    fn take(&mut self, length: usize) -> String {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_members_makes_no_difference_at_any_depth() {
        for (one, other) in [
            (r#"{"a":1,"b":[]}"#, r#"{"b":[],"a":1}"#),
            (r#"{"a":{"b":"\"}","c":null},"d":2}"#, r#"{"d":2,"a":{"c":null,"b":"\"}"}}"#),
            (r#"[[{"a":true,"b":{"c":1,"d":"é"}}]]"#, r#"[[{"b":{"d":"é","c":1},"a":true}]]"#),
        ] {
            assert_eq!(content(one), content(other), "{one} and {other}");
        }
    }

    #[test]
    fn all_else_makes_one() {
        let all = [
            "null",
            "1",
            "1.0",
            r#""""#,
            r#""1""#,
            r#""\\""#,
            "{}",
            "[]",
            "[[]]",
            "[{}]",
            "[1,2]",
            "[2,1]",
            "[12]",
            "[[1],2]",
            "[[1,2]]",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{}}"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a":2,"b":1}"#,
            r#"{"a":{"b":2}}"#,
            r#"{"a":{"b":1},"c":1}"#,
            r#"{"a":{"b":1,"c":1}}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":2,"a":1}"#,
            r#"{"a\"":1,"b":2}"#,
        ];
        let contents: std::collections::HashSet<_> = all.iter().map(|json| content(json)).collect();
        assert_eq!(contents.len(), all.len());
    }
}
