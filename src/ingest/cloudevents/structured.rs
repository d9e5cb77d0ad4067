//! Structured and batch mode: JSON objects, whose members are the attributes and the data.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::attributes::{Attributes, COLUMNS, check_name, invalid_value, may_be_empty};
use crate::event::InvalidField;
use crate::ingest::collect::{FieldErrors, Judged, MAX_LISTED_ERRORS, Unknown};
use crate::ingest::field::{optional, text};
use crate::ingest::json::{Candidate, Key};
use crate::payload::{self, Payload};

/// The members of a CloudEvent in the JSON format.
pub struct Members<'de>(BTreeMap<Cow<'de, str>, &'de RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a CloudEvent, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let value = map.next_value()?;
            if members.insert(key.0.clone(), value).is_some() {
                return Err(A::Error::custom(format!("duplicate field `{}`", key.0)));
            }
        }
        Ok(Members(members))
    }
}

impl<'de> Candidate<'de> for Members<'de> {
    fn judge(self, depth: usize, _: &mut Unknown) -> Judged {
        let get = |name: &str| self.0.get(name).copied();
        let attributes = Attributes::of(|name| text(get(name), depth))?;
        let mut errors = FieldErrors::new();
        optional("data_base64", text(get("data_base64"), depth)?, base64, &mut errors);
        let payload = match get("data").or(get("data_base64")) {
            Some(raw) => Payload::new(raw, depth)?,
            None => Payload::empty(),
        };
        if get("data").is_some() && get("data_base64").is_some() {
            errors.push(("data_base64".into(), "must not stand beside data".into()));
        }
        let mut kept = Vec::new();
        for (name, raw) in self.0.iter().filter(|(name, _)| !COLUMNS.contains(&name.as_ref())) {
            if errors.len() > MAX_LISTED_ERRORS {
                break; // no more are listed
            }
            match member(name, raw, depth)? {
                Ok(None) => {}
                Ok(Some(member)) => kept.push(member),
                Err(message) => errors.push(("".into(), message)),
            }
        }
        Ok(attributes.into_event(payload, &kept, errors))
    }
}

fn base64(text: Cow<'_, str>) -> Result<(), InvalidField> {
    BASE64_STANDARD.decode(text.as_ref()).map(drop).map_err(|_| InvalidField("must be base64".into()))
}

/// An attribute as a member of a JSON object, by the specification's rules for types: strings, booleans and integers
/// of 32 bits. A null stands for an absent attribute.
fn member(
    name: &str,
    raw: &RawValue,
    depth: usize,
) -> Result<Result<Option<String>, String>, payload::Malformed> {
    let value = Payload::new(raw, depth)?;
    let value = value.as_json();
    if let Err(message) = check_name(name) {
        return Ok(Err(message));
    }
    let is_valid = match value.as_bytes()[0] {
        b'n' => return Ok(Ok(None)),
        b'"' => value != "\"\"" || may_be_empty(name),
        b't' | b'f' => true,
        _ => value.parse::<i32>().is_ok(),
    };
    Ok(if is_valid { Ok(Some(format!("\"{name}\":{value}"))) } else { Err(invalid_value(name)) })
}
