//! JSON pointers (RFC 6901) into JSON text that is not parsed as a whole: numbers and strings stay as they were sent, and
//! neither deep nesting nor half a character elsewhere in a body keeps a value from being found.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The place of a value in a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// Reads `/a/b~1c/0`; the empty text is the whole document.
    ///
    /// # Errors
    /// When it does not begin with `/`, or has a `~` that escapes nothing (RFC 6901, section 3).
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let tokens = text.strip_prefix('/').ok_or("a JSON pointer begins with /")?;
        tokens.split('/').map(unescaped).collect::<Result<_, _>>().map(Self)
    }

    /// The value at this place of a document.
    pub fn find<'d>(&self, document: &'d RawValue) -> Option<&'d RawValue> {
        self.0.iter().try_fold(document, |value, token| child(value, token))
    }
}

/// A document in which many places are looked up: it is taken apart once.
pub struct Document<'d> {
    value: &'d RawValue,
    parts: OnceCell<Option<Parts<'d>>>,
}

impl<'d> Document<'d> {
    /// The document of a value.
    pub fn new(value: &'d RawValue) -> Self {
        Self { value, parts: OnceCell::new() }
    }

    /// The whole of it.
    pub fn value(&self) -> &'d RawValue {
        self.value
    }

    /// The value at a place; of several members with one name, the last, as JavaScript does.
    pub fn find(&self, pointer: &Pointer) -> Option<&'d RawValue> {
        let Some((first, rest)) = pointer.0.split_first() else { return Some(self.value) };
        let parts = &self.parts.get_or_init(|| Parts::of(self.value)).as_ref()?.parts;
        let part = parts.iter().rev().find(|part| part.token.as_deref() == Some(first.as_str()))?;
        rest.iter().try_fold(part.value, |value, token| child(value, token))
    }

    /// Its text without what is at some places. It is for comparison alone: its white space is that of no one.
    pub fn without(&self, places: &[Pointer]) -> String {
        let paths: Vec<_> = places.iter().map(|place| place.0.as_slice()).collect();
        let mut text = String::with_capacity(self.value.get().len());
        match self.parts.get_or_init(|| Parts::of(self.value)) {
            Some(parts) => copy_parts_without(parts, &paths, &mut text),
            None => text.push_str(self.value.get()),
        }
        text
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

fn unescaped(token: &str) -> Result<String, &'static str> {
    let is_escape = |(at, _): (usize, &str)| token[at + 1..].starts_with(['0', '1']);
    match token.match_indices('~').all(is_escape) {
        true => Ok(token.replace("~1", "/").replace("~0", "~")),
        false => Err("in a JSON pointer ~0 stands for ~, and ~1 for /"),
    }
}

/// The member or element that a token names.
pub fn child<'d>(value: &'d RawValue, token: &str) -> Option<&'d RawValue> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    match value.get().as_bytes().first()? {
        b'{' => Member(token).deserialize(&mut deserializer).ok()?,
        b'[' => Element(index(token)?).deserialize(&mut deserializer).ok()?,
        _ => None,
    }
}

/// The index that a token is: digits, of which the first is a zero only if it is alone (RFC 6901, section 4).
fn index(token: &str) -> Option<usize> {
    let is_index = token == "0" || token.starts_with(|first: char| ('1'..='9').contains(&first));
    is_index.then(|| token.parse().ok()).flatten()
}

/// Finds the member of an object with a name; of several, the last, as JavaScript does.
struct Member<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<&RawValue>()? {
            let is_wanted = text_of(name).is_some_and(|name| name == self.0);
            match is_wanted {
                true => found = Some(map.next_value()?),
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// Finds the element of an array with an index.
struct Element(usize);

impl<'de> DeserializeSeed<'de> for Element {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Element {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut index = 0;
        // To the end, as the parser asks for it.
        while let Some(element) = elements.next_element()? {
            if index == self.0 {
                found = Some(element);
            }
            index += 1;
        }
        Ok(found)
    }
}

/// The text of a string.
fn text_of(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    match inner.contains('\\') {
        false => Some(Cow::Borrowed(inner)),
        true => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

/// The text of a scalar: a string's characters, and numbers and booleans as they were sent. `None` for null, objects,
/// arrays, and strings with half a character.
pub fn scalar(value: &RawValue) -> Option<Cow<'_, str>> {
    match value.get().as_bytes().first()? {
        b'"' => text_of(value),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(value.get())),
    }
}

/// The elements of an array.
pub fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

fn copy_without(value: &RawValue, paths: &[&[String]], out: &mut String) {
    match (!paths.is_empty()).then(|| Parts::of(value)).flatten() {
        Some(parts) => copy_parts_without(&parts, paths, out),
        None => out.push_str(value.get()),
    }
}

fn copy_parts_without(parts: &Parts<'_>, paths: &[&[String]], out: &mut String) {
    let Parts { brackets: [open, close], parts } = parts;
    out.push(*open);
    let start = out.len();
    for Part { token, name, value } in parts {
        let steps = paths.iter().filter_map(|path| path.split_first());
        let here = steps.filter(|(first, _)| token.as_deref() == Some(first.as_str()));
        let below: Vec<_> = here.map(|(_, rest)| rest).collect();
        if below.iter().any(|path| path.is_empty()) {
            continue;
        }
        if out.len() > start {
            out.push(',');
        }
        if let Some(name) = name {
            out.push_str(name.get());
            out.push(':');
        }
        copy_without(value, &below, out);
    }
    out.push(*close);
}

/// The members of an object or the elements of an array.
struct Parts<'v> {
    brackets: [char; 2],
    parts: Vec<Part<'v>>,
}

struct Part<'v> {
    /// What leads to it in a pointer; `None` for a name with half a character.
    token: Option<Cow<'v, str>>,
    /// The name of a member, as it was sent.
    name: Option<&'v RawValue>,
    value: &'v RawValue,
}

