//! The template language of receivers: literal text, and values of a delivery in braces. `{json:/id|header:x-id}` is the
//! first of several that is there, and an empty last one, as in `{json:/id|}`, the empty text.

use std::borrow::Cow;
use std::fmt;

use http::HeaderName;

use super::pointer::Pointer;

/// A text that is filled in for each delivery. It is parsed once, at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    /// The template as it was written.
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// The first of these that is there.
    First(Vec<Value>),
}

/// A value of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A header.
    Header(HeaderName),
    /// A string, number or boolean of the body or, with `each`, of the event.
    Json(Pointer),
    /// A field of the header with the signature.
    Field(String),
    /// The name of the receiver.
    Hook,
    /// The type of the event.
    Type,
    /// The time that was signed, as it was sent.
    Timestamp,
    /// The method of the request.
    Method,
    /// The URL that the provider signed, as it is configured.
    Url,
    /// The body, as it came.
    Body,
    /// The SHA-256 of the body or, with `each`, of the event, in hexadecimal.
    Sha256,
    /// The empty text.
    Nothing,
}

/// An error in a template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("at column {column}: {message}")]
pub struct TemplateError {
    /// The place of the error, in characters, from 1.
    pub column: usize,
    /// The rule that is broken.
    pub message: &'static str,
}

/// The values that a template may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// What is signed.
    Signed,
    /// The type of an event, which cannot name itself.
    Type,
    /// Another part of an event.
    Event,
}

impl Use {
    fn allows(self, value: &Value) -> bool {
        match value {
            Value::Type => self == Self::Event,
            Value::Body | Value::Method | Value::Url => self == Self::Signed,
            Value::Header(_) | Value::Json(_) | Value::Field(_) => true,
            Value::Hook | Value::Timestamp | Value::Sha256 | Value::Nothing => true,
        }
    }
}

