//! A field of a JSON line, as an argument names it.

use std::borrow::Cow;
use std::collections::HashMap;

use anyhow::{Context, Result};
use serde_json::value::RawValue;

/// A field of a JSON value: a name, or a pointer (RFC 6901).
pub struct Field {
    /// The argument, for errors.
    text: String,
    /// The names, or indices, that lead to it.
    steps: Vec<String>,
}

impl Field {
    /// The field that an argument names.
    pub fn parse(text: &str) -> Self {
        let steps = match text.strip_prefix('/') {
            Some(pointer) => {
                pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
            }
            None => vec![text.into()],
        };
        Self { text: text.into(), steps }
    }

    /// The value of this field in `json`.
    pub fn of<'a>(&self, json: &'a RawValue) -> Result<&'a RawValue> {
        self.steps
            .iter()
            .try_fold(json, |value, step| match value.get().as_bytes()[0] {
                b'{' => serde_json::from_str::<HashMap<Cow<str>, &RawValue>>(value.get())
                    .ok()?
                    .remove(step.as_str()),
                b'[' => serde_json::from_str::<Vec<&RawValue>>(value.get())
                    .ok()?
                    .get(step.parse::<usize>().ok()?)
                    .copied(),
                _ => None,
            })
            .with_context(|| format!("has no field {:?}", self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_escapes_slashes_and_a_name_is_a_name() {
        let line: &RawValue = serde_json::from_str(r#"{"a/b":{"~":"x"},"c.d":["y"]}"#).unwrap();
        for (field, value) in [("/a~1b/~0", "\"x\""), ("c.d", "[\"y\"]"), ("/c.d/0", "\"y\"")] {
            assert_eq!(Field::parse(field).of(line).unwrap().get(), value);
        }
        assert!(Field::parse("/c.d/1").of(line).is_err() && Field::parse("/c.d").of(line).is_ok());
    }
}
