//! The names in an event, and the rules that they follow.

use std::fmt;

/// The longest topic, event id or source, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

/// The rule that a value breaks, as a phrase that follows the name of its field: "must ...".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidField(pub String);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes a string that follows the rule above.
            ///
            /// # Errors
            /// The rule, when the string breaks it.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidField> {
                let text = text.into();
                $check(&text)?;
                Ok(Self(text))
            }

            /// The string itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Names a stream of events: 1 to 255 bytes, no control characters, not all white space, no `.*` at its end.
    Topic,
    check_topic
);
name!(
    /// Names an event within its topic: 1 to 255 bytes, no control characters, not all white space.
    EventId,
    check_name
);
name!(
    /// Names the sender of an event: up to 255 bytes.
    Source,
    check_length
);

impl Topic {
    /// Takes the topic of an event that may be stored: until 0.2, one could end in `.*`.
    ///
    /// # Errors
    /// The rule that it breaks otherwise.
    pub fn of_stored(text: impl Into<String>) -> Result<Self, InvalidField> {
        let text = text.into();
        check_name(&text)?;
        Ok(Self(text))
    }
}

fn check_topic(text: &str) -> Result<(), InvalidField> {
    check_name(text)?;
    match text.ends_with(".*") {
        true => {
            Err(InvalidField("must not end in .*, which readers write for all topics with a prefix".into()))
        }
        false => Ok(()),
    }
}

fn check_name(text: &str) -> Result<(), InvalidField> {
    check_length(text)?;
    if text.is_empty() {
        return Err(InvalidField("must not be empty".into()));
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidField("must not contain control characters".into()));
    }
    if text.chars().all(char::is_whitespace) {
        return Err(InvalidField("must not be all white space".into()));
    }
    Ok(())
}

fn check_length(text: &str) -> Result<(), InvalidField> {
    if text.len() > MAX_NAME_BYTES {
        return Err(InvalidField(format!("must be at most {MAX_NAME_BYTES} bytes, is {}", text.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_length_and_a_visible_character() {
        assert!(Topic::parse("orders").is_ok());
        assert!(Topic::parse("é".repeat(127) + "x").is_ok());
        assert!(Source::parse("").is_ok());
        assert!(
            Topic::parse("a.*").is_err() && Topic::of_stored("a.*").is_ok() && Topic::parse("a*").is_ok()
        );
        for bad in
            [String::new(), " \t ".into(), "a\nb".into(), "a\u{85}b".into(), "x".repeat(256), "é".repeat(128)]
        {
            assert!(EventId::parse(bad.clone()).is_err(), "took {bad:?}");
        }
    }
}
