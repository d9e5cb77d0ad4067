//! The attributes of an event, which every mode has.

use std::borrow::Cow;

use crate::event::{EventId, InvalidField, MAX_NAME_BYTES, NewEvent, Source, Topic};
use crate::ingest::collect::FieldErrors;
use crate::ingest::field::{Text, moment, required};
use crate::payload::{self, Payload};

/// The attributes that are columns, and the data.
pub const COLUMNS: [&str; 6] = ["id", "source", "type", "time", "data", "data_base64"];

/// The attributes that every mode has, as texts.
pub struct Attributes<'a> {
    specversion: Text<'a>,
    r#type: Text<'a>,
    source: Text<'a>,
    id: Text<'a>,
    time: Text<'a>,
}

impl<'a> Attributes<'a> {
    /// The attributes that `text` returns by their names.
    pub fn of(
        text: impl Fn(&str) -> Result<Text<'a>, payload::Malformed>,
    ) -> Result<Self, payload::Malformed> {
        Ok(Self {
            specversion: text("specversion")?,
            r#type: text("type")?,
            source: text("source")?,
            id: text("id")?,
            time: text("time")?,
        })
    }

    /// The event with these attributes, a payload and the members of the kept attributes, unless `errors` has some.
    pub fn into_event(
        self,
        payload: Payload,
        kept: &[String],
        mut errors: FieldErrors,
    ) -> Result<NewEvent, FieldErrors> {
        let mut found = FieldErrors::new();
        required("specversion", self.specversion, version, &mut found);
        let topic = required("type", self.r#type, Topic::parse, &mut found);
        let source = required("source", self.source, source, &mut found);
        let id = required("id", self.id, EventId::parse, &mut found);
        let timestamp = moment("time", self.time, &mut found);
        found.append(&mut errors);
        let (Some(topic), Some(source), Some(id), true) = (topic, source, id, found.is_empty()) else {
            return Err(found);
        };
        let event_id =
            event_id(source.as_str(), id.as_str()).map_err(|message| vec![("id".into(), message)])?;
        let attributes = Some(format!("{{{}}}", kept.join(",")));
        Ok(NewEvent { topic, event_id, timestamp, source: Some(source), payload, attributes })
    }
}

/// The event id of a source and an id: `<source>#<id>`, or `#<bytes of source>#<source>#<id>` if the source contains
/// `#`. No two pairs have the same: a source is never empty, so only the second form begins with `#`, and there the
/// length tells where the source ends.
pub fn event_id(source: &str, id: &str) -> Result<EventId, String> {
    let joined = match source.contains('#') {
        false => format!("{source}#{id}"),
        true => format!("#{}#{source}#{id}", source.len()),
    };
    EventId::parse(joined)
        .map_err(|_| format!("must be at most {MAX_NAME_BYTES} bytes together with source and separators"))
}

fn version(text: Cow<'_, str>) -> Result<(), InvalidField> {
    match text.as_ref() {
        "1.0" => Ok(()),
        other => Err(InvalidField(format!("must be 1.0, is {other:?}"))),
    }
}

fn source(text: Cow<'_, str>) -> Result<Source, InvalidField> {
    if text.is_empty() {
        return Err(InvalidField("must not be empty".into()));
    }
    Source::parse(text)
}

/// Checks the name of an attribute.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err(format!("attribute {name:?} must be named by lower-case letters and digits alone"));
    }
    Ok(())
}

/// Extensions may be empty; optional attributes of the specification may not.
pub fn may_be_empty(name: &str) -> bool {
    !["subject", "datacontenttype", "dataschema"].contains(&name)
}

/// The fault of an attribute with a value that it cannot have.
pub fn invalid_value(name: &str) -> String {
    format!("attribute {name:?} must be a non-empty string, an integer or a boolean")
}