/// The values of one delivery.
pub trait Values {
    /// The bytes of a value, if it is there.
    fn get(&self, value: &Value) -> Option<Cow<'_, [u8]>>;
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// The first error and its column.
    pub fn parse(text: &str, wanted: Use) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        let error_at = |rest: &str, message| TemplateError {
            column: text[..text.len() - rest.len()].chars().count() + 1,
            message,
        };
        while let Some(at) = rest.find(['{', '}']) {
            let (before, found) = rest.split_at(at);
            literal.push_str(before);
            if found.starts_with("{{") || found.starts_with("}}") {
                literal.push_str(&found[..1]);
                rest = &found[2..];
                continue;
            }
            let inner =
                found.strip_prefix('{').ok_or_else(|| error_at(found, "} closes nothing: write }}"))?;
            let end = inner.find('}').ok_or_else(|| error_at(found, "{ is not closed"))?;
            let (inner, after) = (&inner[..end], &inner[end + 1..]);
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            let mut values = Vec::new();
            let mut open = &found[1..];
            for name in inner.split('|') {
                let value = value(name).map_err(|message| error_at(open, message))?;
                let is_last = values.len() == inner.matches('|').count();
                if value == Value::Nothing && (!is_last || values.is_empty()) {
                    return Err(error_at(open, "only the last of several values may be empty"));
                }
                if !wanted.allows(&value) {
                    return Err(error_at(open, "this value is not available here"));
                }
                values.push(value);
                open = open.get(name.len() + 1..).unwrap_or_default();
            }
            parts.push(Part::First(values));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts, text: text.to_owned() })
    }

    /// The template filled in; `None` if a value is not there.
    pub fn fill<'v>(&'v self, values: &'v impl Values) -> Option<Cow<'v, [u8]>> {
        if let [part] = self.parts.as_slice() {
            return part.fill(values);
        }
        let mut filled = Vec::new();
        for part in &self.parts {
            filled.extend_from_slice(&part.fill(values)?);
        }
        Some(filled.into())
    }

    /// The template filled in, as a text; `None` if a value is not there or is no UTF-8.
    pub fn text(&self, values: &impl Values) -> Option<String> {
        String::from_utf8(self.fill(values)?.into_owned()).ok()
    }

    /// The header that its whole text is taken from, where there is one.
    pub fn header(&self) -> Option<&HeaderName> {
        match self.parts.as_slice() {
            [Part::First(values)] => match values.first()? {
                Value::Header(name) => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    /// True if it names this value.
    pub fn names(&self, wanted: &Value) -> bool {
        let of = |part: &Part| matches!(part, Part::First(values) if values.contains(wanted));
        self.parts.iter().any(of)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Part {
    fn fill<'v>(&'v self, values: &'v impl Values) -> Option<Cow<'v, [u8]>> {
        match self {
            Self::Literal(text) => Some(text.as_bytes().into()),
            Self::First(wanted) => wanted.iter().find_map(|value| match value {
                Value::Nothing => Some(Cow::default()),
                value => values.get(value),
            }),
        }
    }
}

/// The value of a name within braces.
fn value(name: &str) -> Result<Value, &'static str> {
    Ok(match name.split_once(':') {
        Some(("header", name)) => {
            Value::Header(HeaderName::from_bytes(name.as_bytes()).map_err(|_| "this is no name of a header")?)
        }
        Some(("json", pointer)) => Value::Json(Pointer::parse(pointer)?),
        Some(("field", name)) if !name.is_empty() => Value::Field(name.to_owned()),
        Some(_) => return Err("known are header:, json: and field:, each with a name"),
        None => match name {
            "hook" => Value::Hook,
            "type" => Value::Type,
            "timestamp" => Value::Timestamp,
            "method" => Value::Method,
            "url" => Value::Url,
            "body" => Value::Body,
            "sha256" => Value::Sha256,
            "" => Value::Nothing,
            _ => {
                return Err(
                    "unknown value; known are header:NAME, json:/POINTER, field:NAME, hook, type, timestamp, \
                    method, url, body and sha256",
                );
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values whose bytes are their names, but for headers, which are not there.
    struct Named;

    impl Values for Named {
        fn get(&self, value: &Value) -> Option<Cow<'_, [u8]>> {
            match value {
                Value::Header(_) => None,
                Value::Field(name) => Some(name.clone().into_bytes().into()),
                value => Some(format!("{value:?}").into_bytes().into()),
            }
        }
    }

    fn filled(text: &str) -> Option<String> {
        Template::parse(text, Use::Signed).unwrap().text(&Named)
    }

    #[test]
    fn literals_and_values_stand_in_their_order() {
        assert_eq!(filled("v0:{timestamp}:{body}").as_deref(), Some("v0:Timestamp:Body"));
        assert_eq!(filled("").as_deref(), Some(""));
        assert_eq!(filled("{{a}}{field:t}").as_deref(), Some("{a}t"));
        assert_eq!(filled("ü{sha256}").as_deref(), Some("üSha256"));
    }

    #[test]
    fn the_first_value_that_is_there_counts() {
        assert_eq!(filled("{header:x|field:b|field:c}").as_deref(), Some("b"));
        assert_eq!(filled("{header:x}-"), None);
        assert_eq!(filled("a{header:x|}").as_deref(), Some("a"));
    }

    #[test]
    fn a_template_may_be_a_header_and_nothing_else() {
        let header = |text: &str| {
            Template::parse(text, Use::Event).unwrap().header().map(|name| name.as_str().to_owned())
        };
        assert_eq!(header("{header:x-id|json:/id}").as_deref(), Some("x-id"));
        for text in ["{json:/id|header:x-id}", "{header:x-id}-{json:/id}", "id", ""] {
            assert_eq!(header(text), None, "{text}");
        }
    }

    #[test]
    fn an_error_tells_its_column() {
        for (text, wanted, column) in [
            ("{jsn:/id}", Use::Event, 2),
            ("ü{", Use::Event, 2),
            ("a}", Use::Event, 2),
            ("{json:/id|header:a b}", Use::Event, 11),
            ("{json:id}", Use::Event, 2),
            ("{|json:/id}", Use::Event, 2),
            ("{}", Use::Event, 2),
            ("{hook}.{body}", Use::Event, 9),
            ("{type}", Use::Type, 2),
            ("{type}", Use::Signed, 2),
            ("{json:/a|unknown}", Use::Event, 10),
        ] {
            let error = Template::parse(text, wanted).unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
        }
    }
}