impl<'v> Parts<'v> {
    fn of(value: &'v RawValue) -> Option<Self> {
        match value.get().as_bytes().first()? {
            b'{' => {
                let Members(members) = serde_json::from_str(value.get()).ok()?;
                let part = |(name, value)| Part { token: text_of(name), name: Some(name), value };
                let parts = members.into_iter().map(part);
                Some(Self { brackets: ['{', '}'], parts: parts.collect() })
            }
            b'[' => {
                let elements = elements(value)?.into_iter().enumerate();
                let token = |index: usize| Some(index.to_string().into());
                let parts = elements.map(|(index, value)| Part { token: token(index), name: None, value });
                Some(Self { brackets: ['[', ']'], parts: parts.collect() })
            }
            _ => None,
        }
    }
}

/// The members of an object, in their order.
struct Members<'de>(Vec<(&'de RawValue, &'de RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AllMembers;
        impl<'de> Visitor<'de> for AllMembers {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(AllMembers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    fn find(json: &'static str, pointer: &str) -> Option<String> {
        let pointer = Pointer::parse(pointer).unwrap();
        let found = pointer.find(raw(json)).map(RawValue::get);
        assert_eq!(Document::new(raw(json)).find(&pointer).map(RawValue::get), found);
        found.map(ToOwned::to_owned)
    }

    #[test]
    fn a_value_is_found_as_it_was_sent() {
        const JSON: &str = r#"{"a":{"b/c":[1,2.50,{"~":"x"}]},"\u0061b":true,"n":null,"a b":1}"#;
        for (pointer, expected) in [
            ("/a/b~1c/1", Some("2.50")),
            ("/a/b~1c/2/~0", Some("\"x\"")),
            ("/ab", Some("true")),
            ("/a b", Some("1")),
            ("/n", Some("null")),
            ("/a/b~1c/3", None),
            ("/a/b~1c/x", None),
            ("/a/b~1c/01", None),
            ("/a/b~1c/+1", None),
            ("/ab/c", None),
            ("/z", None),
        ] {
            assert_eq!(find(JSON, pointer).as_deref(), expected, "{pointer}");
        }
        assert_eq!(find("[1]", "").as_deref(), Some("[1]"));
        assert_eq!(find(r#"{"a":1,"a":2}"#, "/a").as_deref(), Some("2"));
    }

    #[test]
    fn what_no_event_may_have_hides_nothing_beside_it() {
        let deep = format!(
            r#"{{"deep":{}{},"half":"\ud800","\ud800":1,"id":"x"}}"#,
            "[".repeat(500),
            "]".repeat(500)
        );
        assert_eq!(Pointer::parse("/id").unwrap().find(raw(&deep)).map(RawValue::get), Some("\"x\""));
        assert_eq!(scalar(Pointer::parse("/half").unwrap().find(raw(&deep)).unwrap()), None);
    }

    #[test]
    fn an_invalid_pointer_is_refused() {
        for text in ["a", "/a~", "/~2"] {
            assert!(Pointer::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn scalars_have_a_text_and_nothing_else_has() {
        for (json, text) in [
            (r#""a\u0062""#, Some("ab")),
            ("12345678901234567890123", Some("12345678901234567890123")),
            ("1.50", Some("1.50")),
            ("true", Some("true")),
            ("null", None),
            ("{}", None),
            ("[]", None),
        ] {
            assert_eq!(scalar(raw(json)).as_deref(), text, "{json}");
        }
    }

    fn without(document: &RawValue, places: &[Pointer]) -> String {
        Document::new(document).without(places)
    }

    #[test]
    fn members_are_left_out_wherever_they_stand() {
        let places: Vec<_> = ["/retry", "/a/tries", "/none", "/b/1", "/b/0/n"]
            .iter()
            .map(|place| Pointer::parse(place).unwrap())
            .collect();
        let json = raw(r#"{"retry":{"n":1},"a":{"tries":2,"id":1.0},"b":[{"retry":3,"n":1},2,3]}"#);
        assert_eq!(without(json, &places), r#"{"a":{"id":1.0},"b":[{"retry":3},3]}"#);
        assert_eq!(without(raw("[1, 2]"), &places), "[1,2]");
        assert_eq!(without(raw("1.50"), &places), "1.50");
        let whole = [Pointer::parse("").unwrap()];
        assert_eq!(without(raw(r#"{"\ud800":1}"#), &whole), r#"{"\ud800":1}"#);
    }
}
